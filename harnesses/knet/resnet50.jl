# ResNet-50 features of random images in Knet, written from its functions.

# %% Setup
using Rosetta
using Knet
using Statistics

run = Rosetta.start("Knet", Rosetta.version_of(Knet))
cfg = run.config
fact(run, "layout", "WHCN")  # column-major: the same bytes as NCHW row by row
fact(run, "cudnn", false)
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_test = data(run, "x_test")  # (224, 224, 3, n)

# %% Build model
phase(run, "build")
function conv(x, name; stride = 1)
    w = model["$name.weight"]
    # Not the default mode, 0, which flips the kernel.
    return conv4(w, x; stride = stride, padding = div(size(w, 1), 2), mode = 1)
end

function norm(x, name)
    get_value(kind) = model["$name.$kind"]
    moments = bnmoments(mean = get_value("running_mean"), var = get_value("running_var"))
    scale_and_shift = vcat(vec(get_value("weight")), vec(get_value("bias")))
    return batchnorm(x, moments, scale_and_shift; training = false, eps = cfg.bn_epsilon)
end

function bottleneck(x, name, stride, project)
    y = relu.(norm(conv(x, "$name.conv1"), "$name.bn1"))
    y = conv(y, "$name.conv2"; stride = stride)  # strided here: v1.5
    y = relu.(norm(y, "$name.bn2"))
    y = norm(conv(y, "$name.conv3"), "$name.bn3")
    if project
        x = norm(conv(x, "$name.downsample.0"; stride = stride), "$name.downsample.1")
    end
    return relu.(x .+ y)
end

function features(x)
    x = relu.(norm(conv(x, "conv1"; stride = 2), "bn1"))
    x = pool(x; window = 3, stride = 2, padding = 1)  # (56, 56, 64, n)
    for (stage, blocks) in enumerate((3, 4, 6, 3)), block in 0:blocks-1
        stride = block == 0 && stage > 1 ? 2 : 1
        x = bottleneck(x, "layer$stage.$block", stride, block == 0)
    end
    return mat(mean(x, dims = (1, 2)))  # (2048, n)
end

# %% Initial weights
# Kernels are (w, h, in, out) already; vectors are of one number for each channel.
on_channels(w) = ndims(w) == 1 ? reshape(w, 1, 1, :, 1) : w
model = Dict(name => on_channels(w) for (name, w) in weights(run))

# %% Predict
phase(run, "warmup")
foreach(features, warmup(run, x_test))
phase(run, "predict")
for x in split(run, x_test)
    outputs(run, features(x))
end
