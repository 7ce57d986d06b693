# What Flux does unless it is told otherwise, measured from its layers.

# %% Setup
using Rosetta
using Flux, Random, RosettaDefaults
run = Rosetta.start("Flux", Rosetta.version_of(Flux))
Random.seed!(run.config.seed)
report = Report(
    run;
    overrides = Dict(
        "conv.shorthand" => ("cnn", "CrossCor((3, 3), 3 => 50"),
        "conv.padding" => ("cnn", "pad = 1"),
        "embedding.initialiser" => ("rnn", "model.embedding.weight .="),
        "gru.initialiser" => ("rnn", "model.gru.cell.Wh .="),
        "loss.labels" => ("cnn", "Flux.onehotbatch(y, 0:cfg.classes-1)"),
        "gru.biases" => ("framework.yaml", "gru_single_bias"),
        "decay.biases" => ("transformer", "lambda = 0.0"),
        "clip.of" => ("transformer", "trainables(gradient)"),
        "norm.epsilon" => ("transformer", "eps = sqrt(cfg.norm_epsilon)"),
        "gelu.form" => ("transformer", "gelu_erf)"),
        "attention.biases" => ("transformer", "bias = true"),
    ),
    not_needed = Dict(
        "conv.layout" => "by columns: the same bytes as NCHW by rows",
    ),
)

# %% Convolution and pooling
function conv(inputs, outputs, size)
    layer = Conv(size, inputs => outputs)
    return Layer(layer, () -> layer.weight, () -> layer.bias)
end

report(RosettaDefaults.convolution(conv))
report(RosettaDefaults.pooling(size -> MaxPool((size, size))))

# %% Dense and embedding
function dense(inputs, outputs)
    layer = Dense(inputs => outputs)
    return Layer(layer, () -> layer.weight, () -> layer.bias)
end

report(RosettaDefaults.dense(dense))
table(rows, width) = Embedding(rows => width).weight
report(RosettaDefaults.embedding(table))

# %% Dropout
training, prediction = trainmode!(Dropout(0.2)), testmode!(Dropout(0.2))
report(RosettaDefaults.dropout(Dropout(0.2), training, prediction))

# %% Loss
report(RosettaDefaults.loss(Flux.logitcrossentropy))

# %% Optimisers
function descend(w, gradients, rule)
    model = (w = w,)
    optimizer = Flux.setup(rule, model)
    return map(gradients) do gradient
        Flux.update!(optimizer, model, (w = gradient,))
        return copy(model.w)
    end
end

function words(batches)
    layer = Embedding(4 => 2)
    optimizer = Flux.setup(Adam(), layer)
    return map(batches) do batch
        gradients = Flux.gradient(layer -> sum(layer(batch)), layer)
        Flux.update!(optimizer, layer, gradients[1])
        return copy(layer.weight)
    end
end

sgd(w, gradients, rate, rho) = descend(w, gradients, Momentum(rate, rho))
adam(w, gradients, rate, betas...) = descend(w, gradients, Adam(rate, betas))
report(RosettaDefaults.momentum(sgd))
report(RosettaDefaults.adam(adam))
report(RosettaDefaults.words(words))
report(Dict("sgd.rate" => string(Momentum().eta)); how = "read")
report(Dict("adam.rate" => string(Adam().eta)); how = "read")

# %% Weight decay and clipping
adamw(w, gradients, rate, decay) =
    descend(w, gradients, AdamW(; eta = rate, lambda = decay))

function clip(gradients, limit)
    model = map(zero, Tuple(gradients))
    rule = OptimiserChain(ClipNorm(limit), Descent(1.0))
    Flux.update!(Flux.setup(rule, model), model, Tuple(gradients))
    return collect(model)
end

report(RosettaDefaults.decay(nothing, adamw))  # its Adam has no decay
report(Dict("decay.rate" => string(AdamW().lambda)); how = "read")
report(RosettaDefaults.clipping(clip))
report(RosettaDefaults.padding_row(words))

# %% LayerNorm, GELU and attention
heads = MultiHeadAttention(8; nheads = 2)
parts = ("query" => heads.q_proj, "key" => heads.k_proj)
parts = (parts..., "value" => heads.v_proj, "output" => heads.out_proj)
projections = [name for (name, part) in parts if part.bias !== false]
attend(x, mask) = first(heads(x; mask))
report(RosettaDefaults.layer_norm(LayerNorm(8)))
report(RosettaDefaults.gelu(x -> gelu.(x)))
report(RosettaDefaults.attention(attend, projections))

# %% GRU
layer = GRU(3 => 4)
cell = layer.cell
foreach(randn!, (cell.Wi, cell.Wh, cell.b))
last_state(x) = layer(x)[:, end, :]
report(RosettaDefaults.gru(Gru(last_state, cell.Wi, cell.Wh, [cell.b])))
report(RosettaDefaults.recurrent(units -> GRU(3 => units).cell.Wh))

# %% Types and seeds
function draw(seed)
    Random.seed!(seed)
    kernel = Dense(9 => 9).weight
    return vcat(kernel, trainmode!(Dropout(0.2))(ones(Float32, 9, 9)))
end

report(RosettaDefaults.types(dense, x -> eltype(cpu(x))))
report(RosettaDefaults.seeds(draw))
RosettaDefaults.close(report)
