"""
What a framework does unless it is told otherwise: measured, not looked up.

A framework's `defaults.jl` makes its layers, losses and optimisers with their defaults and hands them over as functions
of arrays. Each function here runs them and derives properties, a dictionary by their names, from what comes out; a
`Report` sends them. The words are those of harnesses/sdk/python/rosetta/defaults.py. Arrays have Julia's axes: images
(W, H, C, N), rows (features, N), kernels of dense layers (out, in). May not know any framework.
"""
module RosettaDefaults

__precompile__(false)

using LinearAlgebra, Random, Statistics
import Rosetta

export Layer, Gru, Report

const UNKNOWN = "none of the known" # a measurement that cannot tell says so

"""
A layer with weights: `call` maps an array to an array; `kernel` and `bias` are functions that return a kernel, (out, in)
or (kw, kh, in, out), and a bias, or nothing where there is none.
"""
struct Layer
    call::Any
    kernel::Any
    bias::Any
end

"""
Sends properties as facts of a run. `overrides` names, for a property, a harness and the text in it by which the default
is overridden; rosetta looks for the text. `not_needed` says why nothing has to be overridden.
"""
struct Report
    run::Rosetta.Run
    overrides::Dict{String,Tuple{String,String}}
    not_needed::Dict{String,String}
    sent::Set{String}
end

Report(run; overrides = Dict(), not_needed = Dict()) = Report(run, overrides, not_needed, Set{String}())

function (report::Report)(properties; how = "run")
    for name in sort(collect(keys(properties)))
        said = Dict{String,Any}("value" => properties[name], "how" => how)
        haskey(report.overrides, name) && (said["override"] = collect(report.overrides[name]))
        haskey(report.not_needed, name) && (said["not_needed"] = report.not_needed[name])
        Rosetta.fact(report.run, name, said)
        push!(report.sent, name)
    end
    return properties
end

"Complains about words on properties that were never measured."
function close(report::Report)
    idle = sort(collect(setdiff(union(keys(report.overrides), keys(report.not_needed)), report.sent)))
    isempty(idle) || error("never measured: $(join(idle, ", "))")
end

properties(pairs...) = Dict{String,String}(pairs...)

"Names a number as Python does: 1e-08."
function scientific(value)
    value > 0 || return "none"
    power = floor(Int, log10(value) + 1e-6)
    digit = round(Int, value / 10.0^power)
    digit == 10 && ((digit, power) = (1, power + 1))
    return "$(digit)e$(power < 0 ? '-' : '+')$(lpad(abs(power), 2, '0'))"
end

"The error function, by its series and its continued fraction."
function erf(x::Real)
    a = abs(Float64(x))
    if a < 3
        total = term = a
        for n in 1:100
            term *= -a^2 / n
            total += term / (2n + 1)
        end
        return copysign(2 / sqrt(pi) * total, x)
    end
    fraction = foldl((f, k) -> k / 2 / (a + f), 60:-1:1; init = 0.0)
    return copysign(1 - exp(-a^2) / sqrt(pi) / (a + fraction), x)
end

phi(x) = (1 + erf(x / sqrt(2))) / 2

is_close(a, b; rtol = 1e-5, atol = 1e-8) = size(a) == size(b) && all(abs.(a .- b) .<= atol .+ rtol .* abs.(b))

include("layers.jl")
include("initialiser.jl")
include("optimiser.jl")
include("gru.jl")

end
