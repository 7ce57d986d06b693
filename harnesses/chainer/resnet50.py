"""ResNet-50 features of random images in Chainer, from its model zoo."""

# %% Setup
import chainer
import chainer.functions as F
import chainer.links as L
from chainer.backends import cuda
from chainer.links.model.vision.resnet import ResNetLayers

import rosetta

wait = lambda: cuda.Stream.null.synchronize()
run = rosetta.start("Chainer", chainer.__version__, sync=wait)
cfg = run.config
device = chainer.get_device("@cupy:0" if run.device == "cuda" else "@numpy")
device.use()
chainer.global_config.dtype = run.dtype
chainer.global_config.train = False  # BatchNormalization: stored statistics
chainer.global_config.enable_backprop = False
chainer.global_config.autotune = True  # cuDNN: search the fastest algorithms
run.fact("layout", "NCHW")
run.fact("cudnn", cuda.cudnn_enabled)
run.fact("compiled", False)  # define-by-run: the graph is what was called

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")


class ResNet(ResNetLayers):
    @property
    def functions(self):
        """The zoo's layers by name, with torchvision's first pool."""
        layers = super().functions
        # The zoo pads none and lets cover_all add a window at the far edge.
        pool1 = lambda x: F.max_pooling_2d(x, 3, 2, pad=1, cover_all=False)
        layers["pool1"] = [pool1]
        return layers


# downsample_fb strides in the 3x3 convolution, as Facebook does: v1.5.
model = ResNet(pretrained_model=None, n_layers=50, downsample_fb=True)
for link in model.links():
    if isinstance(link, L.BatchNormalization):
        link.eps = cfg.bn_epsilon  # 2e-5 by default

# %% Initial weights
weights = run.weights()


def load(link, name):
    if isinstance(link, L.BatchNormalization):
        link.gamma.array[...] = weights[name + ".weight"]
        link.beta.array[...] = weights[name + ".bias"]
        link.avg_mean[...] = weights[name + ".running_mean"]
        link.avg_var[...] = weights[name + ".running_var"]
    else:
        link.W.array[...] = weights[name + ".weight"]  # (out, in, h, w)


load(model.conv1, "conv1")
load(model.bn1, "bn1")
shortcut = {"conv4": "downsample.0", "bn4": "downsample.1"}
stages = [model.res2, model.res3, model.res4, model.res5]
for i, stage in enumerate(stages, start=1):
    for j, block in enumerate(stage.children()):  # a, b1, b2, …
        for link in block.children():
            name = shortcut.get(link.name, link.name)
            load(link, f"layer{i}.{j}.{name}")
model.to_device(device)  # in place


def features(x):
    pool5 = model(device.send(x), layers=["pool5"])["pool5"]  # (n, 2048)
    return chainer.get_device("@numpy").send(pool5.array)


# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    features(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(features(x))
