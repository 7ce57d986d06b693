#!/usr/bin/env bash
# JAX 0.12 on a CPU: a bfloat16 convolution between two relu, with a mean over the image behind it, is compiled to garbage:
# NaN, infinity and numbers of 1e36, others at each run. Op by op the same function is right.
#
# It is the end of a ResNet in mixed precision, and ran through without a warning: Keras 3.15.1 over JAX with the policy
# mixed_bfloat16. Every part is needed: without the first relu, without padding, without the mean, in float32 or with eight
# channels the numbers are right. XLA's fusions for YNNPACK do it: with none of them,
# `XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=`, it is right. To switch oneDNN or XNNPACK off changes nothing. In a
# process that has done little before it may be right by luck: 64 channels were so once, and 512 never.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, CPython 3.12, Linux x86-64, 2 cores of AMD EPYC with avx512_bf16. Seen on
# 28 November 2026 (3 x 3, 512 to 512 channels, four images of 7 x 7; of 2,048 numbers some 1,600 were not finite):
#   as it is           garbage: yes
#   no first relu      garbage: no
#   no mean            garbage: no
#   float32            garbage: no
#   no YNN fusions     garbage: no
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3.12} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "jax==${JAX:-0.12.0.1}" "jaxlib==${JAX:-0.12.0.1}"
cat > "$folder/seen.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
from jax import lax

key = jax.random.key(0)
x = jax.random.normal(key, (4, 7, 7, 512), "bfloat16")
kernel = jax.random.normal(key, (3, 3, 512, 512), "bfloat16") * 0.02


def function(x, kernel, before, after):
    layout = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(before(x), kernel, (1, 1), "SAME", dimension_numbers=layout)
    return after(jax.nn.relu(y))


def compare(what, x, kernel, before=jax.nn.relu, after=lambda y: y.mean((1, 2))):
    right = function(x, kernel, before, after)
    garbage = False
    for _ in range(3):  # once it may be right by luck
        found = jax.jit(lambda x, kernel: function(x, kernel, before, after))(x, kernel)
        garbage |= not jnp.abs(found - right).max() < 0.5  # NaN is less than nothing
    print(f"{what:18} garbage: {'yes' if garbage else 'no'}", flush=True)


if sys.argv[1:]:
    compare(sys.argv[1], x, kernel)
else:
    compare("as it is", x, kernel)
    compare("no first relu", x, kernel, before=lambda x: x)
    compare("no mean", x, kernel, after=lambda y: y)
    compare("float32", x.astype("float32"), kernel.astype("float32"))
PYTHON
export JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/seen.py" | tee "$folder/seen"
XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= "$folder/venv/bin/python" "$folder/seen.py" "no YNN fusions" | tee -a "$folder/seen"
diff - "$folder/seen" <<'EXPECTED'
as it is           garbage: yes
no first relu      garbage: no
no mean            garbage: no
float32            garbage: no
no YNN fusions     garbage: no
EXPECTED
