# What initial values were drawn from: the kind by extremes and a test of Kolmogorov's, the scale by the rule that gives
# the variances of two shapes.

"Returns fan-in and fan-out of a kernel, (out, in) or (kw, kh, in, out)."
function fans(kernel)
    ndims(kernel) == 2 && return size(kernel, 2), size(kernel, 1)
    field = prod(size(kernel)[1:end-2])
    return size(kernel)[end-1] * field, size(kernel)[end] * field
end

"Names the initialiser of the kernels of two layers of different shapes."
initialiser(layers) = named([(layer.kernel(), fans(layer.kernel())) for layer in layers])

"Names the initialiser of the biases, whose fans are those of the kernels."
function bias(layers)
    any(layer.bias() === nothing for layer in layers) && return "no bias"
    return named([(layer.bias(), fans(layer.kernel())) for layer in layers])
end

"Measures an embedding; `make(rows, width)` returns its table (width, rows)."
function embedding(make)
    # A table is a kernel from a one-hot of a row number: its fan-in are the rows.
    name = named([(make(size...), size) for size in ((1000, 50), (300, 200))])
    return properties("embedding.initialiser" => replace(replace(name, "fan_in" => "rows"), "fan_out" => "width"))
end

"Names the initialiser of a GRU's recurrent kernel; `make(units)` returns it (out, units), with its gates."
recurrent(make) = properties("gru.initialiser" => named([(w, fans(w)) for w in map(make, (60, 150))]))

const GAINS = [
    ("uniform", "fan_in", 1) => "lecun_uniform",
    ("uniform", "fan_in", 2) => "he_uniform",
    ("uniform", "fan_in", 1 / 3) => "uniform(±1/√fan_in)",
    ("uniform", "fan_out", 1 / 3) => "uniform(±1/√fan_out)",
    ("uniform", "fan_mean", 1) => "glorot_uniform",
    ("normal", "fan_in", 1) => "lecun_normal",
    ("normal", "fan_in", 2) => "he_normal",
    ("normal", "fan_mean", 1) => "glorot_normal",
]

"Names what two arrays were drawn from; `samples` are pairs of an array and its fans."
function named(samples)
    arrays = [Float64.(vec(array)) for (array, _) in samples]
    all(array -> all(iszero, array), arrays) && return "zeros"
    all(array -> all(==(array[1]), array), arrays) && return "constant $(short(arrays[1][1]))"
    all(is_orthogonal(array) for (array, _) in samples) && return "orthogonal"
    kinds = unique(map(distribution, arrays))
    deviations = map(std, arrays)
    kind = length(kinds) == 1 ? kinds[1] : nothing
    kind === nothing && return "unnamed, deviations $(short(deviations[1])) and $(short(deviations[2]))"
    (i, o), (i2, o2) = last.(samples)
    rules = ("constant" => (1, 1), "fan_in" => (i, i2), "fan_out" => (o, o2), "fan_mean" => ((i + o) / 2, (i2 + o2) / 2))
    noise = 5 / sqrt(minimum(length, arrays))
    fits = Dict{String,Float64}()
    for (rule, scales) in rules
        a, b = deviations .^ 2 .* scales
        abs(a / b - 1) < noise && (fits[rule] = sqrt(a * b))
    end
    shape, cut = kind == "truncated normal" ? ("normal", " (truncated)") : (kind, "")
    is_so(known, rule, gain) = known == shape && haskey(fits, rule) && abs(fits[rule] / gain - 1) < noise
    names = sort(unique([name * cut for (rule, name) in GAINS if is_so(rule...)]))
    isempty(names) || return join(names, " or ")
    length(fits) == 1 || return "$kind, deviations $(short(deviations[1])) and $(short(deviations[2]))"
    (rule, gain), = fits
    rule == "constant" || return "$kind, variance $(short(gain))/$rule"
    return kind == "uniform" ? "uniform(±$(short(sqrt(3gain))))" : "$kind(0, $(short(sqrt(gain))))"
end

"Two digits, and no `.0`."
short(x) = replace(string(round(x; sigdigits = 2)), r"\.0$" => "")

"Tells whether the shorter side's vectors are orthonormal."
function is_orthogonal(array)
    ndims(array) == 2 || return false
    product = size(array, 1) > size(array, 2) ? array' * array : array * array'
    return is_close(product, Matrix(I, size(product)...); atol = 1e-4)
end

# What is left of a normal distribution's deviation when it is cut off at two of them.
const TRUNCATED = 0.8796256610342398

"Returns uniform, normal or truncated normal, or nothing."
function distribution(samples)
    sorted = sort(samples)
    sorted = sorted[1:max(1, length(sorted) ÷ 20000):end]
    n, deviation = length(sorted), std(sorted; corrected = false)
    abs(mean(sorted)) > 5 * deviation / sqrt(n) && return nothing
    x = sorted ./ deviation
    reach = maximum(abs, x)
    low, high = phi(-2), phi(2)
    kind, cdf = reach < 1.8 ? ("uniform", clamp.(0.5 .+ x ./ (2 * sqrt(3)), 0, 1)) :
        reach < 2 / TRUNCATED + 0.02 ? ("truncated normal", clamp.((phi.(x .* TRUNCATED) .- low) ./ (high - low), 0, 1)) :
        ("normal", phi.(x))
    distance = max(maximum(abs.(cdf .- (0:n-1) ./ n)), maximum(abs.(cdf .- (1:n) ./ n)))
    return distance < 2.2 / sqrt(n) ? kind : nothing # the same draw fails 1 in 10,000 times
end
