"""GRU on IMDB reviews in Keras 3, tuned: many steps in one call."""

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
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("backend", backend)
run.fact("gru", "reset_after")
# Found by Keras where it can; JAX has no such GRU.
run.fact("cudnn", run.device == "cuda" and backend != "jax")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
model = keras.Sequential(
    [
        layers.Input((cfg.length,), dtype="int32"),
        layers.Embedding(cfg.vocabulary, cfg.embedding),  # (n, 150, 125)
        layers.GRU(cfg.units),  # (n, 100): only the last output by default
        layers.Dense(cfg.classes, dtype="float32"),  # logits
    ]
)


# %% Initial weights
def swap_gates(w):  # r, z, n to z, r, n along the first axis, and back
    a, b, n = np.split(w, 3)
    return np.concatenate([b, a, n])


w = {
    name: swap_gates(w) if name.startswith("gru.") else w
    for name, w in run.weights().items()
}
model.set_weights(
    [
        w["embedding.weight"],
        w["gru.weight_ih_l0"].T,  # (125, 300)
        w["gru.weight_hh_l0"].T,  # (100, 300)
        np.stack([w["gru.bias_ih_l0"], w["gru.bias_hh_l0"]]),  # (2, 300)
        w["dense.weight"].T,
        w["dense.bias"],
    ]
)


def from_keras(embedding, kernel, recurrent, bias, dense, dense_bias):
    return {
        "embedding.weight": embedding,
        "gru.weight_ih_l0": swap_gates(kernel.T),
        "gru.weight_hh_l0": swap_gates(recurrent.T),
        "gru.bias_ih_l0": swap_gates(bias[0]),
        "gru.bias_hh_l0": swap_gates(bias[1]),
        "dense.weight": dense.T,
        "dense.bias": dense_bias,
    }


# %% Loss and optimiser
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
Adam = keras.optimizers.Adam
if backend == "tensorflow":
    import tensorflow as tf

    class Adam(keras.optimizers.Adam):
        """Sums the gradients of a word before it squares them."""

        def update_step(self, gradient, variable, learning_rate):
            gradient = tf.convert_to_tensor(gradient)  # from IndexedSlices
            super().update_step(gradient, variable, learning_rate)


# Keras adds epsilon before it corrects the bias of the second moment.
optimizer = Adam(cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon)


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
        x, y, cfg.batch_size, shuffle=False, verbose=0, callbacks=progress
    )
    run.epoch_end(epoch, progress.loss)
run.final_weights(lambda: from_keras(*model.get_weights()))

# %% Predict
run.phase("predict")
logits = [model.predict_on_batch(x) for x in run.split(x_test)]
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = keras.metrics.SparseCategoricalAccuracy()
accuracy.update_state(y_test, logits)
run.metric("accuracy", float(accuracy.result()))
