"""The harness SDK for Python 3.6 to 3.13: NumPy and the standard library.

Speaks the protocol of docs/protocol.md, so that a harness has no clock, no
JSON, no argument and no print. May not know any framework.
"""

import atexit
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import threading
import time

__version__ = "1.1.0"
PROTOCOL = 1
PROGRESS_INTERVAL = 0.5  # seconds between two step events of a normal run

_clock = time.perf_counter
_origin = _clock()


class Config:
    """The experiment's settings, as attributes: `cfg.learning_rate`."""

    def __init__(self, settings):
        self.__dict__.update(settings)

    def __getattr__(self, name):
        known = ", ".join(sorted(self.__dict__))
        raise AttributeError("the experiment has no setting `%s`; it has: %s" % (name, known))


class _Wire:
    """Writes events as JSON lines."""

    def __init__(self, file):
        self._file = file
        self._seq = 0

    @classmethod
    def on_stdout(cls):
        """Takes the original standard output for itself."""
        # Whatever Python, C or CUDA prints from here on lands in the log.
        sys.stdout.flush()
        file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        sys.stdout = sys.stderr  # not held back until the end, in order with the rest
        return cls(file)

    def send(self, event, t=None, **fields):
        line = {"v": PROTOCOL, "seq": self._seq, "ev": event}
        line["t"] = round((_clock() if t is None else t) - _origin, 6)
        line.update(fields)
        self._seq += 1
        text = json.dumps(_plain(line), allow_nan=False, separators=(",", ":"))
        data = memoryview((text + "\n").encode())
        while data:  # a pipe may take less than all of it
            data = data[self._file.write(data) :]


class _Screen:
    """Prints events as readable lines when a person runs the harness by hand."""

    def send(self, event, t=None, **fields):
        seconds = (_clock() if t is None else t) - _origin
        words = ["%s=%s" % (k, _short(v)) for k, v in fields.items() if v is not None]
        print("%8.2f s  %-8s %s" % (seconds, event, " ".join(words)), flush=True)


def _plain(value):
    """Returns `value` as JSON can hold it: NumPy scalars as numbers, non-finite as text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _short(value):
    if isinstance(value, float):
        return "%.4g" % value
    if isinstance(value, list) and len(value) > 4:
        return "[%d values]" % len(value)
    return value


def _scalar(value):
    """Returns a loss as a float, whatever wraps it; this may wait for the device."""
    if callable(value):
        value = value()
    if hasattr(value, "item"):
        value = value.item()
    return float(value)


def _numbers(name, x):
    """Returns a framework's tensor as an array."""
    import numpy as np

    if callable(x) and not hasattr(x, "shape"):
        x = x()
    for word in ("detach", "cpu", "asnumpy"):  # PyTorch's, PaddlePaddle's and MXNet's
        x = getattr(x, word, lambda x=x: x)()
    try:
        array = np.asarray(x)
    except Exception as error:  # each framework has an error of its own
        array, why = None, error
    if array is not None and array.dtype.kind in "biuf":
        return array
    why = "it is of type %s" % array.dtype if array is not None else why
    sys.exit(
        "activation `%s` has no numbers here: %s. A function that a framework compiles (jit, "
        "tf.function) sees none: in a check, `run.is_check`, call the model as it is" % (name, why)
    )


def _read_job(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _find_job():
    """Returns the job: the file that rosetta names, or a smoke job for a run by hand."""
    path = os.environ.get("ROSETTA_JOB")
    if path:
        return _read_job(path)
    experiment = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
    places = [os.environ.get("ROSETTA"), os.path.join(root, "target", "release", "rosetta")]
    places += [os.path.join(root, "target", "debug", "rosetta"), "rosetta"]
    for program in filter(None, places):
        try:
            command = [program, "job", experiment, "--profile", "smoke"]
            out = subprocess.check_output(command, cwd=root)
        except FileNotFoundError:
            continue
        except subprocess.CalledProcessError as error:
            sys.exit("`%s` failed with exit code %d" % (" ".join(command), error.returncode))
        return json.loads(out.decode())
    sys.exit("no job: set ROSETTA_JOB, or build rosetta with `cargo build --release`")


class Run:
    """One job: its settings and arrays, and the words to report it."""

    def __init__(self, job, wire, sync):
        if job.get("protocol") != PROTOCOL:
            sys.exit("this SDK speaks protocol %d, the job %s" % (PROTOCOL, job.get("protocol")))
        self._job = job
        self._wire = wire
        self._sync = sync
        self._arrays = {}
        self._outputs = []
        self._activations = set()
        self._phase = None
        self._ready = None
        self._steps_left = job["steps"]
        self._step = self._steps = self._epoch = 0
        self._epoch_start = self._first_step = self._last_progress = None
        self._previous_loss = None
        self.config = Config(dict(job["config"], seed=job["seed"]))
        self.device = job["device"]
        self.dtype = job["dtype"]
        self.threads = job["threads"]
        self.experiment = job["experiment"]
        self.is_check = job["mode"] == "check"

    # Data and weights

    def data(self, name):
        """Returns a neutral array: images (N, C, H, W) in 0..1, tokens and labels int32."""
        import numpy as np

        if name not in self._arrays:
            if name not in self._job["arrays"]:
                known = ", ".join(sorted(self._job["arrays"]))
                raise KeyError("the experiment has no array `%s`; it has: %s" % (name, known))
            source = self._job["arrays"][name]
            array = np.load(source["path"], mmap_mode="r", allow_pickle=False)[: source["rows"]]
            if source["divide_by"] is not None:
                array = np.array(array, dtype=self.dtype)
                array /= source["divide_by"]
            elif array.dtype.kind == "f":
                array = np.array(array, dtype=self.dtype)
            else:
                array = np.array(array)
            self._arrays[name] = array
        return self._arrays[name]

    def weights(self):
        """Returns the initial weights by canonical name, in forward order."""
        import numpy as np

        folder = self._job["weights"]["folder"]
        names = self._job["weights"]["names"]
        load = lambda n: np.load(os.path.join(folder, n + ".npy"), allow_pickle=False)  # noqa: E731
        return {name: load(name).astype(self.dtype) for name in names}

    # Phases

    def phase(self, name):
        """Ends the phase before and begins `name`, when the device has finished."""
        self._wait()
        self._phase = name
        self._wire.send("phase", name=name)

    def _wait(self):
        if self._sync is not None:
            self._sync()

    # Training

    def epochs(self):
        """Yields the epoch numbers 0, 1, …"""
        for epoch in range(self.config.epochs):
            if self._steps_left == 0:
                return
            self._epoch, self._step, self._first_step = epoch, 0, None
            self._steps = self._batch_count()
            self._epoch_start = self._last_progress = _clock()
            yield epoch

    def _batch_count(self):
        count = self._job["arrays"]["x_train"]["rows"] // self.config.batch_size
        return count if self._steps_left is None else min(count, self._steps_left)

    def order(self, epoch):
        """Returns the row numbers of an epoch in the common order: int64, (steps, batch_size)."""
        import numpy as np

        size = self.config.batch_size
        order = np.load(self._job["order"], mmap_mode="r", allow_pickle=False)[epoch]
        rows = order[: self._batch_count() * size]
        return rows.reshape(-1, size).astype(np.int64)  # not every framework indexes by uint32

    def batches(self, epoch):
        """Yields the common mini-batches (x, y) of an epoch, in the common order."""
        x_train, y_train = self.data("x_train"), self.data("y_train")
        for rows in self.order(epoch):
            yield x_train[rows], y_train[rows]

    def epoch_data(self, epoch):
        """Returns (x, y) of a whole epoch in the common order, for a `fit`."""
        rows = self.order(epoch).reshape(-1)
        return self.data("x_train")[rows], self.data("y_train")[rows]

    def step(self, loss=None):
        """Says that a step is done. A normal run leaves the device alone."""
        now = _clock()
        self._step += 1
        if self._step == 1:
            self._first_step = now - self._epoch_start
        if self.is_check:
            self._send_step(None if loss is None else _scalar(loss))
        elif now - self._last_progress >= PROGRESS_INTERVAL:
            # On a CPU the loss of the step before is in host memory already.
            known = self.device == "cpu" and self._previous_loss is not None
            self._send_step(_scalar(self._previous_loss) if known else None)
            self._last_progress = _clock()
        self._previous_loss = loss

    def _send_step(self, loss):
        self._wire.send("step", epoch=self._epoch, step=self._step, steps=self._steps, loss=loss)

    def epoch_end(self, epoch, loss):
        """Says that an epoch is over and what the loss of its last step was."""
        self._wait()
        loss = None if loss is None else _scalar(loss)
        now = _clock()
        if self._steps_left is not None:
            self._steps_left -= self._steps
        self._wire.send(
            "epoch",
            t=now,
            epoch=epoch,
            loss=loss,
            seconds=round(now - self._epoch_start, 6),
            first_step_seconds=None if self._first_step is None else round(self._first_step, 6),
            samples=self._steps * self.config.batch_size,
        )

    def final_weights(self, weights):
        """Stores the trained weights in a check; `weights` is a function returning {name: array}."""
        import numpy as np

        if not self.is_check:
            return
        folder = os.path.join(self._job["outputs"], "weights")
        os.makedirs(folder, exist_ok=True)
        arrays = weights()
        for name, array in arrays.items():
            # Rounding or an odd memory order here would be seen as a difference.
            np.save(os.path.join(folder, name + ".npy"), np.ascontiguousarray(array))
        self._wire.send("weights", folder=folder, names=list(arrays))

    # Prediction

    def split(self, x):
        """Yields `x` in batches of `config.batch_size`, the last one perhaps smaller."""
        size = self.config.batch_size
        seconds, samples = [], []
        for first in range(0, len(x), size):
            batch = x[first : first + size]
            before = _clock()
            yield batch
            seconds.append(round(_clock() - before, 6))
            samples.append(len(batch))
        self._wire.send("batches", phase=self._phase, seconds=seconds, samples=samples)

    def warmup(self, x):
        """Yields the batches of the cold pass, which is not counted."""
        for index in range(self.config.warmup_batches):
            first = (index * self.config.batch_size) % len(x)
            yield x[first : first + self.config.batch_size]

    def outputs(self, array):
        """Stores logits or features (rows, width): all at once, or batch by batch in order."""
        import numpy as np

        self._outputs.append(np.array(array))  # a framework may use its memory again
        self._ready = _clock()

    def activation(self, name, x):
        """Stores what a layer computed, in the first prediction of a check; returns `x`.

        With names alike in two harnesses, a check names the first layer that
        differs. `x` is an array, or a function that returns one, which is
        not called elsewhere.
        """
        if not self.is_check or self._phase != "predict" or name in self._activations:
            return x
        import numpy as np

        path = os.path.join(self._job["outputs"], "activation-%d.npy" % len(self._activations))
        self._activations.add(name)
        array = _numbers(name, x)
        np.save(path, np.ascontiguousarray(array))
        self._wire.send(
            "activation", name=name, path=path, shape=list(array.shape), dtype=str(array.dtype)
        )
        return x

    # Words about the run

    def fact(self, name, value):
        """Records a property of this run, e.g. `layout="NCHW"`."""
        self._wire.send("fact", name=name, value=value)

    def metric(self, name, value, unit=None):
        """Records any other number."""
        self._wire.send("metric", name=name, value=value, unit=unit)

    def _finish(self):
        if self._outputs:
            import numpy as np

            array = np.ascontiguousarray(np.concatenate(self._outputs))
            path = os.path.join(self._job["outputs"], "outputs.npy")
            np.save(path, array)
            self._wire.send(
                "array",
                name="outputs",
                path=path,
                shape=list(array.shape),
                dtype=str(array.dtype),
                ready=round(self._ready - _origin, 6),
            )
        self._wire.send("end")


def start(framework, version, device=None, sync=None, sync_cpu=False):
    """Begins the job and returns its `Run`.

    `sync` waits until the accelerator has finished; it is called at phase and
    epoch edges, and on the CPU only where `sync_cpu` says that the framework
    works asynchronously there too. `device` is the framework's own name of
    the device where that says more than the job's.
    """
    job = _find_job()
    if "series" in job:
        job = _next_of(job["series"], job.get("imports"))
    run = Run(job, _wire, sync if job["device"] != "cpu" or sync_cpu else None)
    _wire.send("hello", framework=framework, version=str(version), device=device or run.device)

    report = sys.excepthook

    def remember(*error):
        _failures.append(error)
        report(*error)

    sys.excepthook = remember
    _before_exit(_leave, run)
    return run


def _before_exit(function, *arguments):
    """Calls a function when the harness is done.

    A thread that a framework or a data loader has left would be waited for
    before `atexit`, perhaps for ever; since Python 3.9 there is an earlier
    place, where the standard library ends its own pools of threads.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    register(function, *arguments)


def _leave(run):
    if not _failures:
        run._finish()
    if _imported is not None:  # a job of a series: its process has nothing to tidy up
        _tell_imports()
        sys.stderr.flush()
        os._exit(1 if _failures else 0)


def _next_of(series, imports):
    """Returns each job of a series, in a process of its own; ends when there are no more.

    The framework is imported once, before, which is most of a short job. What
    a job imports later is imported here before the next one begins, and noted in
    the file `imports`, by which the next series has it from the start. A framework
    that has begun to use the GPU by then cannot go on in a copy of its process:
    each job imports it anew.
    """
    global _wire, _imported
    _wire.send("phase", name="series")
    noted = _noted(imports)
    _import(noted)
    for path in series:
        if _has_begun_cuda():
            _wire.send("part", path=path, exit=_run_anew(path))
            continue
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            job = _read_job(path)
            events = os.path.join(job["outputs"], "events.jsonl")
            _wire = _Wire(open(events, "wb", buffering=0))
            _imported = os.fdopen(writer, "w"), set(sys.modules)
            _say_start()
            return job
        os.close(writer)
        with os.fdopen(reader) as names:
            modules = names.read().split()
        _, status = os.waitpid(process, 0)
        _import(modules)
        # What cannot be imported here is new to each job.
        modules = [name for name in modules if name not in noted]
        if imports and status == 0 and modules:
            noted += modules
            with open(imports, "w") as file:
                file.write(" ".join(noted))
        # As subprocess has it: a signal is a negative number.
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        _wire.send("part", path=path, exit=code)
    _wire.send("end")
    os._exit(0)  # the rest of the harness is for the jobs


def _noted(imports):
    """Returns the modules that jobs of an earlier series imported."""
    if not imports or not os.path.exists(imports):
        return []
    with open(imports) as file:
        return file.read().split()


def _import(modules):
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # it may exist only where it was imported
            pass


def _has_begun_cuda():
    """Whether this process has opened what CUDA, unlike a look at the GPU by NVML, cannot do without."""
    folder = "/proc/self/fd"
    for number in os.listdir(folder) if os.path.isdir(folder) else []:
        try:
            if os.readlink(os.path.join(folder, number)) == _CUDA:
                return True
        except OSError:  # of the list itself, which is closed by now
            pass
    return False


def _run_anew(path):
    """Runs a job of a series in a process that imports everything itself; returns its exit code."""
    events = os.path.join(_read_job(path)["outputs"], "events.jsonl")
    # By its file: `-m` looks for Python's own modules beside the harness first.
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    command = [sys.executable, main, sys.argv[0]]
    with open(events, "wb") as file:
        return subprocess.call(command, stdout=file, env=dict(os.environ, ROSETTA_JOB=path))


def _say_start():
    _wire.send(
        "start",
        t=_origin,
        language="python",
        language_version=platform.python_version(),
        sdk=__version__,
        pid=os.getpid(),
    )


def _tell_imports():
    file, before = _imported
    with file:
        file.write(" ".join(sorted(set(sys.modules) - before)))


_CUDA = "/dev/nvidia-uvm"
_imported = None  # in a job of a series: where to say what it imported, what was there before
_failures = []  # errors that end the harness: then it never claims to have finished
_wire = _Wire.on_stdout() if os.environ.get("ROSETTA_JOB") else _Screen()
_say_start()
