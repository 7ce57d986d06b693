"""VGG-style CNN on CIFAR-10 in PyTorch, tuned: a training step is one graph."""

# %% Setup
import os

import torch
import torch.nn.functional as F
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
torch.backends.cudnn.benchmark = True  # off by default: search for the fastest
rounding = "tf32" if precision == "tf32" else "ieee"
torch.backends.cudnn.conv.fp32_precision = rounding  # TF32 by default
torch.backends.cuda.matmul.fp32_precision = rounding
# The weights stay float32: autocast rounds what goes into a product.
mixed = torch.autocast(device.type, torch.bfloat16, precision == "bf16")
if use_graph:
    torch.cuda.set_stream(torch.cuda.Stream())  # the default cannot record
# A GPU gains by NHWC in memory with tensor cores only.
nhwc = on_cpu or precision != "float32"
memory = torch.channels_last if nhwc else torch.contiguous_format
run.fact("lane", "tuned")
run.fact("precision", precision)
run.fact("layout", "NHWC" if nhwc else "NCHW")
run.fact("compiled", False)  # ten epochs are shorter than the compilation
run.fact("cuda_graph", use_graph)
run.fact("cudnn", not on_cpu)

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)


def images(x):
    return torch.from_numpy(x).to(device).contiguous(memory_format=memory)


def labels(y):
    return torch.from_numpy(y).long().to(device)  # the loss wants int64


# %% Build model
run.phase("build")


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 50, 3, padding=1)
        self.conv2 = nn.Conv2d(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2d(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2d(100, 100, 3, padding=1)
        self.dense1 = nn.Linear(100 * 8 * 8, 512)
        self.dense2 = nn.Linear(512, cfg.classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))  # (n, 50, 32, 32)
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.dropout(x, cfg.dropout[0], self.training)
        x = F.relu(self.conv3(x))  # (n, 100, 16, 16)
        x = F.relu(F.max_pool2d(self.conv4(x), 2))  # (n, 100, 8, 8)
        x = F.dropout(x, cfg.dropout[0], self.training)
        x = x.flatten(1)  # in C, H, W order, whatever the order in memory
        x = F.relu(self.dense1(x))  # (n, 512)
        x = F.dropout(x, cfg.dropout[1], self.training)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn().to(device, memory_format=memory)

# %% Initial weights
state = {name: torch.from_numpy(w) for name, w in run.weights().items()}
model.load_state_dict(state)

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(
    model.parameters(), cfg.learning_rate, cfg.momentum, fused=True
)


# A graph reads and writes at fixed places.
rows = torch.zeros(cfg.batch_size, dtype=torch.long, device=device)
loss = torch.zeros((), device=device)


def train_step():
    x = x_train[rows].contiguous(memory_format=memory)
    with mixed:
        value = loss_fn(model(x), y_train[rows])
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    loss.copy_(value.detach())


# %% Train
run.phase("train")
model.train()
x_train, y_train = images(x_train), labels(y_train)  # copied once
step = train_step
for epoch in run.epochs():
    for batch in torch.from_numpy(run.order(epoch)).to(device):
        rows.copy_(batch)
        step()
        if use_graph and step is train_step:  # the momentum are made
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
    logits = torch.cat([model(images(x)) for x in run.split(x_test)])
logits = logits.to(torch.get_default_dtype())  # NumPy has no bfloat16
run.outputs(logits.cpu().numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = (logits.argmax(1) == labels(y_test)).double().mean()
run.metric("accuracy", accuracy)
