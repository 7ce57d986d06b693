#!/usr/bin/env bash
# JAX 0.12 on a CPU: each dimension of an array of random numbers doubles the time in which XLA compiles their drawing. In four
# dimensions that is half a second for a fifth of a millisecond's work, and each new shape is compiled anew.
#
# Layers draw their initial weights eagerly, each shape by a program of its own: a ResNet-50 in Flax is 10 s in the making,
# nearly all of it this. `jax_threefry_partitionable`, on by default, computes the counter of each number from its place in
# every dimension; without it, as by default before JAX 0.5, the dimensions cost nothing. Which distribution is asked for
# hardly matters beside it. Where weights are loaded anyway, a model made below `jax.eval_shape` (`nnx.eval_shape` in Flax)
# draws and compiles none.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, CPython 3.12, Linux x86-64, 2 cores of AMD EPYC. Seen on 28 November 2026, on a quiet
# machine (the least of three; `uniform` of 22,500 numbers, compiled and drawn):
#   1 dimensions: compiled 0.069 s, drawn 0.21 ms, compiled as before 0.5 0.071 s; three times as long: no; a fiftieth of it to draw: yes
#   2 dimensions: compiled 0.140 s, drawn 0.17 ms, compiled as before 0.5 0.071 s; three times as long: no; a fiftieth of it to draw: yes
#   3 dimensions: compiled 0.286 s, drawn 0.21 ms, compiled as before 0.5 0.071 s; three times as long: yes; a fiftieth of it to draw: yes
#   4 dimensions: compiled 0.530 s, drawn 0.15 ms, compiled as before 0.5 0.071 s; three times as long: yes; a fiftieth of it to draw: yes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3.12} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "jax==${JAX:-0.12.0.1}" "jaxlib==${JAX:-0.12.0.1}"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import time

import jax


def seconds(call):
    begin = time.perf_counter()
    found = call()
    return time.perf_counter() - begin, found


def costs(shape, partitionable):
    """Returns the least seconds of three to compile and to draw."""
    compiling, drawing = [], []
    for _ in range(3):
        jax.clear_caches()
        with jax.threefry_partitionable(partitionable):
            key = jax.random.key(0)
            lowered = jax.jit(lambda key: jax.random.uniform(key, shape)).lower(key)
            took, compiled = seconds(lowered.compile)
        compiling.append(took)
        jax.block_until_ready(compiled(key))
        drawing.append(seconds(lambda: jax.block_until_ready(compiled(key)))[0])
    return min(compiling), min(drawing)


before, _ = costs((3, 3, 50, 50), False)
for shape in [(22500,), (150, 150), (9, 50, 50), (3, 3, 50, 50)]:
    compiling, drawing = costs(shape, True)
    slower = "yes" if compiling > 3 * before else "no"
    rarely = "yes" if drawing < compiling / 50 else "no"
    times = f"compiled {compiling:.3f} s, drawn {1000 * drawing:.2f} ms, compiled as before 0.5 {before:.3f} s"
    print(f"{len(shape)} dimensions: {times}; three times as long: {slower}; a fiftieth of it to draw: {rarely}", flush=True)
PYTHON
diff - <(sed 's/: compiled[^;]*;/:/' "$folder/seen") <<'EXPECTED'
1 dimensions: three times as long: no; a fiftieth of it to draw: yes
2 dimensions: three times as long: no; a fiftieth of it to draw: yes
3 dimensions: three times as long: yes; a fiftieth of it to draw: yes
4 dimensions: three times as long: yes; a fiftieth of it to draw: yes
EXPECTED
