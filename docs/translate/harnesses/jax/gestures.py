"""Gestures in JAX (Flax): two 1-d convolutions and two dense layers."""

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
    sync_cpu=True,  # calls return before the work is done
)
cfg = run.config
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
rngs = nnx.Rngs(cfg.seed)

# %% Load data
run.phase("load")
x_test, y_test = run.data("x_test"), run.data("y_test")


def channels_last(x):
    return x.transpose(0, 2, 1)  # (n, 3, 64) to (n, 64, 3)


# %% Build model
run.phase("build")


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 16, 5, rngs=rngs)  # padding is "SAME"
        self.conv2 = nnx.Conv(16, 32, 5, rngs=rngs)
        self.dense1 = nnx.Linear(16 * 32, 64, rngs=rngs)
        self.dense2 = nnx.Linear(64, cfg.classes, rngs=rngs)
        self.dropout = nnx.Dropout(cfg.dropout, rngs=rngs)

    def __call__(self, x):
        x = nnx.gelu(self.conv1(x))
        x = nnx.max_pool(x, (2,), (2,))  # (n, 32, 16)
        x = nnx.gelu(self.conv2(x))
        x = nnx.max_pool(x, (2,), (2,))  # (n, 16, 32)
        x = x.swapaxes(1, 2).reshape(len(x), -1)  # flattened as channel, time
        x = self.dropout(nnx.gelu(self.dense1(x)))
        return self.dense2(x)


model = Net(rngs)


# %% Initial weights
def variable(name):
    layer, kind = name.split(".")
    layer = getattr(model, layer)
    return layer.kernel if kind == "weight" else layer.bias


for name, w in run.weights().items():
    variable(name).set_value(jnp.asarray(w.T))  # kernels: the axes reversed


# %% Loss and optimiser
def loss_fn(model, x, y):
    logits = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


sgd = optax.sgd(cfg.learning_rate, cfg.momentum)
optimizer = nnx.Optimizer(model, sgd, wrt=nnx.Param)


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(model, optimizer, channels_last(x), y)
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(lambda: {n: variable(n)[...].T for n in run.weights()})

# %% Predict
run.phase("predict")
model.eval()
predict = nnx.jit(lambda model, x: model(x))
logits = [predict(model, channels_last(x)) for x in run.split(x_test)]
logits = jnp.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", (logits.argmax(1) == y_test).mean())
