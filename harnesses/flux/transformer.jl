# Transformer encoder on IMDB reviews in Flux: MultiHeadAttention in a block.

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
fact(run, "compiled", false)

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (150, n), (n,)

tokens(x) = device(Int.(x) .+ 1)  # counted from 1: padding is 1 here
one_hot(y) = Flux.onehotbatch(y, 0:cfg.classes-1)  # the loss wants no numbers

# %% Build model
phase(run, "build")
struct Block{N,A,D,F}
    norm1::N
    attention::A
    dropout::D
    feed_forward::F
end
Flux.@layer Block

function (block::Block)(x, mask)
    y, _ = block.attention(block.norm1(x); mask)  # and the weights it gave
    x = x .+ block.dropout(y)
    return x .+ block.feed_forward(x)
end

struct Transformer{E,P,B,N,D}
    embedding::E
    positions::P  # an array in a layer is trained, as it is
    blocks::B
    norm::N
    dense::D
end
Flux.@layer Transformer

function (model::Transformer)(x)
    length, n = size(x)
    is_word = x .> 1
    # True is attended to; the axes are (keys, queries, heads, n).
    mask = reshape(is_word, length, 1, 1, n)
    x = model.embedding(x) .+ model.positions  # (128, 150, n)
    for block in model.blocks
        x = block(x, mask)
    end
    x = model.norm(x) .* reshape(is_word, 1, length, n)
    x = sum(x; dims = 2) ./ reshape(sum(is_word; dims = 1), 1, 1, n)
    return model.dense(dropdims(x; dims = 2))  # logits, no softmax
end

# The square of eps is added to the variance; from Flux 0.16.11 on, eps is.
norm() = LayerNorm(cfg.width; eps = sqrt(cfg.norm_epsilon))

block() = Block(
    norm(),
    # By default it has no biases, and drops none of its weights.
    MultiHeadAttention(cfg.width; nheads = cfg.heads, bias = true),
    Dropout(cfg.dropout),
    Chain(
        norm(),
        Dense(cfg.width => cfg.hidden, gelu_erf),  # gelu is the one by tanh
        Dense(cfg.hidden => cfg.width),
        Dropout(cfg.dropout),
    ),
)

model = Transformer(
    Embedding(cfg.vocabulary => cfg.width),
    zeros32(cfg.width, cfg.length),
    ntuple(_ -> block(), cfg.blocks),
    norm(),
    Dense(cfg.width => cfg.classes),
)

# %% Initial weights
model = run.dtype == Float64 ? f64(model) : model  # float32 by default
weight(layer) = layer.weight
weight(layer::LayerNorm) = layer.diag.scale  # γ and β are a layer in it
bias(layer) = layer.bias
bias(layer::LayerNorm) = layer.diag.bias

function variables(model)  # by name; queries, keys and values are three here
    layers = Dict{String,Any}(
        "encoder.norm." => [model.norm],
        "dense." => [model.dense],
    )
    for (i, block) in enumerate(model.blocks)
        at, mha = "encoder.layers.$(i-1).", block.attention
        norm2, linear1, linear2 = block.feed_forward
        layers[at*"norm1."] = [block.norm1]
        layers[at*"self_attn.in_proj_"] = [mha.q_proj, mha.k_proj, mha.v_proj]
        layers[at*"self_attn.out_proj."] = [mha.out_proj]
        layers[at*"norm2."] = [norm2]
        layers[at*"linear1."] = [linear1]
        layers[at*"linear2."] = [linear2]
    end
    arrays = Dict{String,Any}(
        "embedding.weight" => [model.embedding.weight],  # (128, 30000)
        "positions" => [model.positions],  # (128, 150)
    )
    for (name, parts) in layers
        arrays[name*"weight"] = weight.(parts)
        arrays[name*"bias"] = bias.(parts)
    end
    return arrays
end

function kernel(name, w)  # (in, out) to Flux's (out, in), and back
    is_table = name in ("embedding.weight", "positions")
    return ndims(w) == 2 && !is_table ? permutedims(w) : w
end

initial = variables(model)
for (name, w) in weights(run)
    parts, w = initial[name], kernel(name, w)
    rows = Iterators.partition(axes(w, 1), size(parts[1], 1))
    for (part, of_part) in zip(parts, rows)
        part .= selectdim(w, 1, of_part)
    end
end
model = device(model)

# %% Loss and optimiser
loss_fn(model, x, y) = Flux.logitcrossentropy(model(x), y)
betas = (cfg.beta1, cfg.beta2)
# The decay, the third, is times the rate; with `couple = false` it is not.
adamw = AdamW(cfg.learning_rate, betas, cfg.weight_decay, cfg.epsilon)
optimizer = Flux.setup(adamw, model)  # a tree like the model: a rule an array
for (path, w) in trainables(model; path = true)
    # Matrices, embeddings among them, decay; biases and LayerNorms do not.
    ndims(w) == 1 && Flux.adjust!(getkeypath(optimizer, path); lambda = 0.0)
end

rate(t) = cfg.learning_rate * min(1, t / cfg.warmup_steps)
rates = Iterators.Stateful(rate(t) for t in Iterators.countfrom(1))

function clip(gradient)  # all arrays together: ClipNorm clips each by itself
    total = sqrt(sum(g -> sum(abs2, g), trainables(gradient)))
    factor = run.dtype(min(1, cfg.clip_norm / total))
    return fmap(g -> g .* factor, gradient; exclude = g -> g isa AbstractArray)
end

# %% Train
phase(run, "train")
trainmode!(model)
for epoch in epochs(run)
    for (words, labels) in batches(run, epoch)
        x, y = tokens(words), device(one_hot(labels))
        loss, gradients = Flux.withgradient(m -> loss_fn(m, x, y), model)
        Flux.adjust!(optimizer, popfirst!(rates))  # the rate, nothing else
        Flux.update!(optimizer, model, clip(gradients[1]))  # in place
        step(run, loss)
    end
    epoch_end(run, epoch)
end
final_weights(run) do
    arrays = variables(cpu(model))
    return Dict(n => kernel(n, vcat(parts...)) for (n, parts) in arrays)
end

# %% Predict
phase(run, "predict")
testmode!(model)  # dropout off
predict(x) = cpu(model(tokens(x)))  # (2, n)
logits = hcat((predict(x) for x in split(run, x_test))...)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
correct = Flux.onecold(logits, 0:cfg.classes-1) .== y_test
metric(run, "accuracy", count(correct) / length(correct))
