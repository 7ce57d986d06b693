"""GRU on IMDB reviews in Caffe2: embedding 125, GRU 100, dense 2, Adam."""

# %% Setup
import numpy as np
import torch  # whose package brings Caffe2
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, gru_cell, optimizer, recurrent, workspace
from caffe2.python.model_helper import ModelHelper
from caffe2.python.modeling.initializers import ExternalInitializer

import rosetta

run = rosetta.start("Caffe2", torch.__version__)  # no sync: a net's run waits
cfg = run.config
core.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={run.threads}"])
on_gpu = run.device == "cuda"
device = core.DeviceOption(caffe2_pb2.CUDA if on_gpu else caffe2_pb2.CPU, 0)
run.fact("cudnn", False)
run.fact("compiled", True)  # the net is declared first and then fed
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
tokens = lambda x: x.T.flatten()  # (n, 150) to (150 * n,): time comes first
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


def add_model(model):
    embedding = model.create_param(
        "embedding_w", [cfg.vocabulary, cfg.embedding], ExternalInitializer()
    )
    # By default the gradient is sparse, and Adam makes a step for each time
    # that a word occurs in the batch, and none for the words that do not.
    x = model.net.Gather([embedding, "x"], "words", dense_gradient=True)
    shape = [cfg.length, -1, cfg.embedding]  # (150, n, 125)
    x, _ = model.net.Reshape(x, ["sequence", "words_shape"], shape=shape)
    h_0 = model.param_init_net.ConstantFill([], "h_0", shape=[cfg.units])
    _, last = gru_cell.GRU(
        model,
        x,
        None,  # no lengths: all 150 tokens count
        [h_0],
        cfg.embedding,
        cfg.units,
        scope="gru",
        outputs_with_grads=[1],  # of all outputs and the last: the last
        linear_before_reset=True,  # off by default: resets before the product
    )
    x = model.net.Squeeze(last, "h", dims=[0])  # (1, n, 100) to (n, 100)
    return brew.fc(model, x, "dense", cfg.units, cfg.classes)  # logits


model, predictor = ModelHelper("train"), ModelHelper("predict")
with core.DeviceScope(device):
    logits = add_model(model)
    add_model(predictor)

# %% Initial weights
gates = ["gru/reset_gate_t", "gru/update_gate_t", "gru/output_gate_t"]
blobs = {  # by the experiment's names; the state's gates are three blobs here
    "embedding.weight": ["embedding_w"],
    "gru.weight_ih_l0": ["gru/i2h_w"],
    "gru.weight_hh_l0": [gate + "_w" for gate in gates],
    "gru.bias_ih_l0": ["gru/i2h_b"],
    "gru.bias_hh_l0": [gate + "_b" for gate in gates],
    "dense.weight": ["dense_w"],
    "dense.bias": ["dense_b"],
}
workspace.RunNetOnce(model.param_init_net)
for name, array in run.weights().items():
    for blob, part in zip(blobs[name], np.split(array, len(blobs[name]))):
        workspace.FeedBlob(blob, part, device)

# %% Loss and optimiser
model.param_init_net = core.Net("optimizer_init")  # weights are filled already
with core.DeviceScope(device):
    _, loss = model.net.SoftmaxWithLoss([logits, "y"], ["softmax", "loss"])
    model.AddGradientOperators([loss])
    # Corrects the bias for one step more than were made, and adds epsilon
    # before that, not after it.
    betas = {"beta1": cfg.beta1, "beta2": cfg.beta2}
    optimizer.build_adam(model, cfg.learning_rate, epsilon=cfg.epsilon, **betas)
workspace.RunNetOnce(model.param_init_net)
for net in model.net, predictor.net:
    for op in net.Proto().op:
        if op.type in ["RecurrentNetwork", "RecurrentNetworkGradient"]:
            recurrent.set_rnn_executor_config(op, run.threads)
    for name in "x", "y":
        workspace.CreateBlob(name)
    workspace.CreateNet(net)

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        workspace.FeedBlob("x", tokens(x), device)
        workspace.FeedBlob("y", y, device)
        workspace.RunNet(model.net)
        run.step(lambda: workspace.FetchBlob("loss"))  # when asked
    run.epoch_end(epoch, workspace.FetchBlob("loss"))


def final_weights():
    for name, parts in blobs.items():
        yield name, np.concatenate([workspace.FetchBlob(b) for b in parts])


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
batches = []
for x in run.split(x_test):
    workspace.FeedBlob("x", tokens(x), device)
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
