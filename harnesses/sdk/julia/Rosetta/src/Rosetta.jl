"""
The harness SDK for Julia 1.5 and later: the standard library only.

Speaks the protocol of docs/protocol.md, so that a harness has no clock, no JSON, no argument and no print. May not know
any framework. Arrays have the axes of docs/protocol.md in reversed order: images are (W, H, C, N), kernels (W, H, in,
out), dense kernels (in, out), tokens (length, N), which are the same bytes in memory.
"""
module Rosetta

__precompile__(false) # loads within half a second, and leaves no file behind that would be stale

import Base: split, step

export activation, batches, data, epoch_data, epoch_end, epochs, fact, final_weights, metric,
    order, outputs, phase, split, step, warmup, weights

const PROTOCOL = 1
const SDK_VERSION = "1.0.0"
const PROGRESS_INTERVAL = UInt64(500_000_000) # nanoseconds between two step events of a normal run

include("json.jl")
include("npy.jl")
include("wire.jl")
include("job.jl")

"One job: its settings and arrays, and the words to report it."
mutable struct Run
    config::Config
    device::String
    dtype::DataType
    threads::Int
    experiment::String
    is_check::Bool
    job::Dict{String,Any}
    wire::Wire
    sync::Any
    arrays::Dict{String,Array}
    outputs::Vector{Array}
    ready::UInt64
    activations::Set{String}
    phase::Union{String,Nothing}
    steps_left::Union{Int,Nothing}
    epoch::Int
    step::Int
    steps::Int
    epoch_start::UInt64
    first_step::Union{Float64,Nothing}
    last_progress::UInt64
    loss::Any # of the last step; a function where it has to be asked for
end

# What `start.jl` holds between the first moment and the last.
const STATE = Dict{Symbol,Any}()

function __init__()
    origin = time_ns()
    STATE[:wire] = haskey(ENV, "ROSETTA_JOB") ? guarded_wire(origin) : Wire(origin, 0, nothing)
    say_start(STATE[:wire])
end

function say_start(wire)
    said = Pair{String,Any}[
        "language"=>"julia", "language_version"=>string(VERSION), "sdk"=>SDK_VERSION, "pid"=>getpid()
    ]
    send(wire, "start", said; t = wire.origin)
end

"Runs the harness that `start.jl` was given: one job, or each of a series."
function main(arguments)
    length(arguments) == 1 || error("usage: julia start.jl HARNESS.jl")
    path = abspath(arguments[1])
    isfile(path) || error("there is no harness `$path`")
    STATE[:harness] = path
    series = haskey(ENV, "ROSETTA_JOB") ? get(parse_json(read(ENV["ROSETTA_JOB"], String)), "series", nothing) : nothing
    series === nothing || return run_series(path, series)
    run_harness(Main, path) == 0 || exit(1)
end

"Runs a harness, and says that all is done; an error never comes that far. Returns the exit code."
function run_harness(place::Module, path)
    try
        Base.include(place, path)
        haskey(STATE, :run) || error("the harness `$path` has not called `Rosetta.start`")
        finish(STATE[:run])
        return 0
    catch problem
        showerror(stderr, problem, catch_backtrace())
        # Again, at the end, where rosetta looks for the reason.
        while problem isa LoadError
            problem = problem.error
        end
        println(stderr, "\n", first(Base.split(sprint(showerror, problem), '\n')))
        return 1
    end
end

"""
Runs each job of a series, its events to a file of its own: the framework is loaded, and what it needs is compiled,
once for all of them. Each has the harness in a module of its own, so that it finds no variable of the one before.
"""
function run_series(harness, paths)
    own = STATE[:wire]
    send(own, "phase", Pair{String,Any}["name"=>"series"])
    for path in paths
        events = joinpath(parse_json(read(path, String))["outputs"], "events.jsonl")
        code = open(events, "w") do file
            STATE[:job], STATE[:wire] = path, Wire(time_ns(), 0, file)
            delete!(STATE, :run)
            say_start(STATE[:wire])
            return run_harness(Module(:Harness), harness)
        end
        send(own, "part", Pair{String,Any}["path"=>path, "exit"=>code])
        GC.gc()
    end
    send(own, "end")
end

"""
    Rosetta.start(framework, version; device, sync, sync_cpu)

Begins the job and returns its run; the first thing that a harness does. `sync` waits until the accelerator has finished;
it is called at phase and epoch edges, and on the CPU only where `sync_cpu` says that the framework works asynchronously
there too. `device` is the framework's own name of the device where that says more than the job's.
"""
function start(framework, version; device = nothing, sync = nothing, sync_cpu = false)
    job = find_job(get(STATE, :job, get(ENV, "ROSETTA_JOB", nothing)), get(STATE, :harness, PROGRAM_FILE))
    wire = STATE[:wire]
    device = device === nothing ? job["device"] : device
    sync = job["device"] != "cpu" || sync_cpu ? sync : nothing
    now = time_ns()
    run = Run(
        Config(merge(job["config"], Dict("seed" => job["seed"]))),
        job["device"],
        job["dtype"] == "float64" ? Float64 : Float32,
        job["threads"],
        job["experiment"],
        job["mode"] == "check",
        job,
        wire,
        sync,
        Dict{String,Array}(),
        Array[],
        now,
        Set{String}(),
        nothing,
        job["steps"],
        0,
        0,
        0,
        now,
        nothing,
        now,
        nothing,
    )
    said = Pair{String,Any}["framework"=>framework, "version"=>string(version), "device"=>device]
    send(wire, "hello", said)
    STATE[:run] = run
    return run
end

"Returns the version of a package that has been loaded, as its own Project.toml says."
function version_of(package::Module)
    file = joinpath(dirname(dirname(pathof(package))), "Project.toml")
    found = isfile(file) ? match(r"^version *= *\"([^\"]*)\""m, read(file, String)) : nothing
    return found === nothing ? "unknown" : String(found.captures[1])
end

# Data and weights

"""
    data(run, name)

Returns a neutral array, its samples along the last axis: images (W, H, C, N) in 0..1, tokens and labels Int32.
"""
function data(run::Run, name)
    get!(run.arrays, name) do
        known = join(sort(collect(keys(run.job["arrays"]))), ", ")
        haskey(run.job["arrays"], name) || error("the experiment has no array `$name`; it has: $known")
        source = run.job["arrays"][name]
        array = read_npy(source["path"], rows = source["rows"])
        by = source["divide_by"]
        # Converted first and divided then, as NumPy does it.
        by === nothing || return run.dtype.(array) ./ run.dtype(by)
        return floats_as(run.dtype, array)
    end
end

floats_as(::Type{T}, array) where {T} = eltype(array) <: AbstractFloat ? convert(Array{T}, array) : array

"""
    weights(run)

Returns the initial weights by their canonical names.
"""
function weights(run::Run)
    folder, names = run.job["weights"]["folder"], run.job["weights"]["names"]
    load(name) = floats_as(run.dtype, read_npy(joinpath(folder, name * ".npy")))
    return Dict{String,Array}(name => load(name) for name in names)
end

# Phases

"""
    phase(run, name)

Ends the phase before and begins `name`, when the device has finished.
"""
function phase(run::Run, name)
    wait_for_device(run)
    run.phase = name
    send(run.wire, "phase", Pair{String,Any}["name"=>name])
end

wait_for_device(run) = run.sync === nothing || run.sync()

# Training

struct Epochs
    run::Run
end

"""
    epochs(run)

Iterates over the epoch numbers 0, 1, …
"""
epochs(run::Run) = Epochs(run)

Base.IteratorSize(::Type{Epochs}) = Base.SizeUnknown()

function Base.iterate(all::Epochs, epoch = 0)
    run = all.run
    (epoch < run.config.epochs && run.steps_left != 0) || return nothing
    run.epoch, run.step, run.first_step, run.loss = epoch, 0, nothing, nothing
    run.steps = batch_count(run)
    run.epoch_start = run.last_progress = time_ns()
    return epoch, epoch + 1
end

function batch_count(run)
    count = div(run.job["arrays"]["x_train"]["rows"], run.config.batch_size)
    return run.steps_left === nothing ? count : min(count, run.steps_left)
end

"""
    order(run, epoch)

Returns the numbers, from 1, of an epoch's samples in the common order: (batch size, steps).
"""
function order(run::Run, epoch)
    size = run.config.batch_size
    all = read_npy(run.job["order"]) # (samples, epochs)
    rows = all[1:batch_count(run)*size, epoch+1]
    return reshape(Int.(rows) .+ 1, size, :)
end

"""
    batches(run, epoch)

Iterates over the common mini-batches (x, y) of an epoch, in the common order.
"""
function batches(run::Run, epoch)
    x_train, y_train = data(run, "x_train"), data(run, "y_train")
    rows = order(run, epoch)
    return ((take_rows(x_train, rows[:, k]), take_rows(y_train, rows[:, k])) for k in 1:size(rows, 2))
end

"""
    epoch_data(run, epoch)

Returns (x, y) of a whole epoch in the common order.
"""
function epoch_data(run::Run, epoch)
    rows = vec(order(run, epoch))
    return take_rows(data(run, "x_train"), rows), take_rows(data(run, "y_train"), rows)
end

"""
    step(run, loss)

Says that a step is done. `loss` is a number, or a function that returns it: a normal run leaves an accelerator alone.
"""
function step(run::Run, loss)
    now = time_ns()
    run.step += 1
    run.step == 1 && (run.first_step = seconds(run.epoch_start, now))
    if run.is_check
        send_step(run, number(loss))
    elseif now - run.last_progress >= PROGRESS_INTERVAL
        # On a CPU the loss of the step before is in host memory already.
        is_known = run.device == "cpu" && run.loss !== nothing
        send_step(run, is_known ? number(run.loss) : nothing)
        run.last_progress = time_ns()
    end
    run.loss = loss
    return nothing
end

number(loss::Nothing) = nothing
number(loss) = Float64(applicable(loss) ? loss() : loss)

function send_step(run, loss)
    said = Pair{String,Any}["epoch"=>run.epoch, "step"=>run.step, "steps"=>run.steps, "loss"=>loss]
    send(run.wire, "step", said)
end

"""
    epoch_end(run, epoch)

Says that an epoch is over; its loss is that of its last step.
"""
function epoch_end(run::Run, epoch)
    wait_for_device(run)
    loss = number(run.loss)
    now = time_ns()
    run.steps_left === nothing || (run.steps_left -= run.steps)
    said = Pair{String,Any}[
        "epoch"=>epoch,
        "loss"=>loss,
        "seconds"=>seconds(run.epoch_start, now),
        "first_step_seconds"=>run.first_step,
        "samples"=>run.steps*run.config.batch_size,
    ]
    send(run.wire, "epoch", said; t = now)
end

"""
    final_weights(f, run)

Stores the trained weights in a check; `f()` returns them by their canonical names. Called in no other run.
"""
function final_weights(f, run::Run)
    run.is_check || return nothing
    folder = joinpath(run.job["outputs"], "weights")
    mkpath(folder)
    arrays = Dict{String,Any}(pairs(f()))
    # In forward order, whatever order the framework keeps them in.
    known = run.job["weights"]["names"]
    names = vcat(filter(in(keys(arrays)), known), sort(setdiff(collect(keys(arrays)), known)))
    for name in names
        write_npy(joinpath(folder, name * ".npy"), Array(arrays[name]))
    end
    send(run.wire, "weights", Pair{String,Any}["folder"=>folder, "names"=>names])
end

# Prediction

struct Batches{A}
    run::Run
    x::A
    times::Vector{Float64}
    samples::Vector{Int}
end

"""
    split(run, x)

Iterates over `x` in batches of `config.batch_size` along the last axis, the last one perhaps smaller.
"""
split(run::Run, x::AbstractArray) = Batches(run, x, Float64[], Int[])

Base.IteratorSize(::Type{<:Batches}) = Base.SizeUnknown()

function Base.iterate(all::Batches, (first, before) = (1, time_ns()))
    if first == 1
        empty!(all.times), empty!(all.samples)
    else
        push!(all.times, seconds(before, time_ns()))
    end
    if first > count_rows(all.x)
        run = all.run
        said = Pair{String,Any}["phase"=>run.phase, "seconds"=>all.times, "samples"=>all.samples]
        send(run.wire, "batches", said)
        return nothing
    end
    last = min(first + all.run.config.batch_size - 1, count_rows(all.x))
    push!(all.samples, last - first + 1)
    batch = take_rows(all.x, first:last)
    return batch, (last + 1, time_ns())
end

"""
    warmup(run, x)

Iterates over the batches of the cold pass, which is not counted.
"""
function warmup(run::Run, x::AbstractArray)
    size, rows = run.config.batch_size, count_rows(x)
    firsts = (mod(index * size, rows) + 1 for index in 0:run.config.warmup_batches-1)
    return (take_rows(x, first:min(first + size - 1, rows)) for first in firsts)
end

"""
    outputs(run, x)

Stores logits or features (width, samples): all at once, or batch by batch in order.
"""
function outputs(run::Run, x)
    push!(run.outputs, copy(Array(x))) # a framework may use its memory again
    run.ready = time_ns()
    return nothing
end

"""
    activation(run, name, x)

Stores what a layer computed, in the first prediction of a check, and returns `x`: with names alike in two harnesses, a
check names the first layer that differs. `x` is an array, or a function that returns one and is not called elsewhere.
"""
function activation(run::Run, name, x)
    is_wanted = run.is_check && run.phase == "predict" && !(name in run.activations)
    is_wanted || return x
    path = joinpath(run.job["outputs"], "activation-$(length(run.activations)).npy")
    push!(run.activations, name)
    array = Array(applicable(x) ? x() : x)
    send(run.wire, "activation", stored(name, path, array))
    return x
end

# Words about the run

"""
    fact(run, name, value)

Records a property of this run, as `fact(run, "layout", "WHCN")`.
"""
fact(run::Run, name, value) = send(run.wire, "fact", Pair{String,Any}["name"=>name, "value"=>value])

"""
    metric(run, name, value, unit)

Records any other number.
"""
metric(run::Run, name, value, unit = nothing) =
    send(run.wire, "metric", Pair{String,Any}["name"=>name, "value"=>value, "unit"=>unit])

function finish(run::Run)
    if !isempty(run.outputs)
        all = cat(run.outputs..., dims = ndims(run.outputs[1]))
        path = joinpath(run.job["outputs"], "outputs.npy")
        said = stored("outputs", path, all)
        push!(said, "ready" => seconds(run.wire.origin, run.ready))
        send(run.wire, "array", said)
    end
    send(run.wire, "end")
end

"Stores an array and returns what is to be said of it."
function stored(name, path, array)
    write_npy(path, array)
    shape, dtype = collect(reverse(size(array))), npy_dtype(eltype(array))
    return Pair{String,Any}["name"=>name, "path"=>path, "shape"=>shape, "dtype"=>dtype]
end

end
