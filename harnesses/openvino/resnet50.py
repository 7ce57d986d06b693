"""ResNet-50 v1.5 features of random images in OpenVINO."""

# %% Setup
import openvino as ov
from openvino import opset16 as ops

import rosetta

run = rosetta.start("OpenVINO", ov.__version__.split("-")[0])
cfg = run.config

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224) float32, NCHW

# %% Build model
run.phase("build")
# Most users convert a model of another framework (ov.convert_model); here
# it is written with the operations that such a model is converted to.


def conv_bn(x, w, conv, bn, kernel, stride=1, relu=True):
    x = ops.convolution(
        x,
        w[f"{conv}.weight"],  # arrays become constants of the model
        strides=[stride] * 2,
        pads_begin=[kernel // 2] * 2,  # symmetric, unlike auto_pad
        pads_end=[kernel // 2] * 2,
        dilations=[1, 1],
    )
    x = ops.batch_norm_inference(
        x,
        w[f"{bn}.weight"],
        w[f"{bn}.bias"],
        w[f"{bn}.running_mean"],
        w[f"{bn}.running_var"],
        cfg.bn_epsilon,
    )
    return ops.relu(x) if relu else x


def bottleneck(x, w, name, stride, project):
    y = conv_bn(x, w, f"{name}.conv1", f"{name}.bn1", 1)
    y = conv_bn(y, w, f"{name}.conv2", f"{name}.bn2", 3, stride)  # v1.5: here
    y = conv_bn(y, w, f"{name}.conv3", f"{name}.bn3", 1, relu=False)
    if project:
        conv, bn = f"{name}.downsample.0", f"{name}.downsample.1"
        x = conv_bn(x, w, conv, bn, 1, stride, relu=False)
    return ops.relu(ops.add(x, y))


def resnet50(images, w):
    x = conv_bn(images, w, "conv1", "bn1", 7, 2)  # (n, 64, 112, 112)
    x = ops.max_pool(
        x,
        strides=[2, 2],
        dilations=[1, 1],
        pads_begin=[1, 1],  # padding never wins: it counts as minus infinity
        pads_end=[1, 1],
        kernel_shape=[3, 3],
    ).output(0)  # the second output holds the positions of the maxima
    for layer, blocks in enumerate([3, 4, 6, 3], start=1):
        for block in range(blocks):
            stride = 2 if layer > 1 and block == 0 else 1
            x = bottleneck(x, w, f"layer{layer}.{block}", stride, block == 0)
    return ops.reduce_mean(x, [2, 3])  # (n, 2048)


# %% Initial weights
images = ops.parameter([-1, 3, 224, 224])  # -1: any batch size
features = resnet50(images, run.weights())  # layouts as in PyTorch
model = ov.Model([features], [images], "resnet50")

# Compiling folds the batch norms into the convolutions and fuses the relus.
compiled = ov.compile_model(
    model,
    "CPU",
    {
        "INFERENCE_NUM_THREADS": run.threads,
        "NUM_STREAMS": 1,  # one batch at a time, with all the threads
        "INFERENCE_PRECISION_HINT": "f32",  # default: bf16 where it is faster
    },
)
run.fact("layout", "NCHW")  # kernels block it by themselves

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    compiled(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(compiled(x)[0])  # numpy in and out; outputs go by number
