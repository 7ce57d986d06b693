"""Runs the harness of this folder once, and says what it took beside what was recorded.

    python run.py

Needs Python 3.6 or newer with the packages of environment/. The harness is told its job as rosetta
tells it: by a file, by variables that name the threads, on as many CPUs, with an empty home.
"""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return json.load(file)


def job_file(outputs):
    """Writes the job with whole paths, and returns it with the file."""
    job = read("job.json")
    for array in job["arrays"].values():
        array["path"] = os.path.join(HERE, array["path"])
    job["weights"]["folder"] = os.path.join(HERE, job["weights"]["folder"])
    job["order"] = job["order"] and os.path.join(HERE, job["order"])
    job["outputs"] = outputs
    path = os.path.join(outputs, "job.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(job, file)
    return job, path


def environment(path, home):
    places = {
        "{env}": sys.prefix,
        "{folder}": os.path.join(HERE, "environment"),
        "{python}": sys.executable,
        "{site}": sysconfig.get_paths()["purelib"],
    }
    variables = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE"):
        variables.pop(name, None)
    for name, value in read("variables.json").items():
        for mark, place in places.items():
            value = value.replace(mark, place)
        variables[name] = value
    sdk = os.path.join(HERE, "sdk")
    variables.update(ROSETTA_JOB=path, HOME=home, PYTHONPATH=sdk, PYTHONNOUSERSITE="1")
    folder = os.path.dirname(sys.executable)
    variables["PATH"] = os.pathsep.join([folder, variables.get("PATH", os.defpath)])
    return variables


def take_cpus(threads):
    if hasattr(os, "sched_setaffinity"):
        here = sorted(os.sched_getaffinity(0))
        if len(here) < threads:
            print("warning: %d threads were used, this machine has %d CPUs" % (threads, len(here)))
        os.sched_setaffinity(0, here[:threads])


class Seen:
    """What the events add up to."""

    def __init__(self):
        self.version = self.trained = self.began = self.ready = self.rows = self.outputs = None
        self.losses, self.metrics, self.phases = [], {}, {}
        self.is_ended = False

    def take(self, event):
        kind = event["ev"]
        if kind == "hello":
            self.version = event["version"]
            print("%8.2f s  %s %s" % (event["t"], event["framework"], event["version"]))
        elif kind == "phase":
            self.phases[event["name"]] = event["t"]
            print("%8.2f s  %s" % (event["t"], event["name"]))
        elif kind == "epoch":
            self.trained = event["t"]
            self.losses.append(event["loss"])
            print("%8.2f s  epoch %d, loss %s" % (event["t"], event["epoch"] + 1, event["loss"]))
        elif kind == "array" and event["name"] == "outputs":
            self.outputs, self.rows = event["path"], event["shape"][0]
            self.ready = event.get("ready") or event["t"]
        elif kind == "metric":
            self.metrics[event["name"]] = event["value"]
        elif kind == "end":
            self.is_ended = True
        sys.stdout.flush()

    def training(self):
        return None if self.trained is None else self.trained - self.phases["train"]

    def rate(self):
        if self.ready is None or "predict" not in self.phases:
            return None
        return self.rows / (self.ready - self.phases["predict"])

    def accuracy(self, job):
        labels = job["arrays"].get("y_test")
        if labels is None or self.outputs is None:
            return None
        try:
            import numpy as np
        except ImportError:
            return self.metrics.get("accuracy")
        logits = np.load(self.outputs, allow_pickle=False)
        return float((logits.argmax(1) == np.load(labels["path"])[: len(logits)]).mean())


def listen(line, seen):
    """Takes in an event; all else that is said is passed on."""
    try:
        event = json.loads(line)
        is_event = "ev" in event and "v" in event
    except (ValueError, TypeError):
        is_event = False
    if is_event:
        seen.take(event)
    else:
        sys.stderr.write(line)


def shown(value, scale=1.0):
    if value is None:
        return "-"
    return "%.4g" % (value * scale) if isinstance(value, (int, float)) else str(value)


def main():
    expected = read("expected.json")
    with tempfile.TemporaryDirectory() as outputs, tempfile.TemporaryDirectory() as home:
        job, path = job_file(outputs)
        take_cpus(job["threads"])
        harness = os.path.join(HERE, "harness", expected["harness"])
        start = os.path.join(HERE, "sdk", "rosetta", "__main__.py")
        process = subprocess.Popen(
            [sys.executable, start, harness],
            stdout=subprocess.PIPE,
            cwd=os.path.dirname(harness),
            env=environment(path, home),
        )
        # Whoever ends this program ends the harness too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        seen = Seen()
        try:
            for line in process.stdout:
                listen(line.decode("utf-8", "replace"), seen)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
        here = {
            "version": seen.version,
            "training_seconds": seen.training(),
            "predict_rate": seen.rate(),
            "accuracy": seen.accuracy(job),
            "losses": seen.losses,
        }
    print("\n%-30s %12s %12s" % ("", "recorded", "here"))
    lines = [
        ("Version", "version", 1.0),
        ("Training (s)", "training_seconds", 1.0),
        ("Predicted rows a second", "predict_rate", 1.0),
        ("Test accuracy (%)", "accuracy", 100.0),
    ]
    for words, name, scale in lines:
        if expected[name] is not None or here[name] is not None:
            print("%-30s %12s %12s" % (words, shown(expected[name], scale), shown(here[name], scale)))
    for epoch in range(max(len(expected["losses"]), len(here["losses"]))):
        both = [losses[epoch] if epoch < len(losses) else None for losses in (expected["losses"], here["losses"])]
        print("%-30s %12s %12s" % ("Loss of epoch %d" % (epoch + 1), shown(both[0]), shown(both[1])))
    print("%-30s %12s %12s" % ("Outcome", expected["status"], "ok" if code == 0 and seen.is_ended else "failed"))
    if expected["reason"]:
        print("recorded reason: %s" % expected["reason"])
    if code < 0:
        print("the harness was ended by signal %d" % -code)
    elif code > 0:
        print("the harness has ended with exit code %d" % code)
    sys.exit(0 if code == 0 and seen.is_ended else 1)


if __name__ == "__main__":
    main()
