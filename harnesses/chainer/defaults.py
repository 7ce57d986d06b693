"""What Chainer does unless it is told otherwise, measured from its links."""

# %% Setup
import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

import rosetta
from rosetta import defaults

run = rosetta.start("Chainer", chainer.__version__)
np.random.seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "pad=1"),
        "conv.initialiser": ("cnn", "layer.W.array[...] ="),
        "dense.initialiser": ("cnn", "layer.W.array[...] ="),
        "embedding.initialiser": ("rnn", "model.embedding.W.array[...] ="),
        "gru.initialiser": ("rnn", "getattr(layer, part).array[...] ="),
        "pool.rest": ("cnn", "cover_all=False"),
        "dropout.untold": ("cnn", 'chainer.using_config("train", False)'),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "gru.biases": ("rnn", "L.NStepGRU("),
        "gru.reset": ("rnn", "L.NStepGRU("),
        "gru.update": ("rnn", "L.NStepGRU("),
        "decay.adamw": ("transformer", "optimizer.eta = cfg.learning_rate"),
        "decay.biases": ("transformer", "if w.ndim == 1"),
        "norm.epsilon": ("transformer", "cfg.width, cfg.norm_epsilon"),
        "gelu.form": ("transformer", "def gelu(x)"),
        "attention.mask": ("transformer", "class Attention("),
    },
)


def call(link):
    return lambda x: link(x).array


# %% Convolution and pooling
def layer(link):
    return defaults.Layer(
        call(link), lambda: link.W.array, lambda: link.b.array
    )


def conv(inputs, outputs, size):
    return layer(L.Convolution2D(inputs, outputs, size))


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: lambda x: F.max_pooling_2d(x, size).array
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(inputs, outputs):
    return layer(L.Linear(inputs, outputs))


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: L.EmbedID(*size).W.array))


# %% Dropout
def drop(x, train=True):
    with chainer.using_config("train", train):
        return F.dropout(x, 0.2).array


report(
    defaults.dropout(
        untold=lambda x: F.dropout(x, 0.2).array,
        training=lambda x: drop(x, train=True),
        prediction=lambda x: drop(x, train=False),
    )
)

# %% Loss
report(defaults.loss(lambda x, y: F.softmax_cross_entropy(x, y).array))


# %% Optimisers
def descend(weights, gradients, optimizer):
    link = chainer.Link()
    with link.init_scope():
        link.w = chainer.Parameter(weights)
    optimizer.setup(link)
    for gradient in gradients:
        link.w.grad = gradient
        optimizer.update()
        yield link.w.array.copy()


def sgd(weights, gradients, *settings):
    optimizer = chainer.optimizers.MomentumSGD(*settings)
    return descend(weights, gradients, optimizer)


def adam(weights, gradients, *settings):
    return descend(weights, gradients, chainer.optimizers.Adam(*settings))


def words(batches):
    link = L.EmbedID(4, 2)
    optimizer = chainer.optimizers.Adam().setup(link)
    for batch in batches:
        optimizer.update(lambda: F.sum(link(batch)))
        yield link.W.array.copy()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read(
    {"sgd.rate": defaults.default_of(chainer.optimizers.MomentumSGD, "lr")}
)
report.read(
    {"adam.rate": defaults.default_of(chainer.optimizers.Adam, "alpha")}
)


# %% Weight decay and clipping
def decaying(optimizer):
    return lambda weights, gradients, rate, decay: descend(
        weights, gradients, optimizer(rate, weight_decay_rate=decay)
    )


def clip(gradients, limit):
    link = chainer.Link()
    with link.init_scope():
        for i, gradient in enumerate(gradients):
            parameter = chainer.Parameter(gradient)
            parameter.grad = gradient
            setattr(link, "w%d" % i, parameter)
    optimizer = chainer.optimizers.SGD().setup(link)
    chainer.optimizer_hooks.GradientClipping(limit)(optimizer)  # in place
    return [parameter.grad for parameter in link.params()]


# Adam has AdamW's decay; that of the hook WeightDecay is in the gradient.
Adam, AdamW = chainer.optimizers.Adam, chainer.optimizers.AdamW
report(defaults.decay(decaying(Adam), decaying(AdamW)))
report.read({"decay.rate": defaults.default_of(AdamW, "weight_decay_rate")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
report(defaults.layer_norm(call(L.LayerNormalization(8))))
report.read({"gelu.form": "no such layer"})  # nor function
report.read({"attention.mask": "no such layer"})

# %% GRU
gru = L.GRU(3, 4)  # a link of links: W by the input, U by the state
for parameter in gru.params():
    parameter.array[...] = np.random.standard_normal(parameter.shape)


def stack(*links):
    return np.concatenate([link.W.array for link in links])


def biases(*links):
    return np.concatenate([link.b.array for link in links])


def last(x):
    gru.reset_state()
    return [gru(x[:, t]) for t in range(x.shape[1])][-1].array


by_input, by_state = (gru.W_r, gru.W_z, gru.W), (gru.U_r, gru.U_z, gru.U)
report(
    defaults.gru(
        defaults.Gru(
            last,
            stack(*by_input),
            stack(*by_state),
            [biases(*by_input), biases(*by_state)],
        )
    )
)
report(defaults.recurrent(lambda units: L.GRU(3, units).U_r.W.array))


# %% Types and seeds
def draw(seed):
    np.random.seed(seed)
    return np.concatenate([L.Linear(9, 9).W.array, drop(np.ones((9, 9), "f"))])


report(defaults.types(dense, lambda x: chainer.Variable(x).dtype))
report(defaults.seeds(draw))
report.close()
