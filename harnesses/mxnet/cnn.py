"""VGG-style CNN on CIFAR-10 in MXNet: a symbol, bound to arrays by a Module."""

# %% Setup
import ctypes

import mxnet as mx
import numpy as np

import rosetta

run = rosetta.start("MXNet", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
mx.random.seed(cfg.seed)
ctypes.CDLL(None).srand(cfg.seed)  # the dropout of MKL asks C's rand()
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, dtype=run.dtype)  # float32 unless told
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")


def conv(x, channels, name):  # its weights become variables by that name
    return mx.sym.Convolution(
        x, num_filter=channels, kernel=(3, 3), pad=(1, 1), name=name
    )


def relu(x):
    return mx.sym.Activation(x, act_type="relu")


def max_pool(x):
    # The relu comes first, for the same numbers: in 0.12 a max pool right
    # behind a convolution makes the gradients of all layers below zero.
    return mx.sym.Pooling(
        relu(x), kernel=(2, 2), stride=(2, 2), pool_type="max"
    )


x = relu(conv(mx.sym.Variable("x"), 50, "conv1"))  # (n, 50, 32, 32)
x = max_pool(conv(x, 50, "conv2"))
x = mx.sym.Dropout(x, p=cfg.dropout[0])  # only in a training pass
x = relu(conv(x, 100, "conv3"))  # (n, 100, 16, 16)
x = max_pool(conv(x, 100, "conv4"))
x = mx.sym.Dropout(x, p=cfg.dropout[0])
# Flattens (n, 100, 8, 8) by itself: C, H, W.
x = relu(mx.sym.FullyConnected(x, num_hidden=512, name="dense1"))
x = mx.sym.Dropout(x, p=cfg.dropout[1])
network = mx.sym.FullyConnected(x, num_hidden=cfg.classes, name="dense2")

# %% Initial weights
weights = {  # conv1.weight is conv1_weight here: (out, in, ...)
    name.replace(".", "_"): array(w) for name, w in run.weights().items()
}

# %% Loss and optimiser
# The softmax is part of the network. Its gradient is that of the cross-entropy,
# which itself is computed nowhere but in a metric.
loss_fn = mx.sym.SoftmaxOutput(network, mx.sym.Variable("y"))
inputs = mx.io.DataDesc("x", (cfg.batch_size,) + x_test.shape[1:], run.dtype)
labels = mx.io.DataDesc("y", (cfg.batch_size,), run.dtype)
model = mx.mod.Module(loss_fn, ["x"], ["y"], context=device)
model.bind([inputs], [labels])  # plans the memory for batches of this size
model.init_params(arg_params=weights)
model.init_optimizer(  # divides gradients by the batch size
    optimizer="sgd",
    optimizer_params={
        "learning_rate": cfg.learning_rate,
        "momentum": cfg.momentum,
    },
)
metric = mx.metric.CrossEntropy()


def loss():  # mean of the last batch, when asked
    metric.reset()
    model.update_metric(metric, batch.label)
    return metric.get()[1]


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        batch = mx.io.DataBatch([array(x)], [array(y)])
        model.forward_backward(batch)
        model.update()
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    for name, w in model.get_params()[0].items():
        yield name.replace("_", "."), w.asnumpy()


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
# The same weights without the softmax; not for training: nothing is dropped.
predictor = mx.mod.Module(network, ["x"], None, context=device)
predictor.bind([inputs], for_training=False, shared_module=model)


def predict(x):
    predictor.forward(mx.io.DataBatch([array(x)], None))
    return predictor.get_outputs()[0].asnumpy()


logits = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = mx.metric.Accuracy()
accuracy.update([mx.nd.array(y_test)], [mx.nd.array(logits)])
run.metric("accuracy", accuracy.get()[1])
