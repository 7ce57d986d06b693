"""VGG-style CNN on CIFAR-10 in Caffe2: conv 50-50-100-100, dense 512, SGD."""

# %% Setup
import numpy as np
import torch  # whose package brings Caffe2
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, optimizer, workspace
from caffe2.python.model_helper import ModelHelper

import rosetta

run = rosetta.start("Caffe2", torch.__version__)  # no sync: a net's run waits
cfg = run.config
core.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={run.threads}"])
on_gpu = run.device == "cuda"
kind = caffe2_pb2.CUDA if on_gpu else caffe2_pb2.CPU
device = core.DeviceOption(kind, 0, random_seed=cfg.seed)  # dropout's seed
run.fact("layout", "NCHW")
run.fact("cudnn", on_gpu)
run.fact("compiled", True)  # the net is declared first and then fed

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")
# Nets share their blobs by name, those of weights as well. So the net for
# training and the one for prediction are two, and only is_test differs.


def add_model(model, is_test):
    x = brew.conv(model, "x", "conv1", 3, 50, kernel=3, pad=1)  # default: 0
    x = brew.relu(model, x, x)  # in place
    x = brew.conv(model, x, "conv2", 50, 50, kernel=3, pad=1)
    x = brew.max_pool(model, x, "pool1", kernel=2, stride=2)  # default: 1
    x = brew.relu(model, x, "relu1")  # not in place: the pool needs its output
    x = brew.dropout(model, x, "drop1", ratio=cfg.dropout[0], is_test=is_test)
    x = brew.conv(model, x, "conv3", 50, 100, kernel=3, pad=1)
    x = brew.relu(model, x, x)
    x = brew.conv(model, x, "conv4", 100, 100, kernel=3, pad=1)
    x = brew.max_pool(model, x, "pool2", kernel=2, stride=2)
    x = brew.relu(model, x, "relu2")
    x = brew.dropout(model, x, "drop2", ratio=cfg.dropout[0], is_test=is_test)
    x = brew.fc(model, x, "dense1", 100 * 8 * 8, 512)  # flattens: C, H, W
    x = brew.relu(model, x, x)
    x = brew.dropout(model, x, "drop3", ratio=cfg.dropout[1], is_test=is_test)
    return brew.fc(model, x, "dense2", 512, cfg.classes)  # logits: no softmax


search = {"cudnn_exhaustive_search": True}  # the fastest; off by default
model = ModelHelper("train", arg_scope=search)
predictor = ModelHelper("predict", arg_scope=search)
with core.DeviceScope(device):
    logits = add_model(model, is_test=False)
    add_model(predictor, is_test=True)

# %% Initial weights
blobs = {}  # from the experiment's names: conv1_w, conv1_b, ...
for name, array in run.weights().items():
    layer, part = name.split(".")
    blobs[name] = f"{layer}_{part[0]}"
    workspace.FeedBlob(blobs[name], array, device)  # (out, in, ...)

# %% Loss and optimiser
# The net that would draw weights at random never runs; a new one has zeros for
# the momentum.
model.param_init_net = core.Net("optimizer_init")
with core.DeviceScope(device):
    _, loss = model.net.SoftmaxWithLoss([logits, "y"], ["softmax", "loss"])
    model.AddGradientOperators([loss])
    optimizer.build_sgd(
        model,
        cfg.learning_rate,
        momentum=cfg.momentum,
        nesterov=0,  # 1 by default
    )
workspace.RunNetOnce(model.param_init_net)
for name in "x", "y":
    workspace.CreateBlob(name)
workspace.CreateNet(model.net)
workspace.CreateNet(predictor.net)

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        workspace.FeedBlob("x", x, device)
        workspace.FeedBlob("y", y, device)
        workspace.RunNet(model.net)
        run.step(lambda: workspace.FetchBlob("loss"))  # when asked
    run.epoch_end(epoch, workspace.FetchBlob("loss"))
run.final_weights(lambda: {n: workspace.FetchBlob(b) for n, b in blobs.items()})

# %% Predict
run.phase("predict")
batches = []
for x in run.split(x_test):
    workspace.FeedBlob("x", x, device)
    workspace.RunNet(predictor.net)
    batches.append(workspace.FetchBlob(logits))
run.outputs(np.concatenate(batches))

# %% Evaluate
run.phase("evaluate")
workspace.FeedBlob("logits", np.concatenate(batches))
workspace.FeedBlob("labels", y_test)
workspace.RunOperatorOnce(
    core.CreateOperator("Accuracy", ["logits", "labels"], ["accuracy"])
)
run.metric("accuracy", workspace.FetchBlob("accuracy"))
