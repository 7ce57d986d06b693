"""The scripted harness of tests/golden/README.md: every word, and known numbers."""

import math

import numpy as np

import rosetta

run = rosetta.start("Scripted", "1.2.3")
run.fact("layout", "NCHW")
run.fact("compiled", False)
run.phase("load")
x_test = run.data("x_test")
run.phase("build")
weights = run.weights()


def logits_of(x):
    """Returns the sum of each row's pixels, and minus that."""
    total = x.reshape(len(x), -1).sum(1)
    logits = np.stack([total, -total], 1)
    if run.experiment == "activations":
        run.activation("pixels", x)
        logits = run.activation("block 1/sums", logits)
    return logits


if run.experiment == "inference":
    run.phase("warmup")
    rows = [len(x) for x in run.warmup(x_test)]
    run.metric("warmup_rows", sum(rows), "rows")
    run.phase("predict")
    for x in run.split(x_test):
        run.outputs(logits_of(x))
else:
    run.phase("train")
    seen = 0.0
    for epoch in run.epochs():
        for step, (x, y) in enumerate(run.batches(epoch)):
            loss = 0.125 + y[0] + y[1] / 16
            if run.experiment == "nonfinite":
                loss = [math.nan, math.inf, -math.inf][step]
            logits_of(x)  # of which nothing is stored
            seen += float(x.sum())
            run.step(loss)
        run.epoch_end(epoch, loss)
    run.final_weights(lambda: {name: w + 1 for name, w in weights.items()})
    run.metric("pixels", seen, "1")
    run.phase("predict")
    run.outputs(np.concatenate([logits_of(x) for x in run.split(x_test)]))
    run.phase("evaluate")
    run.metric("accuracy", math.nan if run.experiment == "nonfinite" else 0.75)
