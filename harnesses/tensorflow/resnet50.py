"""ResNet-50 v1.5 features of random images in TensorFlow."""

# %% Setup
import tensorflow as tf
from tensorflow.keras import Model, layers

import rosetta

wait = tf.test.experimental.sync_devices
run = rosetta.start("TensorFlow", tf.__version__, sync=wait)
cfg = run.config
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx(run.dtype)
if run.device == "cuda":
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.keras.backend.set_image_data_format("channels_first")  # default: NHWC
channels_first = tf.keras.backend.image_data_format() == "channels_first"
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)
if not channels_first:
    x_test = x_test.transpose(0, 2, 3, 1).copy()  # (n, 224, 224, 3)

# %% Build model
run.phase("build")
# tf.keras.applications has version 1, which strides in the 1x1 convolution.


class ConvBn(layers.Layer):
    def __init__(self, filters, kernel, stride=1):
        super().__init__()
        # "same" pads strided convolutions at the bottom and the right only.
        self.pad = layers.ZeroPadding2D(kernel // 2)
        self.conv = layers.Conv2D(filters, kernel, stride, use_bias=False)
        axis = 1 if channels_first else -1  # not taken from the data format
        self.bn = layers.BatchNormalization(axis, epsilon=cfg.bn_epsilon)

    def call(self, x):
        return self.bn(self.conv(self.pad(x)))  # inference: training=False


class Bottleneck(layers.Layer):
    def __init__(self, filters, stride, project):
        super().__init__()
        self.conv1 = ConvBn(filters, 1)
        self.conv2 = ConvBn(filters, 3, stride)  # version 1.5: stride here
        self.conv3 = ConvBn(4 * filters, 1)
        self.downsample = ConvBn(4 * filters, 1, stride) if project else None

    def call(self, x):
        y = tf.nn.relu(self.conv1(x))
        y = tf.nn.relu(self.conv2(y))
        y = self.conv3(y)
        return tf.nn.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet50(Model):
    def __init__(self):
        super().__init__()
        self.conv1 = ConvBn(64, 7, 2)
        self.pad = layers.ZeroPadding2D(1)  # zeros never win: a relu is before
        self.max_pool = layers.MaxPool2D(3, 2)
        self.blocks = [
            Bottleneck(64 * 2**i, 2 if i > 0 and j == 0 else 1, j == 0)
            for i, blocks in enumerate([3, 4, 6, 3])
            for j in range(blocks)
        ]
        self.average_pool = layers.GlobalAveragePooling2D()

    def call(self, x):
        x = tf.nn.relu(self.conv1(x))  # (n, 112, 112, 64)
        x = self.max_pool(self.pad(x))  # (n, 56, 56, 64)
        for block in self.blocks:
            x = block(x)
        return self.average_pool(x)  # (n, 2048)


model = ResNet50()

# %% Initial weights
model(x_test[:1])  # the first call makes the variables
weights = run.weights()


def load(layer, conv, bn):
    kernel = weights[f"{conv}.weight"].transpose(2, 3, 1, 0)  # (h, w, in, out)
    names = ["weight", "bias", "running_mean", "running_var"]
    layer.conv.set_weights([kernel])
    layer.bn.set_weights([weights[f"{bn}.{name}"] for name in names])


load(model.conv1, "conv1", "bn1")
names = [
    f"layer{i}.{j}" for i, n in enumerate([3, 4, 6, 3], 1) for j in range(n)
]
for name, block in zip(names, model.blocks):
    for k in ["1", "2", "3"]:
        load(getattr(block, f"conv{k}"), f"{name}.conv{k}", f"{name}.bn{k}")
    if block.downsample:
        shortcut = f"{name}.downsample"
        load(block.downsample, f"{shortcut}.0", f"{shortcut}.1")

# %% Predict
run.phase("warmup")
predict = tf.function(model)  # traced into a graph at the first call
for x in run.warmup(x_test):
    predict(x).numpy()
run.phase("predict")
for x in run.split(x_test):
    run.outputs(predict(x).numpy())
