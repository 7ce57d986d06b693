"""GRU on IMDB reviews in NumPy: the calculus itself, in float64."""

# %% Setup
import numpy as np

import rosetta

run = rosetta.start("NumPy", np.__version__)
cfg = run.config
run.fact("gru", "reset_after")
run.fact("dtype", "float64")  # also where run.dtype says float32: a reference

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
# A layer returns its output and its backward, which turns the loss's gradient
# by the output, dy, into that by the input and stores those by the weights.


def embedding(words):
    def backward(dy):
        gradients["embedding.weight"] = np.zeros((cfg.vocabulary, dy.shape[2]))
        np.add.at(gradients["embedding.weight"], words, dy)  # words recur

    return weights["embedding.weight"][words], backward  # (n, 150, 125)


def gru(x):
    rz, n_ = np.s_[: 2 * cfg.units], np.s_[2 * cfg.units :]
    _, w_i, w_h, b_i, b_h, *_ = weights.values()  # they are in forward order
    xw = x.swapaxes(0, 1) @ w_i.T + b_i  # (150, n, 300), the gates r, z, n
    h, tape = np.zeros((len(x), cfg.units)), []
    for i in xw:
        gates = 1 / (1 + np.exp(-(i[:, rz] + h @ w_h[rz].T + b_h[rz])))
        r, z = np.split(gates, 2, axis=1)
        hw = h @ w_h[n_].T + b_h[n_]
        n = np.tanh(i[:, n_] + r * hw)  # reset after the product, as cuDNN
        tape.insert(0, (h, r, z, n, hw))
        h = (1 - z) * n + z * h

    def backward(dh):
        dxw, dw_h, db_h = np.empty_like(xw), 0, 0
        for di, (h, r, z, n, hw) in zip(dxw[::-1], tape):
            dn = dh * (1 - z) * (1 - n**2)  # by what goes into tanh
            dr = dn * hw * r * (1 - r)
            dz = dh * (h - n) * z * (1 - z)  # both by what goes into sigmoid
            di[:] = np.concatenate([dr, dz, dn], 1)
            dhw = np.concatenate([dr, dz, dn * r], 1)
            dw_h += dhw.T @ h
            db_h += dhw.sum(0)
            dh = dh * z + dhw @ w_h
        gradients["gru.weight_ih_l0"] = np.tensordot(dxw, x, ([0, 1], [1, 0]))
        gradients["gru.weight_hh_l0"] = dw_h
        gradients["gru.bias_ih_l0"] = dxw.sum((0, 1))
        gradients["gru.bias_hh_l0"] = db_h
        return (dxw @ w_i).swapaxes(0, 1)

    return h, backward  # (n, 100), the last output only


def dense(x):
    def backward(dy):
        gradients["dense.weight"] = dy.T @ x
        gradients["dense.bias"] = dy.sum(0)
        return dy @ weights["dense.weight"]

    return x @ weights["dense.weight"].T + weights["dense.bias"], backward


def model(x):
    backwards, y = [], x
    for layer in embedding, gru, dense:
        y, backward = layer(y)
        backwards.insert(0, backward)
    return y, backwards


# %% Initial weights
weights = {name: w.astype("float64") for name, w in run.weights().items()}
gradients, t = {}, 0
mean, square = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 0.0)


# %% Loss and optimiser
def loss_fn(logits, y):  # mean softmax cross-entropy, and its gradient
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    is_label = np.arange(cfg.classes) == y[:, None]
    return -log_p[is_label].mean(), (np.exp(log_p) - is_label) / len(y)


def optimizer(t):  # Adam as published, in place; t is the step, from 1
    c1, c2 = 1 - cfg.beta1**t, 1 - cfg.beta2**t  # both start from zero: correct
    for name, g in gradients.items():
        mean[name] += (1 - cfg.beta1) * (g - mean[name])
        square[name] += (1 - cfg.beta2) * (g * g - square[name])
        m, v = mean[name] / c1, square[name] / c2
        weights[name] -= cfg.learning_rate * m / (np.sqrt(v) + cfg.epsilon)


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        logits, backwards = model(x)
        loss, dy = loss_fn(logits, y)
        for backward in backwards:
            dy = backward(dy)
        optimizer(t := t + 1)
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(lambda: weights)

# %% Predict
run.phase("predict")
logits = np.concatenate([model(x)[0] for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", np.mean(logits.argmax(1) == y_test))
