"""How fast this TensorFlow multiplies and convolves, and what its build says."""

# %% Setup
import tensorflow as tf

import rosetta
from rosetta import speed

run = rosetta.start("TensorFlow", tf.__version__)
tf.config.threading.set_intra_op_parallelism_threads(run.threads)

# %% Measure
matrix = tf.random.uniform((speed.SIDE, speed.SIDE))
images = tf.random.uniform((speed.IMAGES, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
filters = tf.random.uniform((speed.KERNEL, speed.KERNEL, speed.CHANNELS, speed.FILTERS))
product = tf.function(lambda: tf.matmul(matrix, matrix))
convolution = tf.function(lambda: tf.nn.conv2d(images, filters, 1, "SAME"))
build = tf.sysconfig.get_build_info()
speed.report(
    run,
    lambda: product().numpy(),
    lambda: convolution().numpy(),
    threads=tf.config.threading.get_intra_op_parallelism_threads(),
    cuda="yes" if build["is_cuda_build"] else "no",
)
