#!/usr/bin/env bash
# JAX 0.12 on a CPU: the gradient of a convolution by its kernel takes some 30 times as long inside `lax.scan` as the same
# compiled function called in a Python loop; the numbers are the same.
#
# An epoch as one scan is how a training loop in JAX is made fast: one call, no dispatch between steps. On a CPU that turns a
# convolutional network's training into its opposite. The forward pass is as fast inside as outside, so a profile of inference
# shows nothing; the gradient by the input suffers less than that by the kernel. Unrolling the scan, which leaves no loop to
# XLA, takes the slowness away, so it is the loop's body that is compiled to other code, not the convolution as such.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, CPython 3.12, Linux x86-64, 2 cores of AMD EPYC. Seen on 27 November 2026, beside
# other work (a convolution of 3 x 3, 32 to 32 channels, 16 images of 32 x 32; four steps; times of the fastest of two):
#   forward            loop  0.047 s   scan  0.043 s   slower: no
#   kernel gradient    loop  0.121 s   scan  3.975 s   slower: yes
#   … unrolled         loop  0.122 s   scan  0.140 s   slower: no
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3.12} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "jax==${JAX:-0.12.0.1}" "jaxlib==${JAX:-0.12.0.1}"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import time

import jax
from jax import lax

key = jax.random.key(0)
kernel = jax.random.normal(key, (3, 3, 32, 32)) * 0.05
batches = jax.random.normal(key, (4, 16, 32, 32, 32))
FIVE = 5  # so many times as long is slower; what is seen is 1 or 30


def loss(kernel, x):
    layout = ("NHWC", "HWIO", "NHWC")
    return (lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout) ** 2).mean()


def fastest(call):
    call()
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        found = jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return min(times), found


def compare(what, function, **options):
    one = jax.jit(function)
    many = jax.jit(lambda xs: lax.scan(lambda carry, x: (carry, function(kernel, x)), 0, xs, **options)[1])
    loop, apart = fastest(lambda: [one(kernel, x) for x in batches])
    scan, together = fastest(lambda: many(batches))
    assert all(abs(a - b).max() < 1e-5 for a, b in zip(apart, together)), "the numbers differ"
    print(f"{what:18} loop {loop:6.3f} s   scan {scan:6.3f} s   slower: {'yes' if scan > FIVE * loop else 'no'}", flush=True)


compare("forward", loss)
compare("kernel gradient", jax.grad(loss))
compare("… unrolled", jax.grad(loss), unroll=len(batches))
PYTHON
diff - <(sed 's/ *loop.*slower:/:/' "$folder/seen") <<'EXPECTED'
forward: no
kernel gradient: yes
… unrolled: no
EXPECTED
