"""ResNet-50 features of random images in MXNet, written from its layers."""

# %% Setup
import mxnet as mx

import rosetta

run = rosetta.start("MXNet", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, dtype=run.dtype)  # float32 unless told
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")


def conv(x, name, size, channels, stride=1):
    return mx.sym.Convolution(
        x,
        num_filter=channels,
        kernel=(size, size),
        stride=(stride, stride),
        pad=(size // 2, size // 2),
        no_bias=True,
        name=name,
    )


def norm(x, name):
    return mx.sym.BatchNorm(
        x,
        eps=cfg.bn_epsilon,  # 1e-3 by default
        fix_gamma=False,  # by default all gammas stay 1
        use_global_stats=True,  # the stored statistics
        name=name,
    )


def relu(x):
    return mx.sym.Activation(x, act_type="relu")


def bottleneck(x, name, channels, stride, project):
    y = relu(norm(conv(x, name + "_conv1", 1, channels), name + "_bn1"))
    y = conv(y, name + "_conv2", 3, channels, stride)  # strided here: v1.5
    y = relu(norm(y, name + "_bn2"))
    y = norm(conv(y, name + "_conv3", 1, 4 * channels), name + "_bn3")
    if project:
        x = conv(x, name + "_downsample_0", 1, 4 * channels, stride)
        x = norm(x, name + "_downsample_1")
    return relu(x + y)


y = relu(norm(conv(mx.sym.Variable("x"), "conv1", 7, 64, stride=2), "bn1"))
y = mx.sym.Pooling(
    y, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max"
)  # (n, 64, 56, 56)
for stage, blocks in enumerate((3, 4, 6, 3), start=1):
    for i in range(blocks):
        name = "layer%d_%d" % (stage, i)
        stride = 2 if i == 0 and stage > 1 else 1
        y = bottleneck(y, name, 32 << stage, stride, project=i == 0)
y = mx.sym.Pooling(y, kernel=(7, 7), global_pool=True, pool_type="avg")
network = mx.sym.Flatten(y)  # (n, 2048)
model = mx.mod.Module(network, ["x"], None, context=device)
inputs = mx.io.DataDesc("x", (cfg.batch_size, 3, 224, 224), run.dtype)
model.bind([inputs], for_training=False)  # plans the memory for such a batch

# %% Initial weights
weights, statistics = {}, {}
for name, w in run.weights().items():
    name = name.replace(".", "_")
    if "running" in name:  # not learnt: an auxiliary state
        statistics[name.replace("running", "moving")] = array(w)
    elif w.ndim == 1:  # of a BatchNorm
        name = name.replace("weight", "gamma").replace("bias", "beta")
        weights[name] = array(w)
    else:  # a kernel: (out, in, h, w)
        weights[name] = array(w)
model.init_params(arg_params=weights, aux_params=statistics)


def features(x):
    model.forward(mx.io.DataBatch([array(x)], None))  # returns at once
    return model.get_outputs()[0].asnumpy()  # waits


# %% Predict
run.phase("warmup")
for x in run.warmup(x_test):
    features(x)
run.phase("predict")
for x in run.split(x_test):
    run.outputs(features(x))
