"""How fast this PyTorch multiplies and convolves, and what its build says."""

# %% Setup
import torch
from torch import nn

import rosetta
from rosetta import speed

run = rosetta.start("PyTorch", torch.__version__)
torch.set_num_threads(run.threads)

# %% Measure
matrix = torch.rand(speed.SIDE, speed.SIDE)
images = torch.rand(speed.IMAGES, speed.CHANNELS, speed.PIXELS, speed.PIXELS)
layer = nn.Conv2d(speed.CHANNELS, speed.FILTERS, speed.KERNEL, padding=1)
with torch.inference_mode():
    speed.report(
        run,
        lambda: matrix @ matrix,
        lambda: layer(images),
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else "not told",
        onednn="on" if torch.backends.mkldnn.is_available() and getattr(torch.backends.mkldnn, "enabled", True) else "off",
        mkl="yes" if torch.backends.mkl.is_available() else "no",
        openmp="yes" if torch.backends.openmp.is_available() else "no",
        debug="yes" if torch.version.debug else "no",
    )
