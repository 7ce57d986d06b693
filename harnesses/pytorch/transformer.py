"""Transformer encoder on IMDB reviews in PyTorch: nn.TransformerEncoder."""

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
    return torch.from_numpy(x).to(device)  # int32 will do for an embedding


def labels(y):
    return torch.from_numpy(y).long().to(device)  # the loss wants int64


# %% Build model
run.phase("build")


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.width)
        self.positions = nn.Parameter(torch.empty(cfg.length, cfg.width))
        layer = nn.TransformerEncoderLayer(
            cfg.width,
            cfg.heads,
            cfg.hidden,
            cfg.dropout,
            nn.functional.gelu,  # by erf; relu is the default
            cfg.norm_epsilon,
            batch_first=True,  # (n, 150, 128); (150, n, 128) is the default
            norm_first=True,  # post-norm is the default
        )
        # It drops in four places: these two are not in the experiment.
        layer.self_attn.dropout = 0.0  # of the attention's weights
        layer.dropout.p = 0.0  # behind the GELU
        norm = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.encoder = nn.TransformerEncoder(
            layer,
            cfg.blocks,  # so many copies of the layer
            norm,  # pre-norm needs one at the end, which is None by default
            enable_nested_tensor=False,  # only for post-norm
        )
        self.dense = nn.Linear(cfg.width, cfg.classes)

    def forward(self, x):
        padding = x == 0  # True is masked, unlike in most other frameworks
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        x = self.encoder(x, src_key_padding_mask=padding)
        x = x.masked_fill(padding[..., None], 0).sum(1)  # (n, 128)
        return self.dense(x / (~padding).sum(1, keepdim=True))  # logits


model = Transformer().to(device)

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)  # complains about any name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
weights = list(model.parameters())
optimizer = torch.optim.AdamW(
    [  # matrices, embeddings among them, decay; biases and LayerNorms do not
        {"params": [w for w in weights if w.ndim > 1]},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0},
    ],
    lr=cfg.learning_rate,
    betas=(cfg.beta1, cfg.beta2),
    eps=cfg.epsilon,
    weight_decay=cfg.weight_decay,
)
warmup = torch.optim.lr_scheduler.LinearLR(
    optimizer, 1 / cfg.warmup_steps, total_iters=cfg.warmup_steps - 1
)

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
        optimizer.step()
        warmup.step()  # after the optimiser: the rate of the next step
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {name: w.cpu().numpy() for name, w in model.state_dict().items()}
)

# %% Predict
run.phase("predict")
model.eval()
with torch.inference_mode():
    logits = torch.cat([model(tokens(x)) for x in run.split(x_test)])
run.outputs(logits.cpu().numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = (logits.argmax(1) == labels(y_test)).double().mean()
run.metric("accuracy", accuracy)
