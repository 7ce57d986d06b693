"""What TensorFlow does unless told otherwise, measured from its layers."""

# %% Setup
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, losses, optimizers

import rosetta
from rosetta import defaults

run = rosetta.start("TensorFlow", tf.__version__)
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
tf.keras.utils.set_random_seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "to_layout = lambda x"),
        "conv.padding": ("cnn", 'padding="same"'),
        "dropout.untold": ("cnn", "model(x, training=True)"),
        "loss.takes": ("cnn", "from_logits=True"),
        "adam.epsilon": ("rnn", "cfg.epsilon"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "adam.twice": ("rnn", "tf.convert_to_tensor(g)"),
        "gru.initialiser": ("rnn", "gru.recurrent_kernel.assign("),
        "gru.gates": ("rnn", "def swap_gates(w)"),
        "decay.biases": ("transformer", "exclude_from_weight_decay("),
        "norm.epsilon": ("transformer", "epsilon=cfg.norm_epsilon"),
    },
)


def call(layer, **told):
    return lambda x: layer(x, **told).numpy()


def layer(layer):
    """The weights are made in the first call, and kernels are HWIO."""

    def kernel():
        w = layer.kernel.numpy()
        return w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T

    return defaults.Layer(call(layer), kernel, lambda: layer.bias.numpy())


# %% Convolution and pooling
def conv(_, outputs, size):
    return layer(layers.Conv2D(outputs, size))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(layers.MaxPool2D(size)), layout))


# %% Dense and embedding
def dense(_, outputs):
    return layer(layers.Dense(outputs))


def embedding(rows, width):
    layer = layers.Embedding(rows, width)
    layer.build()
    return layer.embeddings.numpy()


report(defaults.dense(dense))
report(defaults.embedding(embedding))

# %% Dropout
drop = layers.Dropout(0.2)
report(
    defaults.dropout(
        untold=call(drop),
        training=call(drop, training=True),
        prediction=call(drop, training=False),
    )
)

# %% Loss
loss_fn = losses.SparseCategoricalCrossentropy()
report(defaults.loss(lambda p, y: loss_fn(y, p).numpy()))


# %% Optimisers
def descend(weights, gradients, optimizer):
    w = tf.Variable(weights)
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), w)])
        yield w.numpy()


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, optimizers.SGD(*settings))


def adam(weights, gradients, *settings):
    return descend(weights, gradients, optimizers.Adam(*settings))


def words(batches):
    w, optimizer = tf.Variable(tf.zeros((4, 2))), optimizers.Adam()
    for batch in batches:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.embedding_lookup(w, batch))
        optimizer.apply_gradients([(tape.gradient(loss, w), w)])
        yield w.numpy()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(optimizers.SGD, "learning_rate")})
report.read(
    {"adam.rate": defaults.default_of(optimizers.Adam, "learning_rate")}
)



# %% Weight decay and clipping
def decaying(optimizer):
    return lambda weights, gradients, rate, decay: descend(
        weights, gradients, optimizer(rate, weight_decay=decay)
    )


def clip(gradients, limit):
    return tf.clip_by_global_norm(gradients, limit)[0]


AdamW = optimizers.AdamW
report(defaults.decay(decaying(optimizers.Adam), decaying(AdamW)))
report.read({"decay.rate": defaults.default_of(AdamW, "weight_decay")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = layers.MultiHeadAttention(2, 4)
attend = lambda x, mask: heads(x, x, attention_mask=mask[None]).numpy()
attend(np.ones((1, 4, 8), "float32"), np.ones((4, 4), bool))
biases = {w.path.split("/")[-2] for w in heads.weights if w.name == "bias"}
names = {"attention_output": "output"}
projections = [names.get(name, name) for name in biases]
report(defaults.layer_norm(call(layers.LayerNormalization())))
report(defaults.gelu(lambda x: tf.keras.activations.gelu(x).numpy()))
report(defaults.attention(attend, projections))

# %% GRU
gru = layers.GRU(4)
gru.build((None, None, 3))
weights = [np.random.standard_normal(w.shape) for w in gru.get_weights()]
gru.set_weights(weights)
kernel, recurrent, biases = weights
report(defaults.gru(defaults.Gru(call(gru), kernel.T, recurrent.T, biases)))


def recurrent(units):
    layer = layers.GRU(units)
    layer.build((None, None, 3))
    return layer.get_weights()[1].T


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    tf.keras.utils.set_random_seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "float32"))
    # Made anew: a layer keeps the generator that it was made with.
    drop = layers.Dropout(0.2)(np.ones((9, 9), "float32"), training=True)
    return np.concatenate([kernel.kernel(), drop.numpy()])


report(defaults.types(dense, lambda x: tf.convert_to_tensor(x).dtype))
report(defaults.seeds(draw))
report.close()
