"""Transformer encoder on IMDB in PaddlePaddle: nn.TransformerEncoder, AdamW."""

# %% Setup
import numpy as np
import paddle
from paddle import nn

import rosetta

wait = paddle.device.synchronize
run = rosetta.start("PaddlePaddle", paddle.__version__, sync=wait)
cfg = run.config
paddle.set_device("gpu" if run.device == "cuda" else "cpu")  # of all tensors
paddle.seed(cfg.seed)
paddle.set_default_dtype(run.dtype)  # of the model's weights
run.fact("compiled", False)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Transformer(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.width)
        self.positions = self.create_parameter([cfg.length, cfg.width])
        layer = nn.TransformerEncoderLayer(
            cfg.width,
            cfg.heads,
            cfg.hidden,
            cfg.dropout,
            "gelu",  # by erf; relu is the default
            attn_dropout=0,  # as much as the other dropout by default
            act_dropout=0,  # behind the GELU; by default as much too
            normalize_before=True,  # post-norm is the default
            layer_norm_eps=cfg.norm_epsilon,
        )
        # Pre-norm needs one at the end, which is None by default.
        norm = nn.LayerNorm(cfg.width, cfg.norm_epsilon)
        self.encoder = nn.TransformerEncoder(layer, cfg.blocks, norm)
        self.dense = nn.Linear(cfg.width, cfg.classes)

    def forward(self, x):
        is_word = x > 0  # True is attended to
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        x = self.encoder(x, is_word[:, None, None])  # (n, heads, 150, 150)
        share = is_word.astype(x.dtype).unsqueeze(2)
        return self.dense((x * share).sum(1) / share.sum(1))  # logits


model = Transformer()


# %% Initial weights
def turned(name, w):  # a Linear's kernel is (in, out) here, not (out, in)
    is_table = name in ("embedding.weight", "positions")
    return w if is_table else w.T


state = {}
for name, w in run.weights().items():
    if "in_proj" in name:  # queries, keys and values have a Linear each
        for which, w in zip("qkv", np.split(w, 3)):
            state[name.replace("in_proj_", f"{which}_proj.")] = w.T
    else:
        state[name] = turned(name, w)
model.set_state_dict(state)  # only warns of a name or shape that differs


def final_weights():
    found = {n: turned(n, w.numpy()) for n, w in model.named_parameters()}
    for name in [name for name in run.weights() if "in_proj" in name]:
        names = [name.replace("in_proj_", f"{which}_proj.") for which in "qkv"]
        found[name] = np.concatenate([found.pop(each) for each in names])
    return found


# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
decaying = {w.name for w in model.parameters() if w.ndim > 1}
warmup = paddle.optimizer.lr.LinearWarmup(
    cfg.learning_rate,
    cfg.warmup_steps - 1,
    cfg.learning_rate / cfg.warmup_steps,  # not 0: the first step has a rate
    cfg.learning_rate,
)
optimizer = paddle.optimizer.AdamW(
    warmup,
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
    model.parameters(),
    cfg.weight_decay,
    apply_decay_param_fun=lambda name: name in decaying,  # all by default
    grad_clip=nn.ClipGradByGlobalNorm(cfg.clip_norm),
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        warmup.step()  # after the optimiser: the rate of the next step
        optimizer.clear_grad()  # gradients add up unless cleared
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
run.final_weights(final_weights)

# %% Predict
run.phase("predict")
model.eval()
with paddle.no_grad():
    batches = [model(paddle.to_tensor(x)) for x in run.split(x_test)]
    logits = paddle.concat(batches)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
labels = paddle.to_tensor(y_test).unsqueeze(1)  # (n, 1), as this metric wants
run.metric("accuracy", paddle.metric.accuracy(logits, labels).item())
