# Runs a harness: `julia harnesses/sdk/julia/start.jl HARNESS.jl`.
#
# Loads the SDK before the harness, so that standard output is guarded before any framework is loaded and the time of
# that is seen. By hand there is no job: the harness then runs on the smoke profile and prints readable lines.
push!(LOAD_PATH, @__DIR__)
import Rosetta
Rosetta.main(ARGS)
