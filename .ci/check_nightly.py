"""Sees `rosetta nightly` under a real cron: Debian's, three nights a minute apart.

    python3 .ci/check_nightly.py ROSETTA

Needs root and the program `cron` (Debian's package; installed if it is missing), else it says so and ends well. The nights run
a small experiment in NumPy in a project and a home of their own. Between the second and the third night, NumPy's version changes.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CRONTAB = pathlib.Path("/etc/cron.d/rosetta-check-nightly")
OLDER = "2.4.6"  # of NumPy
LIMIT = 240  # seconds for a night


def leave(why):
    print(f"skipped: {why}")
    sys.exit(0)


SPEC = """\
version: 1
name: line
title: A line between two clouds
task: classification
seed: 1
data:
  files: {x_train: x_train.npy, y_train: y_train.npy, x_test: x_test.npy, y_test: y_test.npy}
settings: {batch_size: 64, epochs: 3, learning_rate: 0.1}
initial_weights:
  tensors:
    - {name: dense.weight, shape: [2, 2], init: glorot_uniform}
    - {name: dense.bias, shape: [2], init: zeros}
profiles:
  quick: {rows: {}, timeout: 60s}
  smoke: {rows: {}, timeout: 60s}
"""
FRAMEWORK = """\
version: 1
name: numpy
title: NumPy
language: python
era: current
targets:
  - {name: numpy, title: NumPy, env: {cpu: numpy}, starter: true}
"""
HARNESS = """\
import numpy as np
import rosetta

run = rosetta.start("NumPy", np.__version__)
cfg = run.config
run.phase("load")
x_test = run.data("x_test")
run.phase("build")
weights = dict(run.weights())
w, b = weights["dense.weight"].copy(), weights["dense.bias"].copy()
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        logits = x @ w.T + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        loss = float(-np.log(p[np.arange(len(y)), y]).mean())
        p[np.arange(len(y)), y] -= 1
        w -= cfg.learning_rate * p.T @ x / len(y)
        b -= cfg.learning_rate * p.mean(0)
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(lambda: {"dense.weight": w, "dense.bias": b})
run.phase("predict")
run.outputs(x_test @ w.T + b)
"""
CLOUDS = """\
import numpy as np
rng = np.random.default_rng(1)
for name, rows in (("train", 20000), ("test", 1000)):
    y = np.arange(rows, dtype=np.int32) % 2
    np.save(f"x_{name}.npy", (rng.normal(size=(rows, 2)) + 2 * y[:, None]).astype(np.float32))
    np.save(f"y_{name}.npy", y)
"""


def make_project(folder, python):
    for name in ("specs", "harnesses/numpy", "envs"):
        (folder / name).mkdir(parents=True)
    (folder / "specs/line.yaml").write_text(SPEC)
    subprocess.run([python, "-c", CLOUDS], cwd=folder / "specs", check=True)
    (folder / "harnesses/sdk").symlink_to(ROOT / "harnesses/sdk")
    (folder / "harnesses/numpy/framework.yaml").write_text(FRAMEWORK)
    (folder / "harnesses/numpy/line.py").write_text(HARNESS)
    shutil.copytree(ROOT / "envs/numpy", folder / "envs/numpy")


def summaries(project):
    """Returns the summaries of the nights that have ended, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(project.glob("results/runs/*/summary.json"))]


def wait_for(project, nights):
    limit = time.monotonic() + LIMIT
    while len(summaries(project)) < nights:
        if time.monotonic() > limit:
            log = (project / "log").read_text() if (project / "log").exists() else "no log: cron did not start it"
            sys.exit(f"night {nights} did not end within {LIMIT} s:\n{log}")
        time.sleep(0.5)


def main():
    rosetta = pathlib.Path(sys.argv[1]).resolve()
    if os.geteuid() != 0:
        leave("only root can start cron")
    if not shutil.which("cron"):
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "cron"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not shutil.which("cron"):
        leave("there is no cron, and it could not be installed")
    with tempfile.TemporaryDirectory(prefix="rosetta-nightly-") as folder:
        project = pathlib.Path(folder) / "project"
        project.mkdir()
        home = pathlib.Path(folder) / "home"
        told = project / "told"
        command = (
            f"ROSETTA_HOME={home} {rosetta} --project {project} nightly -f numpy -r 2 --device cpu --no-check"
            f" --notify 'cat >>{told}' >>{project}/out 2>>{project}/log; echo $? >>{project}/codes; env >{project}/env"
        )
        # A build must have happened before: cron finds no uv where that is not in the usual places.
        environment = {**os.environ, "ROSETTA_HOME": str(home)}
        built = [rosetta, "--project", ROOT, "env", "build", "numpy"]
        subprocess.run(built, check=True, env=environment, stdout=subprocess.DEVNULL)
        listed = [rosetta, "--project", ROOT, "env", "list", "--json"]
        listed = subprocess.run(listed, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
        root = next(env["root"] for env in json.loads(listed) if env["name"] == "numpy")
        make_project(project, pathlib.Path(root) / "bin/python")
        CRONTAB.write_text(f"* * * * * root {command}\n")
        cron = subprocess.Popen(["cron", "-f"]) if subprocess.run(["pgrep", "-x", "cron"], stdout=subprocess.DEVNULL).returncode else None
        try:
            wait_for(project, 2)
            CRONTAB.unlink()
            spec = project / "envs/numpy/env.yaml"
            text = spec.read_text()
            assert "numpy==" in text
            now = text.split("numpy==")[1].split("]")[0]
            spec.write_text(text.replace(f"numpy=={now}", f"numpy=={OLDER}"))
            for words in (["lock"], ["build"]):
                subprocess.run([rosetta, "--project", project, "env", *words, "numpy"], check=True, env=environment, stdout=subprocess.DEVNULL)
            done = len(summaries(project))
            CRONTAB.write_text(f"* * * * * root {command}\n")
            wait_for(project, done + 1)
        finally:
            CRONTAB.unlink(missing_ok=True)
            if cron:
                cron.send_signal(signal.SIGTERM)
                cron.wait()
        nights = summaries(project)
        first, second, last = nights[0], nights[1], nights[done]
        variables = (project / "env").read_text()
        assert "PATH=/usr/bin:/bin\n" in variables and "TERM=" not in variables, variables
        assert first["headline"] == "nothing to compare with yet", first["headline"]
        for night in nights:
            print(f"night: {night['headline']}")
            assert night["ok"] == 2 and not night["not_ok"], night
        text = told.read_text()
        assert f"NumPy {now} → {OLDER}" in text, text
        assert text.count("rosetta 20") == len(nights), text
        assert "→" not in json.dumps(second["changes"][0]["rows"][0]["differs"], ensure_ascii=False), second
        print((project / "out").read_text())
        print(f"nights under cron: {len(nights)}, exit codes {(project / 'codes').read_text().split()}")


if __name__ == "__main__":
    main()
