"""Transformer encoder on IMDB reviews in MLX: nn.MultiHeadAttention, AdamW."""

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
run.fact("compiled", False)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Block(nn.Module):
    """Not nn.TransformerEncoderLayer: that drops behind the activation, not
    before the sum, has no biases in its attention and no word on epsilon."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        # No biases by default.
        self.self_attn = nn.MultiHeadAttention(cfg.width, cfg.heads, bias=True)
        self.norm2 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.linear1 = nn.Linear(cfg.width, cfg.hidden)
        self.linear2 = nn.Linear(cfg.hidden, cfg.width)
        self.dropout = nn.Dropout(cfg.dropout)

    def __call__(self, x, mask):
        y = self.norm1(x)
        x = x + self.dropout(self.self_attn(y, y, y, mask))
        y = self.linear2(nn.gelu(self.linear1(self.norm2(x))))  # by erf
        return x + self.dropout(y)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.width)
        self.positions = mx.zeros((cfg.length, cfg.width))
        self.blocks = [Block() for _ in range(cfg.blocks)]
        self.norm = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.dense = nn.Linear(cfg.width, cfg.classes)

    def __call__(self, x):
        is_word = x > 0
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        for block in self.blocks:
            x = block(x, is_word[:, None, None])  # True is attended to
        share = is_word[..., None].astype(x.dtype)
        x = (self.norm(x) * share).sum(1) / share.sum(1)  # (n, 128)
        return self.dense(x)  # logits: the softmax is in the loss


model = Transformer()


# %% Initial weights
def names(name):  # MLX's own; queries, keys and values are a Linear each
    name = name.replace("encoder.layers", "blocks").replace("encoder.", "")
    if "in_proj" not in name:
        return [name]
    parts = "query_proj.", "key_proj.", "value_proj."
    return [name.replace("in_proj_", part) for part in parts]


weights = []
for name, w in run.weights().items():
    parts = np.split(w, len(names(name)))
    weights += zip(names(name), map(mx.array, parts))
model.load_weights(weights)


# %% Loss and optimiser
def loss_fn(model, x, y):  # by default it returns the loss of each review
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


loss_and_gradients = nn.value_and_grad(model, loss_fn)
warmup = optim.linear_schedule(
    cfg.learning_rate / cfg.warmup_steps,  # not 0: the first step has a rate
    cfg.learning_rate,
    cfg.warmup_steps - 1,
)


def adamw(decay):
    betas, correct = [cfg.beta1, cfg.beta2], True  # off by default
    return optim.AdamW(warmup, betas, cfg.epsilon, decay, correct)


optimizer = optim.MultiOptimizer(  # the first takes what the filter says
    [adamw(cfg.weight_decay), adamw(0.0)],
    [lambda name, gradient: gradient.ndim > 1],  # embeddings among them
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss, gradients = loss_and_gradients(model, mx.array(x), mx.array(y))
        # Divides by the norm plus 1e-6: the variant `clip_epsilon`.
        gradients, _ = optim.clip_grad_norm(gradients, cfg.clip_norm)
        optimizer.update(model, gradients)
        mx.eval(loss, model.state, optimizer.state)  # until here, all was lazy
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    trained = dict(tree_flatten(model.trainable_parameters()))
    join = lambda parts: np.concatenate([np.array(trained[p]) for p in parts])
    return {name: join(names(name)) for name in run.weights()}


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
