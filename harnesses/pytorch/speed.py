"""How fast this PyTorch multiplies and convolves, and what its build says."""

# %% Setup
import torch
from torch import nn

import rosetta
from rosetta import speed

run = rosetta.start("PyTorch", torch.__version__)
torch.set_num_threads(run.threads)
torch.backends.cudnn.benchmark = True  # as the harnesses
torch.backends.cudnn.allow_tf32 = False  # as the harnesses; this name was there before 2.9 too
side, count = speed.sizes(run.device)
device = torch.device(run.device)
wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None


def of_gpu():
    """Returns what a build says of the GPU: which CUDA and cuDNN it has, and whether it has code for this one."""
    has = "sm_%d%d" % torch.cuda.get_device_capability()
    return {
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),
        "code_for_gpu": has if has in torch.cuda.get_arch_list() else "none of its own",
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


# %% Measure
matrix = torch.rand(side, side, device=device)
images = torch.rand(count, speed.CHANNELS, speed.PIXELS, speed.PIXELS, device=device)
layer = nn.Conv2d(speed.CHANNELS, speed.FILTERS, speed.KERNEL, padding=1, device=device)
with torch.inference_mode():
    speed.report(
        run,
        lambda: (matrix @ matrix, wait()),
        lambda: (layer(images), wait()),
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else "not told",
        onednn="on" if torch.backends.mkldnn.is_available() and getattr(torch.backends.mkldnn, "enabled", True) else "off",
        mkl="yes" if torch.backends.mkl.is_available() else "no",
        openmp="yes" if torch.backends.openmp.is_available() else "no",
        debug="yes" if torch.version.debug else "no",
        **(of_gpu() if device.type == "cuda" else {}),
    )
