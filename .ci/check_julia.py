"""Sees Julia's part with a real Julia: the SDK's tests, and the cnn in plain Julia, checked and run.

    python3 .ci/check_julia.py ROSETTA JULIA

What is trained is compared with the reference in float64: the grade must be `exact`. `check_mutations.py` plants mistakes
in the same harness. Julia packages come from a server of Julia's own, which not every machine reaches, so that nothing
here needs one.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    rosetta, julia = (os.path.abspath(word) for word in sys.argv[1:])
    # What a job is told of the shell's depots must not matter.
    environment = dict(os.environ, ROSETTA=rosetta, ROSETTA_JULIA=julia, JULIA_LOAD_PATH="/astray")
    tests = [julia, "--startup-file=no", str(ROOT / "harnesses/sdk/julia/test/runtests.jl")]
    without = {name: value for name, value in environment.items() if name != "JULIA_LOAD_PATH"}
    subprocess.run(tests, env=without, cwd=ROOT, check=True)

    with tempfile.TemporaryDirectory() as results:
        command = [rosetta, "--results", results, "run", "cnn", "--framework", "plain-julia"]
        command += ["--device", "cpu", "--profile", "smoke"]
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        [records] = pathlib.Path(results).glob("runs/*/records.jsonl")
        [record] = map(json.loads, records.read_text().splitlines())
    said = subprocess.run([julia, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {
        "status": (record["outcome"]["status"], "ok"),
        "grade": (record["equivalence"]["grade"], "exact"),
        "version": (record["framework_version"], said.split()[-1]),
        "provider": (record["env"]["provider"], "julia"),
    }
    wrong = [f"{name} is {is_so}, not {should}" for name, (is_so, should) in found.items() if is_so != should]
    if wrong:
        sys.exit(f"the record of plain-julia: {'; '.join(wrong)}\n{json.dumps(record)[:2000]}")
    print(f"plain Julia {said.split()[-1]} trains the same network: exact")


main()
