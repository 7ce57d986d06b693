"""What TensorFlow 1.4 does unless told otherwise, measured from tf.layers."""

# %% Setup
import numpy as np
import tensorflow as tf

import rosetta
from rosetta import defaults

run = rosetta.start("TensorFlow", tf.__version__)
tf.set_random_seed(run.config.seed)
np.random.seed(run.config.seed)
session = tf.Session(
    config=tf.ConfigProto(intra_op_parallelism_threads=run.threads)
)
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "to_layout = lambda x"),
        "conv.padding": ("cnn", '"padding": "same"'),
        "embedding.initialiser": ("rnn", "variable.load("),
        "pool.stride": ("cnn", "tf.layers.max_pooling2d(x, 2, 2, **layout)"),
        "dropout.untold": ("cnn", "training=training"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "gru.initialiser": ("rnn", "variable.load("),
        "gru.reset": ("rnn", "class Gru("),
        "gru.biases": ("rnn", "class Gru("),
        "decay.adamw": ("transformer", "w.assign_sub("),
        "norm.epsilon": ("transformer", "def norm(x, name)"),
        "gelu.form": ("transformer", "def gelu(x)"),
        "attention.mask": ("transformer", "def attention("),
    },
)
ready = set()  # variables that have their initial values


def evaluate(tensors, feed=None):
    fresh = set(tf.global_variables()) - ready
    session.run(tf.variables_initializer(fresh))
    ready.update(fresh)
    return session.run(tensors, feed)


def call(layer, **told):
    return lambda x: evaluate(layer(tf.constant(x), **told))


def layer(layer):
    """The weights are made in the first call, and kernels are HWIO."""

    def kernel():
        w = evaluate(layer.kernel)
        return w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T

    return defaults.Layer(call(layer), kernel, lambda: evaluate(layer.bias))


# %% Convolution and pooling
def conv(_, outputs, size):
    return layer(tf.layers.Conv2D(outputs, size))


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: call(tf.layers.MaxPooling2D(size, strides=size))
properties = defaults.pooling(pool, layout)
del properties["pool.stride"]
report(properties)
report.read(
    {"pool.stride": defaults.default_of(tf.layers.max_pooling2d, "strides")}
)


# %% Dense and embedding
def dense(_, outputs):
    return layer(tf.layers.Dense(outputs))


def embedding(*shape):
    return evaluate(tf.get_variable("embedding%d" % shape[0], shape))


report(defaults.dense(dense))
report(defaults.embedding(embedding))

# %% Dropout
drop = tf.layers.Dropout(0.2)
report(
    defaults.dropout(
        untold=call(drop),
        training=call(drop, training=True),
        prediction=call(drop, training=False),
    )
)


# %% Loss
def loss_fn(logits, y):
    return evaluate(tf.losses.sparse_softmax_cross_entropy(y, logits))


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, optimizer):
    w, gradient = tf.Variable(weights), tf.placeholder(tf.float32)
    step = optimizer.apply_gradients([(gradient, w)])
    for value in gradients:
        evaluate(step, {gradient: value})
        yield evaluate(w)


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, tf.train.MomentumOptimizer(*settings))


def adam(weights, gradients, *settings):
    return descend(weights, gradients, tf.train.AdamOptimizer(*settings))


def words(batches):
    w, batch = tf.Variable(tf.zeros((4, 2))), tf.placeholder(tf.int32)
    loss = tf.reduce_sum(tf.nn.embedding_lookup(w, batch))
    step = tf.train.AdamOptimizer().minimize(loss, var_list=[w])
    for value in batches:
        evaluate(step, {batch: value})
        yield evaluate(w)


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read(
    {
        "sgd.rate": defaults.default_of(
            tf.train.MomentumOptimizer, "learning_rate"
        ),
        "adam.rate": defaults.default_of(
            tf.train.AdamOptimizer, "learning_rate"
        ),
    }
)


# %% Weight decay and clipping
def clip(gradients, limit):
    tensors = [tf.constant(g) for g in gradients]
    return evaluate(tf.clip_by_global_norm(tensors, limit)[0])


properties = defaults.decay(None, None)  # there is no AdamW yet
del properties["decay.biases"]
report(properties)
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
norm = lambda x: evaluate(tf.contrib.layers.layer_norm(tf.constant(x)))
report(defaults.layer_norm(norm))
report.read({"gelu.form": "no such layer"})  # nor function
report.read({"attention.mask": "no such layer"})  # only of RNNs' states


# %% GRU
def last(cell, x, scope):
    _, state = tf.nn.dynamic_rnn(
        cell, tf.constant(x), dtype=tf.float32, scope=scope
    )
    return evaluate(state)


cell = tf.nn.rnn_cell.GRUCell(4)  # takes the input and the state side by side
last(cell, np.zeros((1, 1, 3), "f"), "gru")  # the first call makes the weights
for variable in cell.variables:
    variable.load(np.random.standard_normal(variable.shape), session)
gates, gates_bias, new, new_bias = evaluate(cell.variables)
kernel = np.concatenate([gates, new], axis=1).T
report(
    defaults.gru(
        defaults.Gru(
            call=lambda x: last(cell, x, "gru"),
            weight_ih=kernel[:, :3],
            weight_hh=kernel[:, 3:],
            biases=[np.concatenate([gates_bias, new_bias])],
        )
    )
)


def recurrent(units):  # of two gates: the third has a parameter of its own
    cell = tf.nn.rnn_cell.GRUCell(units)
    last(cell, np.zeros((1, 1, 3), "f"), "gru%d" % units)
    return evaluate(cell.variables[0])[3:].T


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)  # of this graph
        weights = tf.get_variable("w", (9, 9))
        dropped = tf.layers.dropout(tf.ones((9, 9)), 0.2, training=True)
        session.run(tf.global_variables_initializer())
        return session.run(tf.concat([weights, dropped], axis=0))


report(defaults.types(dense, lambda x: tf.convert_to_tensor(x).dtype))
report(defaults.seeds(draw))
report.close()
