"""Makes the data of the tutorial: gestures, as a sensor on a wrist sees them."""

import pathlib

import numpy as np

LENGTH, CLASSES = 64, 4
random = np.random.default_rng(1)


def gestures(rows):
    """Returns (rows, 3 axes, 64 moments) and which gesture each row is."""
    label = random.integers(CLASSES, size=rows)
    time = np.arange(LENGTH) / LENGTH
    # Each gesture swings at a speed of its own, the axes out of step.
    swings = 2 + label + random.normal(0, 0.45, rows)
    begin = random.uniform(0, 1, rows)
    x = np.empty((rows, 3, LENGTH), "float32")
    for axis in range(3):
        lag = axis * (label % 2 + 1) / 6
        turns = np.outer(swings, time) + (begin + lag)[:, None]
        x[:, axis] = np.sin(2 * np.pi * turns)
    x += random.normal(0, 0.8, x.shape)
    return x, label.astype("int32")


folder = pathlib.Path(__file__).parent / "specs"
for part, rows in (("train", 2048), ("test", 512)):
    x, y = gestures(rows)
    np.save(folder / f"x_{part}.npy", x)
    np.save(folder / f"y_{part}.npy", y)
