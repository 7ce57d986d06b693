"""Sees `--provider docker` work with a real engine: the one of this machine, or Debian's docker, started here.

    python3 .ci/check_docker.py ROSETTA

Needs root and what an engine needs (namespaces, mounts, iptables). Where one cannot be started this says so and ends with
0: a machine without these rights cannot tell. No registry is asked: .ci/base_image.py makes the base from this machine's
own packages and CPythons. What the targets are in the venv is known from results/reference, where nothing has changed.
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

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import base_image  # noqa: E402
import driving  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Target → the experiment that is checked and run.
TARGETS = {"numpy": "rnn", "cntk": "cnn", "jax": "cnn", "mxnet-1.9": "cnn"}
# What stands in for a harness: it does what the name of its target says.
PLAYED = """
import os, subprocess, sys, time
what = os.environ["PLAYS"]
if what == "sleep":
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(300)
elif what == "memory":
    hog = [bytearray(1 << 20) for _ in range(4000)]
elif what == "helper":
    code = "hog = [bytearray(1 << 20) for _ in range(4000)]"
    sys.exit(3 if subprocess.run([sys.executable, "-c", code]).returncode else 0)
elif what == "walls":
    found = []
    for path in (__file__, "/opt/rosetta/env/x", "/etc/x"):
        try:
            open(path, "a").close()
            found.append("wrote " + path)
        except OSError:
            pass
    status = open("/proc/self/status").read()
    if "CapEff:\\t0000000000000000" not in status or "NoNewPrivs:\\t1" not in status:
        found.append("it has rights")
    if os.listdir("/sys/class/net") != ["lo"]:
        found.append("it has a network")
    found.append("%d CPUs" % len(os.sched_getaffinity(0)))
    sys.exit("; ".join(found))
"""
YAML = """
version: 1
name: played
title: Played
language: python
era: current
targets:
""" + "".join(
    f"  - {{name: {what}, title: {what}, env: {{cpu: numpy}}, environment: {{PLAYS: {what}}}}}\n"
    for what in ("sleep", "memory", "helper", "walls")
)


class Skipped(Exception):
    """Why nothing can be seen here."""


class Engine:
    """The docker engine of this machine, or one of our own: its socket, files and process."""

    def __init__(self, folder):
        self.folder, self.socket, self.process = folder, f"unix://{folder}/docker.sock", None
        if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
            return  # One is here. A second one without a bridge would take that of the first away.
        if os.geteuid() != 0:
            raise Skipped("only root can start an engine")
        if not (shutil.which("dockerd") and shutil.which("iptables")):
            install = ["apt-get", "install", "--yes", "--no-install-recommends", "docker.io", "iptables"]
            done = subprocess.run(install, capture_output=True, text=True)
            if done.returncode or not shutil.which("dockerd"):
                raise Skipped(f"docker cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        words = ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
                 "--host", self.socket, "--bridge", "none", "--iptables=false"]
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, start_new_session=True)
        os.environ["DOCKER_HOST"] = self.socket
        for _ in range(300):
            if subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
                break
            if self.process.poll() is not None:
                raise Skipped(f"dockerd does not start: {(folder / 'log').read_text().strip().splitlines()[-1:]}")
            time.sleep(0.1)
        else:
            self.stop()
            raise Skipped("dockerd does not answer within 30 s")

    def run_one(self, tag):
        done = subprocess.run(["docker", "run", "--rm", "--network", "none", tag, "true"], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"this machine runs no container: {done.stderr.strip()}")

    def containers(self):
        ours = ["--filter", "label=rosetta.owner"]
        return subprocess.check_output(["docker", "ps", "--all", "--quiet", *ours], text=True).split()

    def stop(self):
        if self.process is None:
            subprocess.run(["docker", "image", "rm", "--force", "base:1"], capture_output=True)
            return
        self.process.terminate()
        self.process.wait(30)
        # What an engine has mounted goes with its folder.
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            place = line.split()[1]
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place])


class Rosetta(driving.Driven):
    """rosetta in a project of its own."""

    def __init__(self, program, folder, targets):
        self.program, self.project, self.results = os.path.abspath(program), folder / "project", folder / "results"
        shutil.copytree(ROOT / "specs", self.project / "specs")
        for kind in ("harnesses", "envs"):
            shutil.copytree(ROOT / kind, self.project / kind, ignore=shutil.ignore_patterns("target", "docker.lock"))
        shutil.copytree(ROOT / "results/reference/checks", self.results / "checks")
        played = self.project / "harnesses/played"
        played.mkdir()
        (played / "framework.yaml").write_text(YAML)
        (played / "rnn.py").write_text(PLAYED)
        self.environment = {**os.environ, "ROSETTA_RESULTS": str(self.results), "NO_COLOR": "1"}

    def records(self):
        files = sorted((self.results / "runs").glob("*/records.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def interpreters(rosetta, targets):
    """Returns the CPythons under the pinned environments."""
    rosetta("env", "build", *targets)
    envs = {env["name"]: env for env in json.loads(rosetta("env", "list", "--json"))}
    pythons = [f"{envs[name]['root']}/bin/python" for name in targets]
    if any(subprocess.check_output([one, "-c", "import sys; print(sys.base_prefix)"], text=True).strip() == "/usr"
           for one in pythons):
        raise Skipped("the CPython of the system cannot be packed; install one with `uv python install` or pyenv")
    return pythons


def main():
    program, targets, begun = sys.argv[1], TARGETS, time.time()

    def done(what):
        print(f"{time.time() - begun:5.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        engine = None
        try:
            (folder / "engine").mkdir()
            engine = Engine(folder / "engine")
            rosetta = Rosetta(program, folder, targets)
            # CNTK looks for its libraries with bash, and the fix-up compiles.
            base_image.make("docker", "base:1", interpreters(rosetta, targets), ["bash", "gcc", "libc6-dev"])
            engine.run_one("base:1")
            done("an engine, and a base image from this machine's own files")
            try:
                check(rosetta, engine, targets, done)
            finally:
                rosetta("env", "remove", *targets, "--provider", "docker")
        except Skipped as why:
            print(f"skipped: no container can be looked at here: {why}")
        finally:
            if engine:
                engine.stop()


def check(rosetta, engine, targets, done):
    docker = ("--provider", "docker")
    rosetta("env", "lock", *targets, *docker, "--base", "base:1")
    rosetta("env", "build", *targets, *docker)
    done(f"images of {', '.join(targets)}")

    for what, status, reason in (
        ("walls", "failed", "exit code 1: 1 CPUs"),
        ("memory", "out_of_memory", ""),
        ("helper", "out_of_memory", ""),
        ("sleep", "timed_out", ""),
    ):
        words = ["run", "rnn", "-f", what, "--no-check", "--profile", "smoke", "--data", "synthetic", "--device", "cpu"]
        rosetta(*words, *docker, "--timeout", "4s", "--memory-limit", "400M", "--threads", "1", code=1)
        outcome = rosetta.records()[-1]["outcome"]
        if outcome["status"] != status or not (outcome["reason"] or "").startswith(reason):
            sys.exit(f"{what}: {outcome}, not {status}: {reason}")
        if engine.containers():
            sys.exit(f"{what} has left a container")
    left = rosetta.records()[-1]["cost"]["left_behind"]
    done(f"walls, memory of a job and of its helper, a time limit; {left} processes were left behind and ended")

    for sent, who in ((signal.SIGINT, "rosetta"), (signal.SIGTERM, "rosetta"), (signal.SIGKILL, "rosetta"), (signal.SIGKILL, "client")):
        words = ["run", "rnn", "-f", "sleep", "--no-check", "--profile", "smoke", "--data", "synthetic", "--device", "cpu", "--retries", "0"]
        child = rosetta.start(*words, *docker)
        begun = time.time()
        while not engine.containers() and time.time() - begun < 60:
            time.sleep(0.05)
        time.sleep(1)
        if who == "client":
            below = subprocess.check_output(["pgrep", "--parent", str(child.pid), "docker"], text=True).split()
            os.kill(int(below[0]), sent)
        else:
            child.send_signal(sent)
        child.communicate()
        begun = time.time()
        while engine.containers() and time.time() - begun < 10:
            time.sleep(0.05)
        if engine.containers():
            sys.exit(f"{sent.name} to {who} has left a container")
    done("Ctrl-C, SIGTERM and SIGKILL of rosetta, and SIGKILL of docker's client, leave no container")

    runs, grades = {}, {}
    for provider in ("pinned", "docker"):
        for target, experiment in targets.items():
            same = ["--framework", target, "--data", "synthetic", "--device", "cpu", "--provider", provider]
            again = [] if provider == "pinned" else ["--again"]
            verdicts = json.loads(rosetta("check", experiment, *same, *again, "--json"))
            grades.setdefault(target, []).append(verdicts[0]["equivalence"]["grade"])
            if target != "numpy":  # whose float64 loops would take most of the time
                rosetta("run", experiment, *same, "--profile", "smoke")
                record = rosetta.records()[-1]
                runs[target, record["env"]["provider"]] = record
    if any(one != other for one, other in grades.values()):
        sys.exit(f"grades of venv and docker: {grades}")
    done(f"the same grades as in the venv: {grades}")
    for target in targets.keys() - {"numpy"}:
        venv, image = runs[target, "venv"], runs[target, "docker"]
        what = [(one["equivalence"]["grade"], one["score"]["accuracy"], one["env"]["packages"]) for one in (venv, image)]
        if what[0] != what[1]:
            sys.exit(f"{target}: venv and docker differ: {what}")
        starts, times = ([one["times"][name] for one in (venv, image)] for name in ("start", "training"))
        done(f"{target}: {what[0][0]}, the same accuracy as in the venv; start {starts[0]:.2f} and {starts[1]:.2f} s, "
             f"training {times[0]:.2f} and {times[1]:.2f} s")
    table = rosetta("table", "--columns", "library,provider,equivalence", "--csv")
    if table.count(",docker,") < len(targets) - 1 or table.count(",venv,") < len(targets) - 1:
        sys.exit(f"rows of two providers do not stand side by side:\n{table}")


if __name__ == "__main__":
    main()
