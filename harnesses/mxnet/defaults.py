"""What MXNet does unless it is told otherwise, measured from its symbols."""

# %% Setup
import mxnet as mx
import numpy as np

import rosetta
from rosetta import defaults

run = rosetta.start("MXNet", mx.__version__)
mx.random.seed(run.config.seed)
np.random.seed(run.config.seed)  # some initialisers draw from NumPy
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "pad=(1, 1)"),
        "conv.shorthand": ("cnn", "kernel=(3, 3)"),
        "conv.initialiser": ("cnn", "init_params(arg_params=weights)"),
        "dense.initialiser": ("cnn", "init_params(arg_params=weights)"),
        "embedding.initialiser": ("rnn", "init_params(arg_params=weights)"),
        "gru.initialiser": ("rnn", "init_params(arg_params=weights)"),
        "pool.stride": ("cnn", "stride=(2, 2)"),
        "dropout.untold": ("cnn", "for_training=False"),
        "loss.takes": ("cnn", "mx.sym.SoftmaxOutput("),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "seed": ("cnn", ".srand(cfg.seed)"),  # of MKL's dropout
    },
    not_needed=dict.fromkeys(
        ["decay.adamw", "clip.of", "norm.epsilon", "gelu.form"],
        "only the transformer has this, and this API has no transformer",
    ),
)
symbol = mx.sym.Variable("x")


class Model:
    """A Module, bound to its first input; forward passes of any size then."""

    def __init__(self, output):
        self.module = mx.mod.Module(output, ["x"], None)

    def __call__(self, x, **settings):
        x = mx.nd.array(x, dtype=x.dtype)
        if not self.module.binded:
            self.module.bind([mx.io.DataDesc("x", x.shape, x.dtype)])
            self.module.init_params()
        self.module.forward(mx.io.DataBatch([x], None), **settings)
        return self.module.get_outputs()[0].asnumpy()

    def weight(self, name):
        return self.module.get_params()[0][name].asnumpy()


def layer(output, name):
    model = Model(output)
    return defaults.Layer(
        model,
        lambda: model.weight(name + "_weight"),
        lambda: model.weight(name + "_bias"),
    )


# %% Convolution and pooling
def conv(_, outputs, size):
    convolution = mx.sym.Convolution(
        symbol, num_filter=outputs, kernel=size, name="conv"
    )
    return layer(convolution, "conv")


def pool(size):
    return Model(mx.sym.Pooling(symbol, kernel=(size, size), pool_type="max"))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(pool, layout))


# %% Dense and embedding
def dense(_, outputs):
    product = mx.sym.FullyConnected(symbol, num_hidden=outputs, name="dense")
    return layer(product, "dense")


def embedding(rows, width):
    return Model(
        mx.sym.Embedding(
            symbol, input_dim=rows, output_dim=width, name="embedding"
        )
    )


def table(*size):
    model = embedding(*size)
    model(np.zeros((1, 1), "f"))
    return model.weight("embedding_weight")


report(defaults.dense(dense))
report(defaults.embedding(table))

# %% Dropout
drop = Model(mx.sym.Dropout(symbol, p=0.2))
report(
    defaults.dropout(
        untold=drop,  # a Module is bound for training
        training=lambda x: drop(x, is_train=True),
        prediction=lambda x: drop(x, is_train=False),
    )
)


# %% Loss
def loss_fn(x, y):  # SoftmaxOutput has none, but this metric is what it lowers
    metric = mx.metric.CrossEntropy()
    metric.update([mx.nd.array(y, dtype=y.dtype)], [mx.nd.array(x)])
    return metric.get()[1]


report(defaults.loss(loss_fn))


# %% Optimisers
def descend(weights, gradients, name, **settings):
    update = mx.optimizer.get_updater(mx.optimizer.create(name, **settings))
    w = mx.nd.array(weights)
    for gradient in gradients:
        update(0, mx.nd.array(gradient), w)
        yield w.asnumpy()


def sgd(weights, gradients, rate, momentum):
    settings = {"learning_rate": rate, "momentum": momentum}
    return descend(weights, gradients, "sgd", **settings)


def adam(weights, gradients, rate, beta1, beta2):
    settings = {"learning_rate": rate, "beta1": beta1, "beta2": beta2}
    return descend(weights, gradients, "adam", **settings)


def words(batches):
    model = embedding(4, 2)
    for batch in batches:
        y = model(batch.astype("f"))
        if not model.module.optimizer_initialized:
            model.module.init_optimizer(optimizer="adam")
        model.module.backward([mx.nd.ones(y.shape)])
        model.module.update()
        yield model.weight("embedding_weight")


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": str(mx.optimizer.SGD().lr)})
report.read({"adam.rate": str(mx.optimizer.Adam().lr)})


# %% Weight decay and clipping
def decaying(name):  # a Module knows by its name what a weight is
    def decay(weights, gradients, rate, decay):
        w = mx.sym.Variable(name, shape=weights.shape)
        product = mx.sym.broadcast_mul(symbol, w)  # its gradient is x
        module = mx.mod.Module(product, ["x"], None)
        module.bind([mx.io.DataDesc("x", (1,) + weights.shape)])
        module.init_params(arg_params={name: mx.nd.array(weights)})
        settings = {"learning_rate": rate, "wd": decay}
        module.init_optimizer(optimizer="adam", optimizer_params=settings)
        for gradient in gradients:
            x = mx.nd.array(gradient[None])
            module.forward(mx.io.DataBatch([x], None), is_train=True)
            module.backward([mx.nd.ones(x.shape)])
            module.update()
            yield module.get_params()[0][name].asnumpy()

    return decay


of_weight = defaults.decay(decaying("dense_weight"), None)
of_bias = defaults.decay(decaying("dense_bias"), None)
report(dict(of_weight, **{"decay.biases": of_bias["decay.biases"]}))
# An optimiser clips each number; norms are known to Gluon.
report.read({"clip.of": "not there"})
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
if mx.__version__ < "1":
    report.read({"norm.epsilon": "no such layer"})
    report.read({"gelu.form": "no such layer"})
else:
    report(defaults.layer_norm(Model(mx.sym.LayerNorm(symbol, name="norm"))))
    report(defaults.gelu(Model(mx.sym.LeakyReLU(symbol, act_type="gelu"))))
report.read({"attention.mask": "no such layer"})  # 1.9 has operators


# %% GRU
def gru(units, length):
    outputs, _ = mx.rnn.GRUCell(units).unroll(length, symbol)
    return Model(outputs[-1])


parts = ["gru_i2h_weight", "gru_h2h_weight", "gru_i2h_bias", "gru_h2h_bias"]
model = gru(4, length=4)
model(np.zeros((2, 4, 3), "f"))
weights = {
    name: mx.nd.array(np.random.standard_normal(w.shape))
    for name, w in model.module.get_params()[0].items()
}
model.module.set_params(weights, {})
w_i, w_h, *biases = [weights[name].asnumpy() for name in parts]
report(defaults.gru(defaults.Gru(model, w_i, w_h, biases)))


def recurrent(units):
    model = gru(units, length=1)
    model(np.zeros((1, 1, 3), "f"))
    return model.weight("gru_h2h_weight")


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    mx.random.seed(seed)
    kernel = dense(9, 9)
    kernel.call(np.ones((1, 9), "f"))
    noise = drop(np.ones((9, 9), "f"), is_train=True)
    return np.concatenate([kernel.kernel(), noise])


report(defaults.types(dense, lambda x: mx.nd.array(x).dtype))
report(defaults.seeds(draw))
report.close()
