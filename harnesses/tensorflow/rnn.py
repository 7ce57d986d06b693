"""GRU on IMDB reviews in TensorFlow: embedding 125, GRU 100, dense 2, Adam."""

# %% Setup
import numpy as np
import tensorflow as tf
from tensorflow.keras import Model
from tensorflow.keras.layers import GRU, Dense, Embedding

import rosetta

wait = tf.test.experimental.sync_devices
run = rosetta.start("TensorFlow", tf.__version__, sync=wait)
cfg = run.config
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx(run.dtype)
if run.device == "cuda":
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all
    tf.config.experimental.enable_tensor_float_32_execution(False)
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Rnn(Model):
    def __init__(self):
        super().__init__()
        self.embedding = Embedding(cfg.vocabulary, cfg.embedding)
        # Resets after the recurrent product and so can be cuDNN's.
        self.gru = GRU(cfg.units)  # returns the last output only: (n, 100)
        self.dense = Dense(cfg.classes)

    def call(self, x):
        return self.dense(self.gru(self.embedding(x)))  # logits


model = Rnn()

# %% Initial weights
model(x_test[:1])  # the first call makes the variables


def swap_gates(w):
    """Changes the order of the gates: r, z, n and z, r, n (here called h)."""
    r_or_z, z_or_r, n = np.split(w, 3)
    return np.concatenate([z_or_r, r_or_z, n])


weights = run.weights()
gru = model.gru.cell
biases = [weights["gru.bias_ih_l0"], weights["gru.bias_hh_l0"]]
model.embedding.embeddings.assign(weights["embedding.weight"])
gru.kernel.assign(swap_gates(weights["gru.weight_ih_l0"]).T)  # (125, 300)
gru.recurrent_kernel.assign(swap_gates(weights["gru.weight_hh_l0"]).T)
gru.bias.assign([swap_gates(b) for b in biases])  # (2, 300): input, recurrent
model.dense.kernel.assign(weights["dense.weight"].T)  # (in, out)
model.dense.bias.assign(weights["dense.bias"])

# %% Loss and optimiser
loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# TensorFlow rounds a Python float to float32 before it casts it to float64.
beta1, beta2 = np.float64(cfg.beta1), np.float64(cfg.beta2)
# Adds epsilon before the bias correction, not after it; 1e-7 by default.
optimizer = tf.keras.optimizers.Adam(
    cfg.learning_rate, beta1, beta2, cfg.epsilon
)


@tf.function  # traced into a graph at the first call
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x))
    gradients = tape.gradient(loss, model.trainable_variables)
    # The embedding's gradient has a row for each word of the batch, and Adam
    # would square those of the same word before it sums them.
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(x, y)
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    bias_ih, bias_hh = gru.bias.numpy()
    return {
        "embedding.weight": model.embedding.embeddings.numpy(),
        "gru.weight_ih_l0": swap_gates(gru.kernel.numpy().T),
        "gru.weight_hh_l0": swap_gates(gru.recurrent_kernel.numpy().T),
        "gru.bias_ih_l0": swap_gates(bias_ih),
        "gru.bias_hh_l0": swap_gates(bias_hh),
        "dense.weight": model.dense.kernel.numpy().T,
        "dense.bias": model.dense.bias.numpy(),
    }


run.final_weights(final_weights)

# %% Predict
run.phase("predict")
predict = tf.function(model)
logits = tf.concat([predict(x) for x in run.split(x_test)], axis=0)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = tf.keras.metrics.SparseCategoricalAccuracy()
run.metric("accuracy", float(accuracy(y_test, logits)))
