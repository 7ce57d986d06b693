"""ResNet-50 v1.5 as a feature extractor in Keras 3, over any backend."""

# %% Setup
import keras
import numpy as np
from keras import layers

import rosetta

run = rosetta.start(
    "Keras",
    keras.__version__,
    # Keras has no word for waiting; a GPU works in order, so this comes last.
    sync=lambda: float(keras.ops.sum(keras.ops.ones(2))),
)
cfg = run.config
if keras.config.backend() == "torch":
    import torch

    torch.backends.cudnn.benchmark = True  # the other backends search anyway
channels_first = run.device == "cuda"  # Keras' own default is channels last
if channels_first:
    keras.config.set_image_data_format("channels_first")
run.fact("backend", keras.config.backend())
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_test = run.data("x_test")
if not channels_first:
    x_test = np.ascontiguousarray(x_test.transpose(0, 2, 3, 1))

# %% Build model
run.phase("build")


# keras.applications has ResNet-50 v1: its strides are on the 1x1 convolutions.
def conv(x, name, filters, size, stride=1):
    if size > 1:  # padding="same" with a stride would pad one side only
        x = layers.ZeroPadding2D(size // 2)(x)
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        use_bias=False,
        kernel_initializer="zeros",  # given below: nothing is drawn at random
        name=name,
    )(x)


def norm(x, name):
    axis = 1 if channels_first else -1  # not taken from the data format
    return layers.BatchNormalization(
        axis=axis, epsilon=cfg.bn_epsilon, name=name
    )(x)


def bottleneck(x, name, width, stride, downsample):
    y = conv(x, f"{name}_conv1", width, 1)
    y = layers.ReLU()(norm(y, f"{name}_bn1"))
    y = conv(y, f"{name}_conv2", width, 3, stride)
    y = layers.ReLU()(norm(y, f"{name}_bn2"))
    y = conv(y, f"{name}_conv3", 4 * width, 1)
    y = norm(y, f"{name}_bn3")
    if downsample:
        x = conv(x, f"{name}_downsample_0", 4 * width, 1, stride)
        x = norm(x, f"{name}_downsample_1")
    return layers.ReLU()(layers.Add()([x, y]))


image = layers.Input(x_test.shape[1:])
x = conv(image, "conv1", 64, 7, stride=2)
x = layers.ReLU()(norm(x, "bn1"))  # (n, 112, 112, 64)
x = layers.ZeroPadding2D(1)(x)  # zero is the least value after a relu
x = layers.MaxPooling2D(3, strides=2)(x)  # (n, 56, 56, 64)
for stage, blocks in enumerate([3, 4, 6, 3]):
    for block in range(blocks):
        first = block == 0
        stride = 2 if first and stage > 0 else 1
        name = f"layer{stage + 1}_{block}"
        x = bottleneck(x, name, 64 * 2**stage, stride, downsample=first)
features = layers.GlobalAveragePooling2D()(x)  # (n, 2048)
model = keras.Model(image, features)

# %% Initial weights
spelling = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
for name, w in run.weights().items():
    layer, kind = name.rsplit(".", 1)  # layer1.0.conv2 and weight
    layer = model.get_layer(layer.replace(".", "_"))  # PyTorch bars dots
    if w.ndim == 4:
        layer.kernel.assign(w.transpose(2, 3, 1, 0))  # OIHW to HWIO
    else:
        getattr(layer, spelling[kind]).assign(w)

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    model.predict_on_batch(x)  # compiled at the first call
run.fact("compiled", model.jit_compile)

run.phase("predict")
for x in run.split(x_test):
    run.outputs(model.predict_on_batch(x))  # NumPy: waits for the device
