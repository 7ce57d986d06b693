"""What MLX does unless it is told otherwise, measured from its layers."""

# %% Setup
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

import rosetta
from rosetta import defaults

run = rosetta.start("MLX", mx.__version__)
mx.set_default_device(mx.cpu)
mx.random.seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "def images(x)"),
        "conv.padding": ("cnn", "padding=1"),
        "conv.initialiser": ("cnn", "model.load_weights("),
        "conv.bias": ("cnn", "model.load_weights("),
        "dense.initialiser": ("cnn", "model.load_weights("),
        "dense.bias": ("cnn", "model.load_weights("),
        "embedding.initialiser": ("rnn", "model.load_weights("),
        "gru.initialiser": ("rnn", "model.load_weights("),
        "dropout.untold": ("cnn", "model.eval()"),
        "loss.reduction": ("cnn", 'reduction="mean"'),
        "adam.correction": ("rnn", "bias_correction=True"),
        "adam.placement": ("rnn", "bias_correction=True"),
        "gru.biases": ("rnn", "class Gru(nn.Module)"),
        "decay.biases": ("transformer", "adamw(0.0)"),
        "clip.epsilon": ("framework.yaml", "clip_epsilon"),
        "attention.biases": ("transformer", "bias=True"),
    },
)


def call(layer):
    return lambda x: np.array(layer(mx.array(x)))


def array(parameter):
    return lambda: np.array(parameter)


# %% Convolution and pooling
def conv(inputs, outputs, size):
    layer = nn.Conv2d(inputs, outputs, size)
    kernel = array(layer.weight.transpose(0, 3, 1, 2))  # OHWI to OIHW
    return defaults.Layer(call(layer), kernel, array(layer.bias))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(nn.MaxPool2d(size)), layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: array(nn.Embedding(*size).weight)()))

# %% Dropout
drop = nn.Dropout(0.2)
report(
    defaults.dropout(
        untold=call(nn.Dropout(0.2)),
        training=lambda x: call(drop.train())(x),
        prediction=lambda x: call(drop.eval())(x),
    )
)

# %% Loss
loss_fn = nn.losses.cross_entropy
report(defaults.loss(lambda *pair: np.array(loss_fn(*map(mx.array, pair)))))


# %% Optimisers
def descend(weights, gradients, optimizer):
    w = {"w": mx.array(weights)}
    for gradient in gradients:
        w = optimizer.apply_gradients({"w": mx.array(gradient)}, w)
        yield np.array(w["w"])


def sgd(weights, gradients, rate, momentum):
    return descend(weights, gradients, optim.SGD(rate, momentum))


def adam(weights, gradients, rate, *betas):
    return descend(weights, gradients, optim.Adam(rate, betas))


def words(batches):
    layer, optimizer = nn.Embedding(4, 2), optim.Adam(0.1)
    gradients = nn.value_and_grad(layer, lambda batch: layer(batch).sum())
    for batch in batches:
        optimizer.update(layer, gradients(mx.array(batch))[1])
        yield array(layer.weight)()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(optim.SGD, "learning_rate")})
report.read({"adam.rate": defaults.default_of(optim.Adam, "learning_rate")})


# %% Weight decay and clipping
def adamw(weights, gradients, rate, decay):
    optimizer = optim.AdamW(rate, weight_decay=decay)
    return descend(weights, gradients, optimizer)


def clip(gradients, limit):
    return optim.clip_grad_norm([*map(mx.array, gradients)], limit)[0]


report(defaults.decay(None, adamw))  # MLX's Adam has no decay
report.read({"decay.rate": defaults.default_of(optim.AdamW, "weight_decay")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = nn.MultiHeadAttention(8, 2)
parts = {"query": heads.query_proj, "key": heads.key_proj}
parts.update({"value": heads.value_proj, "output": heads.out_proj})
projections = [name for name in parts if "bias" in parts[name]]


def attend(x, mask):
    x = mx.array(x)
    return np.array(heads(x, x, x, mx.array(mask)))


report(defaults.layer_norm(call(nn.LayerNorm(8))))
report(defaults.gelu(call(nn.GELU())))
report(defaults.attention(attend, projections))

# %% GRU
gru = nn.GRU(3, 4)
for name, parameter in gru.parameters().items():
    gru[name] = mx.random.normal(parameter.shape)
by_state = np.concatenate([np.zeros(8), array(gru.bhn)()])  # of n alone
last = lambda x: call(gru)(x)[:, -1]
report(
    defaults.gru(
        defaults.Gru(
            call=last,
            weight_ih=array(gru.Wx)(),
            weight_hh=array(gru.Wh)(),
            biases=[array(gru.b)(), by_state],
        )
    )
)
report(defaults.recurrent(lambda units: array(nn.GRU(3, units).Wh)()))


# %% Types and seeds
def draw(seed):
    mx.random.seed(seed)
    dropped = drop.train()(mx.ones((9, 9)))
    return mx.concatenate([nn.Linear(9, 9).weight, dropped])


report(defaults.types(dense, lambda x: mx.array(x).dtype))
report(defaults.seeds(draw))
report.close()
