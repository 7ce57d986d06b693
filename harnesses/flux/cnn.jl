# VGG-style CNN on CIFAR-10 in Flux: a Chain, withgradient and update!.

# %% Setup
using Rosetta
using Flux, Random
version = Rosetta.version_of(Flux)
run = Rosetta.start("Flux", version; sync = () -> CUDA.synchronize())
cfg = run.config
Random.seed!(cfg.seed)
on_gpu = run.device == "cuda"
on_gpu && @eval using CUDA, cuDNN  # what makes `gpu_device` find one
device = on_gpu ? gpu_device(force = true) : cpu_device()
fact(run, "layout", "WHCN")  # column-major: the same bytes as NCHW row by row
fact(run, "cudnn", on_gpu)
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")
# Images are (32, 32, 3, n), labels (n,).

one_hot(y) = Flux.onehotbatch(y, 0:cfg.classes-1)  # the loss wants no numbers

# %% Build model
phase(run, "build")
p, q = cfg.dropout
# Conv flips its kernel; a cross-correlation is CrossCor. Default padding is 0.
model = Chain(
    conv1 = CrossCor((3, 3), 3 => 50, relu; pad = 1),
    conv2 = CrossCor((3, 3), 50 => 50; pad = 1),
    pool1 = MaxPool((2, 2)),  # the stride is the window unless told
    relu1 = x -> relu.(x),
    dropout1 = Dropout(p),
    conv3 = CrossCor((3, 3), 50 => 100, relu; pad = 1),
    conv4 = CrossCor((3, 3), 100 => 100; pad = 1),
    pool2 = MaxPool((2, 2)),
    relu2 = x -> relu.(x),
    dropout2 = Dropout(p),
    flatten = Flux.flatten,  # W fastest, then H, then C: as C, H, W row by row
    dense1 = Dense(8 * 8 * 100 => 512, relu),
    dropout3 = Dropout(q),
    dense2 = Dense(512 => cfg.classes),  # logits: the softmax is in the loss
)

# %% Initial weights
model = run.dtype == Float64 ? f64(model) : model  # float32 by default
with_weights = filter(name -> hasproperty(model[name], :weight), keys(model))
kernel(w) = ndims(w) == 2 ? permutedims(w) : w  # (in, out) to Flux's (out, in)

initial = weights(run)
for name in with_weights
    model[name].weight .= kernel(initial["$name.weight"])
    model[name].bias .= initial["$name.bias"]
end
model = device(model)

# %% Loss and optimiser
loss_fn(model, x, y) = Flux.logitcrossentropy(model(x), y)
optimizer = Flux.setup(Momentum(cfg.learning_rate, cfg.momentum), model)

# %% Train
phase(run, "train")
trainmode!(model)
for epoch in epochs(run)
    for (x, y) in batches(run, epoch)
        x, y = device(x), device(one_hot(y))
        loss, gradients = Flux.withgradient(m -> loss_fn(m, x, y), model)
        Flux.update!(optimizer, model, gradients[1])  # in place
        step(run, loss)
    end
    epoch_end(run, epoch)
end
final_weights(run) do
    trained = cpu(model)
    arrays = Dict{String,Array}()
    for name in with_weights
        arrays["$name.weight"] = kernel(trained[name].weight)
        arrays["$name.bias"] = trained[name].bias
    end
    return arrays
end

# %% Predict
phase(run, "predict")
testmode!(model)  # dropout off
logits = hcat([cpu(model(device(x))) for x in split(run, x_test)]...)  # (10, n)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
correct = Flux.onecold(logits, 0:cfg.classes-1) .== y_test
metric(run, "accuracy", count(correct) / length(correct))
