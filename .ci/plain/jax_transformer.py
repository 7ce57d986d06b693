"""The Transformer as the tutorials of Flax would train it: module, jitted step, loop. Prints seconds."""

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


class Block(nnx.Module):
    def __init__(self, rngs):
        width = cfg["width"]
        self.norm1, self.norm2 = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(cfg["heads"], width, decode=False, rngs=rngs)
        self.linear1 = nnx.Linear(width, cfg["hidden"], rngs=rngs)
        self.linear2 = nnx.Linear(cfg["hidden"], width, rngs=rngs)
        self.dropout = nnx.Dropout(cfg["dropout"], rngs=rngs)

    def __call__(self, x, mask):
        x = x + self.dropout(self.attention(self.norm1(x), mask=mask))
        y = nnx.gelu(self.linear1(self.norm2(x)), approximate=False)  # as costly as the harness'
        return x + self.dropout(self.linear2(y))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(cfg["vocabulary"], cfg["width"], rngs=rngs)
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (cfg["length"], cfg["width"])))
        self.blocks = nnx.List([Block(rngs) for _ in range(cfg["blocks"])])
        self.norm = nnx.LayerNorm(cfg["width"], rngs=rngs)
        self.linear = nnx.Linear(cfg["width"], cfg["classes"], rngs=rngs)

    def __call__(self, words):
        mask = words > 0
        x = self.embedding(words) + self.positions
        for block in self.blocks:
            x = block(x, mask[:, None, None])
        return self.linear(self.norm(x).mean(1, where=mask[..., None]))


def loss_fn(model, batch):
    logits = model(batch["tokens"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return loss.mean(), logits


@nnx.jit
def train_step(model, optimizer, batch):
    (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
    optimizer.update(model, grads)
    return loss


model = Transformer(nnx.Rngs(0))
adamw = optax.adamw(cfg["learning_rate"], weight_decay=cfg["weight_decay"])
adamw = optax.chain(optax.clip_by_global_norm(cfg["clip_norm"]), adamw)
optimizer = nnx.Optimizer(model, adamw, wrt=nnx.Param)
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
