"""VGG-style CNN on CIFAR-10 in Keras 3, tuned: many steps in one call."""

# %% Setup
import os

import keras
import numpy as np
from keras import layers

import rosetta

run = rosetta.start(
    "Keras",
    keras.__version__,
    # Keras has no word for waiting; a GPU works in order, so this comes last.
    sync=lambda: float(keras.ops.sum(keras.ops.ones(2))),
)
cfg, backend = run.config, keras.config.backend()
precision = os.environ.get("TUNED_PRECISION", "float32")  # the target's
if precision == "bf16":
    keras.config.set_dtype_policy("mixed_bfloat16")  # weights stay float32
use_xla = os.environ.get("TUNED_COMPILE") == "1" or "auto"
per_call = int(os.environ.get("TUNED_STEPS", "32"))  # the target's
keras.utils.set_random_seed(cfg.seed)
if backend == "torch":
    import torch

    torch.backends.cudnn.benchmark = True  # the other backends search anyway
channels_first = run.device == "cuda"  # Keras' own default is channels last
if channels_first:
    keras.config.set_image_data_format("channels_first")
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("backend", backend)
run.fact("layout", "NCHW" if channels_first else "NHWC")
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")


def to_layout(x):
    return x if channels_first else x.transpose(0, 2, 3, 1)  # (n, 32, 32, 3)


x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = to_layout(run.data("x_test")), run.data("y_test")

# %% Build model
run.phase("build")
model = keras.Sequential(
    [
        layers.Input(x_test.shape[1:]),
        layers.Conv2D(50, 3, padding="same", activation="relu"),
        layers.Conv2D(50, 3, padding="same"),
        layers.MaxPooling2D(2),  # strides default to the pool size
        layers.ReLU(),
        layers.Dropout(cfg.dropout[0]),
        layers.Conv2D(100, 3, padding="same", activation="relu"),
        layers.Conv2D(100, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.ReLU(),
        layers.Dropout(cfg.dropout[0]),
        layers.Flatten(),  # (n, 6400), in H, W, C order in either layout
        layers.Dense(512, activation="relu"),
        layers.Dropout(cfg.dropout[1]),
        layers.Dense(cfg.classes, dtype="float32"),  # logits
    ]
)


# %% Initial weights
def to_keras(name, w):
    if name == "dense1.weight":  # its inputs: C, H, W order to H, W, C
        w = w.reshape(512, 100, 8, 8).transpose(0, 2, 3, 1).reshape(512, -1)
    return w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T  # to HWIO, (in, out)


def from_keras(name, w):
    w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T  # to OIHW, (out, in)
    if name == "dense1.weight":
        w = w.reshape(512, 8, 8, 100).transpose(0, 3, 1, 2).reshape(512, -1)
    return w


names = list(run.weights())  # in forward order, as Keras has them
model.set_weights([to_keras(name, w) for name, w in run.weights().items()])

# %% Loss and optimiser
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(cfg.learning_rate, cfg.momentum)


class StepLosses(keras.metrics.Metric):
    """The losses of the last steps: Keras itself logs a mean only."""

    def __init__(self):
        super().__init__(name="losses")
        self.losses = self.add_variable((per_call,), "zeros")

    def update_state(self, y, logits, sample_weight=None):
        loss = loss_fn(y, logits)
        self.losses.assign(keras.ops.append(self.losses[1:], loss))

    def result(self):
        return keras.ops.copy(self.losses.value)  # assign may write in place


model.compile(
    optimizer,
    loss_fn,
    metrics=[StepLosses()],
    steps_per_execution=per_call,  # one call in TF, a loop of calls in JAX
    jit_compile=use_xla,  # "auto" is JAX always, TF on a GPU
)
run.fact("compiled", model.jit_compile)  # TF loses by XLA on a CPU
run.fact("steps_per_execution", per_call)


# %% Train
class Progress(keras.callbacks.CallbackList):
    """The list itself, as its callbacks get floats: that waits for the GPU."""

    def on_train_batch_end(self, batch, logs=None):  # once for many steps
        done = batch + 1 - per_call
        count = min(per_call, steps - done)  # fewer at the end of an epoch
        for step in range(-count, 0):
            self.loss = lambda step=step: logs["losses"][step]
            run.step(self.loss)


run.phase("train")
progress = Progress(add_history=True, model=model)
for epoch in run.epochs():
    steps = len(run.order(epoch))
    x, y = run.epoch_data(epoch)  # in the common order: not to be shuffled
    model.fit(
        to_layout(x),
        y,
        cfg.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=progress,
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
accuracy = keras.metrics.SparseCategoricalAccuracy()
accuracy.update_state(y_test, logits)
run.metric("accuracy", float(accuracy.result()))
