"""A project of planted harnesses: copies of this one's, each with edits.

Used by check_mutations.py and measure_lessons.py.
"""

import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What a planted target does not take over from framework.yaml.
OWN = {"name", "title", "starter", "successor", "year", "variants"}


def target_of(name):
    """Returns the folder of a target, and its fields in framework.yaml: name → lines."""
    for path in sorted((ROOT / "harnesses").glob("*/framework.yaml")):
        _, *targets = path.read_text().split("\n  - name: ")
        for text in targets:
            first, *lines = text.splitlines()
            if first.split()[0] != name:
                continue
            fields = {}
            for line in filter(lambda line: line.startswith("    "), lines):
                if line[4] not in " #":
                    key = line.split(":")[0].strip()
                    fields[key] = line
                elif line[4] == " ":
                    fields[key] += "\n" + line
            return path.parent, fields
    sys.exit(f"no framework.yaml has a target {name}")


def make(folder):
    """Makes a project with our specs and environments, and the reference alone."""
    project = pathlib.Path(folder)
    (project / "harnesses").mkdir()
    for name in ("specs", "envs"):
        shutil.copytree(ROOT / name, project / name)
    for name in ("sdk", "numpy"):
        ignored = shutil.ignore_patterns("target", "__pycache__")
        shutil.copytree(ROOT / "harnesses" / name, project / "harnesses" / name, ignore=ignored)
    return project


# A profile `quick` for a GPU, to which the usual one is over before a clock has a word for it.
LARGE = {"cnn": "25600, test: 500", "rnn": "12800, test: 500"}


def enlarge(project):
    """Makes the profile `quick` of the project's trainings large enough for a GPU."""
    for experiment, rows in LARGE.items():
        spec = project / "specs" / f"{experiment}.yaml"
        lines = spec.read_text().splitlines(keepends=True)
        usual = [number for number, line in enumerate(lines) if line.startswith("  quick: ")]
        if len(usual) != 1:
            sys.exit(f"{spec} has no profile quick of one line")
        lines[usual[0]] = f"  quick: {{rows: {{train: {rows}}}, settings: {{epochs: 3}}, timeout: 15m}}\n"
        spec.write_text("".join(lines))


def harness_of(folder, experiment):
    """Returns a script that is a harness, and its language."""
    for language, extension in (("python", "py"), ("julia", "jl")):
        path = folder / f"{experiment}.{extension}"
        if path.is_file():
            return path, language
    sys.exit(f"{folder} has no script for {experiment}")


def plant(project, name, target, experiment, edits, *more):
    """Adds a framework to the project: a harness of `target` with `edits` made.

    An edit is of the harness, or else of what framework.yaml says of the target.
    `more` are lines for its framework.yaml, as "variants: {rnn: [adam_epsilon_hat]}".
    """
    source, fields = target_of(target)
    source, language = harness_of(source, experiment)
    text = source.read_text()
    for old, new in edits:
        if old in text:
            text = text.replace(old, new)
        elif any(old in field for field in fields.values()):
            fields = {key: field.replace(old, new) for key, field in fields.items()}
        else:
            sys.exit(f"{name}: `{old}` is not in {source} nor in its framework.yaml")
    folder = project / "harnesses" / name
    folder.mkdir()
    (folder / source.name).write_text(text)
    fields = {key: value for key, value in fields.items() if key not in OWN}
    if "[" in fields.get("float64", ""):  # a list of experiments, of which one is left
        can = experiment in fields.pop("float64")
        fields["float64"] = f"    float64: {str(can).lower()}"
    lines = [f"    title: {name}", *fields.values(), *(f"    {line}" for line in more)]
    (folder / "framework.yaml").write_text(
        f"version: 1\nname: {name}\ntitle: {name}\nlanguage: {language}\nera: current\n"
        f"targets:\n  - name: {name}\n" + "\n".join(lines) + "\n"
    )
