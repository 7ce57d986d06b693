"""GRU on IMDB reviews in Keras 3, over TensorFlow, JAX or PyTorch."""

# %% Setup
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
cfg = run.config
keras.utils.set_random_seed(cfg.seed)
run.fact("backend", keras.config.backend())
run.fact("gru", "reset_after")
# Found by Keras where it can; JAX has no such GRU.
run.fact("cudnn", run.device == "cuda" and keras.config.backend() != "jax")

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
        layers.Dense(cfg.classes),  # logits: the softmax is in the loss
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
if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    class Adam(keras.optimizers.Adam):
        """Sums the gradients of a word before it squares them."""

        def update_step(self, gradient, variable, learning_rate):
            gradient = tf.convert_to_tensor(gradient)  # from IndexedSlices
            super().update_step(gradient, variable, learning_rate)


# Keras adds epsilon before it corrects the bias of the second moment.
optimizer = Adam(cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon)
model.compile(optimizer, loss_fn)  # by XLA: JAX always, TF on a GPU
run.fact("compiled", model.jit_compile)


# %% Train
class Progress(keras.callbacks.CallbackList):
    """The list itself, as its callbacks get floats: that waits for the GPU."""

    def on_epoch_begin(self, epoch, logs=None):
        self.mean = 0.0

    def on_train_batch_end(self, batch, logs=None):
        # Keras logs the mean loss of the epoch so far, not that of the step.
        before, self.mean = self.mean, logs["loss"]
        self.loss = lambda: (batch + 1) * logs["loss"] - batch * before
        run.step(self.loss)


run.phase("train")
progress = Progress(add_history=True, model=model)
for epoch in run.epochs():
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
