"""Holds docs/translate.md to what it says: its files, its commands, and what they print.

    python .ci/check_tutorial.py ROSETTA

Needs NumPy, and the environments pytorch and jax (made if they are not there).
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/translate.md").read_text(encoding="utf-8")
FILES = ROOT / "docs/translate"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for kind, text in BLOCK.findall(PAGE) if kind == language]


def hold_code():
    """Every piece of code on the page stands so in a file of the tutorial."""
    texts = [path.read_text() for path in FILES.rglob("*") if path.suffix in (".py", ".yaml")]
    for block in blocks("python") + blocks("yaml"):
        if not any(block in text for text in texts):
            sys.exit("this is in no file of docs/translate:\n" + block)


def make_project(folder, rosetta):
    """What the page tells a reader to do in an empty folder."""
    for name in ("specs", "harnesses", "envs"):
        (folder / name).mkdir()
    (folder / "harnesses/sdk").symlink_to(ROOT / "harnesses/sdk")
    for name in ("pytorch", "jax"):
        (folder / "envs" / name).symlink_to(ROOT / "envs" / name)
    ignored = shutil.ignore_patterns("*.npy", "variants.yaml")
    shutil.copytree(FILES, folder, dirs_exist_ok=True, ignore=ignored)
    data = [*rosetta, "env", "run", "jax", "--", "python", folder / "make_data.py"]
    subprocess.run(data, check=True, cwd=folder)


def change(folder, diff):
    """Makes the change that a diff of the page shows."""
    header, _, rest = diff.partition("\n")
    path = folder / header.removeprefix("+++ ")
    text = path.read_text()
    for hunk in re.split(r"^@@\n", rest, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        if hunk and text.count(before) != 1:
            sys.exit("%s has not once:\n%s" % (path, before))
        text = text.replace(before, after)
    path.write_text(text)


def hold_check(rosetta, grade, cause, shown):
    """A check of the page gives this verdict and prints what the page shows."""
    command = [*rosetta, *shown.splitlines()[0].split()[2:]]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if printed.returncode != (1 if grade == "different" else 0):
        sys.exit("`rosetta check` ended with %d" % printed.returncode)
    # The verdict is known by now: this computes nothing.
    found = subprocess.run(command + ["--json"], stdout=subprocess.PIPE)
    verdicts = {verdict["target"]: verdict for verdict in json.loads(found.stdout)}
    jax, pytorch = verdicts["jax"], verdicts.get("pytorch")
    found = jax["equivalence"]["grade"], jax["cause"] and jax["cause"]["name"]
    print("the translation is %s, its cause %s" % found, flush=True)
    if found != (grade, cause):
        sys.exit("not %s, its cause %s:\n%s" % (grade, cause, printed.stdout))
    if pytorch and pytorch["equivalence"]["grade"] != "exact":
        sys.exit("the reference is not exact:\n" + printed.stdout)
    # What follows from float64 is the same on every machine.
    for line in shown.splitlines():
        if "in float64 differ" in line or line.startswith("    "):
            if line not in printed.stdout.splitlines():
                sys.exit("`rosetta check` does not print: %s\n%s" % (line, printed.stdout))


def main():
    hold_code()
    shown = [block for block in blocks("text") if block.startswith("$ rosetta check")]
    mended, declared = blocks("diff")
    with tempfile.TemporaryDirectory(prefix="rosetta-tutorial-") as name:
        folder = pathlib.Path(name)
        rosetta = [sys.argv[1], "--project", name]
        make_project(folder, rosetta)
        subprocess.run([*rosetta, "lint"], check=True)
        hold_check(rosetta, "different", "gelu_tanh", shown[0])
        shutil.copy(FILES / "harnesses/pytorch/variants.yaml", folder / "harnesses/pytorch")
        hold_check(rosetta, "different", "gelu_by_tanh", shown[1])
        harness = (folder / "harnesses/jax/gestures.py").read_text()
        change(folder, mended)
        hold_check(rosetta, "exact", None, shown[2])
        (folder / "harnesses/jax/gestures.py").write_text(harness)
        change(folder, declared)
        hold_check(rosetta, "variant", None, shown[3])


main()
