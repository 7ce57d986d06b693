"""What Caffe2 does unless it is told otherwise, measured from its operators."""

# %% Setup
import itertools

import numpy as np
import torch  # whose package brings Caffe2
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, gru_cell, optimizer, workspace
from caffe2.python.model_helper import ModelHelper
from caffe2.python.modeling.initializers import ExternalInitializer

import rosetta
from rosetta import defaults

run = rosetta.start("Caffe2", torch.__version__)
core.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={run.threads}"])
np.random.seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "pad=1"),
        "conv.initialiser": ("cnn", "workspace.FeedBlob("),
        "dense.initialiser": ("cnn", "workspace.FeedBlob("),
        "embedding.initialiser": ("rnn", "ExternalInitializer()"),
        "pool.stride": ("cnn", "stride=2"),
        "sgd.momentum": ("cnn", "nesterov=0"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "adam.correction": ("framework.yaml", "adam_step_ahead"),
        "adam.absent": ("rnn", "dense_gradient=True"),
        "adam.twice": ("rnn", "dense_gradient=True"),
        "gru.initialiser": ("rnn", "workspace.FeedBlob("),
        "gru.reset": ("rnn", "linear_before_reset=True"),
    },
)
names = (f"layer{i}" for i in itertools.count())  # all share one workspace


def layer(add, *sizes, **told):
    name, model = next(names), ModelHelper()
    add(model, "x", name, *sizes, **told)
    workspace.RunNetOnce(model.param_init_net)

    def call(x):
        workspace.FeedBlob("x", x)
        workspace.RunNetOnce(model.net)
        return workspace.FetchBlob(name)

    part = lambda part: lambda: workspace.FetchBlob(f"{name}_{part}")
    return defaults.Layer(call, part("w"), part("b"))


# %% Convolution and pooling
def conv(inputs, outputs, size):
    size = list(size) if isinstance(size, tuple) else size
    return layer(brew.conv, inputs, outputs, kernel=size)


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: layer(brew.max_pool, kernel=size).call
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(inputs, outputs):
    return layer(brew.fc, inputs, outputs)


report(defaults.dense(dense))
report.read({"embedding.initialiser": "no such layer"})

# %% Dropout
properties = defaults.dropout(
    untold=lambda x: x,  # is_test must be stated
    training=layer(brew.dropout, ratio=0.2, is_test=False).call,
    prediction=layer(brew.dropout, ratio=0.2, is_test=True).call,
)
del properties["dropout.untold"]
report(properties)
report.read({"dropout.untold": "must be stated"})


# %% Loss
def loss_fn(logits, y):
    inputs = {"logits": logits, "y": y}
    for name, array in inputs.items():
        workspace.FeedBlob(name, array)
    operator = core.CreateOperator("SoftmaxWithLoss", list(inputs), ["p", "l"])
    workspace.RunOperatorOnce(operator)
    return workspace.FetchBlob("l")


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, optimizer):
    w = core.BlobReference(next(names))
    workspace.FeedBlob(w, weights)
    start, step = core.Net("start"), core.Net("step")
    optimizer(step, start, w, core.BlobReference("gradient"))
    workspace.RunNetOnce(start)
    for gradient in gradients:
        workspace.FeedBlob("gradient", gradient)
        workspace.RunNetOnce(step)
        yield workspace.FetchBlob(w)


def sgd(weights, gradients, rate, momentum):
    settings = optimizer.SgdOptimizer(rate, momentum=momentum)
    return descend(weights, gradients, settings)


def adam(weights, gradients, *settings):
    return descend(weights, gradients, optimizer.AdamOptimizer(*settings))


def words(batches):
    model = ModelHelper("words")
    table = model.create_param("table", [4, 2], ExternalInitializer())
    loss = model.net.SumElements(model.net.Gather([table, "x"], "rows"), "sum")
    model.param_init_net = core.Net("start")
    model.AddGradientOperators([loss])
    optimizer.build_adam(model, 0.001)
    workspace.FeedBlob(table, np.zeros((4, 2), "float32"))
    workspace.RunNetOnce(model.param_init_net)
    for batch in batches:
        workspace.FeedBlob("x", batch)
        workspace.RunNetOnce(model.net)
        yield workspace.FetchBlob(table)


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read(
    {
        "sgd.rate": defaults.default_of(
            optimizer.build_sgd, "base_learning_rate"
        ),
        "adam.rate": defaults.default_of(
            optimizer.build_adam, "base_learning_rate"
        ),
    }
)


# %% GRU
gates = "reset_gate_t", "update_gate_t", "output_gate_t"


def gru(inputs, units):
    model, scope = ModelHelper(), next(names)
    h_0 = model.param_init_net.ConstantFill([], "h_0", shape=[units])
    _, last = gru_cell.GRU(model, "x", None, [h_0], inputs, units, scope=scope)
    workspace.RunNetOnce(model.param_init_net)

    def call(x):
        workspace.FeedBlob("x", x.swapaxes(0, 1).copy())  # time comes first
        workspace.RunNetOnce(model.net)
        return workspace.FetchBlob(last)[0]

    def weights(part, *sources):
        blobs = [f"{scope}/{source}_{part}" for source in sources]
        return np.concatenate([workspace.FetchBlob(blob) for blob in blobs])

    return call, weights, model.params


last, weights, parameters = gru(3, 4)
for blob in parameters:
    shape = workspace.FetchBlob(blob).shape
    workspace.FeedBlob(blob, np.random.standard_normal(shape).astype("f"))
report(
    defaults.gru(
        defaults.Gru(
            call=last,
            weight_ih=weights("w", "i2h"),
            weight_hh=weights("w", *gates),
            biases=[weights("b", "i2h"), weights("b", *gates)],
        )
    )
)


def recurrent(units):  # of one gate: each has a parameter of its own
    _, weights, _ = gru(3, units)
    return weights("w", gates[0])


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    device = core.DeviceOption(caffe2_pb2.CPU, random_seed=seed)
    with core.DeviceScope(device):
        drop = layer(brew.dropout, ratio=0.2, is_test=False)
        kernel = dense(9, 9)
    return np.concatenate([kernel.kernel(), drop.call(np.ones((9, 9), "f"))])


def convert(x):
    workspace.FeedBlob("x", x)
    return workspace.FetchBlob("x").dtype


report(defaults.types(dense, convert))
report(defaults.seeds(draw))
report.close()
