"""Makes a base image for `--provider docker` from what this machine has, without a registry.

    python3 .ci/base_image.py TAG PYTHON [PYTHON ...] [--with PACKAGE ...]

The files of Debian packages and of CPythons, each below its own prefix, go into a tar file that `docker import` reads.
PYTHON is a program such as /root/.pyenv/versions/3.12.1/bin/python3.12; PACKAGE is an installed package, as gcc.
"""

import argparse
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

# What a build in the image needs besides an interpreter: a shell, `mkdir`, `ln`, certificates.
PACKAGES = ["dash", "coreutils", "libc-bin", "ca-certificates"]
NOT_PACKED = re.compile(r"/(test|tests|idlelib|turtledemo|site-packages/(?!pip|setuptools)[^/]+|__pycache__)/|\.a$|\.pyc$")
FOLDERS = {"tmp": 0o1777, "proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755, "root": 0o755, "sbin": 0o755}


def packages(roots):
    """Returns the packages that are needed, as far as this machine has them."""
    form = "${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\t${db:Status-Status}\n"
    needs, provided = {}, {}

    def names(text):
        return [[re.split(r"[ :(]", one.strip())[0] for one in part.split("|")] for part in text.split(",") if part.strip()]

    for line in subprocess.check_output(["dpkg-query", "-W", "-f", form], text=True).splitlines():
        package, depends, provides, status = line.split("\t")
        if status == "installed":
            needs[package] = names(depends)
            for group in names(provides):
                provided.setdefault(group[0], package)
    found, queue = set(), list(roots)
    while queue:
        name = queue.pop()
        name = name if name in needs else provided.get(name)
        if name and name not in found:
            found.add(name)
            queue += [next((one for one in group if one in needs or one in provided), "") for group in needs[name]]
    missing = set(roots) - found
    if missing:
        sys.exit(f"not installed here: {', '.join(sorted(missing))}")
    return sorted(found)


def files_of_packages(roots):
    listed = subprocess.check_output(["dpkg-query", "-L", *packages(roots)], text=True).splitlines()
    kept = [path for path in listed if path.startswith("/") and not path.startswith(("/usr/share", "/var"))]
    # Made when they were installed, so that no package lists them.
    return kept + ["/etc/ssl/certs/ca-certificates.crt", "/bin/sh", "/usr/share/ca-certificates"]


def files_of_python(python):
    """Returns the files of a CPython, and the libraries of the system that it needs."""
    ask = "import json, sys; print(json.dumps([sys.base_prefix, '%d.%d' % sys.version_info[:2]]))"
    prefix, version = json.loads(subprocess.check_output([python, "-c", ask]))
    found = []
    for folder, folders, names in os.walk(prefix):
        found += [f"{folder}/{name}" for name in [*folders, *names] if not NOT_PACKED.search(f"{folder}/{name}/".rstrip("/"))]
    modules = [str(one) for one in pathlib.Path(prefix, f"lib/python{version}/lib-dynload").glob("*.so")]
    linked = subprocess.run(["ldd", f"{prefix}/bin/python{version}", *modules], text=True, capture_output=True).stdout
    libraries = {path for path in re.findall(r"=> (/\S+)", linked) if not re.search(r"/lib(X|tk|tcl|xcb|font|freetype)", path)}
    return prefix, version, found + sorted(libraries)


def write(out, paths, links):
    """Writes a tar file with those files of this machine, and links."""
    seen = set()
    with tarfile.open(fileobj=out, mode="w|") as tar:
        def add(member, content=None):
            if member.name not in seen:
                seen.add(member.name)
                tar.addfile(member, content)

        def plain(name, kind, mode=0o755, target=""):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = kind, mode, target
            add(member)

        for name, mode in FOLDERS.items():
            plain(name, tarfile.DIRTYPE, mode)
        for name in ("bin", "lib", "lib64"):
            plain(name, tarfile.SYMTYPE, target=f"usr/{name}")
        for name, text in {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            add(member, io.BytesIO(text.encode()))

        def add_file(path):
            # By its real folder: /bin and /lib are links.
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            name = real.lstrip("/")
            if name in seen or not os.path.lexists(real):
                return
            member = tar.gettarinfo(real, arcname=name)
            if member is None:
                return
            if member.isreg() or member.islnk():
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", os.stat(real).st_size
                with open(real, "rb") as file:
                    add(member, file)
                return
            add(member)
            if member.issym():
                add_file(os.path.join(os.path.dirname(real), os.readlink(real)))

        for path in paths:
            add_file(path)
        for name, target in links.items():
            plain(name, tarfile.SYMTYPE, target=target)


def make(engine, tag, pythons, extra=()):
    """Makes the image."""
    paths, links = files_of_packages([*PACKAGES, *extra]), {}
    for python in pythons:
        prefix, version, files = files_of_python(python)
        paths += files
        links[f"usr/local/bin/python{version}"] = f"{prefix}/bin/python{version}"
    load = subprocess.Popen([engine, "import", "-", tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with load.stdin as out:
        write(out, paths, links)
    if load.wait():
        sys.exit(f"{engine} import failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag")
    parser.add_argument("python", nargs="+")
    parser.add_argument("--with", dest="extra", nargs="*", default=[])
    asked = parser.parse_args()
    make(os.environ.get("ROSETTA_CONTAINER", "docker"), asked.tag, asked.python, asked.extra)
