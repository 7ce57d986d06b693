"""GRU on IMDB reviews in Chainer: embedding 125, GRU 100, dense 2, Adam."""

# %% Setup
import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer.backends import cuda

import rosetta

wait = lambda: cuda.Stream.null.synchronize()
run = rosetta.start("Chainer", chainer.__version__, sync=wait)
cfg = run.config
device = chainer.get_device("@cupy:0" if run.device == "cuda" else "@numpy")
device.use()
chainer.global_config.dtype = run.dtype
run.fact("cudnn", cuda.cudnn_enabled)
run.fact("compiled", False)  # define-by-run: the graph is what was called
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Rnn(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():  # only links made in here are trained
            self.embedding = L.EmbedID(cfg.vocabulary, cfg.embedding)
            # NStepGRU is cuDNN's; L.GRU resets before the recurrent product.
            self.gru = L.NStepGRU(1, cfg.embedding, cfg.units, dropout=0)
            self.dense = L.Linear(cfg.units, cfg.classes)

    def forward(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        # NStepGRU takes a list of reviews, as their lengths might differ.
        last, _ = self.gru(None, F.separate(x))  # (layers, n, 100)
        return self.dense(last[0])  # logits: the softmax is in the loss


model = Rnn()

# %% Initial weights
weights = run.weights()
model.embedding.W.array[...] = weights["embedding.weight"]
model.dense.W.array[...] = weights["dense.weight"]
model.dense.b.array[...] = weights["dense.bias"]
gru_parts = {  # r, z and n are parameters of their own here
    "gru.weight_ih_l0": ["w0", "w1", "w2"],
    "gru.weight_hh_l0": ["w3", "w4", "w5"],
    "gru.bias_ih_l0": ["b0", "b1", "b2"],
    "gru.bias_hh_l0": ["b3", "b4", "b5"],
}
layer = model.gru[0]
for name, parts in gru_parts.items():
    for part, array in zip(parts, np.split(weights[name], 3)):
        getattr(layer, part).array[...] = array
model.to_device(device)  # in place

# %% Loss and optimiser
loss_fn = F.softmax_cross_entropy  # takes logits and class indices
# Adds epsilon before the bias correction, not after it.
optimizer = chainer.optimizers.Adam(
    cfg.learning_rate, cfg.beta1, cfg.beta2, cfg.epsilon
)
optimizer.setup(model)

# %% Train
run.phase("train")
with chainer.using_config("train", True):  # the default
    for epoch in run.epochs():
        for x, y in run.batches(epoch):
            loss = loss_fn(model(device.send(x)), device.send(y))
            model.cleargrads()  # gradients accumulate unless cleared
            loss.backward()
            optimizer.update()
            run.step(loss)
        run.epoch_end(epoch, loss)


def final_weights():
    host = chainer.get_device("@numpy")
    yield "embedding.weight", host.send(model.embedding.W.array)
    for name, parts in gru_parts.items():
        arrays = [host.send(getattr(layer, part).array) for part in parts]
        yield name, np.concatenate(arrays)
    yield "dense.weight", host.send(model.dense.W.array)
    yield "dense.bias", host.send(model.dense.b.array)


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
with chainer.using_config("train", False), chainer.no_backprop_mode():
    batches = [model(device.send(x)).array for x in run.split(x_test)]
logits = device.xp.concatenate(batches)
run.outputs(chainer.get_device("@numpy").send(logits))

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", F.accuracy(logits, device.send(y_test)).item())
