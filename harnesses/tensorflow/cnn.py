"""VGG-style CNN on CIFAR-10 in TensorFlow: conv 50-50-100-100, dense 512."""

# %% Setup
import numpy as np
import tensorflow as tf
from tensorflow.keras import Model
from tensorflow.keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D

import rosetta

wait = tf.test.experimental.sync_devices
run = rosetta.start("TensorFlow", tf.__version__, sync=wait)
cfg = run.config
# Layers of Keras do not look at the seed of tf.random.
tf.keras.utils.set_random_seed(cfg.seed)
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx(run.dtype)
if run.device == "cuda":
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # The default is NHWC, the only layout in which a CPU can train.
    tf.keras.backend.set_image_data_format("channels_first")
channels_first = tf.keras.backend.image_data_format() == "channels_first"
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)
to_layout = lambda x: x if channels_first else x.transpose(0, 2, 3, 1)

# %% Build model
run.phase("build")


class Cnn(Model):
    def __init__(self):
        super().__init__()
        # Default padding is "valid": none.
        self.conv1 = Conv2D(50, 3, padding="same", activation="relu")
        self.conv2 = Conv2D(50, 3, padding="same")
        self.conv3 = Conv2D(100, 3, padding="same", activation="relu")
        self.conv4 = Conv2D(100, 3, padding="same")
        self.pool = MaxPool2D(2)  # stride defaults to the pool's size
        self.dropout1 = Dropout(cfg.dropout[0])
        self.flatten = Flatten()  # H, W, C order in both layouts
        self.dense1 = Dense(512, activation="relu")
        self.dropout2 = Dropout(cfg.dropout[1])
        self.dense2 = Dense(cfg.classes)

    def call(self, x, training=False):
        x = self.conv2(self.conv1(x))
        x = tf.nn.relu(self.pool(x))  # (n, 16, 16, 50)
        x = self.dropout1(x, training=training)
        x = self.conv4(self.conv3(x))
        x = tf.nn.relu(self.pool(x))  # (n, 8, 8, 100)
        x = self.dropout1(x, training=training)
        x = self.dense1(self.flatten(x))
        x = self.dropout2(x, training=training)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn()

# %% Initial weights
model(to_layout(x_test[:1]))  # the first call makes the variables
weights = run.weights()
layers = ["conv1", "conv2", "conv3", "conv4", "dense1", "dense2"]
for name in layers:
    layer, w = getattr(model, name), weights[f"{name}.weight"]
    if name == "dense1":  # its inputs come in H, W, C order, not C, H, W
        w = w.reshape(512, 100, 8, 8).transpose(0, 2, 3, 1).reshape(512, -1)
    # Kernels are (h, w, in, out) and (in, out).
    layer.kernel.assign(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T)
    layer.bias.assign(weights[f"{name}.bias"])

# %% Loss and optimiser
loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# TensorFlow rounds a Python float to float32 before it casts it to float64.
momentum = np.float64(cfg.momentum)
optimizer = tf.keras.optimizers.SGD(cfg.learning_rate, momentum)


@tf.function  # traced into a graph at the first call
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(to_layout(x), y)
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    for name in layers:
        layer = getattr(model, name)
        w = layer.kernel.numpy()
        w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T
        if name == "dense1":
            w = w.reshape(512, 8, 8, 100).transpose(0, 3, 1, 2).reshape(512, -1)
        yield f"{name}.weight", w
        yield f"{name}.bias", layer.bias.numpy()


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
predict = tf.function(model)  # nothing is dropped: training=False
logits = tf.concat([predict(to_layout(x)) for x in run.split(x_test)], axis=0)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = tf.keras.metrics.SparseCategoricalAccuracy()
run.metric("accuracy", float(accuracy(y_test, logits)))
