# The GRU: which of the variants, with which order of gates, gives the state that the layer gives.

"""
A GRU whose parameters, biases too, were all drawn at random: `call` maps (inputs, time, n) to the last state (units, n).
Three blocks of units stand in each of `weight_ih` (3 units, inputs), `weight_hh` (3 units, units) and the one or two
`biases` (3 units,): of the input, of the state.
"""
struct Gru
    call::Any
    weight_ih::Any
    weight_hh::Any
    biases::Any
end

function gru(layer::Gru)
    units = size(layer.weight_hh, 2)
    x = normal(5, size(layer.weight_ih, 2), 4, 2)
    state = layer.call(x)
    both = vcat(layer.biases, [zeros(3units), zeros(3units)])[1:2]
    block(w, k) = w[(k-1)*units+1:k*units, :]
    found = []
    for order in ("rzn", "rnz", "zrn", "znr", "nrz", "nzr")
        gates = [Dict(order[k] => Float64.(block(w, k)) for k in 1:3) for w in (layer.weight_ih, layer.weight_hh, both...)]
        for reset in ("after", "before"), keeps in "hn"
            wanted = gru_state(x, gates, reset, keeps)
            is_close(state, wanted; rtol = 1e-4, atol = 1e-4) && push!(found, (order, reset, keeps))
        end
    end
    names = ("gru.reset", "gru.biases", "gru.gates", "gru.update")
    length(found) == 1 || return properties((name => UNKNOWN for name in names)...)
    order, reset, keeps = found[1]
    update = keeps == 'h' ? "z keeps the old" : "z takes the new"
    values = ("$reset the product", string(length(layer.biases)), join(order, ", "), update)
    return properties((name => value for (name, value) in zip(names, values))...)
end

function gru_state(x, (w_i, w_h, b_i, b_h), reset, keeps)
    sigmoid(x) = 1 / (1 + exp(-x))
    h = zeros(size(w_h['r'], 1), size(x, 3))
    for t in 1:size(x, 2)
        i(gate) = w_i[gate] * x[:, t, :] .+ b_i[gate]
        r, z = [sigmoid.(i(gate) .+ w_h[gate] * h .+ b_h[gate]) for gate in "rz"]
        by_state = reset == "before" ? w_h['n'] * (r .* h) .+ b_h['n'] : r .* (w_h['n'] * h .+ b_h['n'])
        n = tanh.(i('n') .+ by_state)
        h = keeps == 'h' ? z .* h .+ (1 .- z) .* n : z .* n .+ (1 .- z) .* h
    end
    return h
end
