"""The GRU as the tutorial of Flax would train it: module, jitted step, loop. Prints seconds."""

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


class Rnn(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(cfg["vocabulary"], cfg["embedding"], rngs=rngs)
        self.gru = nnx.RNN(nnx.GRUCell(cfg["embedding"], cfg["units"], rngs=rngs), return_carry=True)
        self.linear = nnx.Linear(cfg["units"], cfg["classes"], rngs=rngs)

    def __call__(self, x):
        last, outputs = self.gru(self.embedding(x))
        return self.linear(last)


def loss_fn(model, batch):
    logits = model(batch["tokens"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return loss.mean(), logits


@nnx.jit
def train_step(model, optimizer, batch):
    (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
    optimizer.update(model, grads)
    return loss


model = Rnn(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(cfg["learning_rate"]), wrt=nnx.Param)
tokens, labels = arrays["x_train"], arrays["y_train"]
random = np.random.default_rng(0)

jax.block_until_ready(jax.live_arrays())
started = time.perf_counter()
for epoch in range(cfg["epochs"]):
    order = random.permutation(len(tokens))
    for first in range(0, len(tokens) - cfg["batch_size"] + 1, cfg["batch_size"]):
        rows = order[first : first + cfg["batch_size"]]
        batch = {"tokens": jnp.asarray(tokens[rows]), "label": jnp.asarray(labels[rows])}
        loss = train_step(model, optimizer, batch)
jax.block_until_ready(jax.live_arrays())
print(time.perf_counter() - started)
