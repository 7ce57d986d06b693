"""Makes the program `clang` out of the Clang that the Zig compiler has inside.

`zig clang` takes Clang's own arguments; tinygrad's CC is the name of a program.
May not know anything but the wheel of ziglang.
"""

import os
import shlex
import subprocess
import sys


def main(env, site):
    zig = os.path.join(site, "ziglang", "zig")
    clang = os.path.join(env, "cure", "clang")
    os.makedirs(os.path.dirname(clang), exist_ok=True)
    with open(clang, "w") as file:
        file.write('#!/bin/sh\nexec %s clang "$@"\n' % shlex.quote(zig))
    os.chmod(clang, 0o755)
    subprocess.check_call([clang, "--version"], stdout=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
