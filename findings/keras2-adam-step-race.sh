#!/usr/bin/env bash
# Keras 2.2.4's Adam over TensorFlow corrects its bias for step 1 or for step 2 in its first step, as it comes: the
# optimiser adds 1 to its count of steps and reads the count in one graph, and nothing orders the two.
#
# With a gradient of 1 the first step of Adam is the rate itself, 0.1; corrected for step 2 it is 0.0744. The same program
# takes now the one, now the other, on one machine, with the same seed and one model after the other, and a model may be
# ahead in one step and on time in the next. So two runs differ in the first digits of a loss though everything that can be
# seeded was. Resource variables, which make other reads of a Keras 2 optimiser see old values, do not help: a read of a
# count is as free to come late. Over Theano and CNTK, which read before they write, it does not happen.
#
# What orders them: an Adam whose `get_updates` lets the count wait for all other updates (tf.control_dependencies).
#
# Versions: keras 2.2.4, tensorflow 1.15.5, numpy 1.18.5 on CPython 3.7; two cores. Seen on 28 November 2026:
#   plain 3 times 0.1000 37 times 0.0744
#   resource 40 times 0.0744
#   ordered 40 times 0.1000
# (of an idle machine, another time: 26 of 52 first steps were ahead)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3.7} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "keras==${KERAS:-2.2.4}" "tensorflow==1.15.5" \
    "numpy==1.18.5" "h5py==2.10.0" "protobuf==3.20.3"

cat > "$folder/steps.py" <<'PYTHON'
import sys

import keras
import numpy
import tensorflow
from keras import backend, layers

if sys.argv[1] == "resource":
    tensorflow.enable_resource_variables()


class Ordered(keras.optimizers.Adam):
    def get_updates(self, loss, params):
        others = super(Ordered, self).get_updates(loss, params)[1:]
        with tensorflow.control_dependencies(others):
            self.updates = others + [backend.update_add(self.iterations, 1)]
        return self.updates


adam = Ordered if sys.argv[1] == "ordered" else keras.optimizers.Adam
found = {}
for _ in range(40):
    backend.clear_session()
    dense = layers.Dense(1, bias_initializer="zeros")
    model = keras.Sequential([layers.InputLayer((1,)), dense])
    model.compile(adam(0.1), lambda _, output: output)  # whose gradient of the bias is 1
    model.train_on_batch(numpy.ones((8, 1)), numpy.zeros((8, 1)))
    step = "%.4f" % -dense.get_weights()[1][0]
    found[step] = found.get(step, 0) + 1
print(sys.argv[1], *("%d times %s" % (found[step], step) for step in sorted(found, reverse=True)))
PYTHON

for kind in plain resource ordered; do
    KERAS_BACKEND=tensorflow KERAS_HOME=$folder TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore "$folder/steps.py" "$kind" \
        2> "$folder/$kind.log" || { tail -5 "$folder/$kind.log"; exit 1; }
done | tee "$folder/seen"

# How often is chance; that it comes in 40 tries, and nothing but these two steps, is not.
grep -Eqx 'plain ([0-9]+ times 0.1000 )?[0-9]+ times 0.0744' "$folder/seen"
grep -Eqx 'resource ([0-9]+ times 0.1000 )?[0-9]+ times 0.0744' "$folder/seen"
grep -qx 'ordered 40 times 0.1000' "$folder/seen"
