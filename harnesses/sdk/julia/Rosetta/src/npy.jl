# The .npy files of jobs. An array of Julia's lies in memory column by column, one of NumPy's row by row: the same bytes
# are an array (N, C, H, W) there and (W, H, C, N) here, so that nothing is moved.

const NPY_MAGIC = b"\x93NUMPY"
const NPY_TYPES = Dict(
    "|u1" => UInt8,
    "|i1" => Int8,
    "<i4" => Int32,
    "<u4" => UInt32,
    "<i8" => Int64,
    "<f4" => Float32,
    "<f8" => Float64,
)

npy_name(::Type{T}) where {T} = first(name for (name, kind) in NPY_TYPES if kind == T)
npy_dtype(::Type{T}) where {T} = lowercase(string(T)) # float32, as NumPy calls it

"""
    read_npy(path; rows = nothing)

Returns the array of a file, its axes in reversed order; of `rows` only the first so many.
"""
function read_npy(path; rows = nothing)
    try
        open(io -> read_npy(io, rows), path)
    catch problem
        problem isa EOFError && error("cannot read `$path`: it is shorter than its header says")
        problem isa ErrorException && error("cannot read `$path`: $(problem.msg)")
        rethrow()
    end
end

function read_npy(io::IO, rows)
    read(io, 6) == NPY_MAGIC || error("not an .npy file")
    version = read(io, 2)[1]
    length = version == 1 ? ltoh(read(io, UInt16)) : ltoh(read(io, UInt32))
    header = String(read(io, length))
    kind = header_field(header, r"'descr': *'([^']*)'")
    haskey(NPY_TYPES, kind) || error("element type `$kind` is not supported")
    sizes = filter(!isempty, strip.(split(header_field(header, r"'shape': *\(([^)]*)\)"), ",")))
    shape = [parse(Int, size) for size in sizes]
    if header_field(header, r"'fortran_order': *(\w+)") == "True"
        # Column by column as Julia's: the axes, not the bytes, are in order, and have to be turned.
        array = read_values(io, NPY_TYPES[kind], Tuple(shape))
        array = permutedims(array, ndims(array):-1:1)
        return rows === nothing ? array : first_rows(array, rows)
    end
    if rows !== nothing
        isempty(shape) || shape[1] < rows ? error("fewer than $rows rows") : (shape[1] = rows)
    end
    return read_values(io, NPY_TYPES[kind], Tuple(reverse(shape)))
end

function header_field(header, pattern)
    found = match(pattern, header)
    found === nothing && error("its header has no $(pattern.pattern)")
    return found.captures[1]
end

function read_values(io, ::Type{T}, sizes) where {T}
    array = Array{T}(undef, sizes)
    read!(io, array)
    # The files are little-endian, as is every machine that this has seen.
    return Base.ENDIAN_BOM == 0x04030201 ? array : ltoh.(array)
end

function first_rows(array, rows)
    size(array, ndims(array)) >= rows || error("fewer than $rows rows")
    return take_rows(array, 1:rows)
end

"Returns the given rows, which are along the last axis."
take_rows(array, rows) = array[ntuple(_ -> Colon(), ndims(array) - 1)..., rows]

count_rows(array) = size(array, ndims(array))

"Writes an array with its axes in reversed order, as NumPy has it: row by row."
function write_npy(path, array::AbstractArray{T}) where {T}
    shape = join(("$size," for size in reverse(size(array))), " ")
    header = "{'descr': '$(npy_name(T))', 'fortran_order': False, 'shape': ($shape), }"
    padded = cld(10 + length(header) + 1, 64) * 64 - 10 # the first element is aligned
    open(path, "w") do io
        write(io, NPY_MAGIC, 0x01, 0x00, htol(UInt16(padded)))
        write(io, rpad(header, padded - 1), '\n')
        write(io, Base.ENDIAN_BOM == 0x04030201 ? array : htol.(array))
    end
    return nothing
end
