"""ResNet-50 features of random images in Caffe2, from its own builder."""

# %% Setup
import torch  # whose package brings Caffe2
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from caffe2.python.model_helper import ModelHelper
from caffe2.python.models import resnet

import rosetta

run = rosetta.start("Caffe2", torch.__version__)  # no sync: a net's run waits
cfg = run.config
core.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={run.threads}"])
on_gpu = run.device == "cuda"
device = core.DeviceOption(caffe2_pb2.CUDA if on_gpu else caffe2_pb2.CPU, 0)
run.fact("layout", "NCHW")
run.fact("cudnn", on_gpu)
run.fact("compiled", True)  # the net is declared first and then fed

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
search = {"cudnn_exhaustive_search": True}  # the fastest; off by default
model = ModelHelper("resnet50", arg_scope=search)
with core.DeviceScope(device):
    resnet.create_resnet50(  # v1.5: the stride is in the 3x3 convolution
        model,
        "x",
        num_input_channels=3,
        num_labels=1000,
        is_test=True,  # batch normalisation with its stored statistics
        no_loss=True,
        no_bias=True,  # by default convolutions have one too
    )
    operators = model.net.Proto().op
    del operators[-1]  # the classes; "final_avg" is before: (n, 2048, 1, 1)
    model.net.Flatten("final_avg", "features")
for operator in operators:
    for argument in operator.arg:
        if argument.name == "epsilon":
            argument.f = cfg.bn_epsilon  # 1e-5 already

# %% Initial weights
layers = {"conv1": "conv1", "bn1": "conv1_spatbn_relu"}  # by torchvision's
parts = {"bias": "_b", "running_mean": "_rm", "running_var": "_riv"}
block = 0
for stage, blocks in enumerate((3, 4, 6, 3), start=1):
    for i in range(blocks):
        name = f"layer{stage}.{i}"
        for k in 1, 2, 3:
            layers[f"{name}.conv{k}"] = f"comp_{block}_conv_{k}"
            layers[f"{name}.bn{k}"] = f"comp_{block}_spatbn_{k}"
        shortcut = f"shortcut_projection_{block}"
        layers[f"{name}.downsample.0"] = shortcut
        layers[f"{name}.downsample.1"] = f"{shortcut}_spatbn"
        block += 1
for name, array in run.weights().items():
    layer, _, part = name.rpartition(".")
    is_kernel = array.ndim == 4  # (out, in, h, w) here too
    suffix = "_w" if is_kernel else parts.get(part, "_s")
    workspace.FeedBlob(layers[layer] + suffix, array, device)
workspace.CreateBlob("x")
workspace.CreateNet(model.net)


def features(x):
    workspace.FeedBlob("x", x, device)
    workspace.RunNet(model.net)
    return workspace.FetchBlob("features")


# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    features(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(features(x))
