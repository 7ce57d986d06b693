"""Transformer encoder on IMDB reviews in JAX, with Flax and Optax."""

# %% Setup
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import rosetta

run = rosetta.start(
    "JAX",
    jax.__version__,
    sync=lambda: jax.block_until_ready(jax.live_arrays()),
    sync_cpu=True,  # calls return before the work is done, on a CPU too
)
cfg = run.config
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
rngs = nnx.Rngs(cfg.seed)  # no global seed: layers are given their generator
run.fact("compiled", True)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


def norm():
    # epsilon is 1e-6 by default.
    return nnx.LayerNorm(cfg.width, epsilon=cfg.norm_epsilon, rngs=rngs)


class Block(nnx.Module):
    def __init__(self):
        self.norm1, self.norm2 = norm(), norm()
        self.attention = nnx.MultiHeadAttention(
            cfg.heads, cfg.width, decode=False, rngs=rngs
        )
        self.linear1 = nnx.Linear(cfg.width, cfg.hidden, rngs=rngs)
        self.linear2 = nnx.Linear(cfg.hidden, cfg.width, rngs=rngs)
        self.dropout = nnx.Dropout(cfg.dropout, rngs=rngs)

    def __call__(self, x, is_word):
        # True is attended to; the axes are (n, heads, queries, keys).
        y = self.attention(self.norm1(x), mask=is_word[:, None, None])
        x = x + self.dropout(y)
        # By tanh unless told otherwise.
        y = nnx.gelu(self.linear1(self.norm2(x)), approximate=False)
        return x + self.dropout(self.linear2(y))


class Transformer(nnx.Module):
    def __init__(self):
        self.embedding = nnx.Embed(cfg.vocabulary, cfg.width, rngs=rngs)
        self.positions = nnx.Param(jnp.zeros((cfg.length, cfg.width)))
        self.blocks = nnx.List([Block() for _ in range(cfg.blocks)])
        self.norm = norm()
        self.dense = nnx.Linear(cfg.width, cfg.classes, rngs=rngs)

    def __call__(self, x):
        is_word = x > 0
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        for block in self.blocks:
            x = block(x, is_word)
        x = self.norm(x).mean(1, where=is_word[..., None])  # (n, 128)
        return self.dense(x)  # logits: the softmax is in the loss


model = Transformer()

# %% Initial weights
variables = {
    "embedding.weight": [model.embedding.embedding],
    "positions": [model.positions],
    "encoder.norm.weight": [model.norm.scale],
    "encoder.norm.bias": [model.norm.bias],
    "dense.weight": [model.dense.kernel],
    "dense.bias": [model.dense.bias],
}
for i, block in enumerate(model.blocks):
    heads = block.attention.query, block.attention.key, block.attention.value
    of_block = {
        "norm1.weight": [block.norm1.scale],
        "norm1.bias": [block.norm1.bias],
        "self_attn.in_proj_weight": [each.kernel for each in heads],
        "self_attn.in_proj_bias": [each.bias for each in heads],
        "self_attn.out_proj.weight": [block.attention.out.kernel],
        "self_attn.out_proj.bias": [block.attention.out.bias],
        "norm2.weight": [block.norm2.scale],
        "norm2.bias": [block.norm2.bias],
        "linear1.weight": [block.linear1.kernel],
        "linear1.bias": [block.linear1.bias],
        "linear2.weight": [block.linear2.kernel],
        "linear2.bias": [block.linear2.bias],
    }
    variables |= {f"encoder.layers.{i}.{n}": v for n, v in of_block.items()}
weights = run.weights()
kernels = {name for name, w in weights.items() if w.ndim == 2}
kernels -= {"embedding.weight", "positions"}

for name, w in weights.items():
    for part, w in zip(variables[name], np.split(w, len(variables[name]))):
        w = w.T if name in kernels else w  # (out, in) to (in, out)
        part.set_value(jnp.asarray(w.reshape(part.shape)))  # (in, heads, 32)


def from_flax(name, w):
    if name in kernels:
        return w.reshape(weights[name].shape[1], -1).T  # to (out, in)
    return w if w.ndim == weights[name].ndim else w.ravel()


# %% Loss and optimiser
def loss_fn(model, x, y):
    logits = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def decays(path, w):  # not by its axes: attention's biases are (heads, 32)
    name = jax.tree_util.keystr(path)
    return "bias" not in name and "scale" not in name


warmup = optax.linear_schedule(
    cfg.learning_rate / cfg.warmup_steps,  # not 0: the first step has a rate
    cfg.learning_rate,
    cfg.warmup_steps - 1,
)
adamw = optax.chain(
    optax.clip_by_global_norm(cfg.clip_norm),
    optax.adamw(
        warmup,
        cfg.beta1,
        cfg.beta2,
        cfg.epsilon,
        weight_decay=cfg.weight_decay,
        mask=lambda tree: jax.tree_util.tree_map_with_path(decays, tree),
    ),
)
optimizer = nnx.Optimizer(model, adamw, wrt=nnx.Param)


@nnx.jit(donate_argnames=("model", "optimizer"))  # may reuse their memory
def train_step(model, optimizer, x, y):  # compiled at the first call
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)  # in place, as jit of Flax allows
    return loss


# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(model, optimizer, x, y)
        run.step(loss)  # still being computed: only reading it would wait
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {
        name: np.concatenate([from_flax(name, part[...]) for part in parts])
        for name, parts in variables.items()
    }
)

# %% Predict
run.phase("predict")
model.eval()  # dropout off
predict = nnx.jit(lambda model, x: model(x))
logits = [predict(model, x) for x in run.split(x_test)]
logits = jnp.concatenate(logits)
run.outputs(logits)  # copied to NumPy: only this waits for the device

# %% Evaluate
run.phase("evaluate")
accuracy = nnx.metrics.Accuracy()
accuracy.update(logits=logits, labels=y_test)
run.metric("accuracy", accuracy.compute())
