#!/usr/bin/env bash
# PyTorch 2.11: the global switch to IEEE float32 leaves cuDNN's convolutions and RNNs in TF32.
#
# `torch.backends.fp32_precision = "ieee"` is taken over only by settings that are still "none". Those of cuDNN's
# convolutions and RNNs are not: they begin as "tf32", on every machine, so on an Ampere or newer GPU both go on rounding
# their inputs to 10 bits of mantissa after the switch, without a word. So does `torch.backends.cudnn.fp32_precision`,
# one level below. Matrix products do follow, which makes a spot check with `@` look right. torch 2.15.0 behaves
# otherwise: there the same line sets all four to "ieee" (seen, not run below, for the size of a second install).
#
# What it meant on an H100 (torch 2.11.0+cu130, cuDNN 9.19, driver 580.159, 27 November 2026): after the switch, the
# float32 outputs of a small CNN, of a GRU and of ResNet-50 were 6e-4, 2e-4 and 8e-4 of the largest from those of
# float64. The flags can be read without a GPU, which is what this script does.
#
# Versions: torch 2.11.0, CPython 3.10 or later, Linux x86-64 (downloads about 2.5 GB). Seen on 27 November 2026:
#   before: all=none matmul=none cudnn=none conv=tf32 rnn=tf32
#   all:    all=ieee matmul=ieee cudnn=ieee conv=tf32 rnn=tf32
#   each:   all=ieee matmul=ieee cudnn=ieee conv=ieee rnn=ieee
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==${TORCH:-2.11.0}"
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import torch

b = torch.backends


def show(when):
    names = {"all": b, "matmul": b.cuda.matmul, "cudnn": b.cudnn, "conv": b.cudnn.conv, "rnn": b.cudnn.rnn}
    print(f"{when:7}", *(f"{name}={what.fp32_precision}" for name, what in names.items()))


show("before:")
b.fp32_precision = "ieee"
show("all:")
b.cudnn.conv.fp32_precision = b.cudnn.rnn.fp32_precision = "ieee"
show("each:")
PYTHON
diff - "$folder/seen" <<'EXPECTED'
before: all=none matmul=none cudnn=none conv=tf32 rnn=tf32
all:    all=ieee matmul=ieee cudnn=ieee conv=tf32 rnn=tf32
each:   all=ieee matmul=ieee cudnn=ieee conv=ieee rnn=ieee
EXPECTED
