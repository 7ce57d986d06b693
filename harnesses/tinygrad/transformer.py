"""Transformer encoder on IMDB reviews in tinygrad: layers, a jitted step."""

# %% Setup
from importlib.metadata import version

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, nn
from tinygrad.helpers import DEV, NUM_CPU_THREADS, USE_ATOMICS

import rosetta

wait = lambda: Device[Device.DEFAULT].synchronize()
run = rosetta.start("tinygrad", version("tinygrad"), sync=wait, sync_cpu=True)
cfg = run.config
DEV.value = "CUDA" if run.device == "cuda" else "CPU"
NUM_CPU_THREADS.value = run.threads
# Off by default: an embedding's gradient goes to the rows of its words alone,
# not to all 30,000 for each word. There is no such kernel for CUDA.
USE_ATOMICS.value = int(run.device == "cpu")
Tensor.manual_seed(cfg.seed)
run.fact("compiled", True)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Attention:  # tinygrad has that of one head only
    def __init__(self):
        self.in_proj_weight = Tensor.glorot_uniform(3 * cfg.width, cfg.width)
        self.in_proj_bias = Tensor.zeros(3 * cfg.width)
        self.out_proj = nn.Linear(cfg.width, cfg.width)

    def __call__(self, x, is_word):
        x = x.linear(self.in_proj_weight.T, self.in_proj_bias)
        x = x.reshape(*x.shape[:2], 3, cfg.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = x[0], x[1], x[2]  # (n, 4, 150, 32) each
        mask = is_word[:, None, None]  # True is attended to
        y = q.scaled_dot_product_attention(k, v, mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Block:
    def __init__(self):
        self.norm1 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.self_attn = Attention()
        self.norm2 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.linear1 = nn.Linear(cfg.width, cfg.hidden)
        self.linear2 = nn.Linear(cfg.hidden, cfg.width)

    def __call__(self, x, is_word):
        y = self.self_attn(self.norm1(x), is_word)
        x = x + y.dropout(cfg.dropout)  # only where TRAINING is 1
        y = self.linear1(self.norm2(x)).gelu("none")  # by tanh by default
        return x + self.linear2(y).dropout(cfg.dropout)


class Encoder:
    def __init__(self):
        self.layers = [Block() for _ in range(cfg.blocks)]
        self.norm = nn.LayerNorm(cfg.width, cfg.norm_epsilon)

    def __call__(self, x, is_word):
        for block in self.layers:
            x = block(x, is_word)
        return self.norm(x)


class Transformer:  # tinygrad needs no base class
    def __init__(self):
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.width)
        self.positions = Tensor.zeros(cfg.length, cfg.width)
        self.encoder = Encoder()
        self.dense = nn.Linear(cfg.width, cfg.classes)

    def __call__(self, x):
        is_word = x != 0
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        x = self.encoder(x, is_word)
        share = is_word.cast(x.dtype)[..., None]
        return self.dense((x * share).sum(1) / share.sum(1))  # logits


model = Transformer()

# %% Initial weights
state = {name: Tensor(w) for name, w in run.weights().items()}
nn.state.load_state_dict(model, state, verbose=False)

# %% Loss and optimiser
loss_fn = Tensor.sparse_categorical_crossentropy  # of logits, class numbers
weights = nn.state.get_parameters(model)


def adamw(weights, decay):
    rate, epsilon = cfg.learning_rate, cfg.epsilon
    return nn.optim.AdamW(
        weights, rate, cfg.beta1, cfg.beta2, epsilon, weight_decay=decay
    )


# Matrices, embeddings among them, decay; biases and LayerNorms do not.
matrices = adamw([w for w in weights if w.ndim > 1], cfg.weight_decay)
vectors = adamw([w for w in weights if w.ndim == 1], 0)
optimizer = nn.optim.OptimizerGroup(matrices, vectors)


@TinyJit  # its first call runs as it is, the second is recorded
@Context(TRAINING=1)
def train_step(x, y, rate):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    # Neither clipping nor schedules are in the package.
    norm = sum((w.grad * w.grad).sum() for w in weights).sqrt()
    factor = (cfg.clip_norm / norm).minimum(1)
    for w in weights:
        w.grad = w.grad * factor
    matrices.lr.assign(rate)
    vectors.lr.assign(rate)
    # All is lazy: a loss computed after the step would use its new weights.
    return loss.realize(*optimizer.schedule_step())


# %% Train
run.phase("train")
step = 0
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        step += 1
        rate = cfg.learning_rate * min(1, step / cfg.warmup_steps)
        loss = train_step(Tensor(x), Tensor(y), Tensor([rate]).realize())
        run.step(loss)  # the same memory in each step
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {n: w.numpy() for n, w in nn.state.get_state_dict(model).items()}
)

# %% Predict
run.phase("predict")
logits = [model(Tensor(x)).numpy() for x in run.split(x_test)]
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = (Tensor(logits).argmax(axis=1) == Tensor(y_test)).mean()
run.metric("accuracy", accuracy.item())
