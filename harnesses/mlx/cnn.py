"""VGG-style CNN on CIFAR-10 in MLX: an nn.Module and a training loop."""

# %% Setup
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten

import rosetta

run = rosetta.start("MLX", mx.__version__, sync=mx.synchronize)
cfg = run.config
mx.set_default_device(mx.cpu if run.device == "cpu" else mx.gpu)
mx.random.seed(cfg.seed)
run.fact("layout", "NHWC")
run.fact("compiled", False)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)


def images(x):
    return mx.array(x.transpose(0, 2, 3, 1))  # (n, 32, 32, 3): the only layout


# %% Build model
run.phase("build")


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 50, 3, padding=1)  # the default is no padding
        self.conv2 = nn.Conv2d(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2d(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2d(100, 100, 3, padding=1)
        self.dense1 = nn.Linear(8 * 8 * 100, 512)
        self.dense2 = nn.Linear(512, cfg.classes)
        self.pool = nn.MaxPool2d(2)  # the stride is the size, unless told
        self.dropout1 = nn.Dropout(cfg.dropout[0])
        self.dropout2 = nn.Dropout(cfg.dropout[1])

    def __call__(self, x):
        x = nn.relu(self.conv1(x))  # (n, 32, 32, 50)
        x = self.dropout1(nn.relu(self.pool(self.conv2(x))))
        x = nn.relu(self.conv3(x))  # (n, 16, 16, 100)
        x = self.dropout1(nn.relu(self.pool(self.conv4(x))))
        x = x.flatten(1)  # (n, 6400) in H, W, C order
        x = self.dropout2(nn.relu(self.dense1(x)))  # (n, 512)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn()


# %% Initial weights
def to_mlx(name, w):
    if name == "dense1.weight":  # its inputs: C, H, W order to H, W, C
        w = w.reshape(512, 100, 8, 8).transpose(0, 2, 3, 1).reshape(512, -1)
    return w.transpose(0, 2, 3, 1) if w.ndim == 4 else w  # OIHW to OHWI


def from_mlx(name, w):
    if name == "dense1.weight":
        w = w.reshape(512, 8, 8, 100).transpose(0, 3, 1, 2).reshape(512, -1)
    return w.transpose(0, 3, 1, 2) if w.ndim == 4 else w  # OHWI to OIHW


weights = run.weights()
model.load_weights([(n, mx.array(to_mlx(n, w))) for n, w in weights.items()])


# %% Loss and optimiser
def loss_fn(model, x, y):  # by default it returns the loss of each image
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


loss_and_gradients = nn.value_and_grad(model, loss_fn)
optimizer = optim.SGD(cfg.learning_rate, cfg.momentum)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss, gradients = loss_and_gradients(model, images(x), mx.array(y))
        optimizer.update(model, gradients)
        mx.eval(loss, model.state, optimizer.state)  # until here, all was lazy
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {
        name: from_mlx(name, np.array(w))
        for name, w in tree_flatten(model.trainable_parameters())
    }
)

# %% Predict
run.phase("predict")
model.eval()  # dropout off
logits = [np.array(model(images(x))) for x in run.split(x_test)]  # evaluates
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = mx.mean(mx.argmax(mx.array(logits), axis=1) == mx.array(y_test))
run.metric("accuracy", accuracy.item())
