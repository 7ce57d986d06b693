# VGG-style CNN on CIFAR-10 in Knet: functions of parameters, @diff and update!.

# %% Setup
using Rosetta
using Knet

run = Rosetta.start("Knet", Rosetta.version_of(Knet))
cfg = run.config
Knet.seed!(cfg.seed)
const Weights = Array{run.dtype}  # KnetArray where there is a GPU
fact(run, "layout", "WHCN")  # column-major: the same bytes as NCHW row by row
fact(run, "cudnn", false)
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (32, 32, 3, n), (n,)

labels(y) = Int.(y) .+ 1  # classes are counted from 1

# %% Build model
phase(run, "build")
struct Conv; w; b; end  # Knet has functions, and leaves the layers to you
struct Dense; w; b; end

function Conv(inputs::Int, outputs::Int)
    w = param(3, 3, inputs, outputs; atype = Weights)
    return Conv(w, param0(1, 1, outputs, 1; atype = Weights))
end

Dense(inputs::Int, outputs::Int) =
    Dense(param(outputs, inputs; atype = Weights), param0(outputs; atype = Weights))

# Not the default mode, 0: that is a convolution in the strict sense, which
# flips its kernel. Default padding is 0, not "same".
(layer::Conv)(x) = conv4(layer.w, x; padding = 1, mode = 1) .+ layer.b
(layer::Dense)(x) = layer.w * mat(x) .+ layer.b  # mat: W fastest, then H, then C

struct Cnn; conv1; conv2; conv3; conv4; dense1; dense2; end

function (model::Cnn)(x)
    p, q = cfg.dropout
    x = model.conv2(relu.(model.conv1(x)))
    x = relu.(pool(x))  # 2×2, stride as its window
    x = dropout(x, p)  # drops inside of @diff only
    x = model.conv4(relu.(model.conv3(x)))
    x = relu.(pool(x))
    x = dropout(x, p)
    x = relu.(model.dense1(x))
    x = dropout(x, q)
    return model.dense2(x)  # logits: the softmax is in the loss
end

model = Cnn(
    Conv(3, 50),
    Conv(50, 50),
    Conv(50, 100),
    Conv(100, 100),
    Dense(8 * 8 * 100, 512),
    Dense(512, cfg.classes),
)

# %% Initial weights
kernel(w) = ndims(w) == 2 ? permutedims(w) : w  # (in, out) to Knet's (out, in)

for (name, w) in weights(run)
    layer, kind = split(name, '.')
    parameter = getproperty(getproperty(model, Symbol(layer)), Symbol(kind[1]))
    value(parameter) .= reshape(kernel(w), size(parameter))
end

# %% Loss and optimiser
loss_fn(x, y) = nll(model(x), labels(y))  # of logits: it takes the softmax itself
for parameter in params(model)
    parameter.opt = Momentum(lr = cfg.learning_rate, gamma = cfg.momentum)
end

# %% Train
phase(run, "train")
for epoch in epochs(run)
    for (x, y) in batches(run, epoch)
        loss = @diff loss_fn(x, y)
        for parameter in params(model)
            update!(parameter, grad(loss, parameter))
        end
        step(run, value(loss))
    end
    epoch_end(run, epoch)
end
final_weights(run) do
    stored = Dict{String,Array}()
    for name in fieldnames(Cnn)
        layer = getproperty(model, name)
        stored["$name.weight"] = kernel(value(layer.w))
        stored["$name.bias"] = vec(value(layer.b))
    end
    return stored
end

# %% Predict
phase(run, "predict")
logits = hcat([model(x) for x in split(run, x_test)]...)  # (10, n)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
metric(run, "accuracy", accuracy(logits, labels(y_test)))
