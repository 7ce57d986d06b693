"""ResNet-50 v1.5 as a feature extractor in tinygrad, from its layers."""

# %% Setup
from importlib.metadata import version

from tinygrad import Device, Tensor, nn
from tinygrad.helpers import DEV, NUM_CPU_THREADS

import rosetta

wait = lambda: Device[Device.DEFAULT].synchronize()
run = rosetta.start("tinygrad", version("tinygrad"), sync=wait, sync_cpu=True)
cfg = run.config
DEV.value = "CUDA" if run.device == "cuda" else "CPU"
NUM_CPU_THREADS.value = run.threads
run.fact("layout", "NCHW")
run.fact("compiled", True)
run.fact("cudnn", False)  # all kernels are its own

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def norm(features):
    return nn.BatchNorm(features, eps=cfg.bn_epsilon)


class Bottleneck:
    def __init__(self, inputs, width, stride, downsample):
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
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + x.sequential(self.downsample)).relu()


def stage(inputs, width, blocks, stride):
    first = Bottleneck(inputs, width, stride, downsample=True)
    rest = [Bottleneck(4 * width, width, 1, False) for _ in range(blocks - 1)]
    return [first, *rest]


class ResNet50:
    def __init__(self):
        self.conv1 = conv(3, 64, 7, stride=2)
        self.bn1 = norm(64)
        self.layer1 = stage(64, 64, blocks=3, stride=1)
        self.layer2 = stage(256, 128, blocks=4, stride=2)
        self.layer3 = stage(512, 256, blocks=6, stride=2)
        self.layer4 = stage(1024, 512, blocks=3, stride=2)

    def __call__(self, x):
        x = self.bn1(self.conv1(x)).relu()  # (n, 64, 112, 112)
        x = x.max_pool2d(3, stride=2, padding=1)
        x = x.sequential(self.layer1 + self.layer2)  # (n, 512, 28, 28)
        x = x.sequential(self.layer3 + self.layer4)  # (n, 2048, 7, 7)
        return x.mean((2, 3))


model = ResNet50()

# %% Initial weights
state = {name: Tensor(w) for name, w in run.weights().items()}
for name, counter in nn.state.get_state_dict(model).items():
    if name.endswith("num_batches_tracked"):  # only training looks at it
        state[name] = counter
nn.state.load_state_dict(model, state, verbose=False)


def features(x):
    return model(Tensor(x)).numpy()  # lazy until here


# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    features(x)  # kernels are compiled at the first call of a shape

run.phase("predict")
for x in run.split(x_test):
    run.outputs(features(x))  # (32, 2048); TRAINING is 0: stored statistics
