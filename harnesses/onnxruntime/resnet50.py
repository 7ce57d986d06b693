"""ResNet-50 v1.5 features of random images in ONNX Runtime."""

# %% Setup
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import rosetta

run = rosetta.start("ONNX Runtime", ort.__version__)
cfg = run.config
if run.device == "cuda":
    ort.preload_dlls()  # CUDA and cuDNN from the nvidia wheels, not the system

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
# ONNX has PyTorch's layouts; a kernel's size is read off its weight.
graph = helper.make_graph(
    nodes,
    "resnet50",
    [
        helper.make_tensor_value_info(
            "images", TensorProto.FLOAT, ["n", 3, 224, 224]
        )
    ],
    [
        helper.make_tensor_value_info(
            "features", TensorProto.FLOAT, ["n", cfg.features]
        )
    ],
    [numpy_helper.from_array(w, name) for name, w in run.weights().items()],
)
# Not the newest opset: a runtime refuses those it does not know yet.
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
onnx.checker.check_model(model)

# The session optimises the graph: it folds the batch norms into the
# convolutions and fuses the relus with them.
options = ort.SessionOptions()
options.intra_op_num_threads = run.threads
providers = ["CPUExecutionProvider"]
if run.device == "cuda":
    # TF32, which is on by default, is not float32.
    cuda = {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": 0}
    providers = [("CUDAExecutionProvider", cuda)]
    # By default, what the GPU does not take goes to the CPU without a word.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
session = ort.InferenceSession(
    model.SerializeToString(), options, providers=providers
)
run.fact("layout", "NCHW")  # on a CPU, kernels block it to NCHWc by themselves
run.fact("cudnn", run.device == "cuda")

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    session.run(["features"], {"images": x})
run.phase("predict")
for x in run.split(x_test):
    (features,) = session.run(["features"], {"images": x})  # numpy in and out
    run.outputs(features)
