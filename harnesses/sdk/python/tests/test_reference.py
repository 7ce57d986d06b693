"""Tests of a reference that no framework differentiates: harnesses/numpy/transformer.py."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

TESTS = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.dirname(TESTS)
HARNESS = os.path.join(SDK, os.pardir, os.pardir, "numpy", "transformer.py")

CONFIG = {
    "vocabulary": 7,
    "length": 5,
    "width": 8,
    "blocks": 2,
    "heads": 2,
    "hidden": 6,
    "classes": 2,
    "norm_epsilon": 1e-5,
    "dropout": 0.0,
    "learning_rate": 0.01,
    "warmup_steps": 4,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 0.1,
    "clip_norm": 0.25,
    "batch_size": 3,
    "epochs": 1,
}
# Two reviews that are padded, and one that is not; word 6 is in none, 3 in two.
X = np.array([[1, 3, 4, 0, 0], [1, 5, 3, 3, 2], [1, 4, 0, 0, 0]], np.int32)
Y = np.array([0, 1, 1], np.int32)

# Runs the harness for a step, then asks its own functions for the loss nearby.
PROBE = """
import sys
import numpy as np

names = {"__name__": "__main__"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
weights, found = names["weights"], {}
for name, w in weights.items():
    found["gradient " + name] = names["gradients"][name]
    found["trained " + name] = w.copy()
for name, w in names["run"].weights().items():
    weights[name] = w.astype("float64")


def loss():
    return names["loss_fn"](names["model"](names["x"], 0)[0], names["y"])[0]


for name, w in weights.items():
    differences = np.zeros_like(w)
    for place in np.ndindex(w.shape):
        before = w[place]
        w[place] = before + 1e-5
        above = loss()
        w[place] = before - 1e-5
        differences[place] = (above - loss()) / 2e-5
        w[place] = before
    found["differences " + name] = differences
np.savez(sys.argv[2], **found)
"""


def shapes():
    """Returns name → shape of the weights, in forward order."""
    width, hidden = CONFIG["width"], CONFIG["hidden"]
    shapes = {
        "embedding.weight": (CONFIG["vocabulary"], width),
        "positions": (CONFIG["length"], width),
    }
    for block in range(CONFIG["blocks"]):
        for name, shape in [
            ("norm1.weight", (width,)),
            ("norm1.bias", (width,)),
            ("self_attn.in_proj_weight", (3 * width, width)),
            ("self_attn.in_proj_bias", (3 * width,)),
            ("self_attn.out_proj.weight", (width, width)),
            ("self_attn.out_proj.bias", (width,)),
            ("norm2.weight", (width,)),
            ("norm2.bias", (width,)),
            ("linear1.weight", (hidden, width)),
            ("linear1.bias", (hidden,)),
            ("linear2.weight", (width, hidden)),
            ("linear2.bias", (width,)),
        ]:
            shapes["encoder.layers.%d.%s" % (block, name)] = shape
    last = {"weight": (width,), "bias": (width,)}
    shapes.update({"encoder.norm." + name: shape for name, shape in last.items()})
    shapes.update({"dense.weight": (2, width), "dense.bias": (2,)})
    return shapes


class Transformer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        folder = temporary.name
        os.makedirs(os.path.join(folder, "outputs"))
        random = np.random.default_rng(1)
        cls.weights = {}
        for name, shape in shapes().items():
            # None is zero or one: a term that is left out must show.
            mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            array = (mean + random.normal(0, 0.5, shape)).astype(np.float32)
            cls.weights[name] = array.astype(np.float64)
            np.save(os.path.join(folder, name + ".npy"), array)
        arrays = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
        for name, array in arrays.items():
            np.save(os.path.join(folder, name + ".npy"), array)
        order = os.path.join(folder, "order.npy")
        np.save(order, np.arange(3, dtype=np.uint32)[None])
        path = {name: os.path.join(folder, name + ".npy") for name in arrays}
        job = {
            "protocol": 1,
            "job": "transformer.numpy.cpu.1",
            "experiment": "transformer",
            "target": "numpy",
            "profile": "check",
            "device": "cpu",
            "threads": 1,
            "seed": 1,
            "mode": "check",
            "steps": 1,
            "dtype": "float64",
            "config": CONFIG,
            "arrays": {n: {"path": p, "rows": 3, "divide_by": None} for n, p in path.items()},
            "weights": {"folder": folder, "names": list(cls.weights)},
            "order": order,
            "outputs": os.path.join(folder, "outputs"),
        }
        job_file = os.path.join(folder, "job.json")
        with open(job_file, "w") as file:
            json.dump(job, file)
        found = os.path.join(folder, "found.npz")
        environment = dict(os.environ, PYTHONPATH=SDK, ROSETTA_JOB=job_file)
        command = [sys.executable, "-c", PROBE, HARNESS, found]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        with np.load(found) as arrays:
            cls.found = dict(arrays)

    def test_every_gradient_is_the_difference_quotient(self):
        for name in self.weights:
            gradient = self.found["gradient " + name]
            quotient = self.found["differences " + name]
            self.assertGreater(np.abs(gradient).max(), 1e-4, name)
            np.testing.assert_allclose(gradient, quotient, rtol=1e-5, atol=1e-9, err_msg=name)

    def test_the_first_update_is_that_of_adamw_clipped_and_warmed_up(self):
        gradients = {name: self.found["gradient " + name] for name in self.weights}
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        self.assertGreater(norm, CONFIG["clip_norm"])
        for name, start in self.weights.items():
            g = gradients[name] * CONFIG["clip_norm"] / norm
            # The bias correction makes g and g² of both moments in the first step.
            step = g / (np.abs(g) + CONFIG["epsilon"])
            step += CONFIG["weight_decay"] * start * (start.ndim == 2)
            expected = start - CONFIG["learning_rate"] / CONFIG["warmup_steps"] * step
            trained = self.found["trained " + name]
            np.testing.assert_allclose(trained, expected, rtol=1e-12, atol=1e-15, err_msg=name)

    def test_padding_and_words_that_are_not_there_have_no_gradient(self):
        gradient = self.found["gradient embedding.weight"]
        self.assertTrue(np.all(gradient[[0, 6]] == 0))
        self.assertTrue(np.all(np.abs(gradient[1:6]).sum(1) > 0))

    def test_softmax_does_not_see_the_bias_of_the_keys(self):
        for block in range(CONFIG["blocks"]):
            name = "encoder.layers.%d.self_attn.in_proj_bias" % block
            queries, keys, values = np.split(self.found["gradient " + name], 3)
            self.assertLess(np.abs(keys).max(), 1e-15)
            self.assertGreater(min(np.abs(queries).max(), np.abs(values).max()), 1e-5)


if __name__ == "__main__":
    unittest.main()
