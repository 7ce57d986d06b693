"""How fast this JAX multiplies and convolves, and what its build says."""

# %% Setup
import jax
import jaxlib
from flax import nnx
from jax import numpy as jnp

import rosetta
from rosetta import speed

run = rosetta.start("JAX (Flax)", jax.__version__)

# %% Measure
key = jax.random.key(run.config.seed)
matrix = jax.random.uniform(key, (speed.SIDE, speed.SIDE))
images = jax.random.uniform(key, (speed.IMAGES, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
layer = nnx.Conv(speed.CHANNELS, speed.FILTERS, (speed.KERNEL, speed.KERNEL), padding="SAME", rngs=nnx.Rngs(0))
product = jax.jit(jnp.matmul)
convolution = nnx.jit(lambda layer, x: layer(x))
speed.report(
    run,
    lambda: product(matrix, matrix).block_until_ready(),
    lambda: convolution(layer, images).block_until_ready(),
    jaxlib=jaxlib.__version__,
    backend=jax.default_backend(),
    precision=str(jax.config.jax_default_matmul_precision),
)
