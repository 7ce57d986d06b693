"""How fast this TensorFlow multiplies and convolves, and what its build says."""

# %% Setup
import tensorflow as tf

import rosetta
from rosetta import speed

run = rosetta.start("TensorFlow", tf.__version__)
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
if run.device == "cuda":
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all
    tf.config.experimental.enable_tensor_float_32_execution(False)  # as the harnesses
side, count = speed.sizes(run.device)
wait = tf.test.experimental.sync_devices

# %% Measure
matrix = tf.random.uniform((side, side))
images = tf.random.uniform((count, speed.PIXELS, speed.PIXELS, speed.CHANNELS))
filters = tf.random.uniform((speed.KERNEL, speed.KERNEL, speed.CHANNELS, speed.FILTERS))
product = tf.function(lambda: tf.matmul(matrix, matrix))
convolution = tf.function(lambda: tf.nn.conv2d(images, filters, 1, "SAME"))
build = tf.sysconfig.get_build_info()
speed.report(
    run,
    lambda: (product(), wait()),
    lambda: (convolution(), wait()),
    threads=tf.config.threading.get_intra_op_parallelism_threads(),
    cuda=str(build.get("cuda_version", "no")),
    cudnn=str(build.get("cudnn_version", "no")),
)
