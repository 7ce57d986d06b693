"""GRU on IMDB reviews in PyTorch, tuned: a training step is one graph."""

# %% Setup
import os

import torch
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
on_cpu = device.type == "cpu"
precision = os.environ.get("TUNED_PRECISION", "float32")  # the target's
use_graph = not on_cpu and os.environ.get("TUNED_GRAPH") != "0"
torch.manual_seed(cfg.seed)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
rounding = "tf32" if precision == "tf32" else "ieee"
torch.backends.cudnn.rnn.fp32_precision = rounding  # TF32 by default
torch.backends.cuda.matmul.fp32_precision = rounding
# The weights stay float32: autocast rounds what goes into a product.
mixed = torch.autocast(device.type, torch.bfloat16, precision == "bf16")
if use_graph:
    torch.cuda.set_stream(torch.cuda.Stream())  # the default cannot record
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("gru", "reset_after")
run.fact("compiled", False)  # cuDNN has all but a few kernels
run.fact("cuda_graph", use_graph)
run.fact("cudnn", not on_cpu)

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


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.embedding)
        self.gru = nn.GRU(cfg.embedding, cfg.units, batch_first=True)
        self.dense = nn.Linear(cfg.units, cfg.classes)

    def forward(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        # autocast gives cuDNN float16 here, not bfloat16.
        _, h = self.gru(x)  # (layers, n, 100)
        return self.dense(h[0])  # logits: the softmax is in the loss


model = Rnn().to(device)

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(
    model.parameters(),
    lr=cfg.learning_rate,
    betas=(cfg.beta1, cfg.beta2),
    eps=cfg.epsilon,
    fused=True,
    capturable=use_graph,  # counts its steps on the device
)


# Most gradients of the embedding are less than float16 can hold.
scale = 2.0**14 if precision == "bf16" and not on_cpu else 1.0

# A graph reads and writes at fixed places.
rows = torch.zeros(cfg.batch_size, dtype=torch.long, device=device)
loss = torch.zeros((), device=device)


def train_step():
    with mixed:
        value = loss_fn(model(x_train[rows]), y_train[rows])
    optimizer.zero_grad()
    (scale * value).backward()
    if scale != 1.0:
        for weight in model.parameters():
            weight.grad /= scale
    optimizer.step()
    loss.copy_(value.detach())


# %% Train
run.phase("train")
model.train()
x_train, y_train = tokens(x_train), labels(y_train)  # copied once
step = train_step
for epoch in run.epochs():
    for batch in torch.from_numpy(run.order(epoch)).to(device):
        rows.copy_(batch)
        step()
        if use_graph and step is train_step:  # the moments are made
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
                train_step()  # recorded, not computed
            step = graph.replay  # one launch for all kernels of a step
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {name: w.cpu().numpy() for name, w in model.state_dict().items()}
)

# %% Predict
run.phase("predict")
model.eval()
with torch.inference_mode(), mixed:
    logits = torch.cat([model(tokens(x)) for x in run.split(x_test)])
logits = logits.to(torch.get_default_dtype())  # NumPy has no bfloat16
run.outputs(logits.cpu().numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = (logits.argmax(1) == labels(y_test)).double().mean()
run.metric("accuracy", accuracy)
