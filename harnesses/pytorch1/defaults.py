"""What PyTorch 1.0 does unless told otherwise, measured from its layers."""

# %% Setup
import torch
from torch import nn

import rosetta
from rosetta import defaults

run = rosetta.start("PyTorch", torch.__version__)
torch.set_num_threads(run.threads)
torch.manual_seed(run.config.seed)
report = defaults.Report(
    run,
    overrides={
        "conv.padding": ("cnn", "padding=1"),
        "conv.initialiser": ("cnn", "model.load_state_dict(state)"),
        "conv.bias": ("cnn", "model.load_state_dict(state)"),
        "dense.initialiser": ("cnn", "model.load_state_dict(state)"),
        "dense.bias": ("cnn", "model.load_state_dict(state)"),
        "embedding.initialiser": ("rnn", "model.load_state_dict(state)"),
        "gru.initialiser": ("rnn", "model.load_state_dict(state)"),
        "dropout.untold": ("cnn", "model.eval()"),
        "adam.placement": ("framework.yaml", "adam_epsilon_hat"),
        "loss.label_type": ("cnn", "torch.from_numpy(y).long()"),
        "decay.adamw": ("transformer", "def decay(rate)"),
        "decay.biases": ("transformer", "if w.dim() > 1"),
        "clip.epsilon": ("framework.yaml", "clip_epsilon"),
        "gelu.form": ("transformer", "torch.erf("),
        "attention.mask": ("transformer", "class Attention("),
    },
)


def call(layer):
    return lambda x: layer(torch.from_numpy(x)).detach().numpy()


def array(tensor):
    return lambda: tensor.detach().numpy()


# %% Convolution and pooling
def conv(inputs, outputs, size):
    layer = nn.Conv2d(inputs, outputs, size)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


layout = report(defaults.convolution(conv))["conv.layout"]
report(defaults.pooling(lambda size: call(nn.MaxPool2d(size)), layout))


# %% Dense and embedding
def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    return defaults.Layer(call(layer), array(layer.weight), array(layer.bias))


report(defaults.dense(dense))
report(defaults.embedding(lambda *size: array(nn.Embedding(*size).weight)()))

# %% Dropout
drop = nn.Dropout(0.2)
report(
    defaults.dropout(
        untold=call(nn.Dropout(0.2)),
        training=lambda x: call(drop.train())(x),
        prediction=lambda x: call(drop.eval())(x),
    )
)

# %% Loss
loss_fn = nn.CrossEntropyLoss()
report(defaults.loss(lambda *pair: loss_fn(*map(torch.from_numpy, pair))))


# %% Optimisers
def descend(weights, gradients, optimizer, **settings):
    w = torch.tensor(weights, requires_grad=True)
    optimizer = optimizer([w], **settings)
    for gradient in gradients:
        w.grad = torch.from_numpy(gradient)
        optimizer.step()
        yield w.detach().numpy().copy()


def sgd(weights, gradients, rate, momentum):
    settings = {"lr": rate, "momentum": momentum}
    return descend(weights, gradients, torch.optim.SGD, **settings)


def adam(weights, gradients, rate, *betas):
    settings = {"lr": rate, "betas": betas}
    return descend(weights, gradients, torch.optim.Adam, **settings)


def words(batches):
    layer = nn.Embedding(4, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    for batch in batches:
        optimizer.zero_grad()
        layer(torch.from_numpy(batch)).sum().backward()
        optimizer.step()
        yield array(layer.weight)().copy()


report(defaults.momentum(sgd))
report(defaults.adam(adam))
report(defaults.words(words))
report.read({"sgd.rate": defaults.default_of(torch.optim.SGD, "lr")})
report.read({"adam.rate": defaults.default_of(torch.optim.Adam, "lr")})


# %% Weight decay and clipping
def decaying(weights, gradients, rate, decay):
    settings = {"lr": rate, "weight_decay": decay}
    return descend(weights, gradients, torch.optim.Adam, **settings)


def clip(gradients, limit):
    parameters = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = torch.from_numpy(gradient)
    nn.utils.clip_grad_norm_(parameters, limit)
    return [parameter.grad.numpy() for parameter in parameters]


report(defaults.decay(decaying, None))  # AdamW came with 1.2
report(defaults.clipping(clip))
report(defaults.padding_row(words))

# %% LayerNorm, GELU and attention
report(defaults.layer_norm(call(nn.LayerNorm(8))))
report.read({"gelu.form": "no such layer"})  # nor function
report.read({"attention.mask": "no such layer"})  # it came with 1.1

# %% GRU
gru = nn.GRU(3, 4, batch_first=True)
for parameter in gru.parameters():
    nn.init.normal_(parameter)
weights = [parameter.detach().numpy() for parameter in gru.parameters()]
last = lambda x: gru(torch.from_numpy(x))[1][0].detach().numpy()
report(defaults.gru(defaults.Gru(last, weights[0], weights[1], weights[2:])))
report(defaults.recurrent(lambda units: array(nn.GRU(3, units).weight_hh_l0)()))


# %% Types and seeds
def draw(seed):
    torch.manual_seed(seed)
    return torch.cat([nn.Linear(9, 9).weight.detach(), drop(torch.ones(9, 9))])


report(defaults.types(dense, lambda x: torch.tensor(x).dtype))
report(defaults.seeds(draw))
report.close()
