"""Checks that rosetta sees what a GPU does: needs one, and a Python with PyTorch.

usage: python3 .ci/check_gpu.py ROSETTA [--python PATH]

Two jobs that must not be believed: a harness that computes on the CPU although the GPU was asked
for, and one beside which somebody else computes on the GPU.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import planting

HOLD = "import torch; x = torch.ones(1 << 26, device='cuda'); print('held', flush=True); input()"


def record_of(rosetta, project, name, experiment, common):
    """Runs one job and returns its record."""
    results = pathlib.Path(project) / f"results-{name}"
    command = [rosetta, "--project", str(project), "--results", str(results), "run", experiment]
    command += ["-f", name, "-p", "quick", "--device", "cuda", "--no-check", *common]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    path = max(results.glob("runs/*/records.jsonl"))
    return json.loads(path.read_text().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rosetta")
    parser.add_argument("--python", default="python3")
    args = parser.parse_args()
    common = ["--provider", "system", "--python", args.python]
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        project = planting.make(folder)
        edits = [("torch.device(run.device)", 'torch.device("cpu")'), ("torch.cuda.synchronize", "None")]
        planting.plant(project, "falls-back", "pytorch", "rnn", edits)
        planting.plant(project, "not-alone", "pytorch", "rnn", [])
        record = record_of(args.rosetta, project, "falls-back", "rnn", common)
        print("falls back:", record["outcome"])
        if "held no memory" not in (record["outcome"]["reason"] or ""):
            failures.append("a job that fell back to the CPU was believed")
        other = subprocess.Popen(
            [args.python, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        other.stdout.readline()
        record = record_of(args.rosetta, project, "not-alone", "rnn", common)
        other.communicate("\n")
        print("not alone:", record["outcome"]["status"], record["marks"])
        if not any("other processes used the GPU" in mark for mark in record["marks"]):
            failures.append("a job beside another on the GPU was not marked")
    sys.exit("; ".join(failures) or 0)


main()
