# VGG-style CNN on CIFAR-10 in plain Julia: arrays, loops and BLAS, no package.

# %% Setup
using LinearAlgebra, Random, Statistics
using Rosetta
run = Rosetta.start("Julia", VERSION)
cfg = run.config
Random.seed!(cfg.seed)
BLAS.set_num_threads(run.threads)  # apart from Julia's own threads, of `julia -t`
fact(run, "layout", "WHCN")  # the same bytes as NCHW, which is row by row
fact(run, "optimisation", "-O$(Base.JLOptions().opt_level)")

# %% Load data
phase(run, "load")
x_train, y_train = data(run, "x_train"), data(run, "y_train")
x_test, y_test = data(run, "x_test"), data(run, "y_test")  # (32, 32, 3, n), (n,)

# %% Build model
phase(run, "build")
# A layer returns its output and its backward, which stores the weights' gradients.
function conv(x, name)
    k, bias = params["$name.weight"], params["$name.bias"]  # (3, 3, in, out), (out,)
    w, h, c, n = size(x)
    x_padded = zeros(eltype(x), w + 2, h + 2, n, c)  # channels last, for the product
    x_padded[2:end-1, 2:end-1, :, :] = permutedims(x, (1, 2, 4, 3))
    y = repeat(bias', w * h * n)
    for i in 1:3, j in 1:3  # a matrix product for each kernel pixel
        x_ij = reshape(x_padded[i:i+w-1, j:j+h-1, :, :], :, c)
        mul!(y, x_ij, k[i, j, :, :], true, true)  # y += x_ij * k_ij
    end
    function backward(dy)
        dy = reshape(permutedims(dy, (1, 2, 4, 3)), w * h * n, :)
        dx, dk = zero(x_padded), zero(k)
        for i in 1:3, j in 1:3
            x_ij = reshape(x_padded[i:i+w-1, j:j+h-1, :, :], :, c)
            dk[i, j, :, :] = x_ij' * dy
            dx[i:i+w-1, j:j+h-1, :, :] .+= reshape(dy * k[i, j, :, :]', w, h, n, c)
        end
        gradients["$name.weight"] = dk
        gradients["$name.bias"] = vec(sum(dy, dims = 1))
        return permutedims(dx[2:end-1, 2:end-1, :, :], (1, 2, 4, 3))
    end
    return permutedims(reshape(y, w, h, n, :), (1, 2, 4, 3)), backward
end

function max_pool(x)
    places = [(i, j) for i in 1:2, j in 1:2]
    squares = [x[i:2:end, j:2:end, :, :] for (i, j) in places]
    y = max.(squares...)
    function backward(dy)
        dx, is_open = zero(x), trues(size(y))
        for (square, (i, j)) in zip(squares, places)
            is_winner = is_open .& (square .== y)  # the first of equals
            dx[i:2:end, j:2:end, :, :] = dy .* is_winner
            is_open .&= .!is_winner
        end
        return dx
    end
    return y, backward
end
relu(x) = max.(x, 0), dy -> dy .* (x .> 0)
function dropout(x, rate)
    kept = (rand(size(x)...) .>= rate) ./ eltype(x)(1 - rate)  # the mean stays
    return x .* kept, dy -> dy .* kept
end

function dense(x, name)
    weight, bias = params["$name.weight"], params["$name.bias"]  # (in, out), (out,)
    rows = reshape(x, :, size(x, ndims(x)))  # W fastest: in C, H, W order row by row
    function backward(dy)
        gradients["$name.weight"] = rows * dy'
        gradients["$name.bias"] = vec(sum(dy, dims = 2))
        return reshape(weight * dy, size(x))
    end
    return weight' * rows .+ bias, backward
end

function model(x, p, q)
    block(a, b) = (conv, a), (relu,), (conv, b), (max_pool,), (relu,), (dropout, p)
    head = (dense, "dense1"), (relu,), (dropout, q), (dense, "dense2")
    backwards, y = Function[], x
    for layer in (block("conv1", "conv2")..., block("conv3", "conv4")..., head...)
        y, backward = layer[1](y, layer[2:end]...)
        pushfirst!(backwards, backward)
    end
    return y, backwards
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
