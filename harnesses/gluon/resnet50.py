"""ResNet-50 features of random images in Gluon, written from its layers."""

# %% Setup
import mxnet as mx
from mxnet import gluon
from mxnet.gluon import nn

import rosetta

run = rosetta.start("Gluon", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # hybridized, see below

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, device)
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
# resnet50_v1 of the model zoo strides in the first 1x1 convolution of a block,
# and two of its three convolutions have a bias: another network.


class ConvNorm(nn.HybridSequential):
    """A convolution and its batch normalisation, by their torchvision names."""

    def __init__(self, conv, norm, channels, size, stride=1):
        super().__init__(prefix="")  # an empty one adds nothing to the names
        with self.name_scope():
            self.add(
                nn.Conv2D(
                    channels,
                    size,
                    stride,
                    padding=size // 2,
                    use_bias=False,
                    prefix=conv,
                ),
                nn.BatchNorm(epsilon=cfg.bn_epsilon, prefix=norm),
            )


class Bottleneck(gluon.HybridBlock):
    def __init__(self, channels, stride, project, prefix):
        super().__init__(prefix)
        with self.name_scope():
            self.body = nn.HybridSequential(prefix="")
            self.body.add(
                ConvNorm("conv1_", "bn1_", channels, 1),
                nn.Activation("relu"),
                ConvNorm("conv2_", "bn2_", channels, 3, stride),  # here: v1.5
                nn.Activation("relu"),
                ConvNorm("conv3_", "bn3_", 4 * channels, 1),
            )
            self.shortcut = nn.HybridSequential(prefix="")  # empty: x itself
            if project:
                names = "downsample_0_", "downsample_1_"
                self.shortcut.add(ConvNorm(*names, 4 * channels, 1, stride))

    def hybrid_forward(self, F, x):  # F: mx.nd, or mx.sym when hybridized
        return F.Activation(self.body(x) + self.shortcut(x), act_type="relu")


model = nn.HybridSequential(prefix="")
model.add(
    ConvNorm("conv1_", "bn1_", 64, 7, 2),
    nn.Activation("relu"),
    nn.MaxPool2D(3, 2, padding=1),  # (n, 64, 56, 56)
)
for stage, blocks in enumerate((3, 4, 6, 3), start=1):
    for i in range(blocks):
        stride = 2 if i == 0 and stage > 1 else 1
        prefix = "layer%d_%d_" % (stage, i)
        model.add(Bottleneck(32 << stage, stride, i == 0, prefix))
model.add(nn.GlobalAvgPool2D(), nn.Flatten())  # (n, 2048)
model.hybridize()  # makes a graph in the first call; without, runs by layers
model.initialize(ctx=device)
model(array(x_test[:1]))  # the layers learn the sizes of their inputs

# %% Initial weights
parameters = model.collect_params()
for name, w in run.weights().items():
    name = name.replace(".", "_")
    if w.ndim == 1 and "running" not in name:  # of a BatchNorm
        name = name.replace("weight", "gamma").replace("bias", "beta")
    parameters[name].set_data(array(w))

# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    model(array(x)).wait_to_read()
run.phase("predict")
for x in run.split(x_test):  # not recorded: stored statistics
    run.outputs(model(array(x)).asnumpy())
