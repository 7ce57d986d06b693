"""GRU on IMDB reviews in PyTorch: an nn.Module and a training loop."""

# %% Setup
import torch
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
torch.manual_seed(cfg.seed)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
torch.backends.cudnn.rnn.fp32_precision = "ieee"  # not its default, TF32
run.fact("gru", "reset_after")
run.fact("compiled", False)
run.fact("cudnn", device.type == "cuda")

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
        _, h = self.gru(x)  # all outputs, and the last: (layers, n, 100)
        return self.dense(h[0])  # logits: the softmax is in the loss


model = Rnn().to(device)  # in place for a module, a copy for a tensor

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)  # complains about any name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
optimizer = torch.optim.Adam(
    model.parameters(),
    lr=cfg.learning_rate,
    betas=(cfg.beta1, cfg.beta2),
    eps=cfg.epsilon,
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(tokens(x)), labels(y))
        optimizer.zero_grad()  # gradients add up unless cleared
        loss.backward()
        optimizer.step()
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
