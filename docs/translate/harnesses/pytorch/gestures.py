"""Gestures in PyTorch: two 1-d convolutions and two dense layers."""

# %% Setup
import torch
import torch.nn.functional as F
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__)
cfg = run.config
torch.manual_seed(cfg.seed)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # a check asks for float64

# %% Load data
run.phase("load")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 64), (n,)


def labels(y):
    return torch.from_numpy(y).long()  # the loss wants int64


# %% Build model
run.phase("build")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(3, 16, 5, padding=2)
        self.conv2 = nn.Conv1d(16, 32, 5, padding=2)
        self.dense1 = nn.Linear(32 * 16, 64)
        self.dense2 = nn.Linear(64, cfg.classes)
        self.gelu = nn.GELU()

    def forward(self, x):
        x = F.max_pool1d(self.gelu(self.conv1(x)), 2)  # (n, 16, 32)
        x = F.max_pool1d(self.gelu(self.conv2(x)), 2)  # (n, 32, 16)
        x = self.gelu(self.dense1(x.flatten(1)))  # flattened as channel, time
        x = F.dropout(x, cfg.dropout, self.training)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Net()

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(
    model.parameters(), lr=cfg.learning_rate, momentum=cfg.momentum
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(torch.from_numpy(x)), labels(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {name: w.numpy() for name, w in model.state_dict().items()}
)

# %% Predict
run.phase("predict")
model.eval()
with torch.inference_mode():
    logits = torch.cat([model(torch.from_numpy(x)) for x in run.split(x_test)])
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", (logits.argmax(1) == labels(y_test)).double().mean())
