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

function send(wire::Wire, event; t = time_ns(), fields...)
    at = seconds(wire.origin, t)
    if wire.file === nothing
        words = ["$name=$(short(value))" for (name, value) in fields if value !== nothing]
        println(lpad(string(round(at, digits = 2)), 8), " s  ", rpad(event, 8), " ", join(words, " "))
        flush(stdout)
    else
        head = (v = PROTOCOL, seq = wire.sequence, ev = event, t = at)
        line = sprint(write_json, merge(head, values(fields)))
        write(wire.file, line * "\n")
        flush(wire.file)
    end
    wire.sequence += 1
    return nothing
end

short(value) = value
short(value::AbstractFloat) = round(value, sigdigits = 4)
short(list::AbstractVector) = length(list) > 4 ? "[$(length(list)) values]" : list
