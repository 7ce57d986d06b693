"""VGG-style CNN on CIFAR-10 in PaddlePaddle: an nn.Layer and a loop."""

# %% Setup
import paddle
import paddle.nn.functional as F
from paddle import nn

import rosetta

wait = paddle.device.synchronize
run = rosetta.start("PaddlePaddle", paddle.__version__, sync=wait)
cfg = run.config
paddle.set_device("gpu" if run.device == "cuda" else "cpu")  # of all tensors
paddle.seed(cfg.seed)
paddle.set_default_dtype(run.dtype)  # of the model's weights
run.fact("layout", "NCHW")
run.fact("compiled", False)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")


class Cnn(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(3, 50, 3, padding=1)  # the default is no padding
        self.conv2 = nn.Conv2D(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2D(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2D(100, 100, 3, padding=1)
        self.dense1 = nn.Linear(100 * 8 * 8, 512)
        self.dense2 = nn.Linear(512, cfg.classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))  # (n, 50, 32, 32)
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # stride 2 follows from 2
        x = F.dropout(x, cfg.dropout[0], training=self.training)
        x = F.relu(self.conv3(x))  # (n, 100, 16, 16)
        x = F.relu(F.max_pool2d(self.conv4(x), 2))  # (n, 100, 8, 8)
        x = F.dropout(x, cfg.dropout[0], training=self.training)
        x = x.flatten(1)  # (n, 6400), in C, H, W order
        x = F.relu(self.dense1(x))  # (n, 512)
        x = F.dropout(x, cfg.dropout[1], training=self.training)
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn()


# %% Initial weights
def turned(name, w):  # a Linear's kernel is (in, out) here, not (out, in)
    return w.T if name.startswith("dense") else w


state = {name: turned(name, w) for name, w in run.weights().items()}
model.set_state_dict(state)  # only warns of a name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
optimizer = paddle.optimizer.Momentum(
    cfg.learning_rate, cfg.momentum, parameters=model.parameters()
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()  # gradients add up unless cleared
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {n: turned(n, w.numpy()) for n, w in model.state_dict().items()}
)

# %% Predict
run.phase("predict")
model.eval()  # dropout off
with paddle.no_grad():
    batches = [model(paddle.to_tensor(x)) for x in run.split(x_test)]
    logits = paddle.concat(batches)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
labels = paddle.to_tensor(y_test).unsqueeze(1)  # (n, 1), as this metric wants
run.metric("accuracy", paddle.metric.accuracy(logits, labels).item())
