"""GRU on IMDB reviews in TensorFlow 1.4: an own cell, dynamic_rnn, Adam."""

# %% Setup
import numpy as np
import tensorflow as tf

import rosetta

run = rosetta.start("TensorFlow", tf.__version__)  # no sync: a session waits
cfg = run.config
tf.set_random_seed(cfg.seed)
session = tf.Session(
    config=tf.ConfigProto(
        intra_op_parallelism_threads=run.threads,
        inter_op_parallelism_threads=1,
        gpu_options=tf.GPUOptions(allow_growth=True),  # default: take it all
    )
)
run.fact("cudnn", False)
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
# All that follows only declares a graph, which a session then computes.
tokens = tf.placeholder(tf.int32, (None, cfg.length))
labels = tf.placeholder(tf.int32, (None,))


class Gru(tf.nn.rnn_cell.RNNCell):
    """GRUCell resets before the recurrent product; CudnnCompatibleGRUCell,
    which does not, has one bias each for r and z, and Adam makes that a
    difference."""

    state_size = output_size = cfg.units

    def call(self, x, h):  # x is the input times its weights already: (n, 300)
        x_r, x_z, x_n = tf.split(x, 3, axis=1)
        state = tf.layers.dense(h, 3 * cfg.units, name="state")
        h_r, h_z, h_n = tf.split(state, 3, axis=1)
        r, z = tf.sigmoid(x_r + h_r), tf.sigmoid(x_z + h_z)
        n = tf.tanh(x_n + r * h_n)
        h = (1 - z) * n + z * h
        return h, h  # the output and the state


def model(x):
    shape = (cfg.vocabulary, cfg.embedding)
    embedding = tf.get_variable("embedding", shape)
    x = tf.nn.embedding_lookup(embedding, x)  # (n, 150, 125)
    x = tf.layers.dense(x, 3 * cfg.units, name="input")  # of all steps at once
    _, last = tf.nn.dynamic_rnn(Gru(), x, dtype=tf.float32)  # (n, 100)
    return tf.layers.dense(last, cfg.classes, name="dense")  # no softmax


logits = model(tokens)

# %% Initial weights
names = {
    "embedding": "embedding.weight",
    "input/kernel": "gru.weight_ih_l0",  # r, z, n here too
    "input/bias": "gru.bias_ih_l0",
    "rnn/gru/state/kernel": "gru.weight_hh_l0",
    "rnn/gru/state/bias": "gru.bias_hh_l0",
    "dense/kernel": "dense.weight",
    "dense/bias": "dense.bias",
}
variables = tf.trainable_variables()
weights = run.weights()


def turned(name, w):
    """Kernels are (in, out) here, not (out, in); the embedding is the same."""
    return w if name == "embedding" else w.T


for variable in variables:
    name = variable.op.name
    variable.load(turned(name, weights[names[name]]), session)

# %% Loss and optimiser
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
# Adds epsilon before the bias correction, not after it.
optimizer = tf.train.AdamOptimizer(
    cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon
)
train_step = optimizer.minimize(loss)
others = set(tf.global_variables()) - set(variables)  # the optimiser's own
session.run(tf.variables_initializer(others))

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        feed = {tokens: x, labels: y}
        _, batch_loss = session.run([train_step, loss], feed)
        run.step(batch_loss)
    run.epoch_end(epoch, batch_loss)


def final_weights():
    for variable, w in zip(variables, session.run(variables)):
        name = variable.op.name
        yield names[name], turned(name, w)


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
predict = lambda x: session.run(logits, {tokens: x})
outputs = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(outputs)

# %% Evaluate
run.phase("evaluate")
correct = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
run.metric("accuracy", session.run(accuracy, {logits: outputs, labels: y_test}))
