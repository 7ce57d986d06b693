# ResNet-50 features of random images in Flux, written from its layers.

# %% Setup
using Rosetta
using Flux
version = Rosetta.version_of(Flux)
run = Rosetta.start("Flux", version; sync = () -> CUDA.synchronize())
cfg = run.config
on_gpu = run.device == "cuda"
on_gpu && @eval using CUDA, cuDNN  # what makes `gpu_device` find one
device = on_gpu ? gpu_device(force = true) : cpu_device()
fact(run, "layout", "WHCN")  # column-major: the same bytes as NCHW row by row
fact(run, "cudnn", on_gpu)
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_test = data(run, "x_test")  # (224, 224, 3, n)

# %% Build model
phase(run, "build")
layers = Dict{String,Any}()  # by torchvision's name

function conv(name, size, channels; stride = 1)
    # Conv flips its kernel; a cross-correlation is CrossCor.
    pad, bias = div(size, 2), false
    layers[name] = CrossCor((size, size), channels; stride, pad, bias)
    return layers[name]
end

function norm(name, channels, activation = identity)
    eps = Float32(cfg.bn_epsilon)  # of the type that its momentum has
    layers[name] = BatchNorm(channels, activation; eps)
    return layers[name]
end

function bottleneck(name, inputs, width, stride, project)
    main = Chain(
        conv("$name.conv1", 1, inputs => width),
        norm("$name.bn1", width, relu),
        conv("$name.conv2", 3, width => width; stride),  # strided here: v1.5
        norm("$name.bn2", width, relu),
        conv("$name.conv3", 1, width => 4width),
        norm("$name.bn3", 4width),
    )
    project || return SkipConnection(main, (y, x) -> relu.(y .+ x))
    shortcut = Chain(
        conv("$name.downsample.0", 1, inputs => 4width; stride),
        norm("$name.downsample.1", 4width),
    )
    return Parallel((y, x) -> relu.(y .+ x), main, shortcut)
end

function stage(number, inputs, blocks)
    width = 32 << number
    stride = number > 1 ? 2 : 1
    first = bottleneck("layer$number.0", inputs, width, stride, true)
    other(k) = bottleneck("layer$number.$k", 4width, width, 1, false)
    return Chain(first, other.(1:blocks-1)...)
end

model = Chain(
    conv("conv1", 7, 3 => 64; stride = 2),
    norm("bn1", 64, relu),
    MaxPool((3, 3); stride = 2, pad = 1),  # (56, 56, 64, n)
    stage(1, 64, 3),
    stage(2, 256, 4),
    stage(3, 512, 6),
    stage(4, 1024, 3),
    GlobalMeanPool(),
    Flux.flatten,  # (2048, n)
)

# %% Initial weights
const FIELDS = Dict(
    "weight" => :γ,
    "bias" => :β,
    "running_mean" => :μ,
    "running_var" => :σ²,
)

for (name, w) in weights(run)
    layer, kind = match(r"^(.*)\.(\w+)$", name).captures
    field = layers[layer] isa BatchNorm ? FIELDS[kind] : :weight
    getfield(layers[layer], field) .= w  # kernels are (w, h, in, out) here too
end
model = device(run.dtype == Float64 ? f64(model) : model)  # float32 by default

# %% Predict
testmode!(model)  # batch normalisation with its stored statistics
phase(run, "warmup")
for x in warmup(run, x_test)
    model(device(x))
end
phase(run, "predict")
for x in split(run, x_test)
    outputs(run, cpu(model(device(x))))
end
