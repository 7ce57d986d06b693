"""ResNet-50 features of random images in NumPy: plain sums, in float64."""

# %% Setup
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import rosetta

run = rosetta.start("NumPy", np.__version__)
cfg = run.config
run.fact("layout", "NCHW")
run.fact("dtype", "float64")  # also where run.dtype says float32: a reference

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
weights = {}

# The layers take one image (c, h, w) at a time, which stays in the cache.


def windows(x, size, stride, outside):
    """Each size x size square of x: (c, h, w, size, size), as a view."""
    pad = size // 2  # 3 on both sides for 7x7, 1 for 3x3, none for 1x1
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), constant_values=outside)
    return sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


def conv(x, name, stride=1):
    kernel = weights[name + ".weight"]  # (out, in, size, size)
    x = windows(x, kernel.shape[-1], stride, outside=0)
    c, h, w, *size = x.shape
    columns = x.transpose(0, 3, 4, 1, 2).reshape(-1, h * w)
    return (kernel.reshape(len(kernel), -1) @ columns).reshape(-1, h, w)


def batch_norm(x, name):
    parts = "weight", "bias", "running_mean", "running_var"
    gamma, beta, mean, variance = [
        weights[f"{name}.{part}"][:, None, None] for part in parts
    ]
    return (x - mean) / np.sqrt(variance + cfg.bn_epsilon) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def max_pool(x):
    return windows(x, 3, 2, outside=-np.inf).max((3, 4))


def bottleneck(x, name, stride):
    y = relu(batch_norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
    # The stride is in the 3x3: "v1.5". The first publication had it before.
    y = relu(batch_norm(conv(y, f"{name}.conv2", stride), f"{name}.bn2"))
    y = batch_norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
    if f"{name}.downsample.0.weight" in weights:  # where the shape changes
        x = conv(x, f"{name}.downsample.0", stride)
        x = batch_norm(x, f"{name}.downsample.1")
    return relu(x + y)


def features_of(x):
    x = relu(batch_norm(conv(x, "conv1", stride=2), "bn1"))  # (64, 112, 112)
    x = max_pool(x)  # (64, 56, 56)
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            stride = 2 if layer > 1 and block == 0 else 1
            x = bottleneck(x, f"layer{layer}.{block}", stride)
    return x.mean((1, 2))  # (2048, 7, 7) -> (2048,)


def model(x):
    return np.stack([features_of(image) for image in x.astype("float64")])


# %% Initial weights
weights.update({k: w.astype("float64") for k, w in run.weights().items()})

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    model(x)

run.phase("predict")
for x in run.split(x_test):
    features = model(x)  # (32, 2048)
    run.outputs(features)
