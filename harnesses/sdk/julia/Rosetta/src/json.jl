# JSON, as much of it as jobs and events need: Julia's standard library has none.

"Returns what a text of JSON means: dictionaries, vectors, strings, numbers, truth values and `nothing`."
function parse_json(text::AbstractString)
    reader = JsonReader(codeunits(String(text)), 1)
    value = json_value(reader)
    skip_blank(reader)
    reader.at > length(reader.bytes) || json_error(reader, "the end")
    return value
end

mutable struct JsonReader
    bytes::Base.CodeUnits{UInt8,String}
    at::Int
end

json_error(reader, wanted) = error("byte $(reader.at) of the JSON is not $wanted")

peek_byte(reader) = reader.at <= length(reader.bytes) ? reader.bytes[reader.at] : 0x00

function skip_blank(reader)
    while peek_byte(reader) in (0x20, 0x09, 0x0a, 0x0d)
        reader.at += 1
    end
end

function take_text(reader, text)
    for byte in codeunits(text)
        peek_byte(reader) == byte || json_error(reader, "`$text`")
        reader.at += 1
    end
end

function json_value(reader)
    skip_blank(reader)
    first = Char(peek_byte(reader))
    first == '{' && return json_object(reader)
    first == '[' && return json_list(reader)
    first == '"' && return json_string(reader)
    for (text, value) in ("true" => true, "false" => false, "null" => nothing)
        first == text[1] && (take_text(reader, text); return value)
    end
    return json_number(reader)
end

"Calls `read` for each item up to the closing bracket."
function each_item(read, reader, closing)
    reader.at += 1
    skip_blank(reader)
    if Char(peek_byte(reader)) == closing
        reader.at += 1
        return
    end
    while true
        read()
        skip_blank(reader)
        next = Char(peek_byte(reader))
        reader.at += 1
        next == closing && return
        next == ',' || (reader.at -= 1; json_error(reader, "`,` or `$closing`"))
    end
end

function json_object(reader)
    object = Dict{String,Any}()
    each_item(reader, '}') do
        skip_blank(reader)
        name = json_string(reader)
        skip_blank(reader)
        take_text(reader, ":")
        object[name] = json_value(reader)
    end
    return object
end

function json_list(reader)
    list = Any[]
    each_item(() -> push!(list, json_value(reader)), reader, ']')
    return list
end

const ESCAPES = Dict('b' => '\b', 'f' => '\f', 'n' => '\n', 'r' => '\r', 't' => '\t')

function json_string(reader)
    take_text(reader, "\"")
    text = IOBuffer()
    while true
        reader.at <= length(reader.bytes) || json_error(reader, "a closed string")
        byte = reader.bytes[reader.at]
        reader.at += 1
        if byte == UInt8('"')
            return String(take!(text))
        elseif byte == UInt8('\\')
            write(text, json_escape(reader))
        else
            write(text, byte)
        end
    end
end

function json_escape(reader)
    char = Char(peek_byte(reader))
    reader.at += 1
    char == 'u' || return get(ESCAPES, char, char)
    code = json_hex(reader)
    if 0xd800 <= code < 0xdc00 # the first half of a character beyond 16 bits
        take_text(reader, "\\u")
        code = 0x10000 + ((code - 0xd800) << 10) + (json_hex(reader) - 0xdc00)
    end
    return Char(code)
end

function json_hex(reader)
    last = min(reader.at + 3, length(reader.bytes))
    code = tryparse(UInt32, String(reader.bytes[reader.at:last]), base = 16)
    code === nothing && json_error(reader, "four hexadecimal digits")
    reader.at += 4
    return code
end

function json_number(reader)
    first = reader.at
    while Char(peek_byte(reader)) in "+-.0123456789eE"
        reader.at += 1
    end
    text = String(reader.bytes[first:reader.at-1])
    for kind in (Int, UInt64, Float64)
        value = tryparse(kind, text)
        value === nothing || return value
    end
    reader.at = first
    json_error(reader, "a value")
end

"Writes a value as JSON; numbers that are not finite as text. One method for all: each type would be compiled anew."
function write_json(io::IO, @nospecialize(value))
    if value === nothing
        print(io, "null")
    elseif value isa Bool || value isa Integer
        print(io, string(value))
    elseif value isa Real
        number = Float64(value)
        isfinite(number) ? print(io, number) : write_json_text(io, isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity")
    elseif value isa AbstractVector || value isa Tuple
        write_json_items(write_json, io, Any[value...], '[', ']')
    elseif value isa AbstractDict || value isa NamedTuple
        write_json_items(write_json_field, io, Any[pairs(value)...], '{', '}')
    else
        write_json_text(io, string(value))
    end
    return nothing
end

function write_json_items(write_item, io::IO, items::Vector{Any}, opening, closing)
    print(io, opening)
    for (index, item) in enumerate(items)
        index == 1 || print(io, ',')
        write_item(io, item)
    end
    print(io, closing)
end

function write_json_field(io::IO, @nospecialize(field))
    write_json_text(io, string(field[1]))
    print(io, ':')
    write_json(io, field[2])
end

function write_json_text(io::IO, text::String)
    print(io, '"')
    for char in text
        if char == '"' || char == '\\'
            print(io, '\\', char)
        elseif char < ' '
            print(io, "\\u", string(UInt32(char), base = 16, pad = 4))
        else
            print(io, char)
        end
    end
    print(io, '"')
end
