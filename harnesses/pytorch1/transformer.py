"""Transformer encoder on IMDB reviews in PyTorch 1.0: modules and a loop."""

# %% Setup
import torch
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
torch.manual_seed(cfg.seed)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
run.fact("compiled", False)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)


def tokens(x):
    return torch.from_numpy(x).long().to(device)  # an embedding wants int64


def labels(y):
    return torch.from_numpy(y).long().to(device)  # the loss wants int64


# %% Build model
run.phase("build")


class Attention(nn.Module):  # nn.MultiheadAttention came with 1.1
    def __init__(self):
        super().__init__()
        width = cfg.width
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, padding):
        n, length, width = x.shape
        x = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        x = x.reshape(n, length, 3, cfg.heads, -1)
        q, k, v = x.permute(2, 0, 3, 1, 4)  # (n, 4, 150, 32) each
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        # True, which is 1 here, is masked.
        scores = scores.masked_fill(padding[:, None, None], -float("inf"))
        y = scores.softmax(3) @ v
        return self.out_proj(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):  # nn.TransformerEncoderLayer with 1.2, norm_first 1.9
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.self_attn = Attention()
        self.norm2 = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.linear1 = nn.Linear(cfg.width, cfg.hidden)
        self.linear2 = nn.Linear(cfg.hidden, cfg.width)
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x, padding):
        x = x + self.dropout(self.self_attn(self.norm1(x), padding))
        y = self.linear1(self.norm2(x))
        y = y * (1 + torch.erf(y / 2**0.5)) / 2  # there is no GELU yet
        return x + self.dropout(self.linear2(y))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Block() for _ in range(cfg.blocks)])
        self.norm = nn.LayerNorm(cfg.width, cfg.norm_epsilon)

    def forward(self, x, padding):
        for block in self.layers:
            x = block(x, padding)
        return self.norm(x)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.width)
        self.positions = nn.Parameter(torch.empty(cfg.length, cfg.width))
        self.encoder = Encoder()
        self.dense = nn.Linear(cfg.width, cfg.classes)

    def forward(self, x):
        padding = x == 0
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        x = self.encoder(x, padding).masked_fill(padding[..., None], 0)
        words = (x.shape[1] - padding.sum(1, keepdim=True)).to(x.dtype)
        return self.dense(x.sum(1) / words)  # logits: no softmax


model = Transformer().to(device)  # in place for a module, a copy for a tensor

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)  # complains about any name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
weights = list(model.parameters())
# Adds epsilon before the bias correction, as PyTorch did until 2019. AdamW came
# with 1.2, and `weight_decay` here is a part of the gradient: see below.
optimizer = torch.optim.Adam(
    weights, cfg.learning_rate, (cfg.beta1, cfg.beta2), cfg.epsilon
)
warmup = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda t: min(1, (t + 1) / cfg.warmup_steps)
)


def decay(rate):  # of matrices, embeddings among them
    for w in weights:
        if w.dim() > 1:
            w.data.mul_(1 - rate * cfg.weight_decay)


# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(tokens(x)), labels(y))
        optimizer.zero_grad()  # gradients add up unless cleared
        loss.backward()
        # Divides by the norm plus 1e-6: the variant `clip_epsilon`.
        nn.utils.clip_grad_norm_(weights, cfg.clip_norm)
        warmup.step()  # before the optimiser: since 1.1, after it
        decay(optimizer.param_groups[0]["lr"])
        optimizer.step()
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {name: w.cpu().numpy() for name, w in model.state_dict().items()}
)

# %% Predict
run.phase("predict")
model.eval()
with torch.no_grad():
    logits = torch.cat([model(tokens(x)) for x in run.split(x_test)])
run.outputs(logits.cpu().numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = (logits.argmax(1) == labels(y_test)).double().mean()
run.metric("accuracy", accuracy)
