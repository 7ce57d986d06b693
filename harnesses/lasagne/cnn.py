"""VGG-style CNN on CIFAR-10 in Lasagne: its layers, and Theano's functions."""

# %% Setup
from functools import partial

import lasagne
import numpy as np
import theano
import theano.tensor as T
from lasagne.layers import (
    Conv2DLayer,
    DenseLayer,
    InputLayer,
    MaxPool2DLayer,
    NonlinearityLayer,
    dropout,
    get_all_params,
    get_output,
)
from lasagne.nonlinearities import linear, rectify
from lasagne.objectives import categorical_crossentropy

import rosetta

run = rosetta.start("Lasagne", lasagne.__version__)  # functions wait
cfg = run.config
theano.config.floatX = run.dtype
lasagne.random.set_rng(np.random.RandomState(cfg.seed))  # dropout's seeds
run.fact("layout", "NCHW")
run.fact("cudnn", False)
run.fact("compiled", True)  # the graph is declared first and then compiled

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")
# Theano's convolutions turn their kernels around unless told.
Conv = partial(
    Conv2DLayer,
    filter_size=3,
    pad=1,  # 0 by default
    convolution=partial(T.nnet.conv2d, filter_flip=False),
)
images, labels = T.tensor4("images"), T.ivector("labels")
model = InputLayer((None, 3, 32, 32), images)
model = Conv(model, 50)  # rectifies by default
model = Conv(model, 50, nonlinearity=linear)
model = MaxPool2DLayer(model, 2)  # the stride defaults to the pool size
model = NonlinearityLayer(model, rectify)
model = dropout(model, cfg.dropout[0])
model = Conv(model, 100)
model = Conv(model, 100, nonlinearity=linear)
model = MaxPool2DLayer(model, 2)
model = NonlinearityLayer(model, rectify)
model = dropout(model, cfg.dropout[0])
model = DenseLayer(model, 512)  # flattens: C, H, W
model = dropout(model, cfg.dropout[1])
model = DenseLayer(model, cfg.classes, nonlinearity=linear)  # logits

# %% Initial weights
names = list(run.weights())  # in forward order, as Lasagne has them


def turned(w):
    """Dense kernels are (in, out) here, not (out, in); others as they are."""
    return w.T if w.ndim == 2 else w


values = [turned(w) for w in run.weights().values()]
lasagne.layers.set_all_param_values(model, values)

# %% Loss and optimiser
# Theano makes one stable function of the softmax and the logarithm.
predictions = T.nnet.softmax(get_output(model))
loss_fn = categorical_crossentropy(predictions, labels).mean()
optimizer = lasagne.updates.momentum(
    loss_fn,
    get_all_params(model, trainable=True),
    cfg.learning_rate,
    cfg.momentum,
)
train = theano.function([images, labels], loss_fn, updates=optimizer)
logits_fn = get_output(model, deterministic=True)  # no dropout
predict = theano.function([images], logits_fn)

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train(x, y)
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    values = lasagne.layers.get_all_param_values(model)
    return {name: turned(w) for name, w in zip(names, values)}


run.final_weights(final_weights)

# %% Predict
run.phase("predict")
logits = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
is_right = T.eq(T.argmax(logits, axis=1), y_test)
run.metric("accuracy", is_right.mean().eval())
