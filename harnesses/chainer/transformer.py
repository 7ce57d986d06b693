"""Transformer encoder on IMDB reviews in Chainer: links and a loop, AdamW."""

# %% Setup
import chainer
import chainer.functions as F
import chainer.links as L
from chainer.backends import cuda

import rosetta

wait = lambda: cuda.Stream.null.synchronize()
run = rosetta.start("Chainer", chainer.__version__, sync=wait)
cfg = run.config
device = chainer.get_device("@cupy:0" if run.device == "cuda" else "@numpy")
device.use()
device.xp.random.seed(cfg.seed)  # dropout draws from NumPy's or CuPy's own
chainer.global_config.dtype = run.dtype
run.fact("compiled", False)  # define-by-run: the graph is what was called

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


def gelu(x):  # Chainer has none; without SciPy its erf is slow on a CPU
    return x * (1 + F.erf(x / 2**0.5)) / 2


class Attention(chainer.Chain):  # Chainer has none
    def __init__(self):
        super().__init__()
        with self.init_scope():  # only links made in here are trained
            self.in_proj = L.Linear(cfg.width, 3 * cfg.width)
            self.out_proj = L.Linear(cfg.width, cfg.width)

    def forward(self, x, is_word):
        n, length = is_word.shape
        x = F.reshape(self.in_proj(x), (n, length, 3, cfg.heads, -1))
        # (n, 4, 150, 32) each
        q, k, v = F.separate(F.transpose(x, (2, 0, 3, 1, 4)))
        scores = F.matmul(q, k, transb=True) / q.shape[-1] ** 0.5
        nothing = self.xp.array(-float("inf"), run.dtype)
        scores = F.where(is_word[:, None, None], scores, nothing)
        y = F.matmul(F.softmax(scores, axis=3), v)  # its axis is 1 by default
        y = F.reshape(F.transpose(y, (0, 2, 1, 3)), (n * length, -1))
        return self.out_proj(y)


class Block(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            # Epsilon is 1e-6 by default, and 1e-5 in the function.
            self.norm1 = L.LayerNormalization(cfg.width, cfg.norm_epsilon)
            self.self_attn = Attention()
            self.norm2 = L.LayerNormalization(cfg.width, cfg.norm_epsilon)
            self.linear1 = L.Linear(cfg.width, cfg.hidden)
            self.linear2 = L.Linear(cfg.hidden, cfg.width)

    def forward(self, x, is_word):
        y = self.self_attn(self.norm1(x), is_word)
        x = x + F.dropout(y, cfg.dropout)  # only where config.train is true
        y = self.linear2(gelu(self.linear1(self.norm2(x))))
        return x + F.dropout(y, cfg.dropout)


class Encoder(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            blocks = [Block() for _ in range(cfg.blocks)]
            self.layers = chainer.ChainList(*blocks)
            self.norm = L.LayerNormalization(cfg.width, cfg.norm_epsilon)

    def forward(self, x, is_word):
        for block in self.layers:
            x = block(x, is_word)
        return self.norm(x)


class Transformer(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.embedding = L.EmbedID(cfg.vocabulary, cfg.width)
            self.positions = chainer.Parameter(0, (cfg.length, cfg.width))
            self.encoder = Encoder()
            self.dense = L.Linear(cfg.width, cfg.classes)

    def forward(self, words):
        is_word = words > 0
        x = self.embedding(words) + self.positions  # (n, 150, 128)
        # LayerNormalization takes two axes: a row for each position.
        x = self.encoder(F.reshape(x, (-1, cfg.width)), is_word)
        share = is_word[..., None].astype(run.dtype)
        x = F.sum(F.reshape(x, words.shape + (cfg.width,)) * share, axis=1)
        return self.dense(x / share.sum(1))  # logits


model = Transformer()

# %% Initial weights
ends = {"W": "weight", "gamma": "weight", "b": "bias", "beta": "bias"}


def name_of(path):  # /encoder/layers/0/self_attn/in_proj/W, for one
    *path, last = path[1:].split("/")
    name = ".".join(path + [ends.get(last, last)])
    return name.replace("in_proj.", "in_proj_")


parameters = {name_of(path): w for path, w in model.namedparams()}
for name, w in run.weights().items():
    parameters[name].array[...] = w  # a Linear's is (out, in)
model.to_device(device)  # in place

# %% Loss and optimiser
loss_fn = F.softmax_cross_entropy  # takes logits and class indices
# The decay is multiplied by eta and not by alpha: so eta is the rate here.
# Adds epsilon before the bias correction, not after it.
optimizer = chainer.optimizers.AdamW(
    1,
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
    weight_decay_rate=cfg.weight_decay,
)
optimizer.setup(model)
optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(cfg.clip_norm))
for w in model.params():
    if w.ndim == 1:  # biases and LayerNorms do not decay
        w.update_rule.hyperparam.weight_decay_rate = 0

# %% Train
run.phase("train")
with chainer.using_config("train", True):  # the default
    for epoch in run.epochs():
        for x, y in run.batches(epoch):
            loss = loss_fn(model(device.send(x)), device.send(y))
            model.cleargrads()  # gradients accumulate unless cleared
            loss.backward()
            warmup = min(1, (optimizer.t + 1) / cfg.warmup_steps)
            optimizer.eta = cfg.learning_rate * warmup
            optimizer.update()
            run.step(loss)
        run.epoch_end(epoch, loss)
host = chainer.get_device("@numpy")
run.final_weights(
    lambda: {name: host.send(w.array) for name, w in parameters.items()}
)

# %% Predict
run.phase("predict")
with chainer.using_config("train", False), chainer.no_backprop_mode():
    batches = [model(device.send(x)).array for x in run.split(x_test)]
logits = device.xp.concatenate(batches)
run.outputs(host.send(logits))

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", F.accuracy(logits, device.send(y_test)).item())
