"""GRU on IMDB reviews in Lasagne: its layers, and Theano's functions."""

# %% Setup
import lasagne
import numpy as np
import theano
import theano.tensor as T
from lasagne.layers import (
    DenseLayer,
    EmbeddingLayer,
    GRULayer,
    InputLayer,
    SliceLayer,
    get_all_params,
    get_output,
)
from lasagne.nonlinearities import linear
from lasagne.objectives import categorical_crossentropy

import rosetta

run = rosetta.start("Lasagne", lasagne.__version__)  # functions wait
cfg = run.config
theano.config.floatX = run.dtype
run.fact("cudnn", False)
run.fact("compiled", True)  # the graph is declared first and then compiled
run.fact("gru", "reset_after, one bias")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
tokens, labels = T.imatrix("tokens"), T.ivector("labels")
model = InputLayer((None, cfg.length), tokens)
model = embedding = EmbeddingLayer(model, cfg.vocabulary, cfg.embedding)
# It resets after the product, as cuDNN, but a gate has one bias. The initial
# state would be trained.
model = gru = GRULayer(model, cfg.units, learn_init=False)  # (n, 150, 100)
model = SliceLayer(model, -1, axis=1)  # (n, 100): the last output
model = dense = DenseLayer(model, cfg.classes, nonlinearity=linear)  # logits

# %% Initial weights
weights = run.weights()
embedding.W.set_value(weights["embedding.weight"])
dense.W.set_value(weights["dense.weight"].T)  # (in, out)
dense.b.set_value(weights["dense.bias"])
gates = ["resetgate", "updategate", "hidden_update"]  # r, z, n
gru_parts = {
    "gru.weight_ih_l0": ["W_in_to_" + gate for gate in gates],
    "gru.weight_hh_l0": ["W_hid_to_" + gate for gate in gates],
    "gru.bias_ih_l0": ["b_" + gate for gate in gates],
}


def turned(part, w):
    """Kernels are (in, out), and an update of 1 takes the new, not the old."""
    return -w.T if part.endswith("updategate") else w.T


for name, parts in gru_parts.items():
    for part, w in zip(parts, np.split(weights[name], 3)):
        getattr(gru, part).set_value(turned(part, w))

# %% Loss and optimiser
# Theano makes one stable function of the softmax and the logarithm.
predictions = T.nnet.softmax(get_output(model))
loss_fn = categorical_crossentropy(predictions, labels).mean()
optimizer = lasagne.updates.adam(  # adds epsilon before the bias correction
    loss_fn,
    get_all_params(model, trainable=True),
    cfg.learning_rate,
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
)
train = theano.function([tokens, labels], loss_fn, updates=optimizer)
predict = theano.function([tokens], get_output(model, deterministic=True))

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train(x, y)
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    yield "embedding.weight", embedding.W.get_value()
    for name, parts in gru_parts.items():
        arrays = [turned(p, getattr(gru, p).get_value()) for p in parts]
        yield name, np.concatenate(arrays)
    yield "gru.bias_hh_l0", weights["gru.bias_hh_l0"]  # which it has not
    yield "dense.weight", dense.W.get_value().T
    yield "dense.bias", dense.b.get_value()


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
logits = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
is_right = T.eq(T.argmax(logits, axis=1), y_test)
run.metric("accuracy", is_right.mean().eval())
