"""How fast an installation computes the two things that training is made of, and what its build says of itself.

For `rosetta verify`: a framework's `speed.py` hands over a matrix product and a convolution, each as a function that has
ended when it returns, and facts of the build. Rates are of the fastest of several calls, for what disturbs only slows.
"""

import os
import time

CHANNELS, FILTERS, PIXELS, KERNEL = 50, 100, 16, 3  # the third convolution of the cnn
BUDGET = 1.5  # seconds of calls
# Variables that steer libraries of numbers; what rosetta sets itself is the same everywhere.
STEERING = ("ATEN_", "BLIS_", "DNNL_", "GOMP_", "KMP_", "LD_PRELOAD", "MKL", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_", "TF_", "TORCH", "XLA_")


def sizes(device):
    """Returns the side of the square matrices, and the number of images. On a CPU 2.1 GFLOP, too large for the caches
    of a core; on a GPU 1,100 GFLOP and 94, so that some hundredths of a second are not spent on the start of the call."""
    return (8192, 4096) if device == "cuda" else (1024, 64)


def measure(call, floating):
    """Returns GFLOP/s of a call of so many floating-point operations, and how many CPUs were busy meanwhile."""
    call()  # the first one compiles, chooses and allocates
    best, begin, cpu = None, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < BUDGET:
        before = time.perf_counter()
        call()
        took = time.perf_counter() - before
        best = took if best is None else min(best, took)
    busy = (time.process_time() - cpu) / (time.perf_counter() - begin)
    return floating / best / 1e9, busy


def report(run, product, convolution=None, **facts):
    """Sends what was measured and what the build says; `product` multiplies two square float32 matrices, `convolution`
    applies `FILTERS` filters of `KERNEL` x `KERNEL` to images with padding, both of the size that `sizes` has."""
    side, images = sizes(run.device)
    rate, busy = measure(product, 2 * side**3)
    run.fact("product_gflops", rate)
    if run.device == "cpu":  # while a GPU computes, a CPU waits for it, busy or not
        run.fact("busy_cpus", busy)
    if convolution is not None:
        each = 2 * images * PIXELS**2 * FILTERS * CHANNELS * KERNEL**2
        run.fact("convolution_gflops", measure(convolution, each)[0])
    for name, value in facts.items():
        run.fact(name, value)
    steering = {name: value for name, value in os.environ.items() if name.startswith(STEERING)}
    for name in sorted(steering):
        run.fact("variable " + name, steering[name])
