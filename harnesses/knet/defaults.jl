# What Knet does unless it is told otherwise, measured from its functions.

# %% Setup
using Rosetta
using Knet, Random, RosettaDefaults
run = Rosetta.start("Knet", Rosetta.version_of(Knet))
report = Report(
    run;
    overrides = Dict(
        "conv.shorthand" => ("cnn", "param(3, 3, inputs, outputs"),
        "conv.padding" => ("cnn", "padding = 1"),
        "conv.initialiser" => ("cnn", "value(parameter) .="),
        "dense.initialiser" => ("cnn", "value(parameter) .="),
        "embedding.initialiser" => ("rnn", "value(model.embedding) .="),
        "gru.initialiser" => ("rnn", "piece(k + 3, 1) .="),
    ),
    not_needed = Dict(
        "conv.layout" => "by columns: the same bytes as NCHW by rows",
        "clip.of" => "only a transformer clips, and it has none",
    ),
)

# %% Convolution and pooling
# There are no layers: these are the functions, on parameters as they come.
function conv(inputs, outputs, size)
    w, b = param(size..., inputs, outputs), param0(1, 1, outputs, 1)
    layer(x) = conv4(value(w), x) .+ value(b)
    return Layer(layer, () -> value(w), () -> vec(value(b)))
end

report(RosettaDefaults.convolution(conv))
report(RosettaDefaults.pooling(size -> x -> pool(x; window = size)))

# %% Dense and embedding
function dense(inputs, outputs)
    w, b = param(outputs, inputs), param0(outputs)
    layer(x) = value(w) * mat(x) .+ value(b)
    return Layer(layer, () -> value(w), () -> value(b))
end

report(RosettaDefaults.dense(dense))
report(RosettaDefaults.embedding((rows, width) -> value(param(width, rows))))

# %% Dropout
drop(x; told...) = dropout(x, 0.2; told...)  # untold, it drops inside of @diff
training, prediction = x -> drop(x; drop = true), x -> drop(x; drop = false)
report(RosettaDefaults.dropout(drop, training, prediction))

# %% Loss
report(RosettaDefaults.loss(nll))

# %% Optimisers
function descend(w, gradients, rule)
    return map(gradients) do gradient
        update!(w, gradient, rule)  # in place, and the rule has the state
        return copy(w)
    end
end

function words(batches)
    table = param(2, 4)
    table.opt = Adam()
    return map(batches) do batch
        loss = @diff sum(table[:, batch])
        update!(table, grad(loss, table))
        return copy(value(table))
    end
end

sgd(w, gradients, rate, rho) =
    descend(w, gradients, Momentum(lr = rate, gamma = rho))
adam(w, gradients, rate, beta1, beta2) =
    descend(w, gradients, Adam(; lr = rate, beta1 = beta1, beta2 = beta2))
report(RosettaDefaults.momentum(sgd))
report(RosettaDefaults.adam(adam))
report(RosettaDefaults.words(words))
report(Dict("sgd.rate" => string(Momentum().lr)); how = "read")
report(Dict("adam.rate" => string(Adam().lr)); how = "read")

# %% Clipping
# Part of an optimiser, which has it for each array: there is no function.
clip(gradients, limit) = map(gradients) do gradient
    w = zero(gradient)
    return -update!(w, copy(gradient), SGD(lr = 1.0, gclip = limit))
end

report(RosettaDefaults.clipping(clip))
report(RosettaDefaults.padding_row(words))

# %% GRU
layer = RNN(3, 4; rnnType = :gru)
randn!(value(layer.w))
piece(layer, number, kind) = rnnparam(layer, 1, number, kind)
kernel(layer, numbers) = vcat((piece(layer, k, 1)' for k in numbers)...)
bias(layer, numbers) = vcat((piece(layer, k, 2) for k in numbers)...)
last_state(x) = layer(permutedims(x, (1, 3, 2)))[:, :, end]
biases = [bias(layer, 1:3), bias(layer, 4:6)]
by_input, by_state = kernel(layer, 1:3), kernel(layer, 4:6)
report(RosettaDefaults.gru(Gru(last_state, by_input, by_state, biases)))
recurrent(units) = kernel(RNN(3, units; rnnType = :gru), 4:6)
report(RosettaDefaults.recurrent(recurrent))

# %% Types and seeds
function draw(seed)
    Knet.seed!(seed)
    return vcat(value(param(9, 9)), training(ones(Float32, 9, 9)))
end

report(RosettaDefaults.types(dense, x -> eltype(value(param(x)))))
report(RosettaDefaults.seeds(draw))
RosettaDefaults.close(report)
