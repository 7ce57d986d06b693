"""ResNet-50 features of random images in PyTorch, tuned: one CUDA graph."""

# %% Setup
import os

import torch
import torchvision
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
on_cpu = device.type == "cpu"
precision = os.environ.get("TUNED_PRECISION", "float32")  # the target's
use_graph = not on_cpu and os.environ.get("TUNED_GRAPH") != "0"
use_compile = os.environ.get("TUNED_COMPILE") == "1"  # takes a C compiler
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
torch.backends.cudnn.benchmark = True  # off by default: search for the fastest
rounding = "tf32" if precision == "tf32" else "ieee"
torch.backends.cudnn.conv.fp32_precision = rounding  # TF32 by default
torch.backends.cuda.matmul.fp32_precision = rounding
# The weights stay float32: autocast rounds what goes into a product.
mixed = torch.autocast(device.type, torch.bfloat16, precision == "bf16")
if use_graph:
    torch.cuda.set_stream(torch.cuda.Stream())  # the default cannot record
# A GPU gains by NHWC in memory with tensor cores only.
nhwc = on_cpu or precision != "float32"
memory = torch.channels_last if nhwc else torch.contiguous_format
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("layout", "NHWC" if nhwc else "NCHW")
run.fact("compiled", use_compile)
run.fact("cuda_graph", use_graph)
run.fact("cudnn", not on_cpu)

# %% Load data
run.phase("load")
x_test = torch.from_numpy(run.data("x_test"))  # (n, 3, 224, 224)
if not on_cpu:
    x_test = x_test.pin_memory()  # copied to the GPU at full speed


def images(x):
    x = x.to(device, non_blocking=True)
    return x.contiguous(memory_format=memory)


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
model.load_state_dict(state)


def graphed(forward, x):
    for _ in range(3):  # compiles, searches cuDNN's convolutions
        forward(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        features = forward(x)  # recorded, not computed

    def replayed(batch):
        # A graph reads and writes at fixed places.
        x[: len(batch)].copy_(batch, non_blocking=True)
        graph.replay()  # one launch for all kernels
        return features[: len(batch)]

    return replayed


def forward(x):
    with mixed:
        return model(images(x))


# %% Predict
model.eval()  # batch normalisation with its stored statistics
if use_compile:  # fuses what stands between two convolutions
    model = torch.compile(model)
with torch.inference_mode():
    run.phase("warmup")
    if use_graph:
        first = x_test[: cfg.batch_size].to(device)
        forward = graphed(forward, first)
    for x in run.warmup(x_test):
        forward(x)

    run.phase("predict")
    for x in run.split(x_test):
        features = forward(x).to(torch.get_default_dtype())  # (32, 2048)
        run.outputs(features.cpu().numpy())
