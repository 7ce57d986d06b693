#!/usr/bin/env bash
# A Module of MXNet lets decay what is named `*_weight` or `*_gamma`, and nothing else: the same weight with the same `wd`
# decays as `dense_weight`, and does not as `dense_bias`, `positions`, `gamma` or `w`. A Trainer of Gluon, with the same
# optimiser and the same `wd`, lets all of them decay.
#
# It is in the documentation of `Optimizer.set_wd_mult`, which a Module calls by handing over its names; `init_optimizer`,
# where the decay is asked for, does not say it. So a weight of one's own symbol is not regularised, and a network that is
# carried over from Module to Gluon has its biases and norms decay, without a word in either case.
#
# Versions: mxnet 1.9.1 with NumPy 1.23.5 on CPython 3.8; 0.12.1 does the same. Seen on 28 November 2026 (SGD, rate 0.5, wd
# 0.5, one step with a gradient of 0 from a weight of 1: with decay it is 0.75).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON_OLD:-python3.8} -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "numpy==1.23.5" "mxnet==${MXNET:-1.9.1}"

"$folder/env/bin/python" -W ignore - 2> "$folder/log" << 'PYTHON' | tee "$folder/seen"
import mxnet as mx

SETTINGS = {"learning_rate": 0.5, "wd": 0.5}


def by_module(name):
    product = mx.sym.broadcast_mul(mx.sym.Variable("x"), mx.sym.Variable(name, shape=(1,)))
    module = mx.mod.Module(product, ["x"], None)
    module.bind([("x", (1, 1))])
    module.init_params(arg_params={name: mx.nd.ones(1)})
    module.init_optimizer(optimizer="sgd", optimizer_params=SETTINGS)
    module.forward(mx.io.DataBatch([mx.nd.zeros((1, 1))], None), is_train=True)
    module.backward([mx.nd.ones((1, 1))])
    module.update()
    return module.get_params()[0][name].asscalar()


def by_trainer(name):
    w = mx.gluon.Parameter(name, shape=(1,), init="ones")
    w.initialize()
    trainer = mx.gluon.Trainer([w], "sgd", SETTINGS)
    with mx.autograd.record():
        loss = w.data() * 0
    loss.backward()
    trainer.step(1)
    return w.data().asscalar()


for name in ("dense_weight", "norm_gamma", "dense_bias", "positions", "gamma", "w"):
    print(f"{name}: {by_module(name):g} by a Module, {by_trainer(name):g} by a Trainer")
PYTHON

diff "$folder/seen" - << 'EXPECTED'
dense_weight: 0.75 by a Module, 0.75 by a Trainer
norm_gamma: 0.75 by a Module, 0.75 by a Trainer
dense_bias: 1 by a Module, 0.75 by a Trainer
positions: 1 by a Module, 0.75 by a Trainer
gamma: 1 by a Module, 0.75 by a Trainer
w: 1 by a Module, 0.75 by a Trainer
EXPECTED
