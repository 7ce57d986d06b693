"""VGG-style CNN on CIFAR-10 in PyTorch: an nn.Module and a training loop."""

# %% Setup
import torch
import torch.nn.functional as F
from torch import nn

import rosetta

run = rosetta.start("PyTorch", torch.__version__, sync=torch.cuda.synchronize)
cfg, device = run.config, torch.device(run.device)
torch.manual_seed(cfg.seed)
torch.set_num_threads(run.threads)
torch.set_default_dtype(getattr(torch, run.dtype))  # of the model's weights
torch.backends.cudnn.benchmark = True  # off by default: search for the fastest
torch.backends.cudnn.conv.fp32_precision = "ieee"  # not its default, TF32
# The shape stays NCHW; as NHWC in memory a CPU is faster. A GPU gains by that
# with tensor cores, which "ieee" does not use.
on_cpu = device.type == "cpu"
memory = torch.channels_last if on_cpu else torch.contiguous_format
run.fact("layout", "NHWC" if on_cpu else "NCHW")
run.fact("compiled", False)
run.fact("cudnn", device.type == "cuda")

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
        self.conv1 = nn.Conv2d(3, 50, 3, padding=1)  # the default is no padding
        self.conv2 = nn.Conv2d(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2d(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2d(100, 100, 3, padding=1)
        self.dense1 = nn.Linear(100 * 8 * 8, 512)
        self.dense2 = nn.Linear(512, cfg.classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))  # (n, 50, 32, 32)
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # stride 2 follows from 2
        x = F.dropout(x, cfg.dropout[0], self.training)  # on unless told
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
model.load_state_dict(state)  # complains about any name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
optimizer = torch.optim.SGD(
    model.parameters(), lr=cfg.learning_rate, momentum=cfg.momentum
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(images(x)), labels(y))
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
model.eval()  # dropout off
with torch.inference_mode():
    logits = torch.cat([model(images(x)) for x in run.split(x_test)])
run.outputs(logits.cpu().numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = (logits.argmax(1) == labels(y_test)).double().mean()
run.metric("accuracy", accuracy)
