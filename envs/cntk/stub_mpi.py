"""Makes the OpenMPI library that CNTK's wheel links against but no current distribution has.

CNTK calls MPI only in distributed training. So a library that merely defines
the missing symbols lets it load; each function says its name and aborts.
Reads the ELF files itself and needs gcc. May not know anything but CNTK's wheel.
"""

import glob
import os
import re
import struct
import subprocess
import sys

MPI = re.compile(r"(P?MPI_|ompi_|opal_|_Z[A-Z]*3MPI)")  # C, internal and C++ names
SHT_DYNSYM, STT_OBJECT, SHN_UNDEF = 11, 1, 0

PROLOGUE = """\
#include <stdio.h>
#include <stdlib.h>
static void missing(const char *name) {
    fprintf(stderr, "%s was called, but this OpenMPI is a stub: no distributed training\\n", name);
    abort();
}
"""


def undefined_symbols(path):
    """Yields (name, is_object) of the undefined dynamic symbols of a 64-bit little-endian library."""
    with open(path, "rb") as file:
        elf = file.read()
    if elf[:6] != b"\x7fELF\x02\x01":
        return
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != SHT_DYNSYM:
            continue
        strings = sections[link][4]
        for symbol in range(offset, offset + length, entry):
            name, info, _, section = struct.unpack_from("<IBBH", elf, symbol)
            if section == SHN_UNDEF:
                end = elf.index(b"\0", strings + name)
                yield elf[strings + name : end].decode(), info & 15 == STT_OBJECT


def main(env):
    wheel = os.path.join(env, "lib", "python3*", "site-packages", "cntk", "libs", "*.so*")
    symbols = {}
    for path in sorted(glob.glob(wheel)):
        symbols.update((n, o) for n, o in undefined_symbols(path) if MPI.match(n))
    if not symbols:
        sys.exit("no library under `%s` needs MPI" % wheel)

    stubs = [PROLOGUE]
    for name, is_object in sorted(symbols.items()):
        # 1 KiB is more than any of OpenMPI's handles, of which CNTK takes addresses.
        body = "char %s[1024];\n" if is_object else 'void %s(void) { missing("%s"); }\n'
        stubs.append(body % ((name,) if is_object else (name, name)))

    cure = os.path.join(env, "cure")
    os.makedirs(cure, exist_ok=True)
    source, library = os.path.join(cure, "mpi.c"), os.path.join(cure, "libmpi.so.12")
    with open(source, "w") as file:
        file.write("".join(stubs))
    options = ["-shared", "-fPIC", "-Wl,-soname,libmpi.so.12"]
    subprocess.check_call(["gcc"] + options + ["-o", library, source])
    cxx = os.path.join(cure, "libmpi_cxx.so.1")  # the same file under its other name
    if os.path.lexists(cxx):
        os.remove(cxx)
    os.symlink("libmpi.so.12", cxx)
    sys.stderr.write("%s: %d symbols\n" % (library, len(symbols)))


if __name__ == "__main__":
    main(sys.argv[1])
