"""What CNTK does unless it is told otherwise, measured from its layers."""

# %% Setup
import cntk as C
import numpy as np
from cntk import layers

import rosetta
from rosetta import defaults

run = rosetta.start("CNTK", C.__version__)
C.try_set_default_device(C.cpu())
C.cntk_py.set_max_num_cputhreads(run.threads)
C.cntk_py.set_fixed_random_seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "pad=True"),
        "embedding.initialiser": ("rnn", "parameters[name].value ="),
        "pool.stride": ("cnn", "strides=2"),
        "loss.labels": ("cnn", "C.one_hot(label, cfg.classes)"),
        "loss.label_type": ("cnn", "y.astype(dtype)"),
        "loss.reduction": ("cnn", "minibatch_size=cfg.batch_size"),
        "sgd.momentum": ("cnn", "unit_gain=False"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "adam.absent": ("rnn", "C.gather(embedding, review)"),
        "adam.twice": ("rnn", "C.gather(embedding, review)"),
        "gru.initialiser": ("rnn", "parameters[name].value ="),
        "gru.gates": ("rnn", "h_r, h_z, h_n ="),
        "gru.reset": ("rnn", "def gru(h, x):"),
        "gru.biases": ("rnn", "bias_ih, bias_hh = C.Parameter("),
    },
)


def call(layer):
    """Batch is an axis that CNTK adds by itself."""

    def run(x):
        variable = C.input_variable(x.shape[1:])
        return layer(variable).eval({variable: x})

    return run


def layer(layer):
    """CNTK makes the weights in the first call."""

    def kernel():
        w = layer.W.value
        return w if w.ndim == 4 else w.T  # from OIHW or (in, out)

    return defaults.Layer(call(layer), kernel, lambda: layer.b.value.ravel())


# %% Convolution and pooling
def conv(_, outputs, size):
    return layer(layers.Convolution2D(size, outputs))


layout = report(defaults.convolution(conv))["conv.layout"]
pool = lambda size: call(layers.MaxPooling((size, size)))
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(_, outputs):
    return layer(layers.Dense(outputs))


def embedding(rows, width):
    return layers.Embedding(width)(C.input_variable(rows)).E.value


report(defaults.dense(dense))
report(defaults.embedding(embedding))


# %% Dropout
def training(x):  # a pass is for training if a backward pass may follow
    variable = C.input_variable(x.shape[1:], needs_gradient=True)
    y = layers.Dropout(0.2)(variable)
    _, values = y.forward({variable: x}, [y.output], {y.output})
    return values[y.output]


drop = call(layers.Dropout(0.2))
report(defaults.dropout(drop, training, prediction=drop))


# %% Loss
def loss_fn(x, y):
    logits = C.input_variable(x.shape[1:])
    label = C.input_variable(y.shape[1:])
    return C.cross_entropy_with_softmax(logits, label).eval(
        {logits: x, label: y}
    )


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, learner):
    w, gradient = C.parameter(init=weights), C.input_variable(weights.shape)
    loss = C.reduce_sum(w * gradient)
    trainer = C.Trainer(None, loss, [learner([w])])
    for value in gradients:
        trainer.train_minibatch({gradient: value[np.newaxis]})
        yield w.value


def sgd(weights, gradients, *settings):
    learner = lambda parameters: C.momentum_sgd(parameters, *settings)
    return descend(weights, gradients, learner)


def adam(weights, gradients, rate, beta1, beta2):
    settings = {"momentum": beta1, "variance_momentum": beta2}
    learner = lambda parameters: C.adam(parameters, rate, **settings)
    return descend(weights, gradients, learner)


def words(batches):
    token = C.input_variable(4, is_sparse=True)
    loss = C.reduce_sum(layers.Embedding(2)(token))
    trainer = C.Trainer(None, loss, [C.adam(loss.parameters, 0.1, 0.9)])
    for batch in batches:
        trainer.train_minibatch({token: C.Value.one_hot(batch.tolist(), 4)})
        yield loss.parameters[0].value


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(C.momentum_sgd, "lr")})
report.read({"adam.rate": defaults.default_of(C.adam, "lr")})

# %% GRU
sequence = C.sequence.input_variable(3)
last = layers.Fold(layers.GRU(4))(sequence)
for parameter in last.parameters:
    parameter.value = np.random.standard_normal(parameter.shape)
weights = {parameter.name: parameter.value for parameter in last.parameters}
report(
    defaults.gru(
        defaults.Gru(
            call=lambda x: last.eval({sequence: x}),
            weight_ih=weights["W"].T,
            weight_hh=np.hstack([weights["H"], weights["H1"]]).T,
            biases=[weights["b"]],
        )
    )
)


def recurrent(units):  # of two gates: the third has a parameter of its own
    return layers.Fold(layers.GRU(units))(sequence).H.value.T


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    C.cntk_py.set_fixed_random_seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "f"))
    return np.concatenate([kernel.kernel(), training(np.ones((9, 9), "f"))])


report(defaults.types(dense, lambda x: C.Constant(x).dtype))
report(defaults.seeds(draw))
report.close()
