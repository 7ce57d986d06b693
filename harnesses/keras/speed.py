"""How fast this Keras multiplies and convolves on its backend."""

# %% Setup
import keras
from keras import ops

import rosetta
from rosetta import speed

run = rosetta.start("Keras", keras.__version__)
side, count = speed.sizes(run.device)
if keras.backend.backend() == "torch":
    import torch

    torch.set_num_threads(run.threads)
elif keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(run.threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all


def wait(x):
    """Returns when an array is there: Keras has no word for it, and a number of it has to come over."""
    ops.convert_to_numpy(ops.stop_gradient(ops.ravel(x)[0]))


# %% Measure
matrix = keras.random.uniform((side, side))
images = keras.random.uniform((count, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
layer = keras.layers.Conv2D(speed.FILTERS, speed.KERNEL, padding="same")
speed.report(
    run,
    lambda: wait(ops.matmul(matrix, matrix)),
    lambda: wait(layer(images)),
    backend=keras.backend.backend(),
)
