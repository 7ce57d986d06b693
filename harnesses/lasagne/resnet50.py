"""ResNet-50 features of random images in Lasagne, written from its layers."""

# %% Setup
from functools import partial

import lasagne
import theano
import theano.tensor as T
from lasagne.init import Constant
from lasagne.layers import (
    Conv2DLayer,
    ElemwiseSumLayer,
    GlobalPoolLayer,
    InputLayer,
    Layer,
    MaxPool2DLayer,
    NonlinearityLayer,
    get_output,
)
from lasagne.nonlinearities import linear, rectify

import rosetta

run = rosetta.start("Lasagne", lasagne.__version__)  # functions wait
cfg = run.config
theano.config.floatX = run.dtype
run.fact("layout", "NCHW")
run.fact("cudnn", False)
run.fact("compiled", True)  # the graph is declared first and then compiled

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
layers = {}  # by torchvision's name
relu = partial(NonlinearityLayer, nonlinearity=rectify)
# Theano's convolutions turn their kernels around unless told.
convolution = partial(T.nnet.conv2d, filter_flip=False)


class BatchNormLayer(Layer):
    """With stored statistics; Lasagne 0.1 has none yet."""

    def __init__(self, incoming):
        super().__init__(incoming)
        shape = (self.input_shape[1],)
        self.weight = self.add_param(Constant(1), shape)
        self.bias = self.add_param(Constant(0), shape)
        self.running_mean = self.add_param(Constant(0), shape)
        self.running_var = self.add_param(Constant(1), shape)

    def get_output_for(self, x, **_):
        std = T.sqrt(self.running_var + cfg.bn_epsilon)
        vectors = self.weight, self.bias, self.running_mean, std
        return T.nnet.bn.batch_normalization(
            x, *[vector.dimshuffle("x", 0, "x", "x") for vector in vectors]
        )


def conv(x, name, channels, size, stride=1):
    layers[name] = Conv2DLayer(
        x,
        channels,
        size,
        stride,
        pad=size // 2,
        b=None,
        nonlinearity=linear,  # rectifies by default
        convolution=convolution,
    )
    return layers[name]


def norm(x, name):
    layers[name] = BatchNormLayer(x)
    return layers[name]


def bottleneck(x, name, channels, stride, project):
    y = relu(norm(conv(x, name + ".conv1", channels, 1), name + ".bn1"))
    y = conv(y, name + ".conv2", channels, 3, stride)  # strided here: v1.5
    y = relu(norm(y, name + ".bn2"))
    y = norm(conv(y, name + ".conv3", 4 * channels, 1), name + ".bn3")
    if project:
        x = conv(x, name + ".downsample.0", 4 * channels, 1, stride)
        x = norm(x, name + ".downsample.1")
    return relu(ElemwiseSumLayer([x, y]))


images = T.tensor4("images")
model = InputLayer((None, 3, 224, 224), images)
model = relu(norm(conv(model, "conv1", 64, 7, stride=2), "bn1"))
model = MaxPool2DLayer(model, 3, stride=2, pad=1)  # (64, 56, 56)
for stage, blocks in enumerate((3, 4, 6, 3), start=1):
    for i in range(blocks):
        name = f"layer{stage}.{i}"
        stride = 2 if i == 0 and stage > 1 else 1
        model = bottleneck(model, name, 32 << stage, stride, project=i == 0)
model = GlobalPoolLayer(model)  # (n, 2048)
predict = theano.function([images], get_output(model, deterministic=True))

# %% Initial weights
for name, w in run.weights().items():
    layer, _, kind = name.rpartition(".")  # layer1.0.conv2 and weight
    is_kernel = w.ndim == 4  # (out, in, h, w) here too
    getattr(layers[layer], "W" if is_kernel else kind).set_value(w)

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    predict(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(predict(x))
