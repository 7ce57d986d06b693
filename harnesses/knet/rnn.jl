# GRU on IMDB reviews in Knet: its RNN, @diff and update!.

# %% Setup
using Rosetta
using Knet

run = Rosetta.start("Knet", Rosetta.version_of(Knet))
cfg = run.config
Knet.seed!(cfg.seed)
const Weights = Array{run.dtype}  # KnetArray where there is a GPU
fact(run, "gru", "reset_after")
fact(run, "cudnn", false)
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (150, n), (n,)

tokens(x) = permutedims(x) .+ 1  # (n, 150), as RNN wants it; counted from 1
labels(y) = Int.(y) .+ 1

# %% Build model
phase(run, "build")
struct Rnn; embedding; gru; w; b; end

function (model::Rnn)(x)
    x = model.embedding[:, tokens(x)]  # (125, n, 150)
    y = model.gru(x)  # all outputs: (100, n, 150)
    return model.w * y[:, :, end] .+ model.b  # logits: the softmax is in the loss
end

model = Rnn(
    param(cfg.embedding, cfg.vocabulary; atype = Weights),
    RNN(cfg.embedding, cfg.units; rnnType = :gru, dataType = run.dtype),
    param(cfg.classes, cfg.units; atype = Weights),
    param0(cfg.classes; atype = Weights),
)

# %% Initial weights
# The GRU's weights are one vector; rnnparam shows a piece of it: of layer 1,
# by number, kernels (1) or biases (2). Its gates are r, z, n, as stacked here.
gate(k) = (k - 1) * cfg.units + 1:k * cfg.units
piece(number, kind) = rnnparam(model.gru, 1, number, kind; useview = true)

for (name, w) in weights(run)
    name == "embedding.weight" && (value(model.embedding) .= w)
    name == "dense.weight" && (value(model.w) .= permutedims(w))  # to (out, in)
    name == "dense.bias" && (value(model.b) .= w)
    for k in 1:3
        name == "gru.weight_ih_l0" && (piece(k, 1) .= w[:, gate(k)])
        name == "gru.weight_hh_l0" && (piece(k + 3, 1) .= w[:, gate(k)])
        name == "gru.bias_ih_l0" && (piece(k, 2) .= w[gate(k)])
        name == "gru.bias_hh_l0" && (piece(k + 3, 2) .= w[gate(k)])
    end
end

# %% Loss and optimiser
loss_fn(x, y) = nll(model(x), labels(y))  # of logits: it takes the softmax itself
for parameter in params(model)
    parameter.opt = Adam(
        lr = cfg.learning_rate, beta1 = cfg.beta1, beta2 = cfg.beta2, eps = cfg.epsilon
    )
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
    Dict(
        "embedding.weight" => value(model.embedding),
        "gru.weight_ih_l0" => hcat([piece(k, 1) for k in 1:3]...),
        "gru.weight_hh_l0" => hcat([piece(k, 1) for k in 4:6]...),
        "gru.bias_ih_l0" => vcat([piece(k, 2) for k in 1:3]...),
        "gru.bias_hh_l0" => vcat([piece(k, 2) for k in 4:6]...),
        "dense.weight" => permutedims(value(model.w)),
        "dense.bias" => value(model.b),
    )
end

# %% Predict
phase(run, "predict")
logits = hcat([model(x) for x in split(run, x_test)]...)  # (2, n)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
metric(run, "accuracy", accuracy(logits, labels(y_test)))
