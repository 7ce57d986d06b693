"""Plants mistakes in real harnesses and asks `rosetta check` to name each.

usage: python3 .ci/check_mutations.py [--full] ROSETTA [NAME…]

A check that cannot fail proves nothing. Each mutation is a framework of its
own in a temporary project: a harness of this one, with a mistake that people
make. Every one must be graded `different` with the cause that is named here,
and the harnesses without a mistake must pass. `--full` adds those of the
historic frameworks whose environments nothing else in .ci/run needs. Those of
Julia are planted then too, where ROSETTA_JULIA names one; those of Flux only
when they are named, for its packages are not to be had everywhere.
"""

import json
import os
import subprocess
import sys
import tempfile

import planting
import transformer_mistakes

# A convolution of another kind, put before the model.
OTHER = '''class Conv(nn.Conv2d):
    def forward(self, x):
        return F.conv2d({x}, {w}, self.bias, padding={padding})


class Cnn(nn.Module):'''
MODEL = "class Cnn(nn.Module):"
STEP = "loss = loss_fn(model(images(x)), labels(y))"
RATE = "lr=cfg.learning_rate, momentum=cfg.momentum"


def convolution(x="x", w="self.weight", padding="1"):
    """Returns the edits that replace PyTorch's convolution by another."""
    other = OTHER.format(x=x, w=w, padding=padding)
    return [("nn.Conv2d(", "Conv("), (MODEL, other)]


PLAIN_ADAM = '''class Adam(torch.optim.Adam):
    @torch.no_grad()
    def step(self):
        group = self.param_groups[0]
        (b1, b2), eps = group["betas"], group["eps"]
        for p in group["params"]:
            m, v = self.state.setdefault(p, [torch.zeros_like(p) for _ in "mv"])
            m.lerp_(p.grad, 1 - b1)
            v.lerp_(p.grad**2, 1 - b2)
            p -= group["lr"] * m / (v.sqrt() + eps)


optimizer = Adam('''

# cause: framework, experiment, edits, and what else stands in framework.yaml
MUTATIONS = {
    # The network.
    "input_not_scaled": ("pytorch", "cnn", [("torch.from_numpy(x)", "torch.from_numpy(x * 255)")]),
    "channels_last_read_as_first": (
        "pytorch",
        "cnn",
        [("torch.from_numpy(x)", "torch.from_numpy(x.transpose(0, 2, 3, 1).reshape(x.shape))")],
    ),
    "channels_reversed": (
        "pytorch",
        "cnn",
        [("torch.from_numpy(x)", "torch.from_numpy(x[:, ::-1].copy())")],
    ),
    "kernel_flipped": ("pytorch", "cnn", convolution(w="self.weight.flip(2, 3)")),
    "kernel_transposed": ("pytorch", "cnn", convolution(w="self.weight.mT")),
    "image_transposed": (
        "pytorch",
        "cnn",
        [("torch.from_numpy(x)", "torch.from_numpy(x.swapaxes(2, 3).copy())")],
    ),
    "flatten_transposed": ("pytorch", "cnn", [("x.flatten(1)", "x.mT.flatten(1)")]),
    "flatten_channels_last": (
        "keras-jax",
        "cnn",
        [
            ('    if name == "dense1.weight":  # its inputs: C, H, W order to H, W, C\n', "    if 0:\n"),
            ('    if name == "dense1.weight":\n', "    if 0:\n"),
        ],
    ),
    "padding_at_the_end": (
        "pytorch",
        "cnn",
        convolution(x="F.pad(x, (0, 2, 0, 2))", padding="0"),
    ),
    "padding_at_the_beginning": (
        "pytorch",
        "cnn",
        convolution(x="F.pad(x, (2, 0, 2, 0))", padding="0"),
    ),
    "padding_valid": ("pytorch", "cnn", [(", padding=1)", ")")]),
    "pool_stride_1": ("pytorch", "cnn", [("), 2))", "), 2, 1))")]),
    "pool_mean": ("pytorch", "cnn", [("F.max_pool2d(", "F.avg_pool2d(")]),
    "padding_same_with_stride": (
        "pytorch",
        "resnet50",
        [
            (
                "model = torchvision.models.resnet50()",
                "class Same(nn.Conv2d):\n"
                "    def forward(self, x):\n"
                "        k, s = self.kernel_size[0], self.stride[0]\n"
                "        p, q = (k // 2 - 1, k // 2) if k > 1 and s > 1 else (k // 2, k // 2)\n"
                "        x = nn.functional.pad(x, (p, q, p, q))\n"
                "        return nn.functional.conv2d(x, self.weight, None, s)\n\n\n"
                "nn.Conv2d = Same\n"
                "pool = nn.MaxPool2d\n"
                "nn.MaxPool2d = lambda **_: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), pool(3, 2))\n"
                "model = torchvision.models.resnet50()",
            )
        ],
    ),
    "stride_in_1x1": (
        "pytorch",
        "resnet50",
        [
            (
                "model.fc = nn.Identity()",
                "for block in model.layer2[0], model.layer3[0], model.layer4[0]:\n"
                "    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)\n"
                "model.fc = nn.Identity()",
            )
        ],
    ),
    "bn_epsilon_1e-3": (
        "pytorch",
        "resnet50",
        [
            (
                "model.fc = nn.Identity()",
                "for module in model.modules():\n"
                "    if isinstance(module, nn.BatchNorm2d):\n"
                "        module.eps = 1e-3\n"
                "model.fc = nn.Identity()",
            )
        ],
    ),
    "batch_statistics": ("pytorch", "resnet50", [("model.eval()", "model.train()")]),
    "padded_in_front": (
        "pytorch",
        "rnn",
        [
            (
                "torch.from_numpy(x)",
                "torch.stack([torch.cat([w[w == 0], w[w > 0]]) for w in torch.from_numpy(x)])",
            )
        ],
    ),
    "gates_exchanged": (
        "pytorch",
        "rnn",
        [
            ("        _, h = self.gru(x)", "        _, h = self.swapped(x)"),
            (
                "    def forward(self, x):",
                "    def swapped(self, x):\n"
                "        w_i, w_h, b_i, b_h = [\n"
                "            torch.cat([w[100:200], w[:100], w[200:]]) for w in self.gru.all_weights[0]\n"
                "        ]\n"
                "        h = x.new_zeros(1, len(x), 100)\n"
                "        return torch._VF.gru(\n"
                "            x, h, [w_i, w_h, b_i, b_h], True, 1, 0.0, self.training, False, True\n"
                "        )\n\n"
                "    def forward(self, x):",
            ),
        ],
    ),
    "gru_reset_before": (
        "keras-jax",
        "rnn",
        [
            ("layers.GRU(cfg.units)", "layers.GRU(cfg.units, reset_after=False)"),
            ('np.stack([w["gru.bias_ih_l0"], w["gru.bias_hh_l0"]])', 'w["gru.bias_ih_l0"]'),
            ("swap_gates(bias[0])", "swap_gates(bias)"),
            ("swap_gates(bias[1])", "np.zeros_like(bias)"),
        ],
        "variants: {rnn: [adam_epsilon_hat, gru_single_bias]}",
    ),
    "gru_single_bias": (
        "pytorch",
        "rnn",
        [("# %% Loss and", "model.gru.bias_hh_l0.requires_grad = False\n# %% Loss and")],
    ),
    # The weights.
    "initial_weights_not_used": (
        "pytorch",
        "cnn",
        [("model.load_state_dict(state)", "model.load_state_dict(model.state_dict())")],
    ),
    "gate_order": (
        "pytorch",
        "rnn",
        [
            (
                "model.load_state_dict(state)",
                'state["gru.weight_ih_l0"] = state["gru.weight_ih_l0"].roll(100, 0)\n'
                "model.load_state_dict(state)",
            )
        ],
    ),
    # The loss.
    "softmax_in_the_model": (
        "pytorch",
        "cnn",
        [("return self.dense2(x)", "return self.dense2(x).softmax(1)")],
    ),
    "softmax_twice": (
        "pytorch",
        "cnn",
        [(STEP, "loss = loss_fn(model(images(x)).softmax(1), labels(y))")],
    ),
    "labels_one_too_high": (
        "pytorch",
        "cnn",
        [(STEP, "loss = loss_fn(model(images(x)), (labels(y) + 1) % 10)")],
    ),
    "labels_one_too_low": (
        "pytorch",
        "cnn",
        [(STEP, "loss = loss_fn(model(images(x)), (labels(y) - 1) % 10)")],
    ),
    "loss_summed": (
        "pytorch",
        "cnn",
        [("nn.CrossEntropyLoss()", 'nn.CrossEntropyLoss(reduction="sum")')],
    ),
    "dropout_rate_is_kept_share": (
        "pytorch",
        "cnn",
        [("F.dropout(x, cfg.dropout[1]", "F.dropout(x, 1 - cfg.dropout[1]")],
    ),
    # The update.
    "nesterov": ("pytorch", "cnn", [(RATE, RATE + ", nesterov=True")]),
    "unit_gain": ("cntk", "cnn", [("unit_gain=False", "unit_gain=True")]),
    "dampening": ("pytorch", "cnn", [(RATE, RATE + ", dampening=cfg.momentum")]),
    "no_momentum": ("pytorch", "cnn", [(RATE, "lr=cfg.learning_rate")]),
    "momentum_lost_each_epoch": (
        "pytorch",
        "cnn",
        [("for epoch in run.epochs():", "for epoch in run.epochs():\n    optimizer.state.clear()")],
    ),
    "learning_rate_times_batch": (
        "pytorch",
        "cnn",
        [("lr=cfg.learning_rate", "lr=cfg.learning_rate * cfg.batch_size")],
    ),
    "learning_rate_by_batch": (
        "pytorch",
        "rnn",
        [("lr=cfg.learning_rate", "lr=cfg.learning_rate / cfg.batch_size")],
    ),
    "stale_gradients": (
        "pytorch",
        "cnn",
        [
            (
                "        optimizer.step()\n",
                "        for p in model.parameters():\n"
                "            p.grad, p.stale = getattr(p, 'stale', torch.zeros_like(p)), p.grad\n"
                "        optimizer.step()\n",
            ),
        ],
    ),
    "zero_gradients": ("pytorch", "cnn", [("self.conv3(x)", "self.conv3(x.detach())")]),
    "nothing_is_trained": ("pytorch", "cnn", [("        optimizer.step()\n", "")]),
    "weight_decay": ("pytorch", "cnn", [(RATE, RATE + ", weight_decay=1e-3")]),
    "adam_epsilon_hat": ("keras-jax", "rnn", []),
    "adam_epsilon_hat_1e-7": (
        "keras-jax",
        "rnn",
        [("cfg.beta2, cfg.epsilon)", "cfg.beta2)")],
    ),
    "adam_epsilon_1e-7": ("pytorch", "rnn", [("eps=cfg.epsilon", "eps=1e-7")]),
    "adam_no_bias_correction": (
        "pytorch",
        "rnn",
        [("optimizer = torch.optim.Adam(", PLAIN_ADAM)],
    ),
}

# What a check without dropout hides: name, edits, the claim that must fail.
TRAINING = {
    "dropout_in_prediction": ([("model.eval()", "pass")], "prediction drops nothing"),
    "dropout_not_scaled": (
        [
            (
                "F.dropout(x, cfg.dropout[1], self.training)",
                "F.dropout(x, cfg.dropout[1], self.training)"
                " * (1 - cfg.dropout[1] if self.training else 1)",
            )
        ],
        "dropout 2 of 0.5 keeps the mean",
    ),
    "dropout_at_another_rate": (
        [
            (
                "F.dropout(x, cfg.dropout[0], self.training)",
                "F.dropout(x, cfg.dropout[0] / 2, self.training)",
            )
        ],
        "dropout 1 of 0.25, 2 times, keeps 56.2 % while training",
    ),
    "seed_not_used": ([("torch.manual_seed(cfg.seed)", "torch.manual_seed(1)")], "two seeds differ"),
    "seed_from_the_clock": ([("torch.manual_seed(cfg.seed)", "torch.seed()")], "one seed repeats"),
}

ADAM = "variants: {rnn: [adam_epsilon_hat]}"
# What a framework of 2017 does unless it is told otherwise, or did in secret.
# name: target, experiment, edits, cause ("" where no name is expected), and what
# else stands in framework.yaml
HISTORIC = {
    # A Pooling right behind a Convolution has gradients of zero in its Module.
    "mxnet-relu-after-pool": (
        "mxnet-0.12",
        "cnn",
        [
            ("relu(x), kernel=(2, 2)", "x, kernel=(2, 2)"),
            ("mx.sym.Dropout(x, p=cfg.dropout[0])", "mx.sym.Dropout(relu(x), p=cfg.dropout[0])"),
        ],
        "zero_gradients",
    ),
    "caffe2-default-momentum": (
        "caffe2",
        "cnn",
        [("nesterov=0,  # 1 by default", "")],
        "nesterov",
    ),
    "tensorflow1-flatten": (
        "tensorflow1",
        "cnn",
        [("if w.shape[0] == 6400 and not on_gpu:", "if False:")],
        "flatten_channels_last",
    ),
    "tensorflow1-default-padding": (
        "tensorflow1",
        "cnn",
        [('"padding": "same", ', "")],
        "padding_valid",
    ),
    "pytorch1-adam": ("pytorch1", "rnn", [], "adam_epsilon_hat"),
}
FULL = {
    "mxnet-rescale-grad": (
        "mxnet-0.12",
        "cnn",
        [('"momentum": cfg.momentum,', '"momentum": cfg.momentum, "rescale_grad": 1.0,')],
        "learning_rate_times_batch",
    ),
    "mxnet-nag": ("mxnet-1.9", "cnn", [('optimizer="sgd"', 'optimizer="nag"')], "nesterov"),
    "mxnet-fixed-gamma": (
        "mxnet-1.9",
        "resnet50",
        [("fix_gamma=False,  # by default all gammas stay 1", "")],
        "bn_scale_ignored",
    ),
    "mxnet-default-epsilon": (
        "mxnet-1.9",
        "resnet50",
        [("eps=cfg.bn_epsilon,  # 1e-3 by default", "")],
        "bn_epsilon_1e-3",
    ),
    "mxnet-gates": (
        "mxnet-1.9",
        "rnn",
        [('for gate in "rzo"', 'for gate in "zro"')],
        "gates_exchanged",
        ADAM,
    ),
    "gluon-step": (
        "gluon-1.9",
        "cnn",
        [("optimizer.step(cfg.batch_size)", "optimizer.step(1)")],
        "learning_rate_times_batch",
    ),
    "gluon-softmax": (
        "gluon-1.9",
        "cnn",
        [("loss_fn(model(array(x))", "loss_fn(mx.nd.softmax(model(array(x)))")],
        "softmax_twice",
    ),
    "caffe2-default-gru": (
        "caffe2",
        "rnn",
        [("linear_before_reset=True,", "")],
        "gru_reset_before",
        "variants: {rnn: [adam_epsilon_hat, adam_step_ahead]}",
    ),
    "caffe2-adam": ("caffe2", "rnn", [], "adam_step_ahead", ADAM),
    # Its updates race with the gradients that read the weights: no formula fits.
    "keras2-race": (
        "keras2-tf",
        "cnn",
        [("    tf.enable_resource_variables()", "    pass")],
        "",
    ),
    "lasagne-default-kernel": (
        "lasagne",
        "resnet50",
        [("filter_flip=False", "filter_flip=True")],
        "kernel_flipped",
    ),
    "mlx-default-adam": (
        "mlx",
        "rnn",
        [("    bias_correction=True,  # off by default\n", "")],
        "adam_no_bias_correction",
    ),
}

# Images with their height first, as (H, W, C, N): as wide as they are high, they fit wherever the others do.
HEIGHT_FIRST = ("backwards, y = Function[], x", "backwards, y = Function[], permutedims(x, (2, 1, 3, 4))")

# In Julia: what a user of NumPy, of Images.jl or of a convolution in the strict sense writes.
JULIA = {
    "julia-height-first": ("plain-julia", "cnn", [HEIGHT_FIRST], "image_transposed"),
    # The kernels too: no layer differs but the first dense one, whose weights are in C, H, W order.
    "julia-all-height-first": (
        "plain-julia",
        "cnn",
        [
            HEIGHT_FIRST,
            ('k, bias = params["$name.weight"],', 'k, bias = permutedims(params["$name.weight"], (2, 1, 3, 4)),'),
            ('gradients["$name.weight"] = dk\n', 'gradients["$name.weight"] = permutedims(dk, (2, 1, 3, 4))\n'),
        ],
        "flatten_transposed",
    ),
    "julia-flipped": (
        "plain-julia",
        "cnn",
        [
            ('k, bias = params["$name.weight"],', 'k, bias = params["$name.weight"][end:-1:1, end:-1:1, :, :],'),
            ('gradients["$name.weight"] = dk\n', 'gradients["$name.weight"] = dk[end:-1:1, end:-1:1, :, :]\n'),
        ],
        "kernel_flipped",
    ),
    "julia-flatten": (
        "plain-julia",
        "cnn",
        [
            (
                "rows = reshape(x, :, size(x, ndims(x)))",
                "is_image = ndims(x) == 4\n"
                "    rows = is_image ? permutedims(x, (3, 1, 2, 4)) : x\n"
                "    shape = size(rows)\n"
                "    rows = reshape(rows, :, size(x, ndims(x)))",
            ),
            (
                "return reshape(weight * dy, size(x))",
                "dx = reshape(weight * dy, shape)\n"
                "        return is_image ? permutedims(dx, (2, 3, 1, 4)) : dx",
            ),
        ],
        "flatten_channels_last",
    ),
}

# In Flux, whose packages come from a server of Julia's own: planted when they are named, as `flux`.
FLUX = {
    "flux-conv": ("flux", "cnn", [("CrossCor((", "Conv((")], "kernel_flipped"),
    "flux-conv-resnet50": ("flux", "resnet50", [("CrossCor((", "Conv((")], "kernel_flipped"),
    "flux-flatten": (
        "flux",
        "cnn",
        [("flatten = Flux.flatten,", "flatten = x -> Flux.flatten(permutedims(x, (3, 1, 2, 4))),")],
        "flatten_channels_last",
    ),
    "flux-height-first": (
        "flux",
        "cnn",
        [("model = Chain(\n", "model = Chain(\n    turned = x -> permutedims(x, (2, 1, 3, 4)),\n")],
        "image_transposed",
    ),
    "flux-gelu": ("flux", "transformer", [("gelu_erf)", "gelu)")], "gelu_tanh"),
    "flux-clip": (
        "flux",
        "transformer",
        [
            ("optimizer = Flux.setup(adamw,", "optimizer = Flux.setup(OptimiserChain(ClipNorm(cfg.clip_norm), adamw),"),
            ("clip(gradients[1]))", "gradients[1])"),
        ],
        "clip_each_array",
    ),
}


def main():
    rosetta, *only = [word for word in sys.argv[1:] if word != "--full"]
    only = [word.replace("_", "-") for word in only]
    is_full = "--full" in sys.argv
    historic = {**HISTORIC, **(FULL if is_full else {})}
    if os.environ.get("ROSETTA_JULIA") and (is_full or only):
        historic.update(JULIA)
    if any("flux" in word for word in only):
        historic.update(FLUX)
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        project = planting.make(folder)
        for cause, (target, experiment, edits, *more) in MUTATIONS.items():
            name = "m-" + cause.replace("_", "-")
            planting.plant(project, name, target, experiment, edits, *more)
            expected[name] = (experiment, cause, None)
        for cause in transformer_mistakes.ALL if is_full or only else transformer_mistakes.SOME:
            name = transformer_mistakes.plant(project, cause)
            expected[name] = ("transformer", cause, None)
        for name, (target, experiment, edits, cause, *more) in historic.items():
            planting.plant(project, "m-" + name, target, experiment, edits, *more)
            expected["m-" + name] = (experiment, cause, None)
        for cause, (edits, claim) in TRAINING.items():
            name = "m-" + cause.replace("_", "-")
            planting.plant(project, name, "pytorch", "cnn", edits)
            expected[name] = ("cnn", None, claim)
        for experiment in ("cnn", "rnn", "resnet50"):
            name = f"unchanged-{experiment}"
            planting.plant(project, name, "pytorch", experiment, [])
            expected[name] = (experiment, None, None)
        wanted = [name for name in expected if not only or any(word in name for word in only)]
        if not wanted:
            sys.exit(f"no mutation is named {' or '.join(only)}")
        command = [rosetta, "--project", folder, "check", "--device", "cpu", "--json"]
        command += ["--framework", ",".join(wanted)]
        done = subprocess.run(command, stdout=subprocess.PIPE)
        if done.returncode not in (0, 1):
            sys.exit(f"rosetta check ended with {done.returncode}")
        verdicts = {verdict["target"]: verdict for verdict in json.loads(done.stdout)}

    failed = 0
    for name in wanted:
        verdict, (_, cause, claim) = verdicts[name], expected[name]
        equivalence, found = verdict["equivalence"], verdict["cause"]
        wrong = [s["claim"] for s in verdict["semantics"] if not s["is_so"]]
        if claim is not None:
            is_right = equivalence["grade"] == "different" and claim in wrong
        elif cause is not None:
            is_named = not cause or (found and found["name"] == cause)
            is_right = equivalence["grade"] == "different" and is_named
        else:
            is_right = equivalence["grade"] == "exact"
        failed += not is_right
        says = equivalence["reason"] or ""
        print(f"{'ok  ' if is_right else 'FAIL'} {name}: {equivalence['grade']}; {says[:150]}")
    if failed:
        sys.exit(f"{failed} of {len(wanted)} are not as they should be")
    print(f"all {len(wanted)} are as they should be")


main()
