"""How fast this NumPy multiplies: with a good BLAS, as fast as the machine can."""

# %% Setup
import numpy as np

import rosetta
from rosetta import speed

run = rosetta.start("NumPy", np.__version__)

# %% Measure
side, _ = speed.sizes(run.device)
matrix = np.random.default_rng(run.config.seed).random((side, side), dtype=np.float32)
built = np.show_config(mode="dicts")
blas = built["Build Dependencies"]["blas"]
speed.report(
    run,
    lambda: matrix @ matrix,
    blas="%s %s" % (blas.get("name"), blas.get("version")),
    instructions=" ".join(built["SIMD Extensions"].get("found", [])) or "baseline",
)
