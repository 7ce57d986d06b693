"""The CNN as the tutorial of Flax would train it: module, jitted step, loop. Prints seconds."""

import sys
import time

import jax
import jax.numpy as jnp
import job
import numpy as np
import optax
from flax import nnx

cfg, device, arrays = job.read(sys.argv[1])
jax.config.update("jax_platforms", device)
jax.config.update("jax_default_matmul_precision", "float32")  # as the harness: not TF32


class Cnn(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 50, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(50, 50, (3, 3), rngs=rngs)
        self.conv3 = nnx.Conv(50, 100, (3, 3), rngs=rngs)
        self.conv4 = nnx.Conv(100, 100, (3, 3), rngs=rngs)
        self.linear1 = nnx.Linear(6400, 512, rngs=rngs)
        self.linear2 = nnx.Linear(512, 10, rngs=rngs)
        self.dropout1 = nnx.Dropout(cfg["dropout"][0], rngs=rngs)
        self.dropout2 = nnx.Dropout(cfg["dropout"][1], rngs=rngs)

    def __call__(self, x):
        x = self.conv2(nnx.relu(self.conv1(x)))
        x = self.dropout1(nnx.relu(nnx.max_pool(x, (2, 2), (2, 2))))
        x = self.conv4(nnx.relu(self.conv3(x)))
        x = self.dropout1(nnx.relu(nnx.max_pool(x, (2, 2), (2, 2))))
        x = x.reshape(x.shape[0], -1)
        return self.linear2(self.dropout2(nnx.relu(self.linear1(x))))


def loss_fn(model, batch):
    logits = model(batch["image"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return loss.mean(), logits


@nnx.jit
def train_step(model, optimizer, batch):
    (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
    optimizer.update(model, grads)
    return loss


model = Cnn(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.sgd(cfg["learning_rate"], cfg["momentum"]), wrt=nnx.Param)
images = np.ascontiguousarray(arrays["x_train"].transpose(0, 2, 3, 1))
labels = arrays["y_train"]
random = np.random.default_rng(0)

jax.block_until_ready(jax.live_arrays())
started = time.perf_counter()
for epoch in range(cfg["epochs"]):
    model.train()
    order = random.permutation(len(images))
    for first in range(0, len(images) - cfg["batch_size"] + 1, cfg["batch_size"]):
        rows = order[first : first + cfg["batch_size"]]
        batch = {"image": jnp.asarray(images[rows]), "label": jnp.asarray(labels[rows])}
        loss = train_step(model, optimizer, batch)
jax.block_until_ready(jax.live_arrays())
print(time.perf_counter() - started)
