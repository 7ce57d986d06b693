"""VGG-style CNN on CIFAR-10 in Keras 2, over TensorFlow, CNTK or Theano."""

# %% Setup
from functools import partial

import keras
import numpy as np
from keras import backend as K
from keras import layers

import rosetta

run = rosetta.start("Keras", keras.__version__)  # predict and fit wait
cfg = run.config
np.random.seed(cfg.seed)  # each dropout draws its own seed from NumPy
turn = 1  # step through a kernel's height and width
if K.backend() == "tensorflow":
    import tensorflow as tf

    # Updates of Keras 2 would race with the gradients that read old values.
    tf.enable_resource_variables()
elif K.backend() == "cntk":
    import cntk

    cntk.cntk_py.set_max_num_cputhreads(run.threads)
    cntk.cntk_py.set_fixed_random_seed(cfg.seed)  # not NumPy's, for dropout
elif K.backend() == "theano":
    import theano

    theano.config.floatX = run.dtype  # Keras sets it once, when imported
    turn = -1  # its convolutions turn their kernels around
K.set_floatx(run.dtype)
channels_first = K.backend() != "tensorflow" or run.device == "cuda"
if channels_first:
    K.set_image_data_format("channels_first")
run.fact("backend", K.backend())
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # a graph, made at the first batch

# %% Load data
run.phase("load")
# (n, 3, 32, 32) or (n, 32, 32, 3)
to_layout = lambda x: x if channels_first else x.transpose(0, 2, 3, 1)
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = to_layout(run.data("x_test")), run.data("y_test")

# %% Build model
run.phase("build")
model = keras.Sequential(
    [
        layers.InputLayer(x_test.shape[1:]),
        layers.Conv2D(50, 3, padding="same", activation="relu"),
        layers.Conv2D(50, 3, padding="same"),
        layers.MaxPooling2D(2),  # strides default to the pool size
        layers.Activation("relu"),
        layers.Dropout(cfg.dropout[0]),
        layers.Conv2D(100, 3, padding="same", activation="relu"),
        layers.Conv2D(100, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.Activation("relu"),
        layers.Dropout(cfg.dropout[0]),
        layers.Flatten(),  # (n, 6400), in H, W, C order in either layout
        layers.Dense(512, activation="relu"),
        layers.Dropout(cfg.dropout[1]),
        layers.Dense(cfg.classes),  # logits: the softmax is in the loss
    ]
)


# %% Initial weights
def to_keras(name, w):
    if name == "dense1.weight":  # its inputs: C, H, W order to H, W, C
        w = w.reshape(512, 100, 8, 8).transpose(0, 2, 3, 1).reshape(512, -1)
    if w.ndim == 4:
        return w[:, :, ::turn, ::turn].transpose(2, 3, 1, 0)  # OIHW to HWIO
    return w.T  # to (in, out)


def from_keras(name, w):
    if w.ndim == 4:
        return w[::turn, ::turn].transpose(3, 2, 0, 1)  # HWIO to OIHW
    w = w.T  # to (out, in)
    if name == "dense1.weight":
        w = w.reshape(512, 8, 8, 100).transpose(0, 3, 1, 2).reshape(512, -1)
    return w


names = list(run.weights())  # in forward order, as Keras has them
model.set_weights([to_keras(name, w) for name, w in run.weights().items()])

# %% Loss and optimiser
# By its name, "sparse_categorical_crossentropy", it takes probabilities.
loss_fn = partial(K.sparse_categorical_crossentropy, from_logits=True)
optimizer = keras.optimizers.SGD(cfg.learning_rate, cfg.momentum)
model.compile(optimizer, loss_fn)


# %% Train
class Progress(keras.callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        self.loss = logs["loss"]  # of this batch, not a mean of the epoch
        run.step(self.loss)


run.phase("train")
progress = Progress()
for epoch in run.epochs():
    x, y = run.epoch_data(epoch)  # in the common order: not to be shuffled
    x = to_layout(x)
    model.fit(
        x, y, cfg.batch_size, shuffle=False, verbose=0, callbacks=[progress]
    )
    run.epoch_end(epoch, progress.loss)
run.final_weights(
    lambda: dict(zip(names, map(from_keras, names, model.get_weights())))
)

# %% Predict
run.phase("predict")
logits = [model.predict_on_batch(x) for x in run.split(x_test)]  # no dropout
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
is_right = keras.metrics.sparse_categorical_accuracy(
    K.variable(y_test[:, np.newaxis]), K.variable(logits)
)
run.metric("accuracy", K.eval(is_right).mean())
