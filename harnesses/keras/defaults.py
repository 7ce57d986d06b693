"""What Keras does unless it is told otherwise, over each of its backends."""

# %% Setup
import keras
import numpy as np
from keras import layers, ops

import rosetta
from rosetta import defaults

run = rosetta.start("Keras", keras.__version__)
keras.utils.set_random_seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "def to_layout(x)"),
        "conv.padding": ("cnn", 'padding="same"'),
        "dropout.untold": ("cnn", "model.fit("),
        "loss.takes": ("cnn", "from_logits=True"),
        "adam.epsilon": ("rnn", "cfg.epsilon"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "adam.twice": ("rnn", "tf.convert_to_tensor(gradient)"),
        "gru.initialiser": ("rnn", "model.set_weights("),
        "gru.gates": ("rnn", "def swap_gates(w)"),
        "decay.biases": ("transformer", "exclude_from_weight_decay("),
        "clip.of": ("transformer", "global_clipnorm=cfg.clip_norm"),
        "norm.epsilon": ("transformer", "epsilon=cfg.norm_epsilon"),
    },
)


def call(layer):
    return lambda x, **told: ops.convert_to_numpy(layer(x, **told))


def layer(layer):
    """Keras makes the weights in the first call, and kernels as HWIO."""

    def kernel():
        w = ops.convert_to_numpy(layer.kernel)
        return w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T

    bias = lambda: ops.convert_to_numpy(layer.bias)
    return defaults.Layer(call(layer), kernel, bias)


# %% Convolution and pooling
def conv(_, outputs, size):
    return layer(layers.Conv2D(outputs, size))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(layers.MaxPooling2D(size)), layout))


# %% Dense and embedding
def dense(_, outputs):
    return layer(layers.Dense(outputs))


def embedding(rows, width):
    layer = layers.Embedding(rows, width)
    layer.build()
    return ops.convert_to_numpy(layer.embeddings)


report(defaults.dense(dense))
report(defaults.embedding(embedding))

# %% Dropout
drop = call(layers.Dropout(0.2))
told = lambda word: lambda x: drop(x, training=word)
report(defaults.dropout(drop, training=told(True), prediction=told(False)))

# %% Loss
loss_fn = keras.losses.SparseCategoricalCrossentropy()
report(defaults.loss(lambda p, y: ops.convert_to_numpy(loss_fn(y, p))))


# %% Optimisers
def descend(weights, gradients, optimizer):
    w = keras.Variable(weights)
    optimizer.build([w])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)])
        yield np.array(ops.convert_to_numpy(w))


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, keras.optimizers.SGD(*settings))


def adam(weights, gradients, *settings):
    return descend(weights, gradients, keras.optimizers.Adam(*settings))


def words(batches):
    layer = layers.Embedding(4, 2)
    model = keras.Sequential([layers.Input((1,)), layer])
    model.compile("adam", lambda _, y: y)
    for batch in batches:
        x = batch.reshape(-1, 1)
        model.train_on_batch(x, np.zeros(x.shape))
        yield np.array(ops.convert_to_numpy(layer.embeddings))


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read(
    {"sgd.rate": defaults.default_of(keras.optimizers.SGD, "learning_rate")}
)
report.read(
    {"adam.rate": defaults.default_of(keras.optimizers.Adam, "learning_rate")}
)



# %% Weight decay and clipping
def decaying(optimizer):
    return lambda weights, gradients, rate, decay: descend(
        weights, gradients, optimizer(rate, weight_decay=decay)
    )


def clip(gradients, limit):  # there is no function: an optimiser clips
    variables = [keras.Variable(np.zeros_like(g)) for g in gradients]
    optimizer = keras.optimizers.SGD(1.0, clipnorm=limit)
    optimizer.build(variables)
    optimizer.apply([ops.convert_to_tensor(g) for g in gradients])
    return [-ops.convert_to_numpy(variable) for variable in variables]


AdamW = keras.optimizers.AdamW
report(defaults.decay(decaying(keras.optimizers.Adam), decaying(AdamW)))
report.read({"decay.rate": defaults.default_of(AdamW, "weight_decay")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = layers.MultiHeadAttention(2, 4)


def attend(x, mask):
    return ops.convert_to_numpy(heads(x, x, attention_mask=mask[None]))


attend(np.ones((1, 4, 8), "float32"), np.ones((4, 4), bool))
biases = {w.path.split("/")[-2] for w in heads.weights if w.name == "bias"}
names = {"attention_output": "output"}
projections = [names.get(name, name) for name in biases]
gelu = keras.activations.gelu
report(defaults.layer_norm(call(layers.LayerNormalization())))
report(defaults.gelu(lambda x: ops.convert_to_numpy(gelu(x))))
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
    keras.utils.set_random_seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "float32"))
    ones = np.ones((9, 9), "float32")
    # Made anew: a layer keeps the generator that it was made with.
    drop = layers.Dropout(0.2)(ones, training=True)
    return np.concatenate([kernel.kernel(), ops.convert_to_numpy(drop)])


report(defaults.types(dense, lambda x: ops.convert_to_tensor(x).dtype))
report(defaults.seeds(draw))
report.close()
