"""Measures the lessons of 2017 again: harnesses as they are against edited ones.

usage: python3 .ci/measure_lessons.py ROSETTA [--repeats N] [NAME…]

A lesson is one edit of a harness. Both run as jobs of one `rosetta run`, in
turn and N times each [default: 5]; the ratio is the median of the edited
one's training times over that of the other, with the range of the paired
ratios. `rosetta check` says what the edit does to the experiment. The output
is the table in docs/lessons.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

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

# name: what is done, target, experiment, edits
LESSONS = {
    "loader": (
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
    "layout": (
        "NCHW in memory instead of NHWC, on the CPU",
        "pytorch",
        "cnn",
        [("torch.channels_last if on_cpu else torch.contiguous_format", "torch.contiguous_format")],
    ),
    "dropout": (
        "dropout left on for the test",
        "pytorch",
        "cnn",
        [("model.eval()  # dropout off", "")],
    ),
    "softmax": (
        "a softmax before the loss, which has its own",
        "pytorch",
        "cnn",
        [("return self.dense2(x)", "return F.softmax(self.dense2(x), 1)")],
    ),
    "unit-gain": (
        "CNTK's default: momentum with unit gain",
        "cntk",
        "cnn",
        [("unit_gain=False", "unit_gain=True")],
    ),
    "input-gradient": (
        "the gradient of the input is computed too",
        "pytorch",
        "cnn",
        [("loss_fn(model(images(x))", "loss_fn(model(images(x).requires_grad_())")],
    ),
    "relu-first": (
        "relu before the pools, not after",
        "pytorch",
        "cnn",
        [
            ("F.relu(F.max_pool2d(self.conv2(x), 2))", "F.max_pool2d(F.relu(self.conv2(x)), 2)"),
            ("F.relu(F.max_pool2d(self.conv4(x), 2))", "F.max_pool2d(F.relu(self.conv4(x)), 2)"),
        ],
    ),
    "relu-after-mxnet": (
        "relu after the pools, not before",
        "mxnet-1.9",
        "cnn",
        [
            ("relu(x), kernel=(2, 2)", "x, kernel=(2, 2)"),
            ("mx.sym.Dropout(x, p=cfg.dropout[0])", "mx.sym.Dropout(relu(x), p=cfg.dropout[0])"),
        ],
    ),
    "initialiser": (
        "PyTorch's own initial weights",
        "pytorch",
        "cnn",
        [("model.load_state_dict(state)", "# model.load_state_dict(state)")],
    ),
    "gru-unfused": (
        "150 GRU cells instead of the fused GRU",
        "mxnet-1.9",
        "rnn",
        [('mx.__version__ < "1.3"', "True")],
    ),
    "gru-cells": (
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rosetta")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    for name in args.names:
        if name not in LESSONS:
            sys.exit(f"no lesson is named {name}; there are {', '.join(LESSONS)}")
    chosen = {name: LESSONS[name] for name in args.names or LESSONS}
    with tempfile.TemporaryDirectory() as folder:
        project = planting.make(folder)
        plain = sorted({(target, experiment) for _, target, experiment, _ in chosen.values()})
        for target, experiment in plain:
            more = DECLARED.get((target, experiment), [])
            name = f"plain-{target}-{experiment}".replace(".", "-")
            planting.plant(project, name, target, experiment, [], *more)
        for name, (_, target, experiment, edits) in chosen.items():
            more = DECLARED.get((target, experiment), [])
            planting.plant(project, f"edited-{name}", target, experiment, edits, *more)
        rosetta = [args.rosetta, "--project", folder]
        names = [path.name for path in sorted((project / "harnesses").iterdir())]
        names = ",".join(name for name in names if name.startswith(("plain-", "edited-")))
        check = rosetta + ["check", "--device", "cpu", "--framework", names, "--json"]
        checked = subprocess.run(check, stdout=subprocess.PIPE)
        if checked.returncode not in (0, 1):
            sys.exit(f"rosetta check ended with {checked.returncode}")
        verdicts = {verdict["target"]: verdict for verdict in json.loads(checked.stdout)}
        run = rosetta + ["run", "--device", "cpu", "--framework", names, "--no-check", "--json"]
        subprocess.run(run + ["--repeats", str(args.repeats)], stdout=subprocess.DEVNULL)
        records = {}
        for path in (project / "results/runs").glob("*/records.jsonl"):
            for line in path.read_text().splitlines():
                record = json.loads(line)
                records.setdefault(record["target"], {})[record["repeat"]] = record
    print("| edit | harness | time, edited / as it is | accuracy (%) | `rosetta check` |")
    print("|:--|:--|--:|--:|:--|")
    for name, (says, target, experiment, _) in chosen.items():
        before = records[f"plain-{target}-{experiment}".replace(".", "-")]
        after = records[f"edited-{name}"]
        pairs = sorted(set(before) & set(after))
        times = [[one[i]["times"]["training"] for i in pairs] for one in (before, after)]
        ratios = sorted(b / a for a, b in zip(*times))
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        accuracy = [
            f"{100 * statistics.median(one[i]['score']['accuracy'] for i in pairs):.0f}"
            for one in (before, after)
        ]
        equivalence = verdicts[f"edited-{name}"]["equivalence"]
        words = ": ".join(filter(None, [equivalence["grade"], equivalence["reason"]]))
        print(f"| {says} | {target} {experiment} | {ratio} | {' → '.join(accuracy)} | {words} |")


main()
