"""VGG-style CNN on CIFAR-10 in tinygrad: a class and a jitted step."""

# %% Setup
from importlib.metadata import version

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, nn
from tinygrad.helpers import DEV, NUM_CPU_THREADS

import rosetta

wait = lambda: Device[Device.DEFAULT].synchronize()
run = rosetta.start("tinygrad", version("tinygrad"), sync=wait, sync_cpu=True)
cfg = run.config
DEV.value = "CUDA" if run.device == "cuda" else "CPU"
NUM_CPU_THREADS.value = run.threads
Tensor.manual_seed(cfg.seed)
run.fact("layout", "NCHW")
run.fact("compiled", True)
run.fact("cudnn", False)  # all kernels are its own

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")


class Cnn:  # tinygrad needs no base class
    def __init__(self):
        self.conv1 = nn.Conv2d(3, 50, 3, padding=1)  # the default is no padding
        self.conv2 = nn.Conv2d(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2d(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2d(100, 100, 3, padding=1)
        self.dense1 = nn.Linear(100 * 8 * 8, 512)
        self.dense2 = nn.Linear(512, cfg.classes)

    def __call__(self, x):
        x = self.conv1(x).relu()  # (n, 50, 32, 32)
        x = self.conv2(x).max_pool2d().relu()  # 2x2 and stride 2 by default
        x = x.dropout(cfg.dropout[0])  # only where TRAINING is 1
        x = self.conv3(x).relu()  # (n, 100, 16, 16)
        x = self.conv4(x).max_pool2d().relu()  # (n, 100, 8, 8)
        x = x.dropout(cfg.dropout[0])
        x = x.flatten(1)  # (n, 6400), in C, H, W order
        x = self.dense1(x).relu().dropout(cfg.dropout[1])  # (n, 512)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn()

# %% Initial weights
state = {name: Tensor(w) for name, w in run.weights().items()}
nn.state.load_state_dict(model, state, verbose=False)

# %% Loss and optimiser
loss_fn = Tensor.sparse_categorical_crossentropy  # of logits, class numbers
optimizer = nn.optim.SGD(
    nn.state.get_parameters(model), cfg.learning_rate, cfg.momentum
)


@TinyJit  # its first call runs as it is, the second is recorded
@Context(TRAINING=1)
def train_step(x, y):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    # All is lazy: a loss computed after the step would use its new weights.
    return loss.realize(*optimizer.schedule_step())


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(Tensor(x), Tensor(y))
        run.step(loss)  # the same memory in each step
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {n: w.numpy() for n, w in nn.state.get_state_dict(model).items()}
)

# %% Predict
run.phase("predict")
logits = [model(Tensor(x)).numpy() for x in run.split(x_test)]  # no dropout
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = (Tensor(logits).argmax(axis=1) == Tensor(y_test)).mean()
run.metric("accuracy", accuracy.item())
