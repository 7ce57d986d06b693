# Tests of the measurements: a fake of each alternative must be told by its name.
import RosettaDefaults
using LinearAlgebra, Random, Statistics
const Defaults = RosettaDefaults

const DICE = MersenneTwister(0)

uniform(s...) = sqrt(3) .* (2 .* rand(DICE, s...) .- 1)

"Returns what makes a convolution with the given defaults."
function fake_conv(; stride = 1, pad = (0, 0), relu = false, one_dimensional = false, draw = uniform)
    return function (inputs, outputs, size_)
        kw, kh = size_ isa Int ? (one_dimensional ? (size_, 1) : (size_, size_)) : size_
        kernel = draw(kw, kh, inputs, outputs)
        function call(x)
            w, h, c, n = size(x)
            p = zeros(w + sum(pad), h + sum(pad), c, n)
            p[pad[1]+1:pad[1]+w, pad[1]+1:pad[1]+h, :, :] = x
            starts(total, k) = 1:stride:total-k+1
            at = [(i, j) for i in starts(size(p, 1), kw), j in starts(size(p, 2), kh)]
            one(i, j, o, n) = sum(p[i:i+kw-1, j:j+kh-1, :, n] .* kernel[:, :, :, o])
            y = zeros(size(at)..., outputs, n)
            for a in CartesianIndices(at), o in 1:outputs, k in 1:n
                y[a, o, k] = one(at[a]..., o, k)
            end
            return relu ? max.(y, 0) : y
        end
        return Defaults.Layer(call, () -> kernel, () -> zeros(outputs))
    end
end

function truncated(s...)
    x = randn(DICE, 2prod(s))
    return reshape(x[abs.(x).<2][1:prod(s)], s...) ./ Defaults.TRUNCATED
end

@testset "defaults: windows, activations and pools" begin
    function geometry(; said...)
        rows, columns = Defaults.windows(fake_conv(; said...)(2, 5, (3, 3)).call)
        return rows == columns ? (Defaults.padding(rows), rows.stride) : nothing
    end
    @test geometry() == ("none", 1)
    @test geometry(pad = (1, 1)) == ("same", 1)
    @test geometry(pad = (2, 0)) == ("same", 1)
    @test geometry(pad = (2, 2)) == ("2 before, 2 after", 1)
    @test geometry(stride = 2)[2] == 2
    shorthand(make) = [w.size for w in Defaults.windows(make(2, 5, 3).call)]
    @test shorthand(fake_conv()) == [3, 3]
    @test shorthand(fake_conv(one_dimensional = true)) == [1, 3]
    @test_throws ErrorException Defaults.window(rand(DICE, 9, 9) .> 0.5)
    x = randn(DICE, 4, 9)
    @test Defaults.activation(x -> 2x .+ 1, x) == "none"
    @test Defaults.activation(x -> max.(x, 0), x) == "relu"
    @test Defaults.activation(x -> tanh.(x), x) == Defaults.UNKNOWN
    pool(stride, keeps = false) = Defaults.pooling() do size_
        step = something(stride, size_)
        return function (x)
            count = keeps ? cld(10 - size_, step) + 1 : (10 - size_) ÷ step + 1
            part(k) = (k-1)*step+1:min((k - 1) * step + size_, 10)
            y = zeros(count, count, size(x)[3:4]...)
            for i in 1:count, j in 1:count, c in 1:size(x, 3), n in 1:size(x, 4)
                y[i, j, c, n] = maximum(x[part(i), part(j), c, n])
            end
            return y
        end
    end
    @test pool(nothing) == Dict("pool.stride" => "the window", "pool.padding" => "none", "pool.rest" => "dropped")
    @test pool(nothing, true)["pool.rest"] == "kept"
    @test pool(1)["pool.stride"] == "1" && !haskey(pool(1), "pool.rest")
    whole = Defaults.convolution(fake_conv(draw = (s...) -> uniform(s...) .* sqrt(2 / (9 * (s[3] + s[4]))), relu = true))
    @test (whole["conv.initialiser"], whole["conv.bias"], whole["conv.activation"]) == ("glorot_uniform", "zeros", "relu")
    @test (whole["conv.layout"], whole["conv.shorthand"]) == ("WHCN", "3x3")
end

@testset "defaults: initialisers" begin
    kinds = Dict("uniform" => uniform, "normal" => (s...) -> randn(DICE, s...), "truncated" => truncated)
    layer(draw, o, i, gain) = (w = draw(o, i) .* sqrt(gain(i, o)); Defaults.Layer(identity, () -> w, () -> zeros(o)))
    named(kind, gain) = Defaults.initialiser([layer(kinds[kind], o, i, gain) for (o, i) in ((300, 200), (100, 800))])
    @test named("uniform", (i, o) -> 2 / (i + o)) == "glorot_uniform"
    @test named("normal", (i, o) -> 2 / (i + o)) == "glorot_normal"
    @test named("normal", (i, o) -> 2 / i) == "he_normal"
    @test named("truncated", (i, o) -> 1 / i) == "lecun_normal (truncated)"
    @test named("uniform", (i, o) -> 1 / 3i) == "uniform(±1/√fan_in)"
    @test named("uniform", (i, o) -> 1 / 3o) == "uniform(±1/√fan_out)"
    @test named("uniform", (i, o) -> 0.05^2 / 3) == "uniform(±0.05)"
    @test named("normal", (i, o) -> 1.0) == "normal(0, 1)"
    @test named("normal", (i, o) -> 3 / i) == "normal, variance 3/fan_in"
    @test Defaults.named([(zeros(9), (1, 9)), (zeros(7), (1, 7))]) == "zeros"
    @test Defaults.named([(ones(9), (1, 9)), (ones(7), (1, 7))]) == "constant 1"
    turned = [(Matrix(qr(randn(DICE, n, 20)).Q), (n, 20)) for n in (40, 60)]
    @test Defaults.named(turned) == "orthogonal"
    @test startswith(named("normal", (i, o) -> i > 500 ? 1.0 : 5.0), "normal, deviations")
    @test Defaults.embedding((rows, width) -> randn(DICE, width, rows))["embedding.initialiser"] == "normal(0, 1)"
    by_width(rows, width) = uniform(width, rows) ./ sqrt(width)
    @test Defaults.embedding(by_width)["embedding.initialiser"] == "uniform, variance 1/width"
    recurrent = Defaults.recurrent(units -> uniform(3units, units) .* sqrt(2 / 4units))
    @test recurrent["gru.initialiser"] == "glorot_uniform"
    @test Defaults.bias([Defaults.Layer(identity, () -> ones(2, 2), () -> nothing)]) == "no bias"
end

@testset "defaults: dropout and losses" begin
    drop(keep, scale) = x -> x .* (rand(DICE, size(x)...) .< keep) .* scale
    plain = Defaults.dropout(identity, drop(0.8, 1.25), identity)
    @test plain == Dict("dropout.rate" => "dropped", "dropout.scaling" => "up in training",
        "dropout.untold" => "passes on", "dropout.prediction" => "passes on")
    kept = Defaults.dropout(drop(0.2, 5), drop(0.2, 5), drop(0.2, 5))
    @test (kept["dropout.rate"], kept["dropout.untold"], kept["dropout.prediction"]) == ("kept", "drops", "drops")
    @test Defaults.dropout(identity, drop(0.8, 1), x -> 0.8x)["dropout.scaling"] == "down in prediction"
    @test Defaults.dropout(identity, drop(0.8, 1), identity)["dropout.scaling"] == "never"
    softmax(x) = exp.(x) ./ sum(exp.(x); dims = 1)
    one_hot(x, y) = -vec(sum(y .* log.(x); dims = 1))
    numbered(x, y) = [-log(x[Int(label), n]) for (n, label) in enumerate(y::Vector)]
    @test Defaults.loss((x, y) -> mean(one_hot(softmax(x), y::Matrix))) == Dict("loss.takes" => "logits",
        "loss.labels" => "one-hot", "loss.label_type" => "int32, int64, float32", "loss.reduction" => "mean")
    strict = Defaults.loss((x, y) -> sum(numbered(x, y::Vector{Int64})))
    @test strict == Dict("loss.takes" => "probabilities", "loss.labels" => "class numbers",
        "loss.label_type" => "int64", "loss.reduction" => "sum")
    both(x, y) = y isa Vector ? numbered(softmax(x), y) : one_hot(softmax(x), y)
    @test Defaults.loss(both)["loss.labels"] == "class numbers, one-hot"
    @test Defaults.loss(both)["loss.reduction"] == "none"
    @test Defaults.loss((x, y) -> 1.0)["loss.takes"] == Defaults.UNKNOWN
end

"Returns a descent by `rule(m, v, g, t, w)`, which returns a step and its two moments."
function descent(rule)
    return function (w, gradients)
        m, v = zero(w), zero(w)
        return map(enumerate(gradients)) do (t, g)
            step, m, v = rule(m, v, g, t, w)
            w = w .- step
            return w
        end
    end
end

@testset "defaults: momentum" begin
    forms = [
        "none" => (v, g, t, r, p) -> (r .* g, v),
        "classical" => (v, g, t, r, p) -> (r .* (p .* v .+ g), p .* v .+ g),
        "Nesterov" => (v, g, t, r, p) -> (v = p .* v .+ g; (r .* (g .+ p .* v), v)),
        "unit gain" => (v, g, t, r, p) -> (v = p .* v .+ (1 - p) .* g; (r .* v, v)),
        "Nesterov, unit gain" => (v, g, t, r, p) -> (v = p .* v .+ (1 - p) .* g; (r .* ((1 - p) .* g .+ p .* v), v)),
        "dampening 0.1" => (v, g, t, r, p) -> (v = p .* v .+ 0.9f0 .* g; (r .* v, v)),
        "dampening 0.1 after the first step" => (v, g, t, r, p) -> (v = p .* v .+ (t > 1 ? 0.9f0 : 1.0f0) .* g; (r .* v, v)),
        Defaults.UNKNOWN => (v, g, t, r, p) -> (r .* sign.(g), v),
    ]
    for (name, form) in forms
        sgd(w, gradients, rate, p) = descent((m, v, g, t, w) -> (form(m, g, t, rate, p)..., v))(w, gradients)
        @test Defaults.momentum(sgd)["sgd.momentum"] == name
    end
    clips(w, gradients, rate, p) = descent((m, v, g, t, w) -> (rate .* clamp.(g, -10, 10), m, v))(w, gradients)
    @test Defaults.momentum(clips)["sgd.clipping"] == Defaults.UNKNOWN
    plain(w, gradients, rate, p) = descent((m, v, g, t, w) -> (rate .* g, m, v))(w, gradients)
    @test Defaults.momentum(plain)["sgd.clipping"] == "none"
end

"Returns an Adam of a form, with an epsilon and a decay."
function fake_adam(form, epsilon; decay = (g, w) -> g, after = (step, w, rate) -> step)
    return (w, gradients, rate, b1 = 0.9, b2 = 0.999) -> descent() do m, v, g, t, w
        g = decay(g, w)
        m, v = b1 .* m .+ (1 - b1) .* g, b2 .* v .+ (1 - b2) .* g .^ 2
        return after(rate .* form.(m, v, 1 - b1^t, 1 - b2^t, epsilon), w, rate), m, v
    end(Float64.(w), [Float64.(g) for g in gradients])
end

@testset "defaults: Adam, its decay, and the words of an embedding" begin
    for ((placement, correction), form) in Defaults.ADAM_FORMS, epsilon in (1e-8, 1e-7)
        found = Defaults.adam(fake_adam(form, epsilon))
        # With epsilon inside the root, only its square is seen beside a gradient.
        occursin("inside", placement) && epsilon < 1e-7 && continue
        @test (found["adam.placement"], found["adam.correction"]) == (placement, correction)
        @test found["adam.epsilon"] == (epsilon == 1e-8 ? "1e-08" : "1e-07")
        @test found["adam.decay"] == "none"
    end
    form = last(Defaults.ADAM_FORMS[1])
    @test Defaults.adam(fake_adam(form, 1e-8; decay = (g, w) -> g .+ 0.01 .* w))["adam.decay"] == "in the gradient"
    decoupled(share) = (step, w, rate) -> step .+ share(rate) .* w
    @test Defaults.adam(fake_adam(form, 1e-8; after = decoupled(rate -> 0.01rate)))["adam.decay"] == "0.01 of the weight"
    none(w, gradients, settings...) = [w .- 0.1f0 .* g for g in gradients]
    @test Defaults.adam(none)["adam.epsilon"] == Defaults.UNKNOWN

    way(kind) = (w, gradients, rate, decay) -> fake_adam(form, 1e-8; kind(decay)...)(w, gradients, rate)
    coupled = way(decay -> (after = decoupled(rate -> decay * rate),))
    alone = way(decay -> (after = decoupled(rate -> decay),))
    inside = way(decay -> (decay = (g, w) -> g .+ decay .* w,))
    without = way(decay -> NamedTuple())
    @test Defaults.decay(inside, coupled) == Dict("decay.adam" => "in the gradient",
        "decay.adamw" => "decoupled, times the rate", "decay.biases" => "decay too")
    rough(w, gradients, rate, decay) =
        fake_adam(form, 1e-5; decay = (g, w) -> g .+ decay .* w)(w, gradients, rate)
    @test Defaults.decay(rough, coupled)["decay.adam"] == "in the gradient"
    @test Defaults.decay(nothing, alone)["decay.adamw"] == "decoupled, by itself"
    @test Defaults.decay(nothing, alone)["decay.adam"] == "not there"
    @test Defaults.decay(inside, without)["decay.biases"] == "left alone"

    function trains(twice; moves = true)
        return function (batches)
            table, m, v = ones(2, 4), zeros(2, 4), zeros(2, 4)
            return map(enumerate(batches)) do (t, batch)
                counts = [count(==(row), batch) for row in 1:4]
                for row in 1:4
                    counts[row] == 0 && !moves && continue
                    for g in (twice == "a step each" && counts[row] > 0 ? ones(counts[row]) : [counts[row]])
                        m[:, row] .= 0.9 .* m[:, row] .+ 0.1 .* g
                        square = twice == "squared, summed" ? counts[row] : g^2
                        v[:, row] .= 0.999 .* v[:, row] .+ 0.001 .* square
                        table[:, row] .-= 0.01 .* m[:, row] ./ (1 - 0.9^t) ./ (sqrt.(v[:, row] ./ (1 - 0.999^t)) .+ 1e-8)
                    end
                end
                return copy(table)
            end
        end
    end
    for way in ("summed, squared", "squared, summed", "a step each")
        @test Defaults.words(trains(way)) == Dict("adam.absent" => "moves on", "adam.twice" => way)
    end
    @test Defaults.words(trains("summed, squared"; moves = false))["adam.absent"] == "stays"
    @test Defaults.words(batches -> error("no rows"))["adam.twice"] == "refused"
    @test Defaults.padding_row(trains("summed, squared"))["embedding.padding"] == "learns as any other"
    masked(batches) = (tables = trains("summed, squared")(batches); foreach(t -> t[:, 1] .= 1, tables); tables)
    @test Defaults.padding_row(masked)["embedding.padding"] == "stays as it is"
end

@testset "defaults: clipping, LayerNorm, GELU and attention" begin
    all_norm(gradients) = sqrt(sum(g -> sum(abs2, Float64.(g)), gradients))
    together(epsilon) = (gradients, limit) -> [g .* min(1, limit / (all_norm(gradients) + epsilon)) for g in gradients]
    @test Defaults.clipping(together(0)) == Dict("clip.of" => "all together", "clip.epsilon" => "none")
    @test Defaults.clipping(together(1e-6))["clip.epsilon"] == "1e-06"
    each(gradients, limit) = [g .* (limit / all_norm([g])) for g in gradients]
    @test Defaults.clipping(each) == Dict("clip.of" => "each by itself", "clip.epsilon" => "none")
    @test Defaults.clipping((gradients, limit) -> gradients)["clip.of"] == Defaults.UNKNOWN

    function norm(epsilon; outside = false, corrected = false)
        return function (x)
            m, v = mean(x; dims = 1), var(x; dims = 1, corrected = corrected)
            return (x .- m) ./ (outside ? sqrt.(v) .+ epsilon : sqrt.(v .+ epsilon))
        end
    end
    said(call) = Tuple(Defaults.layer_norm(call)["norm."*word] for word in ("epsilon", "placement", "variance"))
    for epsilon in (1.0f-5, 1.0f-6, 1.0f-3, 1.0f-10), outside in (false, true)
        outside && epsilon < 1e-7 && continue # not to be seen in float32
        wanted = (Defaults.scientific(epsilon), outside ? "outside the root" : "inside the root")
        @test said(norm(epsilon; outside = outside)) == (wanted..., "n")
        @test said(norm(epsilon; outside = outside, corrected = true)) == (wanted..., "n - 1")
    end
    @test said(x -> 2x) == (Defaults.UNKNOWN, Defaults.UNKNOWN, Defaults.UNKNOWN)

    @test Defaults.gelu(x -> x .* Defaults.phi.(x))["gelu.form"] == "by erf"
    @test Defaults.gelu(x -> @. x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))))["gelu.form"] == "by tanh"
    @test Defaults.gelu(x -> @. x / (1 + exp(-1.702 * x)))["gelu.form"] == "by a sigmoid"
    @test Defaults.gelu(x -> max.(x, 0))["gelu.form"] == Defaults.UNKNOWN
    @test abs(Defaults.erf(1) - 0.8427007929497149) < 1e-14 && abs(Defaults.erf(-3.5) + 0.9999992569016276) < 1e-14

    attend(keeps) = function (x, mask)
        scores = ifelse.(mask .== keeps, x[:, :, 1]' * x[:, :, 1], -Inf32)
        p = exp.(scores .- maximum(scores; dims = 1))
        p = ifelse.(isnan.(p), 0.0f0, p)
        return reshape(x[:, :, 1] * (p ./ max.(sum(p; dims = 1), 1.0f-9)), size(x)...)
    end
    @test Defaults.attention(attend(true), ["query"])["attention.mask"] == "lets see"
    @test Defaults.attention(attend(false), [])["attention.mask"] == "leaves out"
    @test Defaults.attention((x, mask) -> x, [])["attention.mask"] == Defaults.UNKNOWN
    @test Defaults.attention(attend(true), ["output", "query"])["attention.biases"] == "query, output"
    @test Defaults.attention(attend(true), [])["attention.biases"] == "none"
end

@testset "defaults: GRUs, types and seeds" begin
    for order in ("rzn", "zrn", "nrz"), reset in ("after", "before"), keeps in "hn", count in (1, 2)
        weights = [randn(DICE, 12, 3), randn(DICE, 12, 4)]
        biases = [randn(DICE, 12) for _ in 1:count]
        all = vcat(weights, biases, count == 1 ? [zeros(12)] : [])
        gates = [Dict(order[k] => w[4k-3:4k, :] for k in 1:3) for w in all]
        layer = Defaults.Gru(x -> Defaults.gru_state(x, gates, reset, keeps), weights..., biases)
        @test Defaults.gru(layer) == Dict("gru.reset" => "$reset the product", "gru.biases" => "$count",
            "gru.gates" => join(order, ", "), "gru.update" => keeps == 'h' ? "z keeps the old" : "z takes the new")
    end
    odd = Defaults.Gru(x -> zeros(4, 2), randn(DICE, 12, 3), randn(DICE, 12, 4), [randn(DICE, 12)])
    @test Defaults.gru(odd)["gru.reset"] == Defaults.UNKNOWN

    dense(T) = (i, o) -> (w = ones(T, o, i); Defaults.Layer(x -> w * x, () -> w, () -> nothing))
    @test Defaults.types(dense(Float32), eltype) == Dict("type.parameters" => "float32",
        "type.float64" => "gives float64", "type.int64" => "becomes int64")
    strict(i, o) = Defaults.Layer(x -> (x::Matrix{Float32}), () -> ones(Float64, o, i), () -> nothing)
    @test Defaults.types(strict, x -> Int32)["type.float64"] == "refused"
    @test Defaults.seeds(seed -> rand(MersenneTwister(seed), 5))["seed"] == "same numbers"
    @test Defaults.seeds(seed -> rand(5))["seed"] == "other numbers"
    @test Defaults.seeds(seed -> ones(5))["seed"] == "has no effect"
end

@testset "defaults: a report sends facts, and misses none" begin
    lines = """
        using RosettaDefaults
        run = Rosetta.start("F", "1")
        report = Report(run; overrides = Dict("sgd.rate" => ("cnn", "rate")), not_needed = Dict("seed" => "why"))
        report(Dict("sgd.rate" => "0.1"); how = "read")
        """
    closed = """
        report(Dict("seed" => "same numbers"))
        RosettaDefaults.close(report)
        """
    ended_well, events, _ = run_lines(lines * closed)
    @test ended_well
    facts = [(event["name"], event["value"]) for event in events if event["ev"] == "fact"]
    @test facts == [("sgd.rate", Dict("value" => "0.1", "how" => "read", "override" => ["cnn", "rate"])),
        ("seed", Dict("value" => "same numbers", "how" => "run", "not_needed" => "why"))]
    ended_well, _, log = run_lines(lines * "RosettaDefaults.close(report)")
    @test !ended_well && occursin("never measured: seed", log)
end
