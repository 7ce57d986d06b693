"""VGG-style CNN on CIFAR-10 in Chainer: conv 50-50-100-100, dense 512, SGD."""

# %% Setup
import chainer
import chainer.functions as F
import chainer.links as L
from chainer.backends import cuda

import rosetta

wait = lambda: cuda.Stream.null.synchronize()
run = rosetta.start("Chainer", chainer.__version__, sync=wait)
cfg = run.config
device = chainer.get_device("@cupy:0" if run.device == "cuda" else "@numpy")
device.use()
device.xp.random.seed(cfg.seed)  # dropout draws from NumPy's or CuPy's own
chainer.global_config.dtype = run.dtype
chainer.global_config.autotune = True  # cuDNN: search the fastest algorithms
run.fact("layout", "NCHW")
run.fact("cudnn", cuda.cudnn_enabled)
run.fact("compiled", False)  # define-by-run: the graph is what was called

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")


class Cnn(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():  # only links made in here are trained
            self.conv1 = L.Convolution2D(3, 50, 3, pad=1)  # default pad is 0
            self.conv2 = L.Convolution2D(50, 50, 3, pad=1)
            self.conv3 = L.Convolution2D(50, 100, 3, pad=1)
            self.conv4 = L.Convolution2D(100, 100, 3, pad=1)
            self.dense1 = L.Linear(100 * 8 * 8, 512)
            self.dense2 = L.Linear(512, cfg.classes)

    def forward(self, x):
        x = self.conv2(F.relu(self.conv1(x)))
        # By default cover_all adds a window for a rest at the edge.
        x = F.relu(F.max_pooling_2d(x, 2, cover_all=False))
        x = F.dropout(x, cfg.dropout[0])  # only where config.train is true
        x = self.conv4(F.relu(self.conv3(x)))
        x = F.relu(F.max_pooling_2d(x, 2, cover_all=False))
        x = F.dropout(x, cfg.dropout[0])
        x = F.relu(self.dense1(x))  # flattens (n, 100, 8, 8) by itself: C, H, W
        x = F.dropout(x, cfg.dropout[1])
        return self.dense2(x)  # logits: the softmax is in the loss


model = Cnn()

# %% Initial weights
weights = run.weights()
for layer in model.children():
    layer.W.array[...] = weights[layer.name + ".weight"]  # (out, in, ...)
    layer.b.array[...] = weights[layer.name + ".bias"]
model.to_device(device)  # in place

# %% Loss and optimiser
loss_fn = F.softmax_cross_entropy  # takes logits and class indices
optimizer = chainer.optimizers.MomentumSGD(cfg.learning_rate, cfg.momentum)
optimizer.setup(model)

# %% Train
run.phase("train")
with chainer.using_config("train", True):  # the default
    for epoch in run.epochs():
        for x, y in run.batches(epoch):
            loss = loss_fn(model(device.send(x)), device.send(y))
            model.cleargrads()  # gradients accumulate unless cleared
            loss.backward()
            optimizer.update()
            run.step(loss)
        run.epoch_end(epoch, loss)


def final_weights():
    host = chainer.get_device("@numpy")
    for layer in model.children():
        yield layer.name + ".weight", host.send(layer.W.array)
        yield layer.name + ".bias", host.send(layer.b.array)


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
with chainer.using_config("train", False), chainer.no_backprop_mode():
    batches = [model(device.send(x)).array for x in run.split(x_test)]
logits = device.xp.concatenate(batches)
run.outputs(chainer.get_device("@numpy").send(logits))

# %% Evaluate
run.phase("evaluate")
run.metric("accuracy", F.accuracy(logits, device.send(y_test)).item())
