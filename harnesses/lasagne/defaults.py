"""What Lasagne does unless it is told otherwise, measured from its layers."""

# %% Setup
import lasagne
import numpy as np
import theano
import theano.tensor as T
from lasagne.layers import (
    Conv2DLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    GRULayer,
    InputLayer,
    MaxPool2DLayer,
    get_output,
)
from lasagne.utils import floatX

import rosetta
from rosetta import defaults

run = rosetta.start("Lasagne", lasagne.__version__)
lasagne.random.set_rng(np.random.RandomState(run.config.seed))
np.random.seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "pad=1"),
        "conv.activation": ("cnn", "nonlinearity=linear"),
        "dense.activation": ("cnn", "nonlinearity=linear"),
        "embedding.initialiser": ("rnn", "embedding.W.set_value("),
        "gru.initialiser": ("rnn", "getattr(gru, part).set_value("),
        "dropout.untold": ("cnn", "deterministic=True"),
        "loss.takes": ("cnn", "T.nnet.softmax("),
        "loss.reduction": ("cnn", "labels).mean()"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "gru.biases": ("framework.yaml", "gru_single_bias"),
        "gru.update": ("rnn", "return -w.T"),
        "type.parameters": ("cnn", "theano.config.floatX = run.dtype"),
    },
    not_needed={"clip.epsilon": "only a transformer clips, and it has none"},
)


def call(layer, **told):
    """Lasagne makes layers on others, the first of which has a variable."""
    x = lasagne.layers.get_all_layers(layer)[0].input_var
    return theano.function([x], get_output(layer, **told))


# %% Convolution and pooling
def conv(inputs, outputs, size):
    images = InputLayer((None, inputs, None, None))
    layer = Conv2DLayer(images, outputs, size)
    return defaults.Layer(call(layer), layer.W.get_value, layer.b.get_value)


def pool(size):
    return call(MaxPool2DLayer(InputLayer((None, 2, None, None)), size))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = DenseLayer(InputLayer((None, inputs)), outputs)
    kernel = lambda: layer.W.get_value().T  # (in, out) to (out, in)
    return defaults.Layer(call(layer), kernel, layer.b.get_value)


def embedding(*size):
    return EmbeddingLayer(InputLayer((None,), T.lvector()), *size)


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: embedding(*size).W.get_value()))

# %% Dropout
drop = DropoutLayer(InputLayer((None, None)), 0.2)
report(
    defaults.dropout(
        untold=call(drop),
        training=call(drop, deterministic=False),
        prediction=call(drop, deterministic=True),
    )
)


# %% Loss
def loss_fn(p, y):
    p, y = T.as_tensor_variable(p), T.as_tensor_variable(y)
    return lasagne.objectives.categorical_crossentropy(p, y).eval()


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, optimizer, *settings):
    w, gradient = theano.shared(floatX(weights)), T.vector()
    updates = optimizer([gradient], [w], *settings)
    step = theano.function([gradient], updates=updates)
    for value in gradients:
        step(value)
        yield w.get_value()


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, lasagne.updates.momentum, *settings)


def adam(weights, gradients, *settings):
    return descend(weights, gradients, lasagne.updates.adam, *settings)


def words(batches):
    layer = embedding(4, 2)
    updates = lasagne.updates.adam(get_output(layer).sum(), [layer.W])
    x = layer.input_layer.input_var
    step = theano.function([x], updates=updates)
    for batch in batches:
        step(batch)
        yield layer.W.get_value()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
rate = "learning_rate"
report.read({"sgd.rate": defaults.default_of(lasagne.updates.momentum, rate)})
report.read({"adam.rate": defaults.default_of(lasagne.updates.adam, rate)})


# %% Clipping
def clip(gradients, limit):
    tensors = [T.as_tensor_variable(g) for g in gradients]
    clipped = lasagne.updates.total_norm_constraint(tensors, limit)
    return [g.eval() for g in clipped]


report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% GRU
gru = GRULayer(InputLayer((None, None, 3)), 4)
for parameter in gru.get_params():
    if parameter is not gru.hid_init:
        shape = parameter.get_value().shape
        parameter.set_value(floatX(np.random.standard_normal(shape)))
gates = "resetgate", "updategate", "hidden_update"


def stack(part):  # a parameter for each gate, kernels as (in, out)
    parts = [getattr(gru, part + gate).get_value().T for gate in gates]
    return np.concatenate(parts)


outputs = call(gru)
report(
    defaults.gru(
        defaults.Gru(
            call=lambda x: outputs(x)[:, -1],
            weight_ih=stack("W_in_to_"),
            weight_hh=stack("W_hid_to_"),
            biases=[stack("b_")],
        )
    )
)


def recurrent(units):  # of one gate: each has a parameter of its own
    gru = GRULayer(InputLayer((None, None, 3)), units)
    return gru.W_hid_to_resetgate.get_value().T


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    lasagne.random.set_rng(np.random.RandomState(seed))
    drop = DropoutLayer(InputLayer((None, None)), 0.2)
    dropped = call(drop)(np.ones((9, 9), "f"))
    return np.concatenate([dense(9, 9).kernel(), dropped])


report(defaults.types(dense, lambda x: T.as_tensor_variable(x).dtype))
report(defaults.seeds(draw))
report.close()
