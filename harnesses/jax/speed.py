"""How fast this JAX multiplies and convolves, and what its build says."""

# %% Setup
import jax
import jaxlib
from flax import nnx
from jax import numpy as jnp

import rosetta
from rosetta import speed

run = rosetta.start("JAX (Flax)", jax.__version__)
jax.config.update("jax_platforms", run.device)
jax.config.update("jax_default_matmul_precision", "float32")  # as the harnesses: not TF32
side, count = speed.sizes(run.device)

# %% Measure
key = jax.random.key(run.config.seed)
matrix = jax.random.uniform(key, (side, side))
images = jax.random.uniform(key, (count, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
layer = nnx.Conv(speed.CHANNELS, speed.FILTERS, (speed.KERNEL, speed.KERNEL), padding="SAME", rngs=nnx.Rngs(0))
product = jax.jit(jnp.matmul)
convolution = nnx.jit(lambda layer, x: layer(x))
speed.report(
    run,
    lambda: product(matrix, matrix).block_until_ready(),
    lambda: convolution(layer, images).block_until_ready(),
    jaxlib=jaxlib.__version__,
    backend=jax.default_backend(),
    platform=jax.local_devices()[0].client.platform_version.splitlines()[-1],
)
