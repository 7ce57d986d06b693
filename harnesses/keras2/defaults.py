"""What Keras 2 does unless it is told otherwise, over each of its backends."""

# %% Setup
import keras
import numpy as np
from keras import backend as K
from keras import layers

import rosetta
from rosetta import defaults

run = rosetta.start("Keras", keras.__version__)
np.random.seed(run.config.seed)  # initialisers and dropouts draw from NumPy
if K.backend() == "cntk":
    import cntk

    cntk.cntk_py.set_max_num_cputhreads(run.threads)
    cntk.cntk_py.set_fixed_random_seed(run.config.seed)  # not NumPy's
report = defaults.Report(
    run,
    overrides={
        "conv.layout": ("cnn", "to_layout = lambda x"),
        "conv.padding": ("cnn", 'padding="same"'),
        "embedding.initialiser": ("rnn", "model.set_weights("),
        "dropout.untold": ("cnn", "model.fit("),
        "loss.takes": ("cnn", "from_logits=True"),
        "adam.epsilon": ("rnn", "cfg.epsilon"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "gru.initialiser": ("rnn", "model.set_weights("),
        "gru.biases": ("rnn", "reset_after=True"),
        "gru.gates": ("rnn", "def swap_gates(w)"),
        "gru.reset": ("rnn", "reset_after=True"),
        "gru.update": ("rnn", 'recurrent_activation="sigmoid"'),
    },
    not_needed={
        "adam.correction": "cannot be stated: over TensorFlow it is a race"
    },
)


def call(layer, *told):
    """Keras 2 runs a layer in a function of its inputs, and of the phase."""
    phase = [K.learning_phase()] if told else []

    def run(x):
        inputs = layers.Input(x.shape[1:])
        return K.function([inputs] + phase, [layer(inputs)])([x, *told])[0]

    return run


def layer(layer):
    """Keras makes the weights in the first call, and kernels as HWIO."""

    def kernel():
        w = K.get_value(layer.kernel)
        return w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T

    return defaults.Layer(call(layer), kernel, lambda: K.get_value(layer.bias))


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
    layer.build((None, 1))
    return K.get_value(layer.embeddings)


report(defaults.dense(dense))
report(defaults.embedding(embedding))

# %% Dropout
drop = layers.Dropout(0.2)
model = keras.Sequential([layers.InputLayer((100,)), drop])
report(
    defaults.dropout(
        untold=model.predict,
        training=call(drop, 1),
        prediction=call(drop, 0),
    )
)


# %% Loss
def loss_fn(p, y):
    model = keras.Sequential([layers.InputLayer(p.shape[1:])])
    model.add(layers.Activation("linear"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model.test_on_batch(p, y)


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, optimizer):
    layer = layers.Dense(1, use_bias=False)  # its gradient is its input
    model = keras.Sequential([layers.InputLayer(weights.shape), layer])
    model.compile(optimizer, lambda _, y: y)
    layer.set_weights([weights[:, np.newaxis]])
    for gradient in gradients:
        model.train_on_batch(gradient[np.newaxis], np.zeros((1, 1)))
        yield layer.get_weights()[0][:, 0]


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, keras.optimizers.SGD(*settings))


def adam(weights, gradients, *settings):
    return descend(weights, gradients, keras.optimizers.Adam(*settings))


def words(batches):
    layer = layers.Embedding(4, 2)
    model = keras.Sequential([layers.InputLayer((1,)), layer])
    model.compile("adam", lambda _, y: y)
    for batch in batches:
        x = batch.reshape(-1, 1)
        model.train_on_batch(x, np.zeros((len(x), 1, 2)))
        yield layer.get_weights()[0]


report(defaults.momentum(sgd))
# Over TensorFlow the step is counted before or after Adam reads the count.
tries = 12 if K.backend() == "tensorflow" else 1
found = [defaults.adam(adam) for _ in range(tries)]
found = [one for one in found if defaults.UNKNOWN not in one.values()]
corrections = sorted({one["adam.correction"] for one in found})
report({**found[0], "adam.correction": " or ".join(corrections)})
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(keras.optimizers.SGD, "lr")})
report.read({"adam.rate": defaults.default_of(keras.optimizers.Adam, "lr")})


# %% Clipping
def clip(gradients, limit):  # there is no function: an optimiser clips
    inputs = [layers.Input((g.size,)) for g in gradients]
    parts = [layers.Dense(1, use_bias=False) for _ in gradients]
    y = layers.add([part(x) for part, x in zip(parts, inputs)])
    model = keras.Model(inputs, y)
    model.set_weights([np.zeros((g.size, 1)) for g in gradients])
    model.compile(keras.optimizers.SGD(1.0, clipnorm=limit), lambda _, y: y)
    rows = [g.reshape(1, -1) for g in gradients]
    model.train_on_batch(rows, np.zeros((1, 1)))
    return [-w for w in model.get_weights()]


report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% GRU
gru = layers.GRU(4)
gru.build((None, 4, 3))
weights = [np.random.standard_normal(w.shape) for w in gru.get_weights()]
gru.set_weights(weights)
kernel, recurrent, bias = weights  # one bias, of the input
report(defaults.gru(defaults.Gru(call(gru), kernel.T, recurrent.T, [bias])))


def recurrent(units):
    layer = layers.GRU(units)
    layer.build((None, 4, 3))
    return layer.get_weights()[1].T


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    np.random.seed(seed)
    if K.backend() == "cntk":
        cntk.cntk_py.set_fixed_random_seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "f"))
    dropped = call(layers.Dropout(0.2), 1)(np.ones((9, 9), "f"))
    return np.concatenate([kernel.kernel(), dropped])


report(defaults.types(dense, lambda x: K.dtype(K.variable(x))))
report(defaults.seeds(draw))
report.close()
