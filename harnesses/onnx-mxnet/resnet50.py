"""ResNet-50 v1.5 features of random images: an ONNX graph in MXNet."""

# %% Setup
import io

import mxnet as mx
import onnx
from mxnet.contrib.onnx import import_model
from onnx import TensorProto, helper, numpy_helper

import rosetta

run = rosetta.start(
    "ONNX_MXNet", mx.__version__, sync=mx.nd.waitall, sync_cpu=True
)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
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
        kernel_shape=[kernel] * 2,  # the importer does not read it off a weight
        strides=[stride] * 2,
        pads=[kernel // 2] * 4,
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
# ONNX has PyTorch's layouts.
weights = run.weights()


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


graph = helper.make_graph(
    nodes,
    "resnet50",
    # To the importer a weight is an input that has a value, as in ONNX of old.
    [tensor("images", [cfg.batch_size, 3, 224, 224])]
    + [tensor(name, w.shape) for name, w in weights.items()],
    [tensor("features", [cfg.batch_size, cfg.features])],
    [numpy_helper.from_array(w, name) for name, w in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])
onnx.checker.check_model(model)
file = io.BytesIO(model.SerializeToString())
network, weights, statistics = import_model(file)  # MXNet's symbol and arrays
model = mx.mod.Module(network, ["images"], None, context=device)
inputs = [("images", (cfg.batch_size, 3, 224, 224))]
model.bind(inputs, for_training=False)  # plans the memory for such a batch
model.init_params(arg_params=weights, aux_params=statistics)


def features(x):
    model.forward(mx.io.DataBatch([mx.nd.array(x)], None))  # returns at once
    return model.get_outputs()[0].asnumpy()  # waits


# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    features(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(features(x))
