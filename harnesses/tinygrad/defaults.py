"""What tinygrad does unless it is told otherwise, measured from its layers."""

# %% Setup
from importlib.metadata import version

import numpy as np
from tinygrad import Context, Tensor, nn
from tinygrad.helpers import DEV, NUM_CPU_THREADS

import rosetta
from rosetta import defaults

run = rosetta.start("tinygrad", version("tinygrad"))
DEV.value = "CPU"
NUM_CPU_THREADS.value = run.threads
Tensor.manual_seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "padding=1"),
        "conv.initialiser": ("cnn", "nn.state.load_state_dict("),
        "conv.bias": ("cnn", "nn.state.load_state_dict("),
        "dense.initialiser": ("cnn", "nn.state.load_state_dict("),
        "dense.bias": ("cnn", "nn.state.load_state_dict("),
        "embedding.initialiser": ("rnn", "nn.state.load_state_dict("),
        "dropout.untold": ("cnn", "@Context(TRAINING=1)"),
        "gru.reset": ("rnn", "class Gru:"),
        "gru.initialiser": ("rnn", "class Gru:"),
        "decay.biases": ("transformer", "if w.ndim == 1"),
        "clip.of": ("transformer", "norm = sum("),
        "gelu.form": ("transformer", '.gelu("none")'),
        "attention.biases": ("transformer", "class Attention:"),
    },
)


def call(layer):
    return lambda x: layer(Tensor(x)).numpy()


def array(tensor):
    return lambda: tensor.numpy()


# %% Convolution and pooling
def conv(inputs, outputs, size):
    layer = nn.Conv2d(inputs, outputs, size)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: call(lambda x: x.max_pool2d((size, size)))
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: array(nn.Embedding(*size).weight)()))

# %% Dropout
drop = call(lambda x: x.dropout(0.2))
told = lambda word: Context(TRAINING=word)(drop)
report(defaults.dropout(drop, training=told(1), prediction=told(0)))

# %% Loss
loss_fn = Tensor.sparse_categorical_crossentropy
report(defaults.loss(lambda *pair: loss_fn(*map(Tensor, pair)).numpy()))


# %% Optimisers
def descend(weights, gradients, optimizer, *settings, **more):
    w = Tensor(weights)
    optimizer = optimizer([w], *settings, **more)
    step = Context(TRAINING=1)(optimizer.step)  # without, it refuses
    for gradient in gradients:
        w.grad = Tensor(gradient)
        step()
        yield w.numpy()


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, nn.optim.SGD, *settings)


def adam(weights, gradients, *settings):
    return descend(weights, gradients, nn.optim.Adam, *settings)


def words(batches):
    layer = nn.Embedding(4, 2)
    optimizer = nn.optim.Adam([layer.weight])
    step = Context(TRAINING=1)(optimizer.step)
    for batch in batches:
        optimizer.zero_grad()
        layer(Tensor(batch)).sum().backward()
        step()
        yield array(layer.weight)()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(nn.optim.SGD, "lr")})
report.read({"adam.rate": defaults.default_of(nn.optim.Adam, "lr")})


# %% Weight decay and clipping
def adamw(weights, gradients, rate, decay):
    settings = {"lr": rate, "weight_decay": decay}
    return descend(weights, gradients, nn.optim.AdamW, **settings)


AdamW = nn.optim.AdamW
report(defaults.decay(None, adamw))  # tinygrad's Adam has no decay
report.read({"decay.rate": defaults.default_of(AdamW, "weight_decay")})
report.read({"clip.of": "not there"})
report(defaults.padding_row(words))


# %% LayerNorm, GELU and attention
def attend(x, mask):  # of one head, without projections: there is no layer
    x = Tensor(x)
    return x.scaled_dot_product_attention(x, x, Tensor(mask)).numpy()


properties = defaults.attention(attend, [])
del properties["attention.biases"]
report(defaults.layer_norm(call(nn.LayerNorm(8))))
report(defaults.gelu(call(Tensor.gelu)))
report(properties)
report.read({"attention.biases": "no such layer"})

# %% GRU
report.read({"gru.reset": "no such layer"})  # an LSTMCell only
report.read({"gru.initialiser": "no such layer"})


# %% Types and seeds
def draw(seed):
    Tensor.manual_seed(seed)
    kernel = array(nn.Linear(9, 9).weight)()
    return np.concatenate([kernel, told(1)(np.ones((9, 9), "float32"))])


report(defaults.types(dense, lambda x: Tensor(x).numpy().dtype))
report(defaults.seeds(draw))
report.close()
