"""VGG-style CNN on CIFAR-10 in Gluon, MXNet's imperative API: hybridized."""

# %% Setup
import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

import rosetta

run = rosetta.start("Gluon", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
mx.random.seed(cfg.seed)
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # hybridized, see below

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, device)  # float32, class numbers too
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")
model = nn.HybridSequential(prefix="")
model.add(
    # A layer's prefix names its weights: conv1_weight, conv1_bias.
    nn.Conv2D(50, 3, padding=1, activation="relu", prefix="conv1_"),
    nn.Conv2D(50, 3, padding=1, prefix="conv2_"),  # the default is no padding
    nn.MaxPool2D(2),  # strides default to the pool size
    nn.Activation("relu"),
    nn.Dropout(cfg.dropout[0]),
    nn.Conv2D(100, 3, padding=1, activation="relu", prefix="conv3_"),
    nn.Conv2D(100, 3, padding=1, prefix="conv4_"),
    nn.MaxPool2D(2),
    nn.Activation("relu"),
    nn.Dropout(cfg.dropout[0]),
    # Flattens (n, 100, 8, 8) by itself: C, H, W.
    nn.Dense(512, activation="relu", prefix="dense1_"),
    nn.Dropout(cfg.dropout[1]),
    nn.Dense(cfg.classes, prefix="dense2_"),
)  # logits: the softmax is in the loss
model.hybridize()  # makes a graph in the first call; without, runs by layers
model.initialize(ctx=device)
model(array(x_test[:1]))  # the layers learn the sizes of their inputs

# %% Initial weights
parameters = model.collect_params()
for name, w in run.weights().items():
    parameters[name.replace(".", "_")].set_data(array(w))  # (out, in, ...)

# %% Loss and optimiser
loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()  # of logits and class numbers
optimizer = gluon.Trainer(
    parameters,
    "sgd",
    {"learning_rate": cfg.learning_rate, "momentum": cfg.momentum},
)

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        with autograd.record():  # also says that this is training: dropout on
            losses = loss_fn(model(array(x)), array(y))  # one for each image
        losses.backward()  # of their sum
        optimizer.step(cfg.batch_size)  # divides by the batch size
        loss = losses.mean()
        run.step(loss.asscalar)  # when asked: that would wait for the GPU
    run.epoch_end(epoch, loss.asscalar)


def final_weights():
    for name, parameter in parameters.items():
        yield name.replace("_", "."), parameter.data().asnumpy()


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
logits = [model(array(x)) for x in run.split(x_test)]  # no dropout
logits = mx.nd.concat(*logits, dim=0)
run.outputs(logits.asnumpy())

# %% Evaluate
run.phase("evaluate")
accuracy = mx.metric.Accuracy()
accuracy.update([array(y_test)], [logits])
run.metric("accuracy", accuracy.get()[1])
