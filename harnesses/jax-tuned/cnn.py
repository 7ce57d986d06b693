"""VGG-style CNN on CIFAR-10 in JAX, tuned: an epoch is one program."""

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
cfg, on_cpu = run.config, run.device == "cpu"
precision = os.environ.get("TUNED_PRECISION", "float32")  # the target's
half = jnp.bfloat16 if precision == "bf16" else None  # weights stay float32
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_enable_x64", run.dtype == "float64")
jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
rngs = nnx.Rngs(cfg.seed)  # no global seed: layers are given their generator
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("layout", "NHWC")
run.fact("compiled", "step" if on_cpu else "epoch")
run.fact("cudnn", not on_cpu)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")


def to_nhwc(x):
    return x.transpose(0, 2, 3, 1)  # (n, 3, 32, 32) to (n, 32, 32, 3)


# %% Build model
run.phase("build")


class Cnn(nnx.Module):
    def __init__(self, rngs):
        kind = {"dtype": half, "rngs": rngs}
        self.conv1 = nnx.Conv(3, 50, (3, 3), **kind)  # padding is "SAME"
        self.conv2 = nnx.Conv(50, 50, (3, 3), **kind)
        self.conv3 = nnx.Conv(50, 100, (3, 3), **kind)
        self.conv4 = nnx.Conv(100, 100, (3, 3), **kind)
        self.dense1 = nnx.Linear(8 * 8 * 100, 512, **kind)
        self.dense2 = nnx.Linear(512, cfg.classes, **kind)
        self.dropout1 = nnx.Dropout(cfg.dropout[0], rngs=rngs)
        self.dropout2 = nnx.Dropout(cfg.dropout[1], rngs=rngs)

    def __call__(self, x):
        x = self.conv2(nnx.relu(self.conv1(x)))  # (n, 32, 32, 50)
        x = nnx.max_pool(x, (2, 2), (2, 2))  # strides are 1 by default
        x = self.dropout1(nnx.relu(x))  # (n, 16, 16, 50)
        x = self.conv4(nnx.relu(self.conv3(x)))  # (n, 16, 16, 100)
        x = nnx.max_pool(x, (2, 2), (2, 2))
        x = self.dropout1(nnx.relu(x))  # (n, 8, 8, 100)
        x = x.reshape(len(x), -1)  # (n, 6400) in H, W, C order
        x = self.dropout2(nnx.relu(self.dense1(x)))  # (n, 512)
        return self.dense2(x).astype(run.dtype)  # logits


model = Cnn(rngs)


# %% Initial weights
def variable(name):
    layer, kind = name.split(".")
    layer = getattr(model, layer)
    return layer.kernel if kind == "weight" else layer.bias


def to_flax(name, w):
    if name == "dense1.weight":  # its inputs: C, H, W order to H, W, C
        w = w.reshape(512, 100, 8, 8).transpose(0, 2, 3, 1).reshape(512, -1)
    return w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T  # to HWIO, (in, out)


def from_flax(name):
    w = variable(name)[...]
    w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T  # to OIHW, (out, in)
    if name == "dense1.weight":
        w = w.reshape(512, 8, 8, 100).transpose(0, 3, 1, 2).reshape(512, -1)
    return w


for name, w in run.weights().items():
    variable(name).set_value(jnp.asarray(to_flax(name, w)))


# %% Loss and optimiser
def loss_fn(model, x, y):
    logits = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


sgd = optax.sgd(cfg.learning_rate, cfg.momentum)
optimizer = nnx.Optimizer(model, sgd, wrt=nnx.Param)

# %% Train
run.phase("train")
model.train()
modules, state = nnx.split((model, optimizer))  # arrays apart from structure
x_train, y_train = jax.device_put((to_nhwc(x_train), y_train))  # copied once


def train_step(state, batch):
    model, optimizer = nnx.merge(modules, state)
    loss, grads = nnx.value_and_grad(loss_fn)(model, *batch)
    optimizer.update(model, grads)
    return nnx.state((model, optimizer)), loss


@jax.jit(donate_argnames="state")  # may reuse its memory
def train_epoch(state, x_train, y_train, order):  # one program
    def gathered(state, rows):
        return train_step(state, (x_train[rows], y_train[rows]))

    return jax.lax.scan(gathered, state, order)


# On a CPU, XLA's convolutions are 100 times slower inside of a loop.
step = jax.jit(train_step, donate_argnames="state")
for epoch in run.epochs():
    if on_cpu:
        for batch in run.batches(epoch):
            state, loss = step(state, (to_nhwc(batch[0]), batch[1]))
            run.step(loss)
    else:
        order = run.order(epoch)  # (steps, 64)
        state, losses = train_epoch(state, x_train, y_train, order)
        for loss in losses.tolist():  # waits for the whole epoch
            run.step(loss)
    run.epoch_end(epoch, loss)
nnx.update((model, optimizer), state)
run.final_weights(lambda: {n: from_flax(n) for n in run.weights()})

# %% Predict
run.phase("predict")
model.eval()  # dropout off
predict = nnx.jit(lambda model, x: model(x))
logits = [predict(model, to_nhwc(x)) for x in run.split(x_test)]
logits = jnp.concatenate(logits)
run.outputs(logits)  # copied to NumPy: only this waits for the device

# %% Evaluate
run.phase("evaluate")
accuracy = nnx.metrics.Accuracy()
accuracy.update(logits=logits, labels=y_test)
run.metric("accuracy", accuracy.compute())
