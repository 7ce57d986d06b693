"""ResNet-50 v1.5 as a feature extractor in Keras 2, over any backend."""

# %% Setup
import keras
import numpy as np
from keras import backend as K
from keras import layers

import rosetta

run = rosetta.start("Keras", keras.__version__)  # predict waits
cfg = run.config
epsilon = cfg.bn_epsilon
turn = 1  # step through a kernel's height and width
if K.backend() == "cntk":
    import cntk

    cntk.cntk_py.set_max_num_cputhreads(run.threads)
elif K.backend() == "theano":
    import theano

    theano.config.floatX = run.dtype  # Keras sets it once, when imported
    turn = -1  # its convolutions turn their kernels around
    # Refused if less than 1e-5, and 1e-5 is that when rounded to float32.
    epsilon += np.spacing(np.array(epsilon, run.dtype))
K.set_floatx(run.dtype)
channels_first = K.backend() != "tensorflow" or run.device == "cuda"
if channels_first:
    K.set_image_data_format("channels_first")
run.fact("backend", K.backend())
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # a graph, made at the first batch

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
        filters, size, strides=stride, use_bias=False, name=name
    )(x)


def norm(x, name):
    axis = 1 if channels_first else -1  # not taken from the data format
    layer = layers.BatchNormalization(axis=axis, epsilon=epsilon, name=name)
    return layer(x, training=False)  # stored statistics


relu = layers.Activation("relu")


def bottleneck(x, name, width, stride, downsample):
    y = conv(x, f"{name}.conv1", width, 1)
    y = relu(norm(y, f"{name}.bn1"))
    y = conv(y, f"{name}.conv2", width, 3, stride)
    y = relu(norm(y, f"{name}.bn2"))
    y = conv(y, f"{name}.conv3", 4 * width, 1)
    y = norm(y, f"{name}.bn3")
    if downsample:
        x = conv(x, f"{name}.downsample.0", 4 * width, 1, stride)
        x = norm(x, f"{name}.downsample.1")
    return relu(layers.add([x, y]))


image = layers.Input(x_test.shape[1:])
x = conv(image, "conv1", 64, 7, stride=2)
x = relu(norm(x, "bn1"))  # (n, 112, 112, 64)
x = layers.ZeroPadding2D(1)(x)  # zero is the least value after a relu
x = layers.MaxPooling2D(3, strides=2)(x)  # (n, 56, 56, 64)
for stage, blocks in enumerate([3, 4, 6, 3]):
    for block in range(blocks):
        first = block == 0
        stride = 2 if first and stage > 0 else 1
        name = f"layer{stage + 1}.{block}"
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
values = []
for name, w in run.weights().items():
    layer, kind = name.rsplit(".", 1)  # layer1.0.conv2 and weight
    layer = model.get_layer(layer)
    if w.ndim == 4:
        w = w[:, :, ::turn, ::turn].transpose(2, 3, 1, 0)  # OIHW to HWIO
        values.append((layer.kernel, w))
    else:
        values.append((getattr(layer, spelling[kind]), w))
K.batch_set_value(values)  # at once: each by itself would be a run of a graph

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    model.predict_on_batch(x)

run.phase("predict")
for x in run.split(x_test):
    run.outputs(model.predict_on_batch(x))
