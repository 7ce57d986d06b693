"""ResNet-50 v1.5 as a feature extractor in JAX, with layers of Flax."""

# %% Setup
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import rosetta

run = rosetta.start(
    "JAX",
    jax.__version__,
    sync=lambda: jax.block_until_ready(jax.live_arrays()),
    sync_cpu=True,  # calls return before the work is done, on a CPU too
)
cfg = run.config
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
run.fact("layout", "NHWC")
run.fact("compiled", True)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_test = run.data("x_test").transpose(0, 2, 3, 1)  # (n, 224, 224, 3)
x_test = np.ascontiguousarray(x_test)

# %% Build model
run.phase("build")


def conv(features_in, features_out, size, stride=1, *, rngs):
    return nnx.Conv(
        features_in,
        features_out,
        (size, size),
        strides=stride,
        padding=size // 2,  # "SAME" with a stride would pad one side only
        use_bias=False,
        rngs=rngs,
    )


def norm(features, rngs):
    return nnx.BatchNorm(features, epsilon=cfg.bn_epsilon, rngs=rngs)


class Bottleneck(nnx.Module):
    def __init__(self, features_in, width, stride, downsample, rngs):
        self.conv1 = conv(features_in, width, 1, rngs=rngs)
        self.bn1 = norm(width, rngs)
        # v1.5: the stride is here
        self.conv2 = conv(width, width, 3, stride, rngs=rngs)
        self.bn2 = norm(width, rngs)
        self.conv3 = conv(width, 4 * width, 1, rngs=rngs)
        self.bn3 = norm(4 * width, rngs)
        if downsample:
            shortcut = conv(features_in, 4 * width, 1, stride, rngs=rngs)
            self.downsample = nnx.Sequential(shortcut, norm(4 * width, rngs))
        else:
            self.downsample = nnx.identity

    def __call__(self, x):
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return nnx.relu(y + self.downsample(x))


def stage(features_in, width, blocks, stride, rngs):
    layers = [Bottleneck(features_in, width, stride, True, rngs)]
    for _ in range(blocks - 1):
        layers.append(Bottleneck(4 * width, width, 1, False, rngs))
    return nnx.Sequential(*layers)


class ResNet50(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = conv(3, 64, 7, stride=2, rngs=rngs)
        self.bn1 = norm(64, rngs)
        self.layer1 = stage(64, 64, blocks=3, stride=1, rngs=rngs)
        self.layer2 = stage(256, 128, blocks=4, stride=2, rngs=rngs)
        self.layer3 = stage(512, 256, blocks=6, stride=2, rngs=rngs)
        self.layer4 = stage(1024, 512, blocks=3, stride=2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn1(self.conv1(x)))  # (n, 112, 112, 64)
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        x = self.layer2(self.layer1(x))  # (n, 28, 28, 512)
        x = self.layer4(self.layer3(x))  # (n, 7, 7, 2048)
        return x.mean(axis=(1, 2))  # (n, 2048)


# Shapes alone: every array is given, none need be drawn at random.
model = nnx.eval_shape(lambda: ResNet50(nnx.Rngs(cfg.seed)))
model.eval()  # batch norm uses the running statistics

# %% Initial weights
spelling = {"running_mean": "mean", "running_var": "var"}
for name, w in run.weights().items():
    *path, kind = name.split(".")  # layer1.0.conv2.weight
    layer = model
    for part in path:
        layer = (
            layer.layers[int(part)] if part.isdigit() else getattr(layer, part)
        )
    if kind == "weight":
        kind = "kernel" if w.ndim == 4 else "scale"
    w = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w  # OIHW to HWIO
    getattr(layer, spelling.get(kind, kind)).set_value(jnp.asarray(w))

extract = nnx.jit(lambda model, x: model(x))

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    extract(model, x)  # compiled at the first call

run.phase("predict")
for x in run.split(x_test):
    run.outputs(np.asarray(extract(model, x)))  # fetched: waits for the device
