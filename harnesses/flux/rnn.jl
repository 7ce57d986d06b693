# GRU on IMDB reviews in Flux: a struct of layers, withgradient and update!.

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
fact(run, "gru", "reset_after, one bias")
fact(run, "cudnn", false)  # its GRU is written in Julia
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (150, n), (n,)

tokens(x) = device(Int.(x) .+ 1)  # counted from 1
one_hot(y) = Flux.onehotbatch(y, 0:cfg.classes-1)  # the loss wants no numbers

# %% Build model
phase(run, "build")
struct Rnn{E,G,D}
    embedding::E
    gru::G
    dense::D
end
Flux.@layer Rnn

function (model::Rnn)(x)
    x = model.embedding(x)  # (125, 150, n)
    y = model.gru(x)  # all outputs: (100, 150, n)
    return model.dense(y[:, end, :])  # logits: the softmax is in the loss
end

model = Rnn(
    Embedding(cfg.vocabulary => cfg.embedding),
    GRU(cfg.embedding => cfg.units),  # GRUv3 is the one that resets before
    Dense(cfg.units => cfg.classes),
)

# %% Initial weights
model = run.dtype == Float64 ? f64(model) : model  # float32 by default
initial = weights(run)
model.embedding.weight .= initial["embedding.weight"]  # (125, 30000)
# Its gates are r, z, n too; kernels are (out, in). It has no recurrent biases,
# which is the variant `gru_single_bias`.
model.gru.cell.Wi .= permutedims(initial["gru.weight_ih_l0"])
model.gru.cell.Wh .= permutedims(initial["gru.weight_hh_l0"])
model.gru.cell.b .= initial["gru.bias_ih_l0"]
model.dense.weight .= permutedims(initial["dense.weight"])
model.dense.bias .= initial["dense.bias"]
model = device(model)

# %% Loss and optimiser
loss_fn(model, x, y) = Flux.logitcrossentropy(model(x), y)
adam = Adam(cfg.learning_rate, (cfg.beta1, cfg.beta2), cfg.epsilon)
optimizer = Flux.setup(adam, model)

# %% Train
phase(run, "train")
for epoch in epochs(run)
    for (x, y) in batches(run, epoch)
        x, y = tokens(x), device(one_hot(y))
        loss, gradients = Flux.withgradient(m -> loss_fn(m, x, y), model)
        Flux.update!(optimizer, model, gradients[1])  # in place
        step(run, loss)
    end
    epoch_end(run, epoch)
end
final_weights(run) do
    trained = cpu(model)
    return Dict(
        "embedding.weight" => trained.embedding.weight,
        "gru.weight_ih_l0" => permutedims(trained.gru.cell.Wi),
        "gru.weight_hh_l0" => permutedims(trained.gru.cell.Wh),
        "gru.bias_ih_l0" => trained.gru.cell.b,
        "gru.bias_hh_l0" => initial["gru.bias_hh_l0"],  # which it has not
        "dense.weight" => permutedims(trained.dense.weight),
        "dense.bias" => trained.dense.bias,
    )
end

# %% Predict
phase(run, "predict")
logits = hcat([cpu(model(tokens(x))) for x in split(run, x_test)]...)  # (2, n)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
correct = Flux.onecold(logits, 0:cfg.classes-1) .== y_test
metric(run, "accuracy", count(correct) / length(correct))
