"""ResNet-50 v1.5 features of random images: an ONNX graph run by Caffe2."""

# %% Setup
import onnx
import torch  # whose package brings Caffe2
from caffe2.python import core
from caffe2.python.onnx import backend
from onnx import TensorProto, helper, numpy_helper

import rosetta

run = rosetta.start("Caffe2", torch.__version__)  # no sync: a net's run waits
cfg = run.config
core.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={run.threads}"])
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224) float32, NCHW as in ONNX

# %% Build model
run.phase("build")
# An ONNX model is a list of nodes that name their inputs and outputs. Most
# users export it from another framework; here it is written by hand.
nodes = []


def node(op, inputs, output, **attributes):
    nodes.append(helper.make_node(op, inputs, [output], **attributes))
    return output


def conv_bn(x, conv, bn, kernel, stride=1, relu=True):
    x = node(
        "Conv",
        [x, f"{conv}.weight"],
        conv,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[kernel // 2] * 4,  # explicit: auto_pad may be asymmetric
    )
    statistics = ["weight", "bias", "running_mean", "running_var"]
    x = node(
        "BatchNormalization",  # inference: it takes the running statistics
        [x] + [f"{bn}.{name}" for name in statistics],
        bn,
        epsilon=cfg.bn_epsilon,
    )
    return node("Relu", [x], f"{bn}.relu") if relu else x


def bottleneck(x, name, stride, project):
    y = conv_bn(x, f"{name}.conv1", f"{name}.bn1", 1)
    y = conv_bn(y, f"{name}.conv2", f"{name}.bn2", 3, stride)  # v1.5: here
    y = conv_bn(y, f"{name}.conv3", f"{name}.bn3", 1, relu=False)
    if project:
        shortcut = f"{name}.downsample"
        x = conv_bn(x, f"{shortcut}.0", f"{shortcut}.1", 1, stride, relu=False)
    return node("Relu", [node("Add", [x, y], f"{name}.add")], name)


y = conv_bn("images", "conv1", "bn1", 7, 2)  # (n, 64, 112, 112)
# Padding never wins in an ONNX MaxPool: it counts as minus infinity.
pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
y = node("MaxPool", [y], "maxpool", **pool)  # (n, 64, 56, 56)
for layer, blocks in enumerate([3, 4, 6, 3], start=1):
    for block in range(blocks):
        stride = 2 if layer > 1 and block == 0 else 1
        y = bottleneck(y, f"layer{layer}.{block}", stride, block == 0)
y = node("GlobalAveragePool", [y], "avgpool")  # (n, 2048, 1, 1)
node("Flatten", [y], "features")  # (n, 2048)

# %% Initial weights
# ONNX has PyTorch's layouts. Before version 4 of its format, weights have to be
# inputs as well.
weights = run.weights()


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


graph = helper.make_graph(
    nodes,
    "resnet50",
    [value("images", ["n", 3, 224, 224])]
    + [value(name, w.shape) for name, w in weights.items()],
    [value("features", ["n", cfg.features])],
    [numpy_helper.from_array(w, name) for name, w in weights.items()],
)
model = helper.make_model(
    graph,
    ir_version=3,
    opset_imports=[helper.make_opsetid("", 9)],  # the newest that Caffe2 knows
)
onnx.checker.check_model(model)
device = "CUDA:0" if run.device == "cuda" else "CPU"
net = backend.prepare(model, device)  # Caffe2's operators, node by node

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    net.run(x)
run.phase("predict")
for x in run.split(x_test):
    (features,) = net.run(x)  # numpy in and out
    run.outputs(features)
