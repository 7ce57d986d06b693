"""VGG-style CNN on CIFAR-10 in JAX, with layers of Flax and SGD of Optax."""

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
run.fact("layout", "NHWC")
run.fact("compiled", True)
run.fact("cudnn", run.device == "cuda")

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
        self.conv1 = nnx.Conv(3, 50, (3, 3), rngs=rngs)  # padding is "SAME"
        self.conv2 = nnx.Conv(50, 50, (3, 3), rngs=rngs)
        self.conv3 = nnx.Conv(50, 100, (3, 3), rngs=rngs)
        self.conv4 = nnx.Conv(100, 100, (3, 3), rngs=rngs)
        self.dense1 = nnx.Linear(8 * 8 * 100, 512, rngs=rngs)
        self.dense2 = nnx.Linear(512, cfg.classes, rngs=rngs)
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
        return self.dense2(x)  # logits: the softmax is in the loss


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
        loss = train_step(model, optimizer, to_nhwc(x), y)
        run.step(loss)  # still being computed: only reading it would wait
    run.epoch_end(epoch, loss)
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
