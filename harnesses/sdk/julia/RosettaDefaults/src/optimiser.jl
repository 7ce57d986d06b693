# Optimisers, as functions of weights and gradients that return the weights after each gradient.

const RATE, MOMENTUM = 0.125, 0.75 # exact in binary, and unlike any default

"Returns how far each gradient went, in units of the rate; nobody's arrays are shared."
function steps(descend, start, gradients, rate, settings...)
    path = vcat([start], [copy(w) for w in descend(copy(start), map(copy, gradients), rate, settings...)])
    return [Float64.(path[k] .- path[k+1]) ./ rate for k in 1:length(gradients)]
end

"Measures SGD with momentum: `descend(weights, gradients, rate, momentum)`."
function momentum(descend)
    gradients = [normal(k, 5) for k in 1:4]
    moved = steps(descend, zeros(Float32, 5), gradients, RATE, MOMENTUM)
    huge = fill(1.0f4, 5)
    free = is_close(steps(descend, zeros(Float32, 5), [huge], RATE, 0.0)[1], huge; rtol = 1e-4)
    return properties("sgd.momentum" => momentum_form(moved, gradients), "sgd.clipping" => free ? "none" : UNKNOWN)
end

function momentum_form(moved, gradients)
    # Whatever the second gradient enters with besides 1 is dampening.
    dampening = 1 - (moved[2][1] - MOMENTUM * moved[1][1]) / gradients[2][1]
    classical(v, g) = MOMENTUM .* v .+ g
    gained(v, g) = MOMENTUM .* v .+ (1 - MOMENTUM) .* g
    nesterov(v, g) = (v, g .+ MOMENTUM .* v)
    twice(v) = (v, v)
    word = short(dampening)
    forms = (
        "none" => (v, g, t) -> twice(g),
        "classical" => (v, g, t) -> twice(classical(v, g)),
        "Nesterov" => (v, g, t) -> nesterov(classical(v, g), g),
        "unit gain" => (v, g, t) -> twice(gained(v, g)),
        "Nesterov, unit gain" => (v, g, t) -> nesterov(gained(v, g), (1 - MOMENTUM) .* g),
        "dampening $word after the first step" =>
            (v, g, t) -> twice(MOMENTUM .* v .+ (1 - (t > 1 ? dampening : 0)) .* g),
        "dampening $word" => (v, g, t) -> twice(MOMENTUM .* v .+ (1 - dampening) .* g),
    )
    for (name, form) in forms
        velocity, fits = zeros(5), true
        for (t, (step, gradient)) in enumerate(zip(moved, gradients))
            velocity, wanted = form(velocity, gradient, t)
            fits &= is_close(step, wanted; rtol = 1e-3, atol = 1e-4)
        end
        fits && return name
    end
    return UNKNOWN
end

const ADAM_RATE, BETA1, BETA2 = 2.0^-10, 0.9, 0.999

const ADAM_FORMS = [
    ("after the correction", "both moments") => (m, v, c1, c2, e) -> m / c1 / (sqrt(v / c2) + e),
    ("before the correction", "both moments") => (m, v, c1, c2, e) -> m / c1 * sqrt(c2) / (sqrt(v) + e),
    ("inside the root", "both moments") => (m, v, c1, c2, e) -> m / c1 / sqrt(v / c2 + e),
    ("outside the root", "none") => (m, v, c1, c2, e) -> m / (sqrt(v) + e),
    ("inside the root", "none") => (m, v, c1, c2, e) -> m / sqrt(v + e),
]

"Measures Adam: `descend(weights, gradients, rate, beta1, beta2)`, all else by default."
function adam(descend)
    sizes = 10.0 .^ (-10:0) # the smaller a gradient, the more of a step is epsilon's
    random = MersenneTwister(4)
    gradients = [Float32.(sizes .* (1 .+ rand(random, 11))) for _ in 1:6]
    moved = steps(descend, zeros(Float32, 11), gradients, ADAM_RATE, BETA1, BETA2)
    best, found = 2e-3, (UNKNOWN, UNKNOWN, UNKNOWN)
    for power in -12:-1, digit in (1, 2, 5), ((placement, correction), form) in ADAM_FORMS
        epsilon = digit * 10.0^power
        wanted = adam_steps(gradients, epsilon, form)
        difference = maximum(maximum(abs.(a .- b)) for (a, b) in zip(moved, wanted))
        off = difference / maximum(maximum(abs, w) for w in wanted)
        off < best && ((best, found) = (off, (scientific(epsilon), placement, correction)))
    end
    decay = steps(descend, ones(Float32, 3), [zeros(Float32, 3)], ADAM_RATE, BETA1, BETA2)[1][1]
    decay = abs(decay) < 1e-4 ? "none" : decay > 0.5 ? "in the gradient" : "$(short(decay)) of the weight"
    return properties(
        "adam.epsilon" => found[1],
        "adam.placement" => found[2],
        "adam.correction" => found[3],
        "adam.decay" => decay,
    )
end

function adam_steps(gradients, epsilon, form)
    m, v = zeros(11), zeros(11)
    return map(enumerate(gradients)) do (t, g)
        m, v = BETA1 .* m .+ (1 - BETA1) .* g, BETA2 .* v .+ (1 - BETA2) .* Float64.(g) .^ 2
        return form.(m, v, 1 - BETA1^t, 1 - BETA2^t, epsilon)
    end
end

"""
Measures what Adam does to words that a batch lacks, or has twice. `train(batches)` trains an embedding of 4 rows on its
sum, and returns its table (width, 4) after each of the batches, which are arrays of row numbers from 1.
"""
function words(train)
    before, after, later = try
        [copy(table) for table in train([[4], [1, 1, 2], [3]])]
    catch # whatever a framework says to gradients of some rows only
        return properties("adam.absent" => "refused", "adam.twice" => "refused")
    end
    twice, once = vec(mean(abs.(after .- before); dims = 1))[1:2]
    # The step does not depend on the size of a gradient, but on how its square came about.
    each = 1 + (1 + BETA1) / sqrt(1 + BETA2) # both moments have grown by the second
    known = (1 => "summed, squared", sqrt(2) => "squared, summed", each => "a step each")
    ways = [way for (ratio, way) in known if abs(twice / once - ratio) < 0.01]
    is_moved = all(later[:, 1:2] .!= after[:, 1:2]) # a word that was seen once goes on by its momentum
    return properties(
        "adam.absent" => is_moved ? "moves on" : "stays",
        "adam.twice" => isempty(ways) ? UNKNOWN : ways[1],
    )
end

"Measures whether the first row of an embedding learns: `train(batches)` as for `words`."
function padding_row(train)
    first, after = [copy(table) for table in train([[2, 3], [1, 2]])]
    is_moved = !is_close(first[:, 1], after[:, 1])
    return properties("embedding.padding" => is_moved ? "learns as any other" : "stays as it is")
end

const DECAY = 0.0078125

"Measures weight decay: `descend(weights, gradients, rate, decay)` of Adam and AdamW; nothing where it has none."
function decay(adam, adamw)
    by_adam, by_adamw = decay_form(adam), decay_form(adamw)
    biases = "none" in (by_adam, by_adamw) ? "left alone" : "decay too"
    return properties("decay.adam" => by_adam, "decay.adamw" => by_adamw, "decay.biases" => biases)
end

decay_form(::Nothing) = "not there"

"Returns how a weight that has no gradient decays; it is one of an array with one axis."
function decay_form(descend)
    after, = descend(ones(Float32, 2), [zeros(Float32, 2)], RATE, DECAY)
    moved = 1 - Float64(after[1])
    forms = (
        "none" => 0.0,
        "in the gradient" => RATE, # of which Adam takes the sign alone
        "decoupled, times the rate" => RATE * DECAY,
        "decoupled, by itself" => DECAY,
    )
    # An epsilon of 1e-5 takes a thousandth off the sign.
    found = [name for (name, size) in forms if abs(moved - size) < 1e-6 + 1e-2 * size]
    return isempty(found) ? UNKNOWN : found[1]
end

"Measures clipping by a norm: `clip(gradients, limit)` returns the clipped arrays."
function clipping(clip)
    norm, limit = 5e-3, 2e-3
    clipped = clip([Float32[3e-3, 0], reshape(Float32[4e-3], 1, 1)], limit)
    first, second = [maximum(abs, Float64.(g)) for g in clipped]
    epsilon(value) = abs(value) < 5e-8 ? "none" : scientific(value)
    if abs(first - limit) < 1e-2 * limit && abs(second - limit) < 1e-2 * limit
        return properties("clip.of" => "each by itself", "clip.epsilon" => epsilon(limit * 3e-3 / first - 3e-3))
    elseif abs(first / second - 0.75) < 1e-3 && first < 3e-3
        return properties("clip.of" => "all together", "clip.epsilon" => epsilon(limit * 3e-3 / first - norm))
    end
    return properties("clip.of" => UNKNOWN, "clip.epsilon" => UNKNOWN)
end
