"""A project of planted harnesses: copies of this one's, each with edits.

Used by check_mutations.py and measure_lessons.py.
"""

import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

FOLDER_OF = {"keras-jax": "keras"}
# What each target needs of framework.yaml.
TARGETS = {
    "pytorch": "float64: true",
    "chainer": "float64: true",
    "cntk": 'float64: true, environment: {KMP_BLOCKTIME: "1"}',
    "keras-jax": "environment: {KERAS_BACKEND: jax, JAX_DEFAULT_MATMUL_PRECISION: float32},"
    ' check_environment: {JAX_COMPILATION_CACHE_DIR: "{cache}",'
    ' JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS: "0",'
    ' JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES: "-1"}',
}


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


def plant(project, name, target, experiment, edits, more=""):
    """Adds a framework to the project: a harness of `target` with `edits` made."""
    source = ROOT / "harnesses" / FOLDER_OF.get(target, target) / f"{experiment}.py"
    text = source.read_text()
    for old, new in edits:
        if old not in text:
            sys.exit(f"{name}: `{old}` is not in {source}")
        text = text.replace(old, new)
    folder = project / "harnesses" / name
    folder.mkdir()
    (folder / source.name).write_text(text)
    fields = ", ".join(filter(None, [TARGETS[target], more]))
    (folder / "framework.yaml").write_text(
        f"version: 1\nname: {name}\ntitle: {name}\nlanguage: python\nera: current\n"
        f"targets:\n  - {{name: {name}, title: {name}, env: {{cpu: {target}}}, {fields}}}\n"
    )
