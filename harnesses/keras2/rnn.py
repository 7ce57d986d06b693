"""GRU on IMDB reviews in Keras 2, over TensorFlow, CNTK or Theano."""

# %% Setup
from functools import partial

import keras
import numpy as np
from keras import backend as K
from keras import layers

import rosetta

run = rosetta.start("Keras", keras.__version__)  # predict and fit wait
cfg = run.config
if K.backend() == "tensorflow":
    import tensorflow as tf

    # Updates of Keras 2 would race with the gradients that read old values.
    tf.enable_resource_variables()
elif K.backend() == "cntk":
    import cntk

    cntk.cntk_py.set_max_num_cputhreads(run.threads)
elif K.backend() == "theano":
    import theano

    theano.config.floatX = run.dtype  # Keras sets it once, when imported
K.set_floatx(run.dtype)
cudnn = K.backend() == "tensorflow" and run.device == "cuda"
run.fact("backend", K.backend())
run.fact("gru", "reset_after")
run.fact("cudnn", cudnn)
run.fact("compiled", True)  # a graph, made at the first batch

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
if cudnn:
    gru = layers.CuDNNGRU(cfg.units)
else:
    gru = layers.GRU(
        cfg.units,
        recurrent_activation="sigmoid",  # hard_sigmoid by default
        reset_after=True,  # as cuDNN; before the product by default
        implementation=2,  # one product for the three gates
    )
model = keras.Sequential(
    [
        layers.InputLayer((cfg.length,)),
        layers.Embedding(cfg.vocabulary, cfg.embedding),  # (n, 150, 125)
        gru,  # (n, 100): only the last output by default
        layers.Dense(cfg.classes),  # logits: the softmax is in the loss
    ]
)


# %% Initial weights
def swap_gates(w):  # r, z, n to z, r, n along the first axis, and back
    a, b, n = np.split(w, 3)
    return np.concatenate([b, a, n])


w = run.weights()
biases = [swap_gates(w[f"gru.bias_{kind}_l0"]) for kind in ("ih", "hh")]
model.set_weights(
    [
        w["embedding.weight"],
        swap_gates(w["gru.weight_ih_l0"]).T,  # (125, 300)
        swap_gates(w["gru.weight_hh_l0"]).T,  # (100, 300)
        np.concatenate(biases) if cudnn else np.stack(biases),
        w["dense.weight"].T,
        w["dense.bias"],
    ]
)


def from_keras(embedding, kernel, recurrent, biases, dense, dense_bias):
    return {
        "embedding.weight": embedding,
        "gru.weight_ih_l0": swap_gates(kernel.T),
        "gru.weight_hh_l0": swap_gates(recurrent.T),
        "gru.bias_ih_l0": swap_gates(biases.reshape(2, -1)[0]),
        "gru.bias_hh_l0": swap_gates(biases.reshape(2, -1)[1]),
        "dense.weight": dense.T,
        "dense.bias": dense_bias,
    }


# %% Loss and optimiser
# By its name, "sparse_categorical_crossentropy", it takes probabilities.
loss_fn = partial(K.sparse_categorical_crossentropy, from_logits=True)
optimizer = keras.optimizers.Adam(  # adds epsilon before the correction
    cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon
)
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
    model.fit(
        x, y, cfg.batch_size, shuffle=False, verbose=0, callbacks=[progress]
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
is_right = keras.metrics.sparse_categorical_accuracy(
    K.variable(y_test[:, np.newaxis]), K.variable(logits)
)
run.metric("accuracy", K.eval(is_right).mean())
