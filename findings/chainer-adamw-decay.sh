#!/usr/bin/env bash
# Chainer's AdamW does not multiply the decay by its learning rate: with the same rate 3e-4 and the same decay 0.01, a step
# takes 1 % of each weight, where optax's adamw (as PyTorch's, TensorFlow's and Keras') takes 0.0003 %, 3,333 times less.
#
# Both are decoupled, both are called AdamW, and both take the two numbers under the same names. The paper scales update and
# decay by a schedule's multiplier `eta`, and Chainer has that, as a third setting that is 1 by default; the others let the
# rate be both. So a rate that is warmed up or halved leaves Chainer's decay as it was, and a recipe that is carried over as
# it stands has forgotten its initial weights after a few hundred steps. What the others do is `AdamW(1, eta=rate)`.
#
# Versions: chainer 7.8.1 with NumPy 1.23.5 on CPython 3.8; optax 0.2.8 with jax 0.12.0.1 on CPython 3.12. Seen on 27
# November 2026 (a weight of 1 with a gradient of 0, in float64: Adam itself moves nothing):
#   chainer, rate 0.0003:          1 step takes 1 %, 100 steps 63.4 %
#   chainer, rate 0.0006:          1 step takes 1 %, 100 steps 63.4 %
#   chainer, rate 1, eta 0.0003:   1 step takes 0.0003 %, 100 steps 0.03 %
#   optax, rate 0.0003:            1 step takes 0.0003 %, 100 steps 0.03 %
#   optax, rate 0.0006:            1 step takes 0.0006 %, 100 steps 0.06 %
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON_OLD:-python3.8} -m venv "$folder/old"
"$folder/old/bin/pip" install --quiet --disable-pip-version-check "setuptools==59.8.0" "numpy==1.23.5" "chainer==${CHAINER:-7.8.1}"
${PYTHON:-python3.12} -m venv "$folder/new"
"$folder/new/bin/pip" install --quiet --disable-pip-version-check "jax==0.12.0.1" "jaxlib==0.12.0.1" "optax==${OPTAX:-0.2.8}"

{
    "$folder/old/bin/python" -W ignore - <<'PYTHON'
import chainer
import numpy


def lost(steps, rate, eta):
    link = chainer.Link()
    with link.init_scope():
        link.w = chainer.Parameter(numpy.ones(1))
    optimizer = chainer.optimizers.AdamW(rate, eta=eta, weight_decay_rate=0.01)
    optimizer.setup(link)
    for _ in range(steps):
        link.w.grad = numpy.zeros(1)
        optimizer.update()
    return 100 * (1 - link.w.array[0])


for name, rate, eta in (("rate 0.0003", 3e-4, 1), ("rate 0.0006", 6e-4, 1), ("rate 1, eta 0.0003", 1, 3e-4)):
    print(f"chainer, {name}: 1 step takes {lost(1, rate, eta):.3g} %, 100 steps {lost(100, rate, eta):.3g} %")
PYTHON
    JAX_PLATFORMS=cpu JAX_ENABLE_X64=1 "$folder/new/bin/python" - <<'PYTHON'
import jax.numpy as jnp
import optax


def lost(steps, rate):
    w = jnp.ones(1)
    optimizer = optax.adamw(rate, weight_decay=0.01)
    state = optimizer.init(w)
    for _ in range(steps):
        updates, state = optimizer.update(jnp.zeros(1), state, w)
        w = optax.apply_updates(w, updates)
    return 100 * float(1 - w[0])


for rate in (3e-4, 6e-4):
    print(f"optax, rate {rate:g}: 1 step takes {lost(1, rate):.3g} %, 100 steps {lost(100, rate):.3g} %")
PYTHON
} | tee "$folder/seen"

diff "$folder/seen" - <<'EXPECTED'
chainer, rate 0.0003: 1 step takes 1 %, 100 steps 63.4 %
chainer, rate 0.0006: 1 step takes 1 %, 100 steps 63.4 %
chainer, rate 1, eta 0.0003: 1 step takes 0.0003 %, 100 steps 0.03 %
optax, rate 0.0003: 1 step takes 0.0003 %, 100 steps 0.03 %
optax, rate 0.0006: 1 step takes 0.0006 %, 100 steps 0.06 %
EXPECTED
