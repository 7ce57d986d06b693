"""How fast this Keras multiplies and convolves on its backend."""

# %% Setup
import keras
from keras import ops

import rosetta
from rosetta import speed

run = rosetta.start("Keras", keras.__version__)
if keras.backend.backend() == "torch":
    import torch

    torch.set_num_threads(run.threads)
elif keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(run.threads)

# %% Measure
matrix = keras.random.uniform((speed.SIDE, speed.SIDE))
images = keras.random.uniform((speed.IMAGES, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
layer = keras.layers.Conv2D(speed.FILTERS, speed.KERNEL, padding="same")
speed.report(
    run,
    lambda: ops.convert_to_numpy(ops.matmul(matrix, matrix)),
    lambda: ops.convert_to_numpy(ops.stop_gradient(layer(images))),
    backend=keras.backend.backend(),
)
