"""Transformer encoder on IMDB in NumPy: the calculus itself, in float64."""

# %% Setup
import math

import numpy as np

import rosetta

run = rosetta.start("NumPy", np.__version__)
cfg, rng = run.config, np.random.default_rng(run.config.seed)
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
        gradients["embedding.weight"] = np.zeros((cfg.vocabulary, cfg.width))
        np.add.at(gradients["embedding.weight"], words, dy)  # words recur
        gradients["positions"] = dy.sum(0)

    return weights["embedding.weight"][words] + weights["positions"], backward


def norm(x, name):
    gamma, beta = weights[name + ".weight"], weights[name + ".bias"]
    x = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + cfg.norm_epsilon)
    x = x * scale

    def backward(dy):
        gradients[name + ".weight"] = (dy * x).sum((0, 1))
        gradients[name + ".bias"] = dy.sum((0, 1))
        dx = dy * gamma
        dx = dx - dx.mean(-1, keepdims=True)  # by the mean and by the scale
        return (dx - x * (dx * x).mean(-1, keepdims=True)) * scale

    return x * gamma + beta, backward


def dense(x, name, dot="."):
    weight, bias = weights[name + dot + "weight"], weights[name + dot + "bias"]

    def backward(dy):
        rows, d_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        gradients[name + dot + "weight"] = d_rows.T @ rows  # (out, in)
        gradients[name + dot + "bias"] = d_rows.sum(0)
        return dy @ weight

    return x @ weight.T + bias, backward


def attention(x, is_word):
    n, length, _ = x.shape
    x = x.reshape(n, length, 3, cfg.heads, -1)  # queries, keys and values
    q, k, v = x.transpose(2, 0, 3, 1, 4)  # (n, 4, 150, 32) each
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.where(is_word[:, None, None], q @ k.mT * scale, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)  # (n, 4, 150, 150)

    def backward(dy):
        dy = dy.reshape(n, length, cfg.heads, -1).swapaxes(1, 2)
        dp = dy @ v.mT
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
        dx = np.stack([ds @ k, ds.mT @ q, p.mT @ dy])
        return dx.transpose(1, 3, 0, 2, 4).reshape(n, length, -1)

    return (p @ v).swapaxes(1, 2).reshape(n, length, -1), backward


def gelu(x):
    erf = np.fromiter(map(math.erf, x.ravel() / 2**0.5), float, x.size)
    phi = (1 + erf.reshape(x.shape)) / 2  # the normal distribution
    slope = phi + x * np.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5
    return x * phi, lambda dy: dy * slope


def dropout(x, rate):
    kept = (rng.random(x.shape) >= rate) / (1 - rate)  # the mean stays
    return x * kept, lambda dy: dy * kept


def mean(x, is_word):
    share = is_word[..., None] / is_word.sum(1)[:, None, None]
    return (x * share).sum(1), lambda dy: dy[:, None] * share


def residual(x, *layers):
    y, backward = chain(x, *layers)
    return x + y, lambda dy: dy + backward(dy)


def chain(x, *layers):
    backwards = []
    for layer, *args in layers:
        x, backward = layer(x, *args)
        backwards.insert(0, backward)

    def backward(dy):
        for backward in backwards:
            dy = backward(dy)
        return dy

    return x, backward


def model(words, rate):
    layers, is_word, drop = [[embedding]], words > 0, [dropout, rate]
    for block in range(cfg.blocks):
        at = f"encoder.layers.{block}."
        norm1, norm2 = [norm, at + "norm1"], [norm, at + "norm2"]
        q_k_v = [dense, at + "self_attn.in_proj", "_"]
        heads, out = [attention, is_word], [dense, at + "self_attn.out_proj"]
        wide, narrow = [dense, at + "linear1"], [dense, at + "linear2"]
        layers += [[residual, norm1, q_k_v, heads, out, drop]]
        layers += [[residual, norm2, wide, [gelu], narrow, drop]]
    layers += [[norm, "encoder.norm"], [mean, is_word], [dense, "dense"]]
    return chain(words, *layers)


# %% Initial weights
weights = {name: w.astype("float64") for name, w in run.weights().items()}
gradients, t = {}, 0
first, second = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 0.0)


# %% Loss and optimiser
def loss_fn(logits, y):  # mean softmax cross-entropy, and its gradient
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    is_label = np.arange(cfg.classes) == y[:, None]
    return -log_p[is_label].mean(), (np.exp(log_p) - is_label) / len(y)


def optimizer(t):  # AdamW as published, in place; t is the step, from 1
    total = np.sqrt(sum((g * g).sum() for g in gradients.values()))
    factor = min(1, cfg.clip_norm / total)  # one for all
    rate = cfg.learning_rate * min(1, t / cfg.warmup_steps)
    c1, c2 = 1 - cfg.beta1**t, 1 - cfg.beta2**t  # both start from zero: correct
    for name, w in weights.items():
        g = gradients[name] * factor
        first[name] += (1 - cfg.beta1) * (g - first[name])
        second[name] += (1 - cfg.beta2) * (g * g - second[name])
        m, v = first[name] / c1, second[name] / c2
        decay = cfg.weight_decay if w.ndim > 1 else 0  # of matrices alone
        w -= rate * (m / (np.sqrt(v) + cfg.epsilon) + decay * w)


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        logits, backward = model(x, cfg.dropout)
        loss, dy = loss_fn(logits, y)
        backward(dy)
        optimizer(t := t + 1)
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(lambda: weights)

# %% Predict
run.phase("predict")
logits = np.concatenate([model(x, 0)[0] for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", np.mean(logits.argmax(1) == y_test))
