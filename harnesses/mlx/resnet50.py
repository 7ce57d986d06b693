"""ResNet-50 v1.5 as a feature extractor in MLX, from its layers."""

# %% Setup
import mlx.core as mx
import mlx.nn as nn
import numpy as np

import rosetta

run = rosetta.start("MLX", mx.__version__, sync=mx.synchronize)
cfg = run.config
mx.set_default_device(mx.cpu if run.device == "cpu" else mx.gpu)
run.fact("layout", "NHWC")
run.fact("compiled", False)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_test = run.data("x_test").transpose(0, 2, 3, 1)  # (n, 224, 224, 3)
x_test = np.ascontiguousarray(x_test)

# %% Build model
run.phase("build")


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def norm(features):
    return nn.BatchNorm(features, eps=cfg.bn_epsilon)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, stride)  # v1.5: the stride is here
        self.bn2 = norm(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = norm(4 * width)
        self.downsample = []
        if downsample:
            shortcut = conv(inputs, 4 * width, 1, stride)
            self.downsample = [shortcut, norm(4 * width)]

    def __call__(self, x):
        y = nn.relu(self.bn1(self.conv1(x)))
        y = nn.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        for layer in self.downsample:
            x = layer(x)
        return nn.relu(y + x)


def stage(inputs, width, blocks, stride):
    first = Bottleneck(inputs, width, stride, downsample=True)
    rest = [Bottleneck(4 * width, width, 1, False) for _ in range(blocks - 1)]
    return [first, *rest]


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 64, 7, stride=2)
        self.bn1 = norm(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, blocks=3, stride=1)
        self.layer2 = stage(256, 128, blocks=4, stride=2)
        self.layer3 = stage(512, 256, blocks=6, stride=2)
        self.layer4 = stage(1024, 512, blocks=3, stride=2)

    def __call__(self, x):
        x = nn.relu(self.bn1(self.conv1(x)))  # (n, 112, 112, 64)
        x = self.pool(x)
        for block in self.layer1 + self.layer2 + self.layer3 + self.layer4:
            x = block(x)
        return x.mean(axis=(1, 2))  # from (n, 7, 7, 2048)


model = ResNet50()
model.eval()  # batch normalisation with its stored statistics

# %% Initial weights
weights = []
for name, w in run.weights().items():  # the same names as torchvision's
    w = w.transpose(0, 2, 3, 1) if w.ndim == 4 else w  # OIHW to OHWI
    weights.append((name, mx.array(w)))
model.load_weights(weights)  # complains of any name or shape that differs

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    mx.eval(model(mx.array(x)))  # lazy: computed only when asked for

run.phase("predict")
for x in run.split(x_test):
    run.outputs(np.array(model(mx.array(x))))  # (32, 2048), evaluated
