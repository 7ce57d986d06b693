"""ResNet-50 features of random images in PyTorch: torchvision's model."""

# %% Setup
import torch
import torchvision
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
torch.backends.cudnn.benchmark = True  # off by default: search for the fastest
torch.backends.cudnn.conv.fp32_precision = "ieee"  # not its default, TF32
# The shape stays NCHW; as NHWC in memory a CPU is faster. A GPU gains by that
# with tensor cores, which "ieee" does not use.
on_cpu = device.type == "cpu"
memory = torch.channels_last if on_cpu else torch.contiguous_format
run.fact("layout", "NHWC" if on_cpu else "NCHW")
run.fact("compiled", False)
run.fact("cudnn", device.type == "cuda")

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)


def images(x):
    return torch.from_numpy(x).to(device).contiguous(memory_format=memory)


# %% Build model
run.phase("build")
model = torchvision.models.resnet50()  # v1.5: the stride is in the 3x3
model.fc = nn.Identity()  # the features instead of the classes
model.to(device, memory_format=memory)

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
for name, counter in model.state_dict().items():
    if name.endswith("num_batches_tracked"):  # only training looks at it
        state[name] = counter
model.load_state_dict(state)  # complains about any name or shape that differs

# %% Predict
model.eval()  # batch normalisation with its stored statistics
with torch.inference_mode():
    run.phase("warmup")
    for x in run.warmup(x_test):
        model(images(x))

    run.phase("predict")
    for x in run.split(x_test):
        features = model(images(x))  # (32, 2048)
        run.outputs(features.cpu().numpy())
