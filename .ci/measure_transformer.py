"""Measures the traps of the Transformer: the table in docs/lessons.md.

usage: python3 .ci/measure_transformer.py ROSETTA [CAUSE…]

Each mistake of transformer_mistakes.py is planted in a harness, which is then
checked, and trained once at profile `quick` beside those without a mistake.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import planting
import transformer_mistakes

AS_IT_IS = {"pytorch": [transformer_mistakes.CLIP], "jax": [], "keras-jax": [transformer_mistakes.HAT]}


def ran(command, **more):
    """Runs rosetta; a job that failed or a target that differs is what is asked about."""
    done = subprocess.run(command, stdout=subprocess.PIPE, **more)
    if done.returncode not in (0, 1):
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}")
    return done.stdout


def main():
    rosetta, *only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        project, names = planting.make(folder), {}
        for target, more in AS_IT_IS.items():
            planting.plant(project, f"as-{target}", target, "transformer", [], *more)
            names[f"as-{target}"] = ("–", target)
        for cause in only or transformer_mistakes.ALL:
            planted = transformer_mistakes.ALL[cause]
            target = planted[1] if isinstance(planted, tuple) else "pytorch"
            names[transformer_mistakes.plant(project, cause)] = (cause, target)
        to = ["transformer", "--device", "cpu", "--framework", ",".join(names), "--json"]
        checked = json.loads(ran([rosetta, "--project", folder, "check", *to]))
        verdicts = {one["target"]: one["equivalence"] for one in checked}
        ran([rosetta, "--project", folder, "run", *to, "--no-check", "--profile", "quick"])
        records = {}
        for path in pathlib.Path(folder).glob("results/runs/*/records.jsonl"):
            for record in map(json.loads, path.read_text().splitlines()):
                if record["outcome"]["status"] in ("ok", "check_failed"):
                    records[record["target"]] = record
    print("| mistake | harness | accuracy (%) | last loss | `rosetta check` |")
    print("|:--|:--|--:|--:|:--|")
    for name, (cause, target) in names.items():
        row = [cause, target, "–", "–"]
        if name in records:
            row[2] = f"{100 * records[name]['score']['accuracy']:.0f}"
            row[3] = f"{records[name]['epochs'][-1]['loss']:.2f}"
        row.append(": ".join(filter(None, [verdicts[name]["grade"], verdicts[name]["reason"]])))
        print("| " + " | ".join(row) + " |")


main()
