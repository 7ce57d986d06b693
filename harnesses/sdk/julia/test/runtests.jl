# Tests of the Julia SDK: `julia harnesses/sdk/julia/test/runtests.jl`. The standard library is enough.
#
# It is held to the event streams of tests/golden, which its README.md describes.
push!(LOAD_PATH, dirname(@__DIR__))
using Test
import Rosetta
using Rosetta: parse_json, read_npy, write_json, write_npy

const SDK = dirname(@__DIR__)
const GOLDEN = normpath(joinpath(SDK, "../../../tests/golden"))

"Writes a file of NumPy's by hand: its words, and the elements as they lie in memory."
function store(path, kind, shape, elements; fortran = "False")
    header = "{'descr': '$kind', 'fortran_order': $fortran, 'shape': $shape, }\n"
    open(path, "w") do io
        write(io, b"\x93NUMPY\x01\x00", UInt16(length(header)), header, elements)
    end
    return path
end

"Returns the job of tests/golden/README.md in a folder of its own, with some fields changed."
function job(folder; changes...)
    mkpath(joinpath(folder, "outputs"))
    at(name) = joinpath(folder, name * ".npy")
    store(at("x_train"), "|u1", "(7, 1, 2, 2)", UInt8.(0:27))
    store(at("y_train"), "<i4", "(7,)", Int32.(0:6))
    store(at("x_test"), "|u1", "(5, 1, 2, 2)", UInt8.(0:5:95))
    store(at("order"), "<u4", "(2, 7)", UInt32[6, 5, 4, 3, 2, 1, 0, 0, 2, 4, 6, 1, 3, 5])
    store(at("dense.weight"), "<f4", "(2, 4)", Float32.((0:7) ./ 8))
    store(at("dense.bias"), "<f4", "(2,)", Float32[0.5, -0.5])
    source(name, rows, by) = (path = at(name), rows = rows, divide_by = by)
    arrays = (x_train = source("x_train", 7, 256), y_train = source("y_train", 7, nothing),
        x_test = source("x_test", 5, 256))
    fields = (protocol = 1, job = "training.scripted.cpu.1", experiment = "training", target = "scripted",
        profile = "smoke", device = "cpu", threads = 1, seed = 42, mode = "run", steps = nothing,
        dtype = "float32", config = (batch_size = 2, epochs = 2, warmup_batches = 3), arrays = arrays,
        weights = (folder = folder, names = ["dense.weight", "dense.bias"]), order = at("order"),
        outputs = joinpath(folder, "outputs"))
    path = joinpath(folder, "job.json")
    write(path, sprint(write_json, merge(fields, values(changes))))
    return path
end

"Runs a harness; returns whether it ended well, its events and its log."
function run_harness(harness, job_file; variables...)
    out, err = IOBuffer(), IOBuffer()
    command = `$(Base.julia_cmd()) --startup-file=no $(joinpath(SDK, "start.jl")) $harness`
    command = setenv(command, merge(Dict(ENV), Dict("ROSETTA_JOB" => job_file)))
    process = run(pipeline(ignorestatus(command), stdout = out, stderr = err))
    log = String(take!(err))
    lines = split(String(take!(out)), '\n', keepempty = false)
    return success(process), [parse_json(line) for line in lines], log
end

"Runs a few lines of a harness."
function run_lines(text; changes...)
    mktempdir() do folder
        path = joinpath(folder, "harness.jl")
        write(path, "using Rosetta\n" * text)
        return run_harness(path, job(folder; changes...))
    end
end

kinds(events) = [event["ev"] for event in events]

"Takes out what differs from run to run, as the README of the golden streams says."
function masked(event, sequence)
    mask(name, value) =
        name == "seq" ? sequence :
        name == "first_step_seconds" && value === nothing ? nothing :
        name == "seconds" && value isa Vector ? zeros(length(value)) :
        name in ("t", "pid", "ready", "seconds", "first_step_seconds") ? 0 :
        name in ("language", "language_version", "sdk") ? "" :
        name in ("path", "folder") ? basename(value) : value
    return Dict(name => mask(name, value) for (name, value) in event)
end

"Holds the scripted harness to a golden stream; `look` gets the folder of what it has stored."
function compare(look, stream; changes...)
    mktempdir() do folder
        file = job(folder; experiment = stream, changes...)
        ended_well, events, log = run_harness(joinpath(@__DIR__, "scripted.jl"), file)
        ended_well || print(log)
        @test ended_well
        @test [event["seq"] for event in events] == 0:length(events)-1
        times = [event["t"] for event in events if event["ev"] != "epoch"]
        @test issorted(times)
        is_run = !("weights" in kinds(events))
        lasting = filter(event -> !(is_run && event["ev"] == "step"), events)
        found = [masked(event, number - 1) for (number, event) in enumerate(lasting)]
        expected = [parse_json(line) for line in eachline(joinpath(GOLDEN, "$stream.jsonl"))]
        @test length(found) == length(expected)
        for (one, other) in zip(found, expected)
            @test one == other
        end
        look(joinpath(folder, "outputs"))
    end
end

@testset "JSON" begin
    text = "{\"a\": [1, 2.5, -3e2, true, null, \"\\u00e9\\n\\ud83d\\ude00é\\\\\"], \"b\": {}}"
    value = parse_json(text)
    @test value["a"] == [1, 2.5, -300, true, nothing, "é\n😀é\\"]
    @test value["a"][1] isa Int
    @test value["b"] == Dict()
    @test parse_json(sprint(write_json, value)) == value
    @test parse_json("18446744073709551615") == typemax(UInt64)
    @test sprint(write_json, [NaN32, -Inf, 1.0f-6]) == "[\"NaN\",\"-Infinity\",$(Float64(1.0f-6))]"
    for wrong in ["", "{\"a\" 1}", "[1 2]", "\"open", "{} {}", "[1,]", "\"\\u00g0\"", "nil", "tru"]
        @test_throws ErrorException parse_json(wrong)
    end
end

@testset "arrays" begin
    mktempdir() do folder
        path = joinpath(folder, "a.npy")
        store(path, "<f4", "(2, 3)", Float32[1, 2, 3, 4, 5, 6])
        @test read_npy(path) == Float32[1 4; 2 5; 3 6] # the same bytes, the axes reversed
        @test read_npy(path, rows = 1) == reshape(Float32[1, 2, 3], 3, 1)
        # In Fortran order the bytes are those of the array as it is called.
        store(path, "<f4", "(2, 3)", Float32[1, 4, 2, 5, 3, 6], fortran = "True")
        @test read_npy(path) == Float32[1 4; 2 5; 3 6]
        @test read_npy(path, rows = 1) == reshape(Float32[1, 2, 3], 3, 1)
        for array in (Float32[0.1 -2; 1e-40 5], rand(2, 3, 4, 5), Int32[typemin(Int32), 0, 7])
            write_npy(path, array)
            @test read_npy(path) == array
            @test eltype(read_npy(path)) == eltype(array)
        end
        write_npy(path, reshape(Float64.(1:6), 3, 2))
        bytes = read(path)
        @test occursin("'shape': (2, 3,)", String(bytes[1:128]))
        @test length(bytes) == 128 + 6 * 8 # NumPy aligns the first element
        @test reinterpret(Float64, bytes[129:end]) == 1:6
        write_npy(path, [1.0, 2.0]')
        @test read_npy(path) == [1.0 2.0] # an adjoint, whose memory is in another order
        store(path, "<f4", "(2,)", zeros(UInt8, 7))
        @test_throws ErrorException("cannot read `$path`: it is shorter than its header says") read_npy(path)
        @test_throws ErrorException("cannot read `$path`: fewer than 3 rows") read_npy(path, rows = 3)
        store(path, "<c8", "(2,)", zeros(UInt8, 16))
        @test_throws ErrorException("cannot read `$path`: element type `<c8` is not supported") read_npy(path)
        write(path, "no array at all")
        @test_throws ErrorException("cannot read `$path`: not an .npy file") read_npy(path)
    end
end

@testset "golden streams" begin
    logits(x...) = hcat([[x, -x] for x in x]...)
    all = logits(((sum(5 * k for k in 4n:4n+3)) / 256 for n in 0:4)...)
    compare(folder -> @test(read_npy(joinpath(folder, "outputs.npy")) == all), "training")
    compare("inference"; config = (batch_size = 2, warmup_batches = 3), order = nothing) do folder
        @test read_npy(joinpath(folder, "outputs.npy")) == all
    end
    compare("check"; mode = "check", steps = 4, dtype = "float64") do folder
        @test read_npy(joinpath(folder, "weights", "dense.bias.npy")) == [1.5, 0.5]
        @test read_npy(joinpath(folder, "weights", "dense.weight.npy")) == reshape(1 .+ (0:7) ./ 8, 4, 2)
        @test read_npy(joinpath(folder, "outputs.npy")) isa Matrix{Float64}
    end
    compare(folder -> nothing, "untrained"; mode = "check", steps = 0)
    compare("activations"; mode = "check", steps = 1) do folder
        @test read_npy(joinpath(folder, "activation-1.npy")) == all[:, 1:2]
        @test !isfile(joinpath(folder, "activation-2.npy"))
    end
    compare(folder -> nothing, "nonfinite"; mode = "check", steps = 3)
end

@testset "only events reach standard output" begin
    ended_well, events, log = run_lines("""
        println("from println")
        work = Rosetta.start("F", "1")
        println("from println again")
        ccall(:puts, Cint, (Cstring,), "from C")
        ccall(:fflush, Cint, (Ptr{Cvoid},), C_NULL)
        run(`echo from a child`)
        """)
    @test ended_well
    @test kinds(events) == ["start", "hello", "end"]
    for source in ["println", "println again", "C", "a child"]
        @test occursin("from $source\n", log)
    end
end

@testset "an error leaves no end" begin
    ended_well, events, log = run_lines("run = Rosetta.start(\"F\", \"1\"); outputs(run, zeros(2, 5)); error(\"no such layer\")")
    @test !ended_well
    @test kinds(events) == ["start", "hello"]
    @test occursin("harness.jl:2", log)
    @test endswith(log, "\nno such layer\n") # where rosetta looks for the reason
end

@testset "a series is its jobs, each for itself, and goes on after a failure" begin
    mktempdir() do folder
        harness = joinpath(folder, "harness.jl")
        write(harness, """
            using Rosetta
            run = Rosetta.start("F", "1")
            @isdefined(seen) && error("a variable of the job before")
            seen = run.config.batch_size
            seen == 3 && error("no three")
            struct Layer; w; end
            outputs(run, zeros(seen, 2))
            """)
        jobs = [job(joinpath(folder, string(k)); config = (batch_size = k, epochs = 1)) for k in 2:4]
        path = joinpath(folder, "series.json")
        write(path, sprint(write_json, (protocol = 1, series = jobs)))
        ended_well, events, log = run_harness(harness, path)
        @test ended_well
        @test kinds(events) == ["start", "phase", "part", "part", "part", "end"]
        parts = [(event["path"], event["exit"]) for event in events if event["ev"] == "part"]
        @test parts == collect(zip(jobs, [0, 1, 0]))
        for (file, last) in zip(jobs, ["end", "hello", "end"])
            said = [parse_json(line) for line in eachline(joinpath(dirname(file), "outputs", "events.jsonl"))]
            @test [event["seq"] for event in said] == 0:length(said)-1
            @test (said[1]["ev"], said[end]["ev"]) == ("start", last)
        end
        @test read_npy(joinpath(dirname(jobs[3]), "outputs", "outputs.npy")) == zeros(4, 2)
        @test occursin("no three", log) && !occursin("job before", log)
    end
end

@testset "what is not there is named with what is" begin
    asks = """
        run = Rosetta.start("F", "1")
        for ask in (() -> run.config.rate, () -> data(run, "z"))
            try
                ask()
            catch problem
                println(stderr, problem.msg)
            end
        end
        """
    _, _, log = run_lines(asks)
    @test occursin("the experiment has no setting `rate`; it has: batch_size, epochs, seed, warmup_batches", log)
    @test occursin("the experiment has no array `z`; it has: x_test, x_train, y_train", log)
    ended_well, _, log = run_lines("Rosetta.start(\"F\", \"1\")"; protocol = 2)
    @test !ended_well
    @test occursin("this SDK speaks protocol 1, the job 2", log)
end

@testset "batches come in the common order and are the epoch's data" begin
    _, events, log = run_lines("""
        run = Rosetta.start("F", "1"; sync = () -> fact(run, "synced", true))
        for epoch in epochs(run)
            x_epoch, y_epoch = epoch_data(run, epoch)
            all = collect(batches(run, epoch))
            fact(run, "labels", vcat([Int.(y) for (x, y) in all]...))
            fact(run, "same", cat([x for (x, y) in all]..., dims = 4) == x_epoch && size(x_epoch) == (2, 2, 1, length(y_epoch)))
            for _ in all
                step(run, 0.5)
            end
            epoch_end(run, epoch)
        end
        fact(run, "calls", [size(x, 4) for x in warmup(run, data(run, "x_test"))])
        """; steps = 4)
    facts = [(event["name"], event["value"]) for event in events if event["ev"] == "fact"]
    @test facts == [("labels", [6, 5, 4, 3, 2, 1]), ("same", true), ("labels", [0, 2]), ("same", true), ("calls", [2, 2, 1])]
    @test [event["samples"] for event in events if event["ev"] == "epoch"] == [6, 2]
end

@testset "a device is waited for at edges, and asked for no loss" begin
    _, events, log = run_lines("""
        run = Rosetta.start("F", "1"; device = "GPU 0", sync = () -> println(stderr, "waited"))
        phase(run, "train")
        for epoch in epochs(run)
            for (x, y) in batches(run, epoch)
                sleep(0.6)
                step(run, () -> (println(stderr, "asked"); 0.5))
            end
            epoch_end(run, epoch)
        end
        """; device = "cuda")
    @test events[2]["device"] == "GPU 0"
    @test [event["loss"] for event in events if event["ev"] == "step"] == fill(nothing, 6)
    @test count("waited", log) == 3
    @test count("asked", log) == 2 # at the ends of the two epochs
end

include("defaults.jl")

if isempty(get(ENV, "ROSETTA", ""))
    println("left out: a run by hand; set ROSETTA to the program to have it tested")
else
    @testset "a harness runs by hand" begin
        mktempdir() do folder
            harness = joinpath(folder, "cnn.jl")
            write(harness, """
                using Rosetta
                run = Rosetta.start("F", "1")
                outputs(run, zeros(Float32, run.config.classes, size(data(run, "x_test"), 4)))
                """)
            command = `$(Base.julia_cmd()) --startup-file=no $(joinpath(SDK, "start.jl")) $harness`
            said = read(setenv(command, filter(pair -> pair[1] != "ROSETTA_JOB", Dict(ENV))), String)
            @test occursin(r"hello +framework=F version=1", said)
            @test occursin(r"array +name=outputs", said) && occursin(r"s  end", said)
        end
    end
end
