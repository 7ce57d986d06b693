"""What Gluon does unless it is told otherwise, measured from its layers."""

# %% Setup
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn, rnn

import rosetta
from rosetta import defaults

run = rosetta.start("Gluon", mx.__version__)
mx.random.seed(run.config.seed)
np.random.seed(run.config.seed)  # some initialisers draw from NumPy
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "padding=1"),
        "conv.initialiser": ("cnn", ".set_data(array(w))"),
        "dense.initialiser": ("cnn", ".set_data(array(w))"),
        "embedding.initialiser": ("rnn", ".set_data(array(w))"),
        "gru.initialiser": ("rnn", ".set_data(array(w))"),
        "loss.reduction": ("cnn", "optimizer.step(cfg.batch_size)"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "decay.adamw": ("transformer", "*= 1 - rate * cfg.weight_decay"),
        "decay.biases": ("transformer", "if len(w.shape) > 1"),
        "norm.epsilon": ("transformer", "class OldLayerNorm("),
        "gelu.form": ("transformer", "class OldGELU("),
        "attention.mask": ("transformer", "def attention("),
    },
    not_needed={
        "clip.epsilon": "beside a norm near 1 it is less than float32 can tell"
    },
)


def array(x):
    return mx.nd.array(x, dtype=x.dtype)  # float32 unless told


def call(layer):
    return lambda x: layer(array(x)).asnumpy()


def layer(layer):
    """Gluon makes the weights in the first call."""
    layer.initialize()
    return defaults.Layer(
        call(layer),
        lambda: layer.weight.data().asnumpy(),
        lambda: layer.bias.data().asnumpy(),
    )


# %% Convolution and pooling
def conv(_, outputs, size):
    return layer(nn.Conv2D(outputs, size))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(nn.MaxPool2D(size)), layout))


# %% Dense and embedding
def dense(_, outputs):
    return layer(nn.Dense(outputs))


def table(layer):
    layer.initialize()
    return layer.weight.data().asnumpy()


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: table(nn.Embedding(*size))))

# %% Dropout
drop = nn.Dropout(0.2)


def training(x):
    with autograd.record():
        return call(drop)(x)


report(defaults.dropout(call(drop), training, prediction=call(drop)))

# %% Loss
loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()
report(defaults.loss(lambda x, y: loss_fn(array(x), array(y)).asnumpy()))


# %% Optimisers
def descend(weights, gradients, optimizer, **settings):
    w = gluon.Parameter("w", shape=weights.shape)
    w.initialize()
    w.set_data(array(weights))
    trainer = gluon.Trainer([w], optimizer, settings)
    for gradient in gradients:
        with autograd.record():
            loss = mx.nd.sum(w.data() * array(gradient))
        loss.backward()
        trainer.step(1)
        yield w.data().asnumpy()


def sgd(weights, gradients, rate, momentum):
    settings = {"learning_rate": rate, "momentum": momentum}
    return descend(weights, gradients, "sgd", **settings)


def adam(weights, gradients, rate, beta1, beta2):
    settings = {"learning_rate": rate, "beta1": beta1, "beta2": beta2}
    return descend(weights, gradients, "adam", **settings)


def words(batches):
    embedding = nn.Embedding(4, 2)
    embedding.initialize()
    trainer = gluon.Trainer(embedding.collect_params(), "adam")
    for batch in batches:
        with autograd.record():
            loss = embedding(mx.nd.array(batch)).sum()
        loss.backward()
        trainer.step(1)
        yield embedding.weight.data().asnumpy()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": str(mx.optimizer.SGD().lr)})
report.read({"adam.rate": str(mx.optimizer.Adam().lr)})


# %% Weight decay and clipping
def decaying(weights, gradients, rate, decay):
    settings = {"learning_rate": rate, "wd": decay}
    return descend(weights, gradients, "adam", **settings)


def clip(gradients, limit):
    arrays = [array(g) for g in gradients]
    gluon.utils.clip_global_norm(arrays, limit)  # in place
    return [a.asnumpy() for a in arrays]


# In 1.9 there is an operator `adamw_update`, and no optimiser of it.
report(defaults.decay(decaying, None))
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
if mx.__version__ < "1":
    report.read({"norm.epsilon": "no such layer"})
    report.read({"gelu.form": "no such layer"})
else:
    norm = nn.LayerNorm()
    norm.initialize()
    report(defaults.layer_norm(call(norm)))
    report(defaults.gelu(call(nn.GELU())))
report.read({"attention.mask": "no such layer"})  # 1.9 has operators

# %% GRU
gru = rnn.GRU(4, layout="NTC", input_size=3, prefix="gru_")
gru.initialize()
parameters = gru.collect_params()
for parameter in parameters.values():
    parameter.set_data(mx.nd.random.normal(shape=parameter.shape))
weights = [
    parameters["gru_l0_" + name].data().asnumpy()
    for name in ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
]
last = lambda x: gru(array(x)).asnumpy()[:, -1]
report(defaults.gru(defaults.Gru(last, weights[0], weights[1], weights[2:])))


def recurrent(units):
    layer = rnn.GRU(units, input_size=3, prefix="gru_")
    layer.initialize()
    return layer.collect_params()["gru_l0_h2h_weight"].data().asnumpy()


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    mx.random.seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "f"))
    return np.concatenate([kernel.kernel(), training(np.ones((9, 9), "f"))])


report(defaults.types(dense, lambda x: mx.nd.array(x).dtype))
report(defaults.seeds(draw))
report.close()
