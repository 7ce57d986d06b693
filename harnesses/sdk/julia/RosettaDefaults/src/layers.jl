# Layers that have no state of an optimiser: on images, on rows, dropout, losses, and those of a Transformer.

normal(seed, shape...) = randn(MersenneTwister(seed), Float32, shape...)

"Measures a convolution; `make(inputs, outputs, size)` returns a Layer. `size` is (3, 3), and once 3."
function convolution(make)
    rows, columns = windows(make(2, 16, (3, 3)).call)
    shorthand = try
        join([w.size for w in windows(make(2, 16, 3).call)], "x")
    catch # whatever a framework says to a single number
        "refused"
    end
    layers(sizes...) = [make(i, o, (3, 3)) for (i, o) in sizes]
    # Of another layout the windows above are none, or its channels are elsewhere.
    channels = size(make(2, 5, (3, 3)).call(normal(1, 9, 9, 2, 1)), 3)
    return properties(
        "conv.layout" => channels == 5 ? "WHCN" : UNKNOWN,
        "conv.shorthand" => shorthand,
        "conv.padding" => padding(rows) == padding(columns) ? padding(rows) : UNKNOWN,
        "conv.stride" => rows.stride == columns.stride ? string(rows.stride) : UNKNOWN,
        "conv.activation" => activation(make(2, 16, (3, 3)).call, normal(1, 9, 9, 2, 2)),
        "conv.initialiser" => initialiser(layers((24, 100), (96, 60))),
        "conv.bias" => bias(layers((2, 3000), (8, 4000))),
    )
end

"Returns the windows along height and width, from responses to impulses."
windows(call, length = 9) = [window(touched(call, axis, length)) for axis in (2, 1)]

"Returns which outputs along an axis feel an impulse at each input along it: (inputs, outputs)."
function touched(call, axis, length)
    x = zeros(Float32, length, length, 2, length + 1) # the last one stays zero
    for i in 1:length
        x[(axis == 1 ? (i, length ÷ 2) : (length ÷ 2, i))..., :, i] .= 1
    end
    y = call(x)
    felt = abs.(y[:, :, :, 1:end-1] .- y[:, :, :, end:end]) .> 1e-6
    over = any(felt; dims = (3 - axis, 3))
    return permutedims(reshape(over, :, length))
end

"Returns the sliding window that touches so."
function window(touched)
    length, count = size(touched)
    for size in 1:length-1, stride in 1:length-1, before in 0:size-1
        is_so(i, j) = 0 <= i - 1 + before - (j - 1) * stride < size
        if all(is_so(i, j) == touched[i, j] for i in 1:length, j in 1:count)
            after = (count - 1) * stride + size - before - length
            return (size = size, stride = stride, before = before, after = after, count = count, length = length)
        end
    end
    error("no sliding window touches like this: $touched")
end

function padding(w)
    w.before == 0 && w.after <= 0 && return "none"
    w.count == cld(w.length, w.stride) && return "same"
    return "$(w.before) before, $(max(w.after, 0)) after"
end

"Returns the activation of a layer that is linear without: none or relu."
function activation(call, x)
    rest, there, back, far = call(0 .* x), call(x), call(-x), call(3 .* x)
    near(a, b) = is_close(a, b; rtol = 1e-3, atol = 1e-4)
    is_straight = near(far .- rest, 3 .* (there .- rest))
    is_straight && near(there .- rest, rest .- back) && return "none"
    is_relu = minimum(there) == 0 && minimum(back) == 0 && all(iszero, there .* back)
    return is_relu && is_straight ? "relu" : UNKNOWN
end

"Measures a pooling layer; `make(size)` returns a function of images."
function pooling(make)
    rows, columns = windows(make(3), 10)
    rows == columns || return properties("pool.stride" => UNKNOWN)
    is_window = rows.stride == rows.size
    found = properties(
        "pool.stride" => is_window ? "the window" : string(rows.stride),
        "pool.padding" => rows.before == 0 ? "none" : "$(rows.before) before",
    )
    # 10 is three windows and a rest.
    is_window && (found["pool.rest"] = rows.count == 3 ? "dropped" : "kept")
    return found
end

"Measures a fully connected layer; `make(inputs, outputs)` returns a Layer."
dense(make) = properties(
    "dense.activation" => activation(make(20, 16).call, normal(2, 20, 3)),
    # Which of fan-in, fan-out, their mean and a constant sets the scale: 4 : 1/3 : 1.8 : 1.
    "dense.initialiser" => initialiser([make(200, 300), make(800, 100)]),
    "dense.bias" => bias([make(4, 4000), make(25, 3000)]),
)

"Measures dropout of rate 0.2: functions of an array, told nothing, to train, to predict."
function dropout(untold, training, prediction)
    ones32 = ones(Float32, 100, 100)
    y, p = training(ones32), prediction(ones32)
    kept = mean(y .!= 0)
    scale = kept > 0 ? mean(y[y.!=0]) : 0
    scaling = abs(scale * kept - 1) < 0.05 ? "up in training" :
        scale == 1 && abs(mean(p) - kept) < 0.05 ? "down in prediction" :
        scale == 1 ? "never" : UNKNOWN
    drops(x) = any(iszero, x) ? "drops" : "passes on"
    return properties(
        "dropout.rate" => abs(kept - 0.8) < 0.03 ? "dropped" : abs(kept - 0.2) < 0.03 ? "kept" : UNKNOWN,
        "dropout.scaling" => scaling,
        "dropout.untold" => drops(untold(ones32)),
        "dropout.prediction" => drops(p),
    )
end

"Measures a classification loss: `call(outputs, labels)`, one column a sample, returns a number or an array."
function loss(call)
    logits = normal(3, 3, 5)
    p = exp.(logits) ./ sum(exp.(logits); dims = 1)
    labels = [3, 1, 2, 2, 1]
    kinds = ["class numbers" => labels, "one-hot" => Int.((1:3) .== labels')]
    types = ["int32" => Int32, "int64" => Int64, "float32" => Float32]
    taken = [(kind, name) for (kind, y) in kinds for (name, T) in types if loss_of(call, p, T.(y), labels) !== nothing]
    if isempty(taken)
        return properties(("loss." * word => UNKNOWN for word in ("takes", "labels", "label_type", "reduction"))...)
    end
    kind, name = taken[1]
    takes, reduction = loss_of(call, p, Dict(types)[name].(Dict(kinds)[kind]), labels)
    return properties(
        "loss.takes" => takes,
        "loss.labels" => join(unique(first.(taken)), ", "),
        "loss.label_type" => join([name for (of, name) in taken if of == kind], ", "),
        "loss.reduction" => reduction,
    )
end

"Returns what the loss takes `p` for, which are probabilities and as good logits as any, and how it reduces; or nothing."
function loss_of(call, p, y, labels)
    value = try
        call(p, y)
    catch # whatever a framework says to labels of another kind
        return nothing
    end
    value isa Union{Number,AbstractArray} || return nothing
    pick(x) = [x[label, n] for (n, label) in enumerate(labels)]
    kinds = ("logits" => pick(log.(sum(exp.(p); dims = 1)) .- p), "probabilities" => pick(-log.(p)))
    for (takes, each) in kinds, (way, wanted) in ("none" => each, "mean" => [mean(each)], "sum" => [sum(each)])
        length(value) == length(wanted) || continue
        is_close(vec(collect(value)), wanted; rtol = 1e-4) && return takes, way
    end
    return nothing
end

"Measures a layer norm over the first axis: `call` maps (8, n) to the same."
function layer_norm(call)
    row = [-3, -1, 0, 2, 1, -2, 2, 1] .- 0.0
    x = row .* [1 1e-1 1e-2 1e-3 1e-4 1e-5]
    ratios = vec(Float64.(call(Float32.(x)))[1, :] ./ x[1, :])
    for (over, count) in ("n" => 8, "n - 1" => 7)
        variances = vec(sum(abs2, x; dims = 1)) ./ count
        ways = (
            "inside the root" => (1 / ratios[end]^2 - variances[end], (e, v) -> 1 / sqrt(v + e)),
            "outside the root" => (1 / ratios[end] - sqrt(variances[end]), (e, v) -> 1 / (sqrt(v) + e)),
        )
        for (placement, (epsilon, form)) in ways
            epsilon > 0 && is_close(form.(epsilon, variances), ratios; rtol = 1e-4) || continue
            return properties("norm.epsilon" => scientific(epsilon), "norm.placement" => placement, "norm.variance" => over)
        end
    end
    return properties("norm.epsilon" => UNKNOWN, "norm.placement" => UNKNOWN, "norm.variance" => UNKNOWN)
end

"Measures which formula a GELU is."
function gelu(call)
    x = collect(range(-3.0f0, 3.0f0; length = 25))
    inner = sqrt(2 / pi) .* (x .+ 0.044715 .* x .^ 3)
    forms = (
        "by erf" => x .* phi.(x),
        "by tanh" => x ./ 2 .* (1 .+ tanh.(inner)),
        "by a sigmoid" => x ./ (1 .+ exp.(-1.702 .* x)),
    )
    found = [name for (name, wanted) in forms if is_close(call(x), wanted; rtol = 0, atol = 2e-5)]
    return properties("gelu.form" => isempty(found) ? UNKNOWN : found[1])
end

"""
Measures attention: `call(x, mask)` maps (8, 4, 1) to the same; `mask` is (4, 4) of booleans, keys by queries. `biases`
are the names of the projections that have one.
"""
function attention(call, biases)
    x = normal(6, 8, 4, 1)
    mask = falses(4, 4)
    mask[4, :] .= true
    function is_seen(key)
        other = copy(x)
        # Not all by the same: a layer may have no use for what they have in common.
        other[:, key, 1] .+= 1:8
        before, after = [call(one, mask)[:, 1, 1] for one in (x, other)]
        return !is_close(before, after; atol = 1e-5)
    end
    meanings = Dict((true, false) => "leaves out", (false, true) => "lets see")
    named = [one for one in ("query", "key", "value", "output") if one in biases]
    return properties(
        "attention.mask" => get(meanings, (is_seen(2), is_seen(4)), UNKNOWN),
        "attention.biases" => isempty(named) ? "none" : join(named, ", "),
    )
end

"Measures types: `make(inputs, outputs)` returns a dense Layer; `convert` returns what type an Int64 array gets."
function types(make, convert)
    layer = make(4, 3)
    wide = try
        "gives " * lowercase(string(eltype(layer.call(ones(4, 2)))))
    catch # whatever a framework says to another type
        "refused"
    end
    return properties(
        "type.parameters" => lowercase(string(eltype(layer.kernel()))),
        "type.float64" => wide,
        "type.int64" => "becomes " * lowercase(string(convert([1, 2]))),
    )
end

"Measures whether `draw(seed)`, an array of random numbers, follows from the seed."
function seeds(draw)
    first, again, other = draw(7), draw(7), draw(8)
    first == other && return properties("seed" => "has no effect")
    return properties("seed" => first == again ? "same numbers" : "other numbers")
end
