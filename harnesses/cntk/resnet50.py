"""ResNet-50 features of random images in CNTK, written from its layers."""

# %% Setup
import cntk as C
import numpy as np
from cntk.layers import (
    BatchNormalization,
    Convolution2D,
    GlobalAveragePooling,
    MaxPooling,
)

import rosetta

run = rosetta.start("CNTK", C.__version__)  # no sync: CNTK waits by itself
cfg = run.config
C.try_set_default_device(C.gpu(0) if run.device == "cuda" else C.cpu())
C.cntk_py.set_max_num_cputhreads(run.threads)
dtype = np.dtype(run.dtype).type
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
layers = {}  # by torchvision's name


def conv(x, name, size, channels, stride=1):
    # pad=True pads both sides evenly, as torchvision: (size - 1) / 2
    layers[name] = Convolution2D(
        size, channels, strides=stride, pad=True, bias=False
    )
    return layers[name](x)


def norm(x, name):
    layers[name] = BatchNormalization(map_rank=1, epsilon=cfg.bn_epsilon)
    return layers[name](x)


def bottleneck(x, name, channels, stride, project):
    y = C.relu(norm(conv(x, name + ".conv1", 1, channels), name + ".bn1"))
    y = conv(y, name + ".conv2", 3, channels, stride)  # strided here: v1.5
    y = C.relu(norm(y, name + ".bn2"))
    y = norm(conv(y, name + ".conv3", 1, 4 * channels), name + ".bn3")
    if project:
        x = conv(x, name + ".downsample.0", 1, 4 * channels, stride)
        x = norm(x, name + ".downsample.1")
    return C.relu(x + y)


with C.default_options(dtype=dtype):
    image = C.input_variable((3, 224, 224))
    y = C.relu(norm(conv(image, "conv1", 7, 64, stride=2), "bn1"))
    y = MaxPooling((3, 3), strides=2, pad=True)(y)  # (64, 56, 56)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for i in range(blocks):
            name = f"layer{stage}.{i}"
            stride = 2 if i == 0 and stage > 1 else 1
            y = bottleneck(y, name, 32 << stage, stride, project=i == 0)
    model = C.reshape(GlobalAveragePooling()(y), cfg.features)  # (2048,)

# %% Initial weights
attributes = {  # of a BatchNormalization; a convolution has its W
    "weight": "scale",
    "bias": "bias",
    "running_mean": "aggregate_mean",
    "running_var": "aggregate_variance",
}
for name, array in run.weights().items():
    layer_name, _, kind = name.rpartition(".")
    layer = layers[layer_name]
    is_kernel = array.ndim == 4  # (out, in, h, w) here too
    getattr(layer, "W" if is_kernel else attributes[kind]).value = array

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    model.eval({image: x})
run.phase("predict")
for x in run.split(x_test):
    run.outputs(model.eval({image: x}))  # eval: stored statistics; NumPy
