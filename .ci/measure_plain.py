"""Measures harnesses against plain programs, as their framework's own tutorial has them.

usage: python3 .ci/measure_plain.py ROSETTA [--device cpu|cuda] [--python PATH] [--pairs N] [NAME…]

A pair is one job of `rosetta run` and one run of the plain program, in the same interpreter, on the
same arrays, batches of the same size; the ratio is of the times of their training loops, harness /
plain, the median with the range. Both leave TF32 off. The plain programs are in .ci/plain.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import planting

HERE = pathlib.Path(__file__).resolve().parent
PLAIN = ["pytorch_cnn", "jax_cnn", "pytorch_rnn", "jax_rnn"]  # and _transformer, keras-jax_transformer


def harness_seconds(rosetta, common, name, experiment, results):
    """Runs a harness as a job and returns the time of its training."""
    command = [*rosetta, "--results", str(results), "run", experiment, "-f", name, "--no-check", *common]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    record = max(results.glob("runs/*/records.jsonl")).read_text().splitlines()[-1]
    return json.loads(record)["times"]["training"]


def line_of(target, experiment, pairs):
    """Returns the row of a harness: the ratio, and the medians of both."""
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    times = " / ".join(f"{statistics.median(one):.3g}" for one in zip(*pairs))
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {target} {experiment} | {ratio} | {times} |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rosetta")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", help="a file for the table too")
    args = parser.parse_intermixed_args()  # names may come after options
    lines = ["| harness | training time, harness / plain program | seconds |", "|:--|--:|--:|"]
    with tempfile.TemporaryDirectory() as folder:
        project = planting.make(folder)
        if args.device == "cuda":
            planting.enlarge(project)
        rosetta = [args.rosetta, "--project", folder]
        common = ["--device", args.device, "--provider", "system", "--python", args.python]
        for number, name in enumerate(args.names or PLAIN):
            target, experiment = name.split("_")
            planting.plant(project, f"plain-{target}-{experiment}", target, experiment, [])
            job = pathlib.Path(folder) / f"{name}.json"
            words = ["job", experiment, "--profile", "quick", "--device", args.device]
            job.write_bytes(subprocess.run([*rosetta, *words], check=True, stdout=subprocess.PIPE).stdout)
            pairs = []
            for pair in range(args.pairs):
                results = pathlib.Path(folder) / f"results-{number}-{pair}"
                ours = harness_seconds(rosetta, common, f"plain-{target}-{experiment}", experiment, results)
                command = [args.python, HERE / "plain" / f"{name}.py", job]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=dict(os.environ)).stdout
                pairs.append((ours, float(said.split()[-1])))
                lines[2 + number :] = [line_of(target, experiment, pairs)]
                if args.out:  # what is done is kept, should the time run out
                    pathlib.Path(args.out).write_text("\n".join(lines) + "\n")
            print(lines[-1], flush=True)


main()
