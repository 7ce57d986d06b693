"""ResNet-50 features of random images in TensorFlow 1.4, from tf.layers."""

# %% Setup
import tensorflow as tf

import rosetta

run = rosetta.start("TensorFlow", tf.__version__)  # no sync: a session waits
cfg = run.config
on_gpu = run.device == "cuda"
session = tf.Session(
    config=tf.ConfigProto(
        intra_op_parallelism_threads=run.threads,
        inter_op_parallelism_threads=1,
        gpu_options=tf.GPUOptions(allow_growth=True),  # default: take it all
    )
)
# The default is NHWC, the only layout that a CPU has convolutions for.
layout = {"data_format": "channels_first" if on_gpu else "channels_last"}
run.fact("layout", "NCHW" if on_gpu else "NHWC")
run.fact("cudnn", on_gpu)
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)
if not on_gpu:
    x_test = x_test.transpose(0, 2, 3, 1).copy()  # (n, 224, 224, 3)

# %% Build model
run.phase("build")
# All that follows only declares a graph, which a session then computes.
# slim's resnet_v1_50 is version 1: it strides at the end of a stage already.
shape = (3, 224, 224) if on_gpu else (224, 224, 3)
images = tf.placeholder(tf.float32, (None,) + shape)


def pad(x, n):  # "same" pads strided layers less at the top and the left
    edges = [(0, 0), (0, 0), (n, n), (n, n)]
    return tf.pad(x, edges if on_gpu else edges[:1] + edges[2:] + edges[:1])


def conv(x, name, filters, kernel, stride=1):
    x = pad(x, kernel // 2)
    settings = {"use_bias": False, "name": name, **layout}
    return tf.layers.conv2d(x, filters, kernel, stride, **settings)


def norm(x, name):  # inference: training=False
    axis = 1 if on_gpu else -1  # not taken from the data format
    return tf.layers.batch_normalization(
        x, axis, epsilon=cfg.bn_epsilon, name=name
    )


def bottleneck(x, name, filters, stride, project):
    y = tf.nn.relu(norm(conv(x, name + ".conv1", filters, 1), name + ".bn1"))
    y = conv(y, name + ".conv2", filters, 3, stride)  # strided here: v1.5
    y = tf.nn.relu(norm(y, name + ".bn2"))
    y = norm(conv(y, name + ".conv3", 4 * filters, 1), name + ".bn3")
    if project:
        x = conv(x, name + ".downsample.0", 4 * filters, 1, stride)
        x = norm(x, name + ".downsample.1")
    return tf.nn.relu(x + y)


def model(x):
    x = tf.nn.relu(norm(conv(x, "conv1", 64, 7, 2), "bn1"))
    # Zeros never win: a relu is before.
    x = tf.layers.max_pooling2d(pad(x, 1), 3, 2, **layout)  # (n, 56, 56, 64)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for i in range(blocks):
            name = f"layer{stage}.{i}"
            stride = 2 if i == 0 and stage > 1 else 1
            x = bottleneck(x, name, 32 << stage, stride, project=i == 0)
    return tf.reduce_mean(x, (2, 3) if on_gpu else (1, 2))  # (n, 2048)


features = model(images)

# %% Initial weights
weights = run.weights()
parts = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
for variable in tf.global_variables():
    layer, part = variable.op.name.split("/")  # layer1.0.conv1/kernel
    w = weights[f"{layer}.{parts[part]}"]
    # Kernels are (h, w, in, out).
    variable.load(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w, session)

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    session.run(features, {images: x})
run.phase("predict")
for x in run.split(x_test):
    run.outputs(session.run(features, {images: x}))  # NumPy
