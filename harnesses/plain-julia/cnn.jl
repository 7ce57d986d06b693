# VGG-style CNN on CIFAR-10 in plain Julia: arrays, loops and BLAS, no package.

# %% Setup
using LinearAlgebra, Random, Statistics
using Rosetta

run = Rosetta.start("Julia", VERSION)
cfg = run.config
Random.seed!(cfg.seed)
BLAS.set_num_threads(1)  # not the default: Julia's own threads share a batch
fact(run, "layout", "WHCN")  # the same bytes as NCHW, which is row by row
fact(run, "optimisation", "-O$(Base.JLOptions().opt_level)")

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (32, 32, 3, n), (n,)

# %% Build model
phase(run, "build")
# A layer returns its output and its backward, which turns the loss's gradient
# by the output, dy, into that by the input and stores those by the weights.
shifts(size, i) = max(1, 3 - i):min(size, size + 2 - i)  # "same": none outside

function each_window(act, x, columns)  # a column for each kernel pixel and channel
    w, h, c = size(x)
    at = reshape(columns, w, h, 3, 3, c)
    for k in 1:c, j in 1:3, i in 1:3
        p, q = shifts(w, i), shifts(h, j)
        @views act(at[p, q, i, j, k], x[p .+ (i - 2), q .+ (j - 2), k])
    end
end

function convolve!(y, x, kernel, bias, samples)
    w, h, c, _ = size(x)
    columns = zeros(eltype(x), w * h, 9c)
    for s in samples
        each_window((to, from) -> to .= from, view(x, :, :, :, s), columns)
        y_s = reshape(view(y, :, :, :, s), w * h, :)
        mul!(y_s, columns, kernel)
        y_s .+= bias'
    end
end

function convolve_back!(dx, dk, dy, x, kernel, samples)
    w, h, c, _ = size(x)
    columns, d_columns = zeros(eltype(x), w * h, 9c), zeros(eltype(x), w * h, 9c)
    for s in samples
        dy_s = reshape(view(dy, :, :, :, s), w * h, :)
        each_window((to, from) -> to .= from, view(x, :, :, :, s), columns)
        mul!(dk, columns', dy_s, true, true)  # dk += columns' * dy_s
        mul!(d_columns, dy_s, kernel')
        each_window((from, to) -> to .+= from, view(dx, :, :, :, s), d_columns)
    end
end

function conv(x, name)
    k, bias = params["$name.weight"], params["$name.bias"]  # (3, 3, in, out), (out,)
    kernel = reshape(k, :, length(bias))
    y = similar(x, size(x, 1), size(x, 2), length(bias), size(x, 4))
    parts = [s:Threads.nthreads():size(x, 4) for s in 1:Threads.nthreads()]
    Threads.@threads for samples in parts
        convolve!(y, x, kernel, bias, samples)
    end
    return y, function (dy)
        dx, dks = zero(x), [zero(kernel) for _ in parts]
        Threads.@threads for part in eachindex(parts)
            convolve_back!(dx, dks[part], dy, x, kernel, parts[part])
        end
        gradients["$name.weight"] = reshape(sum(dks), size(k))
        gradients["$name.bias"] = vec(sum(dy, dims = (1, 2, 4)))
        return dx
    end
end

function max_pool(x)
    squares = [x[i:2:end, j:2:end, :, :] for j in 1:2 for i in 1:2]
    y = max.(squares...)
    return y, function (dy)
        dx, is_open = zero(x), trues(size(y))
        for (square, (j, i)) in zip(squares, ((j, i) for j in 1:2 for i in 1:2))
            is_winner = is_open .& (square .== y)  # the first of equals
            dx[i:2:end, j:2:end, :, :] = dy .* is_winner
            is_open .&= .!is_winner
        end
        return dx
    end
end

relu(x) = max.(x, 0), dy -> dy .* (x .> 0)

function dropout(x, rate)
    kept = (rand(eltype(x), size(x)) .>= rate) ./ eltype(x)(1 - rate)  # the mean stays
    return x .* kept, dy -> dy .* kept
end

function dense(x, name)
    weight, bias = params["$name.weight"], params["$name.bias"]  # (in, out), (out,)
    rows = reshape(x, :, size(x, ndims(x)))  # W fastest: in C, H, W order row by row
    return weight' * rows .+ bias, function (dy)
        gradients["$name.weight"] = rows * dy'
        gradients["$name.bias"] = vec(sum(dy, dims = 2))
        return reshape(weight * dy, size(x))
    end
end

function model(x, p, q)
    block1 = (conv, "conv1"), (relu,), (conv, "conv2"), (max_pool,), (relu,), (dropout, p)
    block2 = (conv, "conv3"), (relu,), (conv, "conv4"), (max_pool,), (relu,), (dropout, p)
    head = (dense, "dense1"), (relu,), (dropout, q), (dense, "dense2")
    backwards = Function[]
    for (layer, arguments...) in (block1..., block2..., head...)
        x, backward = layer(x, arguments...)
        pushfirst!(backwards, backward)
    end
    return x, backwards
end

# %% Initial weights
params = weights(run)  # the axes reversed: nothing is moved
gradients, velocity = Dict{String,Array}(), Dict(n => zero(w) for (n, w) in params)

# %% Loss and optimiser
function loss_fn(logits, y)  # mean softmax cross-entropy, and its gradient
    shifted = logits .- maximum(logits, dims = 1)
    log_p = shifted .- log.(sum(exp.(shifted), dims = 1))
    is_label = (0:cfg.classes-1) .== y'
    return -sum(log_p[is_label]) / length(y), (exp.(log_p) .- is_label) ./ length(y)
end

function optimizer()  # SGD with classical momentum, in place
    for (name, w) in params
        velocity[name] .= run.dtype(cfg.momentum) .* velocity[name] .+ gradients[name]
        w .-= run.dtype(cfg.learning_rate) .* velocity[name]
    end
end

# %% Train
phase(run, "train")
for epoch in epochs(run)
    for (x, y) in batches(run, epoch)
        logits, backwards = model(x, cfg.dropout...)
        loss, dy = loss_fn(logits, y)
        foldl((dy, backward) -> backward(dy), backwards, init = dy)
        optimizer()
        step(run, loss)
    end
    epoch_end(run, epoch)
end
final_weights(() -> params, run)

# %% Predict
phase(run, "predict")
logits = hcat([model(x, 0, 0)[1] for x in split(run, x_test)]...)  # (10, n)
outputs(run, logits)

# %% Evaluate
phase(run, "evaluate")
predictions = [argmax(column) - 1 for column in eachcol(logits)]  # labels begin at 0
metric(run, "accuracy", mean(predictions .== y_test))
