"""Transformer encoder on IMDB in Keras 3, over TensorFlow, JAX or PyTorch."""

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

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Positions(layers.Layer):
    """Adds a learnt vector to each position, which no layer of Keras does."""

    def build(self, shape):
        self.table = self.add_weight(name="positions", shape=shape[1:])
        self.supports_masking = True  # passes the mask of the embedding on

    def call(self, x):
        return x + self.table


def norm(x):
    # epsilon is 1e-3 by default.
    return layers.LayerNormalization(epsilon=cfg.norm_epsilon)(x)


def attention(x):
    # The second number is the size of one head. The mask comes with x.
    y = layers.MultiHeadAttention(cfg.heads, cfg.width // cfg.heads)(x, x)
    return layers.Dropout(cfg.dropout)(y)


def mlp(x):
    y = layers.Dense(cfg.hidden, activation="gelu")(x)  # by erf, not by tanh
    y = layers.Dense(cfg.width)(y)
    return layers.Dropout(cfg.dropout)(y)


words = layers.Input((cfg.length,), dtype="int32")
x = layers.Embedding(cfg.vocabulary, cfg.width, mask_zero=True)(words)
x = Positions()(x)  # (n, 150, 128)
for _ in range(cfg.blocks):
    x = layers.Add()([x, attention(norm(x))])  # a plain + loses the mask
    x = layers.Add()([x, mlp(norm(x))])
x = layers.GlobalAveragePooling1D()(norm(x))  # (n, 128), of what is not masked
model = keras.Model(words, layers.Dense(cfg.classes)(x))  # logits

# %% Initial weights
variables, rest = {}, iter(model.weights)  # canonical names, in forward order
for name in run.weights():
    if name.endswith("in_proj_weight"):  # kernel and bias of each of three
        three = [(next(rest), next(rest)) for _ in ("query", "key", "value")]
        variables[name], variables[name[:-6] + "bias"] = zip(*three)
    elif name not in variables:
        variables[name] = [next(rest)]
weights = run.weights()
kernels = {name for name, w in weights.items() if w.ndim == 2}
kernels -= {"embedding.weight", "positions"}

for name, w in weights.items():
    for part, w in zip(variables[name], np.split(w, len(variables[name]))):
        w = w.T if name in kernels else w  # (out, in) to (in, out)
        part.assign(w.reshape(part.shape))  # attention's: (in, heads, 32)


def from_keras(name, w):
    if name in kernels:
        return w.reshape(weights[name].shape[1], -1).T  # to (out, in)
    return w if w.ndim == weights[name].ndim else w.ravel()


# %% Loss and optimiser
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
AdamW = keras.optimizers.AdamW
if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    class AdamW(keras.optimizers.AdamW):
        """Sums the gradients of a word before their norm is taken."""

        def apply(self, grads, trainable_variables=None):
            grads = [tf.convert_to_tensor(g) for g in grads]
            super().apply(grads, trainable_variables)


warmup = keras.optimizers.schedules.PolynomialDecay(  # linear; it rises here
    cfg.learning_rate / cfg.warmup_steps,
    cfg.warmup_steps - 1,
    cfg.learning_rate,
)
# Keras adds epsilon before it corrects the bias of the second moment.
optimizer = AdamW(
    warmup,
    cfg.weight_decay,  # not 0 by default
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
    global_clipnorm=cfg.clip_norm,  # clipnorm is of each array by itself
)
optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
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
run.final_weights(
    lambda: {
        name: np.concatenate([from_keras(name, part.numpy()) for part in parts])
        for name, parts in variables.items()
    }
)

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
