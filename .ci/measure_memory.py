"""Measures rosetta's memory while a harness says things without end; needs NumPy.

    python .ci/measure_memory.py target/release/rosetta

Each line is one run with a limit of 6 s: the largest resident set of `rosetta run`, what
stayed on the disk, and the outcome of the job. docs/performance.md has the numbers.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent

HARNESS = """
import os, sys
write = sys.stdout.buffer.write
seq = 0
def say(kind, fields=""):
    global seq
    write(('{"v":1,"seq":%d,"t":0.1,"ev":"%s"%s}\\n' % (seq, kind, fields)).encode())
    seq += 1
say("start", ',"language":"x","language_version":"1","sdk":"1","pid":1')
say("hello", ',"framework":"Fake","version":"1","device":"cpu"')
sys.stdout.flush()
nested = "[" + ",".join(["[]"] * 300000) + "]"
zeros = ",".join(["0"] * 400000)
"""

ENDLESS = {
    "facts of 1 kB": """say("fact", ',"name":"n","value":"%s"' % ("x" * 1000))""",
    "facts of 0.9 MB": """say("fact", ',"name":"n","value":"%s"' % ("x" * 900000))""",
    "facts of nested lists": """say("fact", ',"name":"n","value":' + nested)""",
    "an unknown kind of nested lists": """say("aura", ',"value":' + nested)""",
    "steps": """say("step", ',"epoch":0,"step":1,"steps":2,"loss":null')""",
    "batches": """say("batches", ',"phase":"predict","seconds":[%s],"samples":[]' % zeros)""",
    "metrics": """say("metric", ',"name":"n","value":1,"unit":null')""",
    "epochs": """say("epoch", ',"epoch":%d,"loss":1,"seconds":0,"samples":8' % (seq - 2))""",
    "output without a line end": """write(b"x" * 65536)""",
    "chatter": """write(b"hello world\\n" * 5000)""",
    "events of another protocol": """write(b'{"v":2,"ev":"end"}\\n' * 5000)""",
    "log": """os.write(2, b"hello world\\n" * 5000)""",
    "log without a line end": """os.write(2, b"x" * 65536)""",
}


def project(folder, endless):
    """Writes the project of the tests with one harness."""
    tests = (ROOT / "tests/common/mod.rs").read_text()
    files = {
        "specs/tiny.yaml": re.search(r'TINY: &str = "\\\n(.*?)";', tests, re.S)[1],
        "envs/fake/env.yaml": 'version: 1\nname: fake\nprovider: venv\npython: "3.12"\n',
        "harnesses/sdk/python/rosetta/__init__.py": "",
        "harnesses/fake/framework.yaml": (
            "version: 1\nname: fake\ntitle: fake\nlanguage: python\nera: current\n"
            "targets: [{name: fake, title: fake, env: {cpu: fake}, starter: true}]\n"
        ),
        "harnesses/fake/tiny.py": HARNESS + "while True:\n    " + endless + "\n",
        "python": (
            '#!/bin/sh\ncase "$1" in */rosetta/__main__.py) exec python3 "$2";; esac\n'
            'echo \'{"executable": "%s/python", "version": "3.99.0", "packages": {}}\'\n' % folder
        ),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "python").chmod(0o755)
    arrays = {"x_train": (8, 2), "x_test": (4, 2), "y_train": (8,), "y_test": (4,)}
    for name, shape in arrays.items():
        np.save(folder / "specs" / name, np.zeros(shape, "f4" if name[0] == "x" else "i4"))


def measure(rosetta, folder):
    """Returns seconds, the largest resident set in kB, bytes on disk, and the outcome."""
    command = [rosetta, "run", "--no-check", "--provider", "system", "--python", "./python"]
    command += ["--device", "cpu", "--timeout", "6s"]
    environment = dict(os.environ, ROSETTA_HOME=str(folder / "home"))
    silent = subprocess.DEVNULL
    begin, peak = time.time(), 0
    run = subprocess.Popen(command, cwd=folder, env=environment, stdout=silent, stderr=silent)
    while run.poll() is None:
        try:
            status = pathlib.Path("/proc/%d/status" % run.pid).read_text()
            peak = max([peak] + [int(kb) for kb in re.findall(r"VmHWM:\s+(\d+)", status)])
        except OSError:
            pass  # it has just ended
        time.sleep(0.02)
    results = folder / "results" / "runs"
    stored = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    outcome = json.loads(next(results.rglob("record.json")).read_text())["outcome"]
    return time.time() - begin, peak, stored, outcome


def main():
    rosetta = str(pathlib.Path(sys.argv[1]).resolve())
    print("| what it says without end | seconds | largest resident set (MB) | on disk (MB) | outcome |")
    print("|---|---:|---:|---:|---|")
    for name, endless in ENDLESS.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            project(folder, endless)
            seconds, peak, stored, outcome = measure(rosetta, folder)
        row = (name, seconds, peak / 1e3, stored / 1e6, outcome["status"])
        print("| %s | %.1f | %.1f | %.1f | `%s` |" % row, flush=True)


main()
