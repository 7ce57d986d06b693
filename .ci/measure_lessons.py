"""Measures the lessons of 2017 again: harnesses as they are against edited ones.

usage: python3 .ci/measure_lessons.py ROSETTA [--device cpu|cuda] [--python PATH] [--repeats N] [NAME…]

A lesson is one edit of a harness or of the variables of its target. Both run
as jobs of one `rosetta run`, in turn and N times each [default: 5]; the ratio
is the median of the edited one's training times over that of the other, with
the range of the paired ratios. `rosetta check` says what the edit does to the
experiment. The output is the table in docs/lessons.md. Some lessons only a GPU
can tell; those without a device of their own are measured on either. With
`--python` the frameworks are those of an interpreter, not the pinned ones. On a
GPU, where `quick` is over in no time, a larger one is measured, by its last
epoch: what the first one searches and compiles has a column in every table.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import typing

import planting

CELLS = """class Cells(nn.GRUCell):
    def forward(self, x):
        h = x.new_zeros(len(x), self.hidden_size)
        for t in range(x.shape[1]):
            h = super().forward(x[:, t], h)
        return None, h[None]


class Rnn(nn.Module):"""

LOADER = """loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(
        torch.from_numpy(x_train), torch.from_numpy(y_train)
    ),
    cfg.batch_size,
    shuffle=True,
    drop_last=True,
)
"""


class Lesson(typing.NamedTuple):
    says: str
    target: str
    experiment: str
    edits: list
    device: str = ""  # the only one that can tell; "" is either
    is_steady: bool = False  # compares the last epoch alone, without what the first one compiles


LESSONS = {
    "loader": Lesson(
        "PyTorch's DataLoader instead of the common batches",
        "pytorch",
        "cnn",
        [
            ("# %% Build model\n", LOADER + "\n# %% Build model\n"),
            ("torch.from_numpy(x).to(device)", "torch.as_tensor(x).to(device)"),
            ("torch.from_numpy(y).long()", "torch.as_tensor(y).long()"),
            ("in run.batches(epoch):", "in loader:"),
        ],
    ),
    "layout": Lesson(
        "NCHW in memory instead of NHWC, on the CPU",
        "pytorch",
        "cnn",
        [("torch.channels_last if on_cpu else torch.contiguous_format", "torch.contiguous_format")],
        device="cpu",
    ),
    "layout-gpu": Lesson(
        "NHWC in memory instead of NCHW, on the GPU",
        "pytorch",
        "cnn",
        [("torch.channels_last if on_cpu else torch.contiguous_format", "torch.channels_last")],
        device="cuda",
    ),
    "autotune": Lesson(
        "cuDNN's first choice of algorithm instead of its search",
        "pytorch",
        "cnn",
        [("cudnn.benchmark = True", "cudnn.benchmark = False")],
        device="cuda",
    ),
    "autotune-caffe2": Lesson(
        "cuDNN's first choice of algorithm instead of its search",
        "caffe2",
        "cnn",
        [('"cudnn_exhaustive_search": True', '"cudnn_exhaustive_search": False')],
        device="cuda",
    ),
    "winograd": Lesson(
        "without Winograd, which TensorFlow 1.4 may choose by itself",
        "tensorflow1",
        "cnn",
        [
            (
                "cuda: tensorflow1-cuda}",
                'cuda: tensorflow1-cuda}\n    environment: {TF_ENABLE_WINOGRAD_NONFUSED: "0"}',
            )
        ],
        device="cuda",
    ),
    "search": Lesson(
        "kernels that are searched for (BEAM=2), not chosen by rule; the epoch after",
        "tinygrad",
        "cnn",
        # The check has other shapes, and would search for minutes: it takes the kernels by rule.
        [
            (' {CCACHE: "0"', ' {CCACHE: "0", BEAM: "2"'),
            (' {CCACHE: "1"', ' {CCACHE: "1", BEAM: "0"'),
        ],
        device="cpu",
        is_steady=True,
    ),
    "dropout": Lesson(
        "dropout left on for the test",
        "pytorch",
        "cnn",
        [("model.eval()  # dropout off", "")],
    ),
    "softmax": Lesson(
        "a softmax before the loss, which has its own",
        "pytorch",
        "cnn",
        [("return self.dense2(x)", "return F.softmax(self.dense2(x), 1)")],
    ),
    "unit-gain": Lesson(
        "CNTK's default: momentum with unit gain",
        "cntk",
        "cnn",
        [("unit_gain=False", "unit_gain=True")],
        device="cpu",
    ),
    "input-gradient": Lesson(
        "the gradient of the input is computed too",
        "pytorch",
        "cnn",
        [("loss_fn(model(images(x))", "loss_fn(model(images(x).requires_grad_())")],
    ),
    "relu-first": Lesson(
        "relu before the pools, not after",
        "pytorch",
        "cnn",
        [
            ("F.relu(F.max_pool2d(self.conv2(x), 2))", "F.max_pool2d(F.relu(self.conv2(x)), 2)"),
            ("F.relu(F.max_pool2d(self.conv4(x), 2))", "F.max_pool2d(F.relu(self.conv4(x)), 2)"),
        ],
    ),
    "relu-after-mxnet": Lesson(
        "relu after the pools, not before",
        "mxnet-1.9",
        "cnn",
        [
            ("relu(x), kernel=(2, 2)", "x, kernel=(2, 2)"),
            ("mx.sym.Dropout(x, p=cfg.dropout[0])", "mx.sym.Dropout(relu(x), p=cfg.dropout[0])"),
        ],
    ),
    "initialiser": Lesson(
        "PyTorch's own initial weights",
        "pytorch",
        "cnn",
        [("model.load_state_dict(state)", "# model.load_state_dict(state)")],
    ),
    "gru-unfused": Lesson(
        "150 GRU cells instead of the fused GRU",
        "mxnet-1.9",
        "rnn",
        [('mx.__version__ < "1.3"', "True")],
    ),
    "gru-cells": Lesson(
        "a loop of GRU cells instead of the fused GRU",
        "pytorch",
        "rnn",
        [
            ("class Rnn(nn.Module):", CELLS),
            ("nn.GRU(cfg.embedding, cfg.units, batch_first=True)", "Cells(cfg.embedding, cfg.units)"),
            ("model.load_state_dict(state)", "model.load_state_dict(\n"
             "    {name.replace('_l0', ''): w for name, w in state.items()}\n)"),
            ("{name: w.cpu().numpy() for", "{\n        name.replace('_ih', '_ih_l0').replace('_hh', '_hh_l0'): w.cpu().numpy() for"),
        ],
    ),
}


# What framework.yaml declares of a target.
DECLARED = {("mxnet-1.9", "rnn"): ["variants: {rnn: [adam_epsilon_hat]}"]}


def plain(target, experiment):
    """Returns the name of a harness without an edit."""
    return f"plain-{target}-{experiment}".replace(".", "-")


def plant(folder, lessons):
    """Makes a project of the edited harnesses and of those without an edit; returns their names."""
    project = planting.make(folder)
    planted = {}
    for name, lesson in lessons.items():
        here = lesson.target, lesson.experiment
        planted[plain(*here)] = (*here, [], *DECLARED.get(here, []))
        planted[f"edited-{name}"] = (*here, lesson.edits, *DECLARED.get(here, []))
    for name, words in planted.items():
        planting.plant(project, name, *words)
    return list(planted)


def records_of(folder):
    """Returns the records of jobs that came to their end: target → repeat → record.

    What an edit does to the accuracy may well be out of the experiment's band.
    """
    records = {}
    for path in pathlib.Path(folder).glob("results/runs/*/records.jsonl"):
        for record in map(json.loads, path.read_text().splitlines()):
            if record["outcome"]["status"] in ("ok", "check_failed"):
                records.setdefault(record["target"], {})[record["repeat"]] = record
    return records


def seconds(record, is_steady):
    """Returns what a lesson compares: all of the training, or its last epoch."""
    return record["epochs"][-1]["seconds"] if is_steady else record["times"]["training"]


def verdicts_of(command):
    """Runs a check and returns what it found: target → verdict."""
    checked = subprocess.run(command, stdout=subprocess.PIPE)
    if checked.returncode not in (0, 1):
        sys.exit(f"rosetta check ended with {checked.returncode}")
    return {one["target"]: one["equivalence"] for one in json.loads(checked.stdout)}


def row(lesson, before, after, verdict):
    """Returns the cells of a lesson: the ratio, the accuracies, what the check says."""
    pairs = sorted(set(before) & set(after))
    words = ": ".join(filter(None, [verdict.get("grade", "–"), verdict.get("reason")]))
    if not pairs:
        return ["–", "–", words]
    times = [[seconds(one[i], lesson.is_steady) for i in pairs] for one in (before, after)]
    ratios = sorted(b / a for a, b in zip(*times))
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    accuracy = [
        f"{100 * statistics.median(one[i]['score']['accuracy'] for i in pairs):.0f}"
        for one in (before, after)
    ]
    return [ratio, " → ".join(accuracy), words]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rosetta")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--python")
    parser.add_argument("--no-check", action="store_true", help="measure times alone")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    can = {name: one for name, one in LESSONS.items() if one.device in ("", args.device)}
    for name in args.names:
        if name not in can:
            sys.exit(f"no lesson on {args.device} is named {name}; there are {', '.join(can)}")
    lessons = {name: can[name] for name in args.names or can}
    if args.device == "cuda":
        lessons = {name: one._replace(is_steady=True) for name, one in lessons.items()}
    with tempfile.TemporaryDirectory() as folder:
        names = plant(folder, lessons)
        if args.device == "cuda":
            planting.enlarge(pathlib.Path(folder))
        common = ["--device", args.device, "--framework", ",".join(names), "--json"]
        if args.python:
            common += ["--provider", "system", "--python", args.python]
        rosetta = [args.rosetta, "--project", folder]
        verdicts = {} if args.no_check else verdicts_of([*rosetta, "check", *common])
        run = [*rosetta, "run", *common, "--no-check", "--repeats", str(args.repeats)]
        if subprocess.run(run, stdout=subprocess.DEVNULL).returncode not in (0, 1):
            sys.exit("rosetta run did not come to its end")
        records = records_of(folder)
    print("| edit | harness | time, edited / as it is | accuracy (%) | `rosetta check` |")
    print("|:--|:--|--:|--:|:--|")
    for name, lesson in lessons.items():
        before = records.get(plain(lesson.target, lesson.experiment), {})
        after = records.get(f"edited-{name}", {})
        cells = row(lesson, before, after, verdicts.get(f"edited-{name}", {}))
        print("| " + " | ".join([lesson.says, f"{lesson.target} {lesson.experiment}", *cells]) + " |")


main()
