"""GRU on IMDB reviews in JAX, tuned: an epoch is one program."""

# %% Setup
import os

import jax
import jax.numpy as jnp
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
precision = os.environ.get("TUNED_PRECISION", "float32")  # the target's
half = jnp.bfloat16 if precision == "bf16" else None  # weights stay float32
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
rngs = nnx.Rngs(cfg.seed)  # no global seed: layers are given their generator
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("compiled", "epoch")
run.fact("gru", "reset_after")
run.fact("cudnn", False)  # a compiled loop over a cell

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Gru(nnx.Module):
    def __init__(self, rngs):
        kind = {"dtype": half, "rngs": rngs}
        self.embedding = nnx.Embed(
            cfg.vocabulary, cfg.embedding, param_dtype=run.dtype, **kind
        )
        self.inputs = nnx.Linear(cfg.embedding, 3 * cfg.units, **kind)
        self.hidden = nnx.Linear(cfg.units, 3 * cfg.units, **kind)
        self.dense = nnx.Linear(cfg.units, cfg.classes, **kind)

    def __call__(self, x):
        # The inputs of all positions in one product, before the loop.
        gates = self.inputs(self.embedding(x))  # (n, 150, 300)

        def cell(h, gates):
            i_r, i_z, i_n = jnp.split(gates, 3, axis=-1)
            h_r, h_z, h_n = jnp.split(self.hidden(h), 3, axis=-1)
            r, z = nnx.sigmoid(i_r + h_r), nnx.sigmoid(i_z + h_z)
            n = nnx.tanh(i_n + r * h_n)
            return ((1 - z) * n + z * h).astype(h.dtype), None

        h = jnp.zeros((len(x), cfg.units), run.dtype)
        h, _ = jax.lax.scan(cell, h, gates.swapaxes(0, 1), unroll=5)
        return self.dense(h).astype(run.dtype)  # logits


model = Gru(rngs)

# %% Initial weights
variables = {
    "embedding.weight": model.embedding.embedding,
    "gru.weight_ih_l0": model.inputs.kernel,  # r, z, n here too
    "gru.weight_hh_l0": model.hidden.kernel,
    "gru.bias_ih_l0": model.inputs.bias,
    "gru.bias_hh_l0": model.hidden.bias,
    "dense.weight": model.dense.kernel,
    "dense.bias": model.dense.bias,
}


def transpose(name, w):  # kernels: (out, in) to (in, out), or back
    return w if name == "embedding.weight" else w.T


for name, w in run.weights().items():
    variables[name].set_value(jnp.asarray(transpose(name, w)))


# %% Loss and optimiser
def loss_fn(model, x, y):
    logits = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


adam = optax.adam(cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon)
optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)

# %% Train
run.phase("train")
modules, state = nnx.split((model, optimizer))  # arrays apart from structure
x_train, y_train = jax.device_put((x_train, y_train))  # copied once


@jax.jit(donate_argnames="state")  # may reuse its memory
def train_epoch(state, x_train, y_train, order):  # one program
    def train_step(state, rows):
        model, optimizer = nnx.merge(modules, state)
        x, y = x_train[rows], y_train[rows]
        loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return nnx.state((model, optimizer)), loss

    return jax.lax.scan(train_step, state, order)  # (steps, 64)


for epoch in run.epochs():
    state, losses = train_epoch(state, x_train, y_train, run.order(epoch))
    for loss in losses.tolist():  # waits for the whole epoch
        run.step(loss)
    run.epoch_end(epoch, loss)
nnx.update((model, optimizer), state)
run.final_weights(
    lambda: {n: transpose(n, v[...]) for n, v in variables.items()}
)

# %% Predict
run.phase("predict")
predict = nnx.jit(lambda model, x: model(x))
logits = [predict(model, x) for x in run.split(x_test)]
logits = jnp.concatenate(logits)
run.outputs(logits)  # copied to NumPy: only this waits for the device

# %% Evaluate
run.phase("evaluate")
accuracy = nnx.metrics.Accuracy()
accuracy.update(logits=logits, labels=y_test)
run.metric("accuracy", accuracy.compute())
