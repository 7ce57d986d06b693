# The job file and the experiment's settings.

"The experiment's settings, as properties: `cfg.learning_rate`."
struct Config
    settings::Dict{String,Any}
end

function Base.getproperty(config::Config, name::Symbol)
    settings = getfield(config, :settings)
    known = join(sort(collect(keys(settings))), ", ")
    haskey(settings, String(name)) || error("the experiment has no setting `$name`; it has: $known")
    value = settings[String(name)]
    return value isa Vector ? identity.(value) : value # a list of numbers has their type
end

Base.propertynames(config::Config) = Tuple(Symbol.(sort(collect(keys(getfield(config, :settings))))))

"Returns the job: of the file that rosetta names, or a smoke job for a run by hand."
function find_job(path, harness)
    text = path === nothing ? ask_rosetta(harness) : read(path, String)
    job = parse_json(text)
    protocol = get(job, "protocol", nothing)
    protocol == PROTOCOL || error("this SDK speaks protocol $PROTOCOL, the job $protocol")
    return job
end

function ask_rosetta(harness)
    experiment = first(splitext(basename(harness)))
    isempty(experiment) && error("no job: start a harness with `julia harnesses/sdk/julia/start.jl HARNESS.jl`")
    root = normpath(joinpath(@__DIR__, "../../../../.."))
    places = [joinpath(root, "target", kind, "rosetta") for kind in ("release", "debug")]
    named = haskey(ENV, "ROSETTA") ? [ENV["ROSETTA"]] : String[]
    for program in vcat(named, places, ["rosetta"])
        Sys.which(program) === nothing && continue
        command = Cmd(`$program job $experiment --profile smoke`, dir = root)
        return read(command, String)
    end
    error("no job: set ROSETTA_JOB, or build rosetta with `cargo build --release`")
end
