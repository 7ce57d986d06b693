"""What PaddlePaddle does unless told otherwise, measured from its layers."""

# %% Setup
import paddle
from paddle import nn, optimizer

import rosetta
from rosetta import defaults

run = rosetta.start("PaddlePaddle", paddle.__version__)
paddle.set_device("cpu")
paddle.seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "padding=1"),
        "conv.initialiser": ("cnn", "model.set_state_dict(state)"),
        "dense.initialiser": ("cnn", "model.set_state_dict(state)"),
        "embedding.initialiser": ("rnn", "model.set_state_dict(state)"),
        "gru.initialiser": ("rnn", "model.set_state_dict(state)"),
        "dropout.untold": ("cnn", "model.eval()"),
        "decay.biases": ("transformer", "apply_decay_param_fun="),
    },
)


def call(layer):
    return lambda x: layer(paddle.to_tensor(x)).numpy()


def array(tensor):
    return lambda: tensor.numpy()


# %% Convolution and pooling
def conv(inputs, outputs, size):
    layer = nn.Conv2D(inputs, outputs, size)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(nn.MaxPool2D(size)), layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    kernel = array(layer.weight.T)  # (in, out) to (out, in)
    return defaults.Layer(call(layer), kernel, array(layer.bias))


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: array(nn.Embedding(*size).weight)()))


# %% Dropout
def drop(x, train=True):
    layer = nn.Dropout(0.2)
    layer.train() if train else layer.eval()
    return call(layer)(x)


report(
    defaults.dropout(
        untold=call(nn.Dropout(0.2)),
        training=lambda x: drop(x, train=True),
        prediction=lambda x: drop(x, train=False),
    )
)

# %% Loss
loss_fn = nn.CrossEntropyLoss()
report(defaults.loss(lambda *pair: loss_fn(*map(paddle.to_tensor, pair))))


# %% Optimisers
def descend(weights, gradients, optimizer, *settings, **more):
    w = paddle.to_tensor(weights, stop_gradient=False)
    optimizer = optimizer(*settings, parameters=[w], **more)
    for gradient in gradients:
        w.grad = paddle.to_tensor(gradient)
        optimizer.step()
        yield w.numpy().copy()


def sgd(weights, gradients, *settings):
    return descend(weights, gradients, optimizer.Momentum, *settings)


def adam(weights, gradients, *settings):
    return descend(weights, gradients, optimizer.Adam, *settings)


def words(batches):
    layer = nn.Embedding(4, 2)
    adam = optimizer.Adam(parameters=layer.parameters())
    for batch in batches:
        adam.clear_grad()
        layer(paddle.to_tensor(batch)).sum().backward()
        adam.step()
        yield array(layer.weight)().copy()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read(
    {
        "sgd.rate": defaults.default_of(optimizer.Momentum, "learning_rate"),
        "adam.rate": defaults.default_of(optimizer.Adam, "learning_rate"),
    }
)


# %% Weight decay and clipping
def decaying(optimizer):
    return lambda weights, gradients, rate, decay: descend(
        weights, gradients, optimizer, rate, weight_decay=decay
    )


def clip(gradients, limit):
    pairs = [(paddle.zeros(g.shape), paddle.to_tensor(g)) for g in gradients]
    for parameter, _ in pairs:
        parameter.need_clip = True
    return [g.numpy() for _, g in nn.ClipGradByGlobalNorm(limit)(pairs)]


AdamW = optimizer.AdamW
report(defaults.decay(decaying(optimizer.Adam), decaying(AdamW)))
report.read({"decay.rate": defaults.default_of(AdamW, "weight_decay")})
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = nn.MultiHeadAttention(8, 2)
parts = {"query": heads.q_proj, "key": heads.k_proj, "value": heads.v_proj}
parts["output"] = heads.out_proj
projections = [name for name in parts if parts[name].bias is not None]


def attend(x, mask):
    mask = paddle.to_tensor(mask[None, None])
    return heads(paddle.to_tensor(x), attn_mask=mask).numpy()


report(defaults.layer_norm(call(nn.LayerNorm(8))))
report(defaults.gelu(call(nn.GELU())))
report(defaults.attention(attend, projections))

# %% GRU
gru = nn.GRU(3, 4)
parts = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
parameters = dict(gru.named_parameters())
for parameter in parameters.values():
    parameter.set_value(paddle.randn(parameter.shape))
weights = [parameters[part].numpy() for part in parts]
last = lambda x: gru(paddle.to_tensor(x))[1][0].numpy()
report(defaults.gru(defaults.Gru(last, weights[0], weights[1], weights[2:])))


def recurrent(units):
    return dict(nn.GRU(3, units).named_parameters())["weight_hh_l0"].numpy()


report(defaults.recurrent(recurrent))


# %% Types and seeds
def draw(seed):
    paddle.seed(seed)
    dropped = nn.Dropout(0.2)(paddle.ones((9, 9)))
    return paddle.concat([nn.Linear(9, 9).weight, dropped]).numpy()


report(defaults.types(dense, lambda x: paddle.to_tensor(x).dtype))
report(defaults.seeds(draw))
report.close()
