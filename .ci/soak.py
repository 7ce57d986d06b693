"""Kills rosetta, its shim or a harness at random moments and lets the run go on: nothing lost, nothing twice, nothing left.

    python3 .ci/soak.py ROSETTA [ROUNDS] [SEED]

A round runs 20 jobs of a harness that is a shell script. At a random moment, something random is killed by SIGKILL; what was
rosetta is started again with `--resume`, until the run is finished. At the end of each round: 20 jobs, each with one record, in
its folder and in records.jsonl; all ok but those whose own harness or shim was killed; no process, lock or hidden file of ours.
"""

import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

JOBS = 20
SPEC = """\
version: 1
name: tiny
title: Tiny
task: classification
seed: 1
data:
  files: {x_train: x_train.npy, y_train: y_train.npy, x_test: x_test.npy, y_test: y_test.npy}
settings: {batch_size: 4, epochs: 1, learning_rate: 0.1}
initial_weights:
  tensors:
    - {name: dense.weight, shape: [3, 2], init: glorot_uniform}
    - {name: dense.bias, shape: [3], init: zeros}
profiles:
  quick: {rows: {}, timeout: 30s}
"""
FRAMEWORK = """\
version: 1
name: fake
title: Fake
language: python
era: current
targets:
  - {name: fake, title: Fake, env: {cpu: fake}, starter: true}
"""
EVENTS = [
    '"ev":"start","t":0,"language":"sh","language_version":"1","sdk":"1","pid":1',
    '"ev":"hello","t":0.1,"framework":"Fake","version":"1","device":"cpu"',
    '"ev":"phase","t":0.2,"name":"train"',
    '"ev":"epoch","t":0.21,"epoch":0,"loss":0.5,"seconds":0.01,"first_step_seconds":0.005,"samples":8',
    '"ev":"phase","t":0.22,"name":"predict"',
    '"ev":"array","t":0.24,"name":"outputs","path":"GOOD","shape":[4,3],"dtype":"float32","ready":0.23',
    '"ev":"end","t":0.25',
]


def npy(descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({''.join(f'{n},' for n in shape)}), }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def make_project(folder):
    import array

    floats = lambda *values: array.array("f", values).tobytes()
    ints = lambda *values: array.array("i", values).tobytes()
    for name in ("specs", "harnesses/fake", "envs"):
        (folder / name).mkdir(parents=True)
    (folder / "specs/tiny.yaml").write_text(SPEC)
    for name, rows in (("train", 8), ("test", 4)):
        (folder / f"specs/x_{name}.npy").write_bytes(npy("<f4", [rows, 2], floats(*[0.5] * rows * 2)))
        (folder / f"specs/y_{name}.npy").write_bytes(npy("<i4", [rows], ints(*[i % 3 for i in range(rows)])))
    good = folder / "good.npy"
    good.write_bytes(npy("<f4", [4, 3], floats(*([1, 0, 0] + [0, 1, 0] + [0, 0, 1] + [1, 0, 0]))))
    (folder / "harnesses/fake/framework.yaml").write_text(FRAMEWORK)
    lines = [f"echo '{{\"v\":1,\"seq\":{seq},{event}}}'\n" for seq, event in enumerate(EVENTS)]
    (folder / "harnesses/fake/tiny.py").write_text("sleep 0.03\n" + "".join(lines).replace("GOOD", str(good)))
    for name in ("envs/fake", "harnesses/sdk/python/rosetta"):
        (folder / name).mkdir(parents=True)
    (folder / "harnesses/sdk/python/rosetta/__init__.py").touch()
    (folder / "envs/fake/env.yaml").write_text('version: 1\nname: fake\nprovider: venv\npython: "3.12"\n')
    python = folder / "python"
    answer = json.dumps({"executable": str(python), "version": "3.99.0", "packages": {"fakelib": "1.2.3"}})
    script = f"#!/bin/sh\ncase \"$1\" in */rosetta/__main__.py) exec sh \"$2\";; esac\necho '{answer}'\n"
    python.write_text(script)
    python.chmod(0o755)


def ours(project):
    """Returns the processes that have to do with the project, by what they are."""
    found = collections.defaultdict(list)
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(project).encode() not in b" ".join(command) + environment:
            continue
        kind = "shim" if b"__job" in command else "rosetta" if command[0].endswith(b"rosetta") else "harness"
        found[kind].append(int(process.name))
    return found


def main():
    rosetta = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    chance = random.Random(seed)
    print(f"{rounds} rounds, seed {seed}", flush=True)
    kills = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="rosetta-soak-") as folder:
        project = pathlib.Path(folder).resolve()
        make_project(project)
        environment = {**os.environ, "ROSETTA_HOME": str(project / "home"), "ROSETTA_PROJECT": str(project)}
        first = [rosetta, "run", "--python", project / "python", "--device", "cpu", "--no-check", "--repeats", str(JOBS)]
        for number in range(rounds):
            shutil.rmtree(project / "results", ignore_errors=True)
            command, own = first, 0
            for attempt in range(60):
                with open(project / "log", "a") as log:
                    child = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=log)
                    time.sleep(chance.uniform(0.05, 0.8))
                    running = ours(project)
                    kinds = [kind for kind in ("rosetta", "shim", "harness") if running.get(kind)]
                    if kinds and chance.random() < 0.8:
                        kind = chance.choice(kinds)
                        for process in running[kind] if kind != "harness" else running[kind][:1]:
                            try:
                                os.kill(process, signal.SIGKILL)
                                kills[kind] += 1
                                own += kind != "rosetta"
                            except ProcessLookupError:
                                pass
                    code = child.wait()
                if code in (0, 1) or code == 2 and is_finished(project):
                    break
                if code == 2:
                    sys.exit(f"round {number}: {(project / 'log').read_text()[-3000:]}")
                # What begins with a dot was killed before it was a run.
                there = [path for path in (project / "results/runs").glob("*/run.json") if not path.parent.name.startswith(".")]
                command = [rosetta, "run", "--resume"] if there else first
            else:
                sys.exit(f"round {number}: it never ends:\n{(project / 'log').read_text()[-3000:]}")
            check_round(project, number, own)
            leftovers = {kind: processes for kind, processes in ours(project).items() if processes}
            if leftovers:
                time.sleep(0.5)
                leftovers = {kind: processes for kind, processes in ours(project).items() if processes}
            if leftovers:
                sys.exit(f"round {number}: left behind: {leftovers}")
    print(f"{rounds} rounds of {JOBS} jobs: nothing lost, nothing twice, nothing left; killed: {dict(kills)}")


def is_finished(project):
    """Returns whether the run was killed after its last job."""
    said = (project / "log").read_text().splitlines()[-2:]
    return any("no run that was interrupted" in line for line in said)


def check_round(project, number, own):
    (run,) = (path for path in (project / "results/runs").iterdir() if not path.name.startswith(".making-"))
    planned = json.loads((run / "run.json").read_text())["jobs"]
    lines = (run / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    jobs = [record["job"] for record in records]
    if sorted(jobs) != sorted(planned) or len(set(jobs)) != JOBS:
        sys.exit(f"round {number}: {len(jobs)} records of {len(set(jobs))} jobs, {JOBS} were planned")
    for record in records:
        sealed = json.loads((run / record["job"] / "record.json").read_text())
        if sealed != record:
            sys.exit(f"round {number}: {record['job']} says one thing in its folder and another in the lines")
    bad = [record["outcome"] for record in records if record["outcome"]["status"] != "ok"]
    if len(bad) > own:
        sys.exit(f"round {number}: {len(bad)} jobs are not ok, {own} harnesses or shims were killed: {bad}")
    hidden = [path for path in run.rglob(".*") if path.name.startswith((".record", ".run"))]
    if hidden:
        sys.exit(f"round {number}: left behind: {hidden}")


if __name__ == "__main__":
    main()
