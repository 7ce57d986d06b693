"""GRU on IMDB reviews in JAX, with layers of Flax and Adam of Optax."""

# %% Setup
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
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
rngs = nnx.Rngs(cfg.seed)  # no global seed: layers are given their generator
run.fact("compiled", True)
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
        kind = {"param_dtype": run.dtype, "rngs": rngs}  # float32 by default
        self.embedding = nnx.Embed(cfg.vocabulary, cfg.embedding, **kind)
        cell = nnx.GRUCell(cfg.embedding, cfg.units, **kind)
        # The stock cell has no recurrent biases, which other GRUs have.
        cell.dense_h = nnx.Linear(cfg.units, 3 * cfg.units, rngs=rngs)
        self.gru = nnx.RNN(cell, return_carry=True)
        self.dense = nnx.Linear(cfg.units, cfg.classes, rngs=rngs)

    def __call__(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        last, _ = self.gru(x)  # (n, 100), (n, 150, 100)
        return self.dense(last)  # logits: the softmax is in the loss


model = Gru(rngs)

# %% Initial weights
cell = model.gru.cell
variables = {
    "embedding.weight": model.embedding.embedding,
    "gru.weight_ih_l0": cell.dense_i.kernel,  # r, z, n here too
    "gru.weight_hh_l0": cell.dense_h.kernel,
    "gru.bias_ih_l0": cell.dense_i.bias,
    "gru.bias_hh_l0": cell.dense_h.bias,
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


@nnx.jit(donate_argnames=("model", "optimizer"))  # may reuse their memory
def train_step(model, optimizer, x, y):  # compiled at the first call
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)  # in place, as jit of Flax allows
    return loss


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(model, optimizer, x, y)
        run.step(loss)  # still being computed: only reading it would wait
    run.epoch_end(epoch, loss)
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
