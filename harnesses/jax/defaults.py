"""What JAX does unless told: layers of Flax, losses and steps of Optax."""

# %% Setup
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import rosetta
from rosetta import defaults

run = rosetta.start("JAX", jax.__version__)
rngs = nnx.Rngs(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "def to_nhwc(x)"),
        "conv.shorthand": ("cnn", "nnx.Conv(3, 50, (3, 3), rngs=rngs)"),
        "conv.initialiser": ("cnn", "variable(name).set_value("),
        "dense.initialiser": ("cnn", "variable(name).set_value("),
        "embedding.initialiser": ("rnn", "variables[name].set_value("),
        "gru.initialiser": ("rnn", "variables[name].set_value("),
        "pool.stride": ("cnn", "nnx.max_pool(x, (2, 2), (2, 2))"),
        "dropout.untold": ("cnn", "model.eval()"),
        "loss.reduction": ("cnn", ".mean()"),
        "gru.biases": ("rnn", "cell.dense_h = nnx.Linear("),
        "decay.biases": ("transformer", "def decays(path, w)"),
        "norm.epsilon": ("transformer", "epsilon=cfg.norm_epsilon"),
        "gelu.form": ("transformer", "approximate=False"),
    },
)


def array(parameter):
    return lambda: np.asarray(parameter[...])


def kernel(parameter):  # HWIO or (in, out), to OIHW or (out, in)
    axes = (3, 2, 0, 1) if parameter[...].ndim == 4 else (1, 0)
    return lambda: np.asarray(parameter[...]).transpose(axes)


# %% Convolution and pooling
def conv(inputs, outputs, size):
    layer = nnx.Conv(inputs, outputs, size, rngs=rngs)
    return defaults.Layer(layer, kernel(layer.kernel), array(layer.bias))


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: lambda x: nnx.max_pool(x, (size, size))
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = nnx.Linear(inputs, outputs, rngs=rngs)
    return defaults.Layer(layer, kernel(layer.kernel), array(layer.bias))


report(defaults.dense(dense))
embedding = lambda *size: array(nnx.Embed(*size, rngs=rngs).embedding)()
report(defaults.embedding(embedding))

# %% Dropout
drop = nnx.Dropout(0.2, rngs=rngs)
told = lambda word: lambda x: drop(x, deterministic=word)
report(defaults.dropout(drop, training=told(False), prediction=told(True)))

# %% Loss
report(defaults.loss(optax.softmax_cross_entropy_with_integer_labels))


# %% Optimisers
def descend(w, gradients, optimizer):
    state = optimizer.init(w)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
        yield np.asarray(w)


def sgd(weights, gradients, rate, momentum):
    return descend(weights, gradients, optax.sgd(rate, momentum))


def adam(weights, gradients, rate, *betas):
    return descend(weights, gradients, optax.adam(rate, *betas))


def words(batches):
    layer = nnx.Embed(4, 2, rngs=rngs)
    optimizer = nnx.Optimizer(layer, optax.adam(0.1), wrt=nnx.Param)
    for batch in batches:
        optimizer.update(layer, nnx.grad(lambda e: e(batch).sum())(layer))
        yield array(layer.embedding)()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(optax.sgd, "learning_rate")})
report.read({"adam.rate": defaults.default_of(optax.adam, "learning_rate")})



# %% Weight decay and clipping
def adamw(weights, gradients, rate, decay):
    optimizer = optax.adamw(rate, weight_decay=decay)
    return descend(weights, gradients, optimizer)


def clip(gradients, limit):
    optimizer = optax.clip_by_global_norm(limit)
    return optimizer.update(gradients, optimizer.init(gradients))[0]


report(defaults.decay(None, adamw))  # Optax's adam has no decay
report.read({"decay.rate": defaults.default_of(optax.adamw, "weight_decay")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
parts = {"query": heads.query, "key": heads.key, "value": heads.value}
parts["output"] = heads.out
projections = [name for name in parts if parts[name].bias is not None]
masked = lambda mask: jnp.asarray(mask)[None, None]
attend = lambda x, mask: heads(jnp.asarray(x), mask=masked(mask))
report(defaults.layer_norm(nnx.LayerNorm(8, rngs=rngs)))
report(defaults.gelu(nnx.gelu))
report(defaults.attention(attend, projections))

# %% GRU
cell = nnx.GRUCell(3, 4, rngs=rngs)
for layer in cell.dense_i, cell.dense_h:
    layer.kernel.set_value(rngs.normal(layer.kernel.shape))
cell.dense_i.bias.set_value(rngs.normal((12,)))
biases = [d.bias for d in (cell.dense_i, cell.dense_h) if d.bias is not None]
layer = nnx.RNN(cell, return_carry=True)
report(
    defaults.gru(
        defaults.Gru(
            call=lambda x: layer(jnp.asarray(x))[0],
            weight_ih=kernel(cell.dense_i.kernel)(),
            weight_hh=kernel(cell.dense_h.kernel)(),
            biases=[array(bias)() for bias in biases],
        )
    )
)


def recurrent(units):
    return kernel(nnx.GRUCell(3, units, rngs=rngs).dense_h.kernel)()


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    rngs = nnx.Rngs(seed)
    kernel = nnx.Linear(9, 9, rngs=rngs).kernel[...]
    drop = nnx.Dropout(0.2, rngs=rngs)
    return jnp.concatenate([kernel, drop(jnp.ones((9, 9)))])


report(defaults.types(dense, lambda x: jnp.asarray(x).dtype))
report(defaults.seeds(draw))
report.close()
