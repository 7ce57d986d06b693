"""VGG-style CNN on CIFAR-10 in NumPy: the calculus itself, in float64."""

# %% Setup
import numpy as np

import rosetta

run = rosetta.start("NumPy", np.__version__)
cfg, rng = run.config, np.random.default_rng(run.config.seed)
run.fact("layout", "NCHW")
run.fact("dtype", "float64")  # also where run.dtype says float32: a reference

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")
# A layer returns its output and its backward, which turns the loss's gradient
# by the output, dy, into that by the input and stores those by the weights.


def conv(x, name):
    k = weights[name + ".weight"]  # the kernel: (out, in, 3, 3)
    n, c, h, w = x.shape
    x = np.pad(x.swapaxes(0, 1), ((0, 0), (0, 0), (1, 1), (1, 1)))  # "same"
    y = np.zeros((len(k), n * h * w)) + weights[name + ".bias"][:, None]
    for i, j in np.ndindex(3, 3):  # a matrix product for each kernel pixel
        y += k[:, :, i, j] @ x[:, :, i : i + h, j : j + w].reshape(c, -1)

    def backward(dy):
        dy = dy.swapaxes(0, 1).reshape(len(k), -1)
        dx, dk = np.zeros_like(x), np.zeros_like(k)
        for i, j in np.ndindex(3, 3):
            x_ij = x[:, :, i : i + h, j : j + w].reshape(c, -1)
            dk[:, :, i, j] = dy @ x_ij.T
            dx_ij = (k[:, :, i, j].T @ dy).reshape(c, n, h, w)
            dx[:, :, i : i + h, j : j + w] += dx_ij
        gradients[name + ".weight"] = dk
        gradients[name + ".bias"] = dy.sum(1)
        return dx[:, :, 1:-1, 1:-1].swapaxes(0, 1)

    return y.reshape(-1, n, h, w).swapaxes(0, 1), backward


def max_pool(x):
    squares = np.stack([x[:, :, i::2, j::2] for i, j in np.ndindex(2, 2)])
    winner = squares.argmax(0)  # the first of equals

    def backward(dy):
        dx = np.empty_like(x)
        for k, (i, j) in enumerate(np.ndindex(2, 2)):
            dx[:, :, i::2, j::2] = dy * (winner == k)
        return dx

    return squares.max(0), backward


def relu(x):
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def dropout(x, rate):
    kept = (rng.random(x.shape) >= rate) / (1 - rate)  # the mean stays
    return x * kept, lambda dy: dy * kept


def dense(x, name):
    weight = weights[name + ".weight"]  # (out, in)
    rows = x.reshape(len(x), -1)  # flattened in C, H, W order

    def backward(dy):
        gradients[name + ".weight"] = dy.T @ rows
        gradients[name + ".bias"] = dy.sum(0)
        return (dy @ weight).reshape(x.shape)

    return rows @ weight.T + weights[name + ".bias"], backward


def model(x, p, q):
    block1 = [conv, "conv1"], [relu], [conv, "conv2"], [max_pool], [relu]
    block2 = [conv, "conv3"], [relu], [conv, "conv4"], [max_pool], [relu]
    head = [dense, "dense1"], [relu], [dropout, q], [dense, "dense2"]
    backwards, y = [], x.astype("float64")
    for layer, *args in (*block1, [dropout, p], *block2, [dropout, p], *head):
        y, backward = layer(y, *args)
        backwards.insert(0, backward)
    return y, backwards


# %% Initial weights
weights = {name: w.astype("float64") for name, w in run.weights().items()}
gradients, velocity = {}, dict.fromkeys(weights, 0.0)


# %% Loss and optimiser
def loss_fn(logits, y):  # mean softmax cross-entropy, and its gradient
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    is_label = np.arange(cfg.classes) == y[:, None]
    return -log_p[is_label].mean(), (np.exp(log_p) - is_label) / len(y)


def optimizer():  # SGD with classical momentum, in place
    for name, w in weights.items():
        velocity[name] = cfg.momentum * velocity[name] + gradients[name]
        w -= cfg.learning_rate * velocity[name]


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        logits, backwards = model(x, *cfg.dropout)
        loss, dy = loss_fn(logits, y)
        for backward in backwards:
            dy = backward(dy)
        optimizer()
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(lambda: weights)

# %% Predict
run.phase("predict")
logits = np.concatenate([model(x, 0, 0)[0] for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", np.mean(logits.argmax(1) == y_test))
