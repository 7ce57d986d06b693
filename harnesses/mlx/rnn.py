"""GRU on IMDB reviews in MLX: an nn.Module and a training loop."""

# %% Setup
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten

import rosetta

run = rosetta.start("MLX", mx.__version__, sync=mx.synchronize)
cfg = run.config
mx.set_default_device(mx.cpu if run.device == "cpu" else mx.gpu)
mx.random.seed(cfg.seed)
run.fact("gru", "reset_after")
run.fact("compiled", False)
run.fact("cudnn", False)  # its own GRU is a loop too

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Gru(nn.Module):
    """MLX's own has a recurrent bias in n only; here are three, as in cuDNN."""

    def __init__(self):
        super().__init__()
        self.input = nn.Linear(cfg.embedding, 3 * cfg.units)  # r, z, n
        self.hidden = nn.Linear(cfg.units, 3 * cfg.units)

    def __call__(self, x):
        gates = self.input(x)  # (n, 150, 300): of all words at once
        h = mx.zeros((len(x), cfg.units))
        for t in range(cfg.length):
            i_r, i_z, i_n = mx.split(gates[:, t], 3, axis=-1)
            h_r, h_z, h_n = mx.split(self.hidden(h), 3, axis=-1)
            r, z = mx.sigmoid(i_r + h_r), mx.sigmoid(i_z + h_z)
            n = mx.tanh(i_n + r * h_n)
            h = (1 - z) * n + z * h
        return h  # (n, 100)


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.embedding)
        self.gru = Gru()
        self.dense = nn.Linear(cfg.units, cfg.classes)

    def __call__(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        return self.dense(self.gru(x))  # logits: the softmax is in the loss


model = Rnn()

# %% Initial weights
names = {
    "embedding.weight": "embedding.weight",
    "gru.weight_ih_l0": "gru.input.weight",
    "gru.weight_hh_l0": "gru.hidden.weight",
    "gru.bias_ih_l0": "gru.input.bias",
    "gru.bias_hh_l0": "gru.hidden.bias",
    "dense.weight": "dense.weight",
    "dense.bias": "dense.bias",
}
weights = run.weights()
model.load_weights([(names[n], mx.array(w)) for n, w in weights.items()])


# %% Loss and optimiser
def loss_fn(model, x, y):  # by default it returns the loss of each review
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


loss_and_gradients = nn.value_and_grad(model, loss_fn)
optimizer = optim.Adam(
    cfg.learning_rate,
    [cfg.beta1, cfg.beta2],
    cfg.epsilon,
    bias_correction=True,  # off by default
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss, gradients = loss_and_gradients(model, mx.array(x), mx.array(y))
        optimizer.update(model, gradients)
        mx.eval(loss, model.state, optimizer.state)  # until here, all was lazy
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    trained = dict(tree_flatten(model.trainable_parameters()))
    return {name: np.array(trained[names[name]]) for name in names}


run.final_weights(final_weights)

# %% Predict
run.phase("predict")
model.eval()
logits = [np.array(model(mx.array(x))) for x in run.split(x_test)]  # evaluates
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = mx.mean(mx.argmax(mx.array(logits), axis=1) == mx.array(y_test))
run.metric("accuracy", accuracy.item())
