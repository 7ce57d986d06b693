# Sends events: JSON lines for rosetta, readable ones for a person.

mutable struct Wire
    origin::UInt64 # of the SDK's clock, in nanoseconds
    sequence::Int
    file::Union{IOStream,Nothing} # none where a person reads along
end

seconds(from::UInt64, to::UInt64) = round((to - from) / 1e9, digits = 6)

"Takes the original standard output away from everything else."
function guarded_wire(origin)
    # Whatever Julia, C or CUDA prints from here on lands in the log.
    flush(stdout)
    own = ccall(:dup, Cint, (Cint,), 1)
    own == -1 && error("cannot guard standard output")
    redirect_stdout(stderr)
    return Wire(origin, 0, fdio(own, true))
end

"Sends an event with its fields, each `name => value`, as of `t`."
function send(wire::Wire, event::String, fields::Vector{Pair{String,Any}} = NOTHING; t::UInt64 = time_ns())
    at = seconds(wire.origin, t)
    line = IOBuffer()
    if wire.file === nothing
        print(line, lpad(string(round(at, digits = 2)), 8), " s  ", rpad(event, 8))
        for (name, value) in fields
            value === nothing || print(line, ' ', name, '=', string(short(value)))
        end
    else
        head = Pair{String,Any}["v" => PROTOCOL, "seq" => wire.sequence, "ev" => event, "t" => at]
        write_json_items(write_json_field, line, Any[head..., fields...], '{', '}')
    end
    print(line, '\n')
    file = wire.file === nothing ? stdout : wire.file
    write(file, take!(line))
    flush(file)
    wire.sequence += 1
    return nothing
end

const NOTHING = Pair{String,Any}[]

short(@nospecialize value) =
    value isa AbstractFloat ? round(value, sigdigits = 4) :
    value isa AbstractVector && length(value) > 4 ? "[$(length(value)) values]" : value
