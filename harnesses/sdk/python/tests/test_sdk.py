"""Tests of the Python SDK: the standard library and NumPy.

PYTHONPATH=harnesses/sdk/python python -m unittest discover -s harnesses/sdk/python/tests

ROSETTA_GOLDEN=write makes the golden streams anew; read the difference.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import unittest

import numpy as np

TESTS = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.dirname(TESTS)
ROOT = os.path.abspath(os.path.join(SDK, *[os.pardir] * 3))
GOLDEN = os.path.join(ROOT, "tests", "golden")

X_TRAIN = np.arange(28, dtype=np.uint8).reshape(7, 1, 2, 2)
Y_TRAIN = np.arange(7, dtype=np.int32)
X_TEST = np.arange(0, 100, 5, dtype=np.uint8).reshape(5, 1, 2, 2)
ORDER = np.array([[6, 5, 4, 3, 2, 1, 0], [0, 2, 4, 6, 1, 3, 5]], np.uint32)
WEIGHTS = {
    "dense.weight": np.arange(8, dtype=np.float32).reshape(2, 4) / 8,
    "dense.bias": np.array([0.5, -0.5], np.float32),
}


class Result:
    """What a harness left behind."""

    def __init__(self, process, out, err, folder):
        self.code = process.returncode
        self.out, self.err, self.folder = out, err, folder

    @property
    def events(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def all(self, kind):
        return [event for event in self.events if event["ev"] == kind]

    def array(self, *path):
        return np.load(os.path.join(self.folder, "outputs", *path))


class Case(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name
        os.makedirs(os.path.join(self.folder, "outputs"))

    def job(self, **changes):
        """Returns the job of tests/golden/README.md with some fields changed."""

        def save(name, array):
            path = os.path.join(self.folder, name + ".npy")
            np.save(path, array)
            return path

        arrays = {}
        for name, array in [("x_train", X_TRAIN), ("y_train", Y_TRAIN), ("x_test", X_TEST)]:
            divide_by = 256 if name[0] == "x" else None
            source = {"path": save(name, array), "rows": len(array), "divide_by": divide_by}
            arrays[name] = source
        for name, array in WEIGHTS.items():
            save(name, array)
        job = {
            "protocol": 1,
            "job": "training.scripted.cpu.1",
            "experiment": "training",
            "target": "scripted",
            "profile": "smoke",
            "device": "cpu",
            "threads": 1,
            "seed": 42,
            "mode": "run",
            "steps": None,
            "dtype": "float32",
            "config": {"batch_size": 2, "epochs": 2, "warmup_batches": 3},
            "arrays": arrays,
            "weights": {"folder": self.folder, "names": list(WEIGHTS)},
            "order": save("order", ORDER),
            "outputs": os.path.join(self.folder, "outputs"),
        }
        job.update(changes)
        return job

    def path(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, script, environment, module=True):
        command = [sys.executable] + (["-m", "rosetta"] if module else []) + [script]
        environment = dict(os.environ, PYTHONPATH=SDK, **environment)
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment)
        out, err = process.communicate()
        return Result(process, out.decode(), err.decode(), self.folder)

    def run_file(self, script, job):
        return self.start(script, {"ROSETTA_JOB": self.path("job.json", json.dumps(job))})

    def harness(self, text, **changes):
        """Runs a few lines of a harness, after `import rosetta` and `start`."""
        text = textwrap.dedent(text)
        text = "import os, sys\nimport numpy as np\nimport rosetta\n" + text
        return self.run_file(self.path("harness.py", text), self.job(**changes))


class Guard(Case):
    def test_only_events_reach_standard_output(self):
        result = self.harness(
            """
            import subprocess
            print("from print")
            run = rosetta.start("Framework", "1")
            print("from print again", flush=True)
            os.write(1, b"from file descriptor 1\\n")
            os.system("echo from a shell")
            subprocess.check_call([sys.executable, "-c", "print('from a child')"])
            sys.__stdout__.write("from the first stdout\\n")
            """
        )
        self.assertEqual(result.code, 0, result.err)
        kinds = [event["ev"] for event in result.events]  # each line is an event
        self.assertEqual(kinds, ["start", "hello", "end"])
        for source in ["print", "print again", "file descriptor 1", "a shell", "a child"]:
            self.assertIn("from %s\n" % source, result.err)
        self.assertIn("from the first stdout\n", result.err)

    @unittest.skipIf(sys.version_info < (3, 9), "an older Python waits for threads first")
    def test_a_thread_that_is_left_does_not_keep_the_end_back(self):
        result = self.harness(
            """
            import threading, time
            run = rosetta.start("Framework", "1")
            run.outputs(np.zeros((5, 2), np.float32))
            threading.Thread(target=lambda: (time.sleep(2), os._exit(5))).start()
            """
        )
        self.assertEqual(result.code, 5)
        self.assertEqual([event["ev"] for event in result.events][-2:], ["array", "end"])

    def test_start_precedes_the_import_of_the_framework(self):
        result = self.harness("print(1 / 0)")
        self.assertEqual([event["ev"] for event in result.events], ["start"])
        self.assertEqual(result.events[0]["language"], "python")
        self.assertEqual(result.events[0]["t"], 0)

    def test_every_event_is_one_line_with_the_common_fields(self):
        result = self.run_file(os.path.join(TESTS, "scripted.py"), self.job(mode="check"))
        self.assertEqual(result.code, 0, result.err)
        events = result.events
        self.assertEqual([event["seq"] for event in events], list(range(len(events))))
        self.assertEqual({event["v"] for event in events}, {1})
        times = [event["t"] for event in events]
        self.assertEqual(times, sorted(times))


class Ends(Case):
    def test_an_exception_leaves_no_end(self):
        result = self.harness(
            """
            run = rosetta.start("Framework", "1")
            run.outputs(np.zeros((5, 2)))
            raise ValueError("no such layer")
            """
        )
        self.assertEqual(result.code, 1)
        self.assertEqual([event["ev"] for event in result.events], ["start", "hello"])
        self.assertIn("ValueError: no such layer", result.err)

    def test_leaving_with_a_message_leaves_no_end(self):
        result = self.harness('run = rosetta.start("F", "1")\nsys.exit("no GPU")')
        self.assertEqual(result.code, 1)
        self.assertEqual(result.all("end"), [])
        self.assertIn("no GPU", result.err)

    def test_a_harness_without_arrays_needs_no_numpy(self):
        result = self.harness(
            """
            sys.modules["numpy"] = None  # importing it is an error from here on
            run = rosetta.start("Plain", "1")
            for epoch in run.epochs():
                run.step(0.5)
                run.epoch_end(epoch, 0.5)
            """
        )
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(len(result.all("end")), 1)

    def test_leaving_with_zero_is_an_end(self):
        result = self.harness('run = rosetta.start("F", "1")\nsys.exit(0)')
        self.assertEqual(result.code, 0)
        self.assertEqual(len(result.all("end")), 1)

    def test_another_protocol_is_refused(self):
        result = self.harness('rosetta.start("F", "1")', protocol=2)
        self.assertEqual(result.code, 1)
        self.assertIn("this SDK speaks protocol 1, the job 2", result.err)

    def test_an_unknown_setting_or_array_names_those_that_exist(self):
        result = self.harness('rosetta.start("F", "1").config.rate')
        self.assertIn("no setting `rate`; it has: batch_size, epochs, seed", result.err)
        result = self.harness('rosetta.start("F", "1").data("z")')
        self.assertIn("no array `z`; it has: x_test, x_train, y_train", result.err)


class Data(Case):
    TYPES = """
        run = rosetta.start("F", "1")
        for name in ["x_train", "y_train", "x_test"]:
            run.fact(name, str(run.data(name).dtype))
            run.data(name)[0] = 0  # writable, as frameworks want it
        run.fact("max", run.data("x_test").max())
        run.fact("rows", len(run.data("y_train")))
        run.fact("weights", sorted({str(w.dtype) for w in run.weights().values()}))
        run.fact("names", list(run.weights()))
        run.fact("settings", [run.config.seed, run.threads, run.device, run.dtype])
    """

    def facts(self, **changes):
        result = self.harness(self.TYPES, **changes)
        self.assertEqual(result.code, 0, result.err)
        return {event["name"]: event["value"] for event in result.all("fact")}

    def test_float32_is_handed_out(self):
        facts = self.facts()
        self.assertEqual(facts["x_train"], "float32")
        self.assertEqual(facts["y_train"], "int32")
        self.assertEqual(facts["weights"], ["float32"])
        self.assertEqual(facts["max"], 95 / 256)
        self.assertEqual(facts["names"], ["dense.weight", "dense.bias"])
        self.assertEqual(facts["settings"], [42, 1, "cpu", "float32"])

    def test_float64_is_handed_out_where_the_job_asks_for_it(self):
        facts = self.facts(dtype="float64")
        self.assertEqual(facts["x_test"], "float64")
        self.assertEqual(facts["y_train"], "int32")
        self.assertEqual(facts["weights"], ["float64"])

    def test_rows_beyond_those_of_the_job_do_not_count(self):
        job = self.job()
        job["arrays"]["y_train"]["rows"] = 3
        self.assertEqual(self.facts(arrays=job["arrays"])["rows"], 3)


class Training(Case):
    LOOP = """
        run = rosetta.start("F", "1")
        for epoch in run.epochs():
            x_epoch, y_epoch = run.epoch_data(epoch)
            batches = list(run.batches(epoch))
            run.fact("labels", [int(n) for x, y in batches for n in y])
            same_x = np.array_equal(np.concatenate([x for x, y in batches]), x_epoch)
            same_y = np.array_equal(np.concatenate([y for x, y in batches]), y_epoch)
            run.fact("same", bool(same_x and same_y))
            for x, y in batches:
                run.step(0.5)
            run.epoch_end(epoch, 0.5)
    """

    def labels(self, result):
        self.assertEqual(result.code, 0, result.err)
        self.assertNotIn(False, [e["value"] for e in result.all("fact") if e["name"] == "same"])
        return [e["value"] for e in result.all("fact") if e["name"] == "labels"]

    def test_batches_come_in_the_common_order_and_are_the_epoch_data(self):
        labels = self.labels(self.harness(self.LOOP))
        self.assertEqual(labels, [[6, 5, 4, 3, 2, 1], [0, 2, 4, 6, 1, 3]])

    def test_steps_limit_all_epochs_together(self):
        result = self.harness(self.LOOP, steps=4)
        self.assertEqual(self.labels(result), [[6, 5, 4, 3, 2, 1], [0, 2]])
        self.assertEqual([e["samples"] for e in result.all("epoch")], [6, 2])

    def test_steps_may_end_with_an_epoch(self):
        self.assertEqual(len(self.labels(self.harness(self.LOOP, steps=3))), 1)

    def test_no_steps_is_no_epoch(self):
        result = self.harness(self.LOOP, steps=0)
        self.assertEqual(self.labels(result), [])
        self.assertEqual(result.all("epoch"), [])
        self.assertEqual(len(result.all("end")), 1)

    def test_an_order_is_the_row_numbers_of_the_batches(self):
        result = self.harness(
            """
            run = rosetta.start("F", "1")
            for epoch in run.epochs():
                order, y_train = run.order(epoch), run.data("y_train")
                run.fact("order", order.tolist())
                run.fact("dtype", str(order.dtype))
                same = [np.array_equal(y_train[rows], y) for rows, (_, y) in zip(order, run.batches(epoch))]
                run.fact("same", same)
                run.epoch_end(epoch, None)
            """,
            steps=4,
        )
        self.assertEqual(result.code, 0, result.err)
        value = lambda name: [e["value"] for e in result.all("fact") if e["name"] == name]
        self.assertEqual(value("order"), [[[6, 5], [4, 3], [2, 1]], [[0, 2]]])
        self.assertEqual(value("dtype"), ["int64"] * 2)
        self.assertEqual(value("same"), [[True] * 3, [True]])

    CLOCKED = """
        now = [0.0]
        rosetta._clock = lambda: now[0]
        rosetta._origin = 0.0
        run = rosetta.start("F", "1", sync=lambda: now.__setitem__(0, now[0] + 8))
        for epoch in run.epochs():
            for loss, (x, y) in enumerate(run.batches(epoch)):
                now[0] += 0.3
                run.step(lambda loss=loss: loss + 0.5)
            run.epoch_end(epoch, None)
    """

    def test_a_normal_run_tells_its_progress_every_half_second(self):
        result = self.harness(self.CLOCKED, device="cpu")
        steps = [(e["step"], e["steps"], e["loss"]) for e in result.all("step")]
        self.assertEqual(steps, [(2, 3, 0.5)] * 2)  # the loss of the step before
        epoch = result.all("epoch")[0]
        self.assertEqual([epoch["seconds"], epoch["first_step_seconds"]], [0.9, 0.3])

    def test_an_accelerator_is_asked_for_no_loss_but_waited_for_at_edges(self):
        result = self.harness(self.CLOCKED, device="cuda")
        self.assertEqual([e["loss"] for e in result.all("step")], [None, None])
        self.assertEqual(result.all("epoch")[0]["seconds"], 8.9)

    def test_a_check_reads_each_loss_and_stores_weights(self):
        result = self.harness(
            """
            run = rosetta.start("F", "1")
            for epoch in run.epochs():
                for x, y in run.batches(epoch):
                    run.step(np.float32(y[0]) + 0.5)
                run.epoch_end(epoch, np.array(0.25))
            run.final_weights(lambda: {"a": np.arange(6.0).reshape(2, 3).T})
            """,
            mode="check",
        )
        self.assertEqual([e["loss"] for e in result.all("step")][:3], [6.5, 4.5, 2.5])
        self.assertEqual([e["loss"] for e in result.all("epoch")], [0.25, 0.25])
        stored = result.array("weights", "a.npy")
        self.assertEqual(stored.tolist(), [[0, 3], [1, 4], [2, 5]])
        self.assertTrue(stored.flags.c_contiguous)

    def test_a_normal_run_makes_no_weights(self):
        result = self.harness('rosetta.start("F", "1").final_weights(lambda: 1 / 0)')
        self.assertEqual((result.code, result.all("weights")), (0, []))


class Prediction(Case):
    def test_split_ends_with_a_smaller_batch_and_keeps_the_order(self):
        result = self.harness(
            """
            run = rosetta.start("F", "1")
            run.phase("predict")
            again = np.empty((2, 4), "float32")  # used again by each batch
            for x in run.split(run.data("x_test")):
                again[: len(x)] = x.reshape(len(x), -1)
                run.outputs(again[: len(x)])
            """
        )
        self.assertEqual(result.code, 0, result.err)
        batches, array = result.all("batches")[0], result.all("array")[0]
        self.assertEqual((batches["phase"], batches["samples"]), ("predict", [2, 2, 1]))
        self.assertEqual(len(batches["seconds"]), 3)
        self.assertEqual((array["shape"], array["dtype"]), ([5, 4], "float32"))
        expected = X_TEST.reshape(5, 4).astype("float32") / 256
        self.assertEqual(result.array("outputs.npy").tolist(), expected.tolist())

    def test_warmup_begins_again_at_the_end_of_the_array(self):
        result = self.harness(
            """
            run = rosetta.start("F", "1")
            x = np.arange(5)
            run.fact("rows", [list(rows) for rows in run.warmup(x)])
            """,
            config={"batch_size": 2, "warmup_batches": 4},
        )
        self.assertEqual(result.all("fact")[0]["value"], [[0, 1], [2, 3], [4], [1, 2]])


class Activations(Case):
    LINES = """
        class Tensor:  # as PyTorch has it
            shape = (2,)
            def detach(self): return self
            def cpu(self): return np.array([1.5, 2.5])
        class Traced:
            shape = (2,)
            def __array__(self, *_, **__): raise TypeError("traced without numbers")
        run = rosetta.start("Framework", "1")
        run.phase("train")
        run.activation("early", np.zeros(1))
        run.phase("predict")
        tensor = Tensor()
        assert run.activation("tensor", tensor) is tensor
        run.activation("function", lambda: [1, 2, 3])
        run.activation("function", lambda: [4, 5, 6])
        """

    def test_the_first_of_each_name_is_stored_in_a_checks_prediction(self):
        result = self.harness(self.LINES, mode="check", steps=0)
        self.assertEqual(result.code, 0, result.err)
        said = [(one["name"], one["shape"]) for one in result.all("activation")]
        self.assertEqual(said, [("tensor", [2]), ("function", [3])])
        self.assertEqual(result.array("activation-0.npy").tolist(), [1.5, 2.5])
        self.assertEqual(result.array("activation-1.npy").tolist(), [1, 2, 3])

    def test_a_normal_run_touches_none(self):
        result = self.harness(textwrap.dedent(self.LINES) + "run.activation('traced', Traced())\n")
        self.assertEqual((result.code, result.all("activation")), (0, []), result.err)

    def test_what_has_no_numbers_is_an_error_with_what_to_do(self):
        line = "run.activation('block1', Traced())\n"
        result = self.harness(textwrap.dedent(self.LINES) + line, mode="check", steps=0)
        self.assertEqual(result.code, 1)
        self.assertIn("activation `block1` has no numbers here: traced without numbers", result.err)
        self.assertIn("call the model as it is", result.err)


class Numbers(Case):
    def test_what_json_cannot_hold_is_text(self):
        result = self.harness(
            """
            run = rosetta.start("F", "1")
            run.metric("a", float("nan"))
            run.metric("b", np.float32("inf"), "ms")
            run.fact("c", {"deep": [np.float64("-inf"), np.int64(3), np.bool_(True)]})
            run.fact("d", "\\u00e9\\n")
            """
        )
        self.assertEqual(result.code, 0, result.err)
        metrics = [(e["value"], e["unit"]) for e in result.all("metric")]
        self.assertEqual(metrics, [("NaN", None), ("Infinity", "ms")])
        facts = [e["value"] for e in result.all("fact")]
        self.assertEqual(facts, [{"deep": ["-Infinity", 3, True]}, "\u00e9\n"])


class ByHand(Case):
    """`python cnn.py`: no rosetta, readable lines."""

    def by_hand(self, program):
        script = os.path.join(TESTS, "scripted.py")
        environment = {"ROSETTA": program}
        os.environ.pop("ROSETTA_JOB", None)
        return self.start(script, environment, module=False)

    def program(self, text):
        path = self.path("rosetta", "#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_events_are_readable_lines(self):
        job = self.path("job.json", json.dumps(self.job()))
        said = os.path.join(self.folder, "said")
        result = self.by_hand(self.program('echo "$@" > "%s"; cat "%s"\n' % (said, job)))
        self.assertEqual(result.code, 0, result.err)
        with open(said) as file:
            self.assertEqual(file.read(), "job scripted --profile smoke\n")
        lines = [" ".join(line.split()[2:]) for line in result.out.splitlines()]
        self.assertIn("hello framework=Scripted version=1.2.3 device=cpu", lines)
        self.assertIn("phase name=train", lines)
        self.assertIn("metric name=accuracy value=0.75", lines)
        self.assertEqual(lines[-1], "end")
        self.assertNotIn("{", result.out)

    def test_a_failing_rosetta_is_named(self):
        result = self.by_hand(self.program("exit 2\n"))
        self.assertEqual(result.code, 1)
        self.assertIn("job scripted --profile smoke` failed with exit code 2", result.err)


class Series(Case):
    SCRIPT = """
        import os, sys
        import rosetta
        run = rosetta.start("Scripted", "1.0")
        import colorsys  # late, as a framework imports what it needs first here
        if run.config.fails:
            raise ValueError("planted")
        if run.config.crashes:
            os.kill(os.getpid(), 11)
        run.fact("seed", run.config.seed)
        run.fact("was_there", run.config.was_there == ("colorsys" in late))
        for epoch in run.epochs():
            for x, y in run.batches(epoch):
                run.step(0.5)
            run.epoch_end(epoch, 0.5)
        run.outputs(run.data("x_test").reshape(5, 4))
    """

    def series(self, *configs, before="import os, sys", late="", **more):
        paths = []
        for number, config in enumerate(configs):
            outputs = os.path.join(self.folder, "part%d" % number)
            os.makedirs(outputs, exist_ok=True)
            given = {"batch_size": 2, "epochs": 2, "fails": False, "crashes": False}
            given.update({"was_there": number > 0}, **config)
            job = self.job(config=given, outputs=outputs, mode="check", steps=3, seed=number)
            paths.append(self.path("job%d.json" % number, json.dumps(job)))
        # What stands before `start` is run once, for all.
        script = textwrap.dedent(self.SCRIPT).replace(
            "import colorsys", "late = list(sys.modules)\nimport colorsys\n" + late
        )
        script = self.path("scripted.py", script.replace("run = rosetta", before + "\nrun = rosetta"))
        return self.run_file(script, dict(more, protocol=1, series=paths)), paths

    def events_of(self, number):
        with open(os.path.join(self.folder, "part%d" % number, "events.jsonl")) as file:
            return [json.loads(line) for line in file]

    def test_each_job_has_a_stream_of_its_own(self):
        result, paths = self.series({}, {})
        self.assertEqual(result.code, 0, result.err)
        parts = [(event["path"], event["exit"]) for event in result.all("part")]
        self.assertEqual(parts, [(path, 0) for path in paths])
        self.assertEqual(result.events[-1]["ev"], "end")
        for number in range(2):
            events = self.events_of(number)
            self.assertEqual([event["seq"] for event in events], list(range(len(events))))
            kinds = [event["ev"] for event in events]
            self.assertEqual(kinds[:2], ["start", "hello"])
            self.assertEqual((kinds.count("step"), kinds[-1]), (3, "end"))
            facts = {event["name"]: event["value"] for event in events if event["ev"] == "fact"}
            self.assertEqual(facts, {"seed": number, "was_there": True})
            outputs = os.path.join(self.folder, "part%d" % number, "outputs.npy")
            self.assertEqual(np.load(outputs).shape, (5, 4))

    def test_what_jobs_import_is_there_from_the_start_the_next_time(self):
        imports = os.path.join(self.folder, "imports")
        # A name that no import finds is new to each job, and noted once.
        self.series({}, {}, imports=imports, late="sys.modules['made.up'] = sys")
        with open(imports) as file:
            noted = file.read()
        self.assertIn("colorsys", noted.split())
        self.assertEqual(noted.split().count("made.up"), 1)
        self.path("imports", "no_such_module " + noted)
        result, _ = self.series({"was_there": True}, {}, imports=imports)
        self.assertEqual([event["exit"] for event in result.all("part")], [0, 0], result.err)
        facts = [event["value"] for event in self.events_of(0) if event.get("name") == "was_there"]
        self.assertEqual(facts, [True])
        with open(imports) as file:
            self.assertEqual(file.read(), "no_such_module " + noted, "nothing is new")

    def test_a_framework_that_has_begun_to_use_the_gpu_is_imported_anew(self):
        # An open file plays the driver: a copy of this process could not use it.
        opened = "driver = open(%r)\nrosetta._CUDA = driver.name" % self.path("driver", "")
        was_there = {"was_there": False}  # nothing is imported for all
        crashes = dict(was_there, crashes=True)
        result, _ = self.series(was_there, was_there, crashes, before=opened)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual([event["exit"] for event in result.all("part")], [0, 0, -11])
        facts = [event for event in self.events_of(1) if event.get("name") == "was_there"]
        self.assertEqual([fact["value"] for fact in facts], [True])
        events = self.events_of(0)
        self.assertEqual([events[0]["ev"], events[1]["ev"], events[-1]["ev"]], ["start", "hello", "end"])
        self.assertNotEqual(events[0]["pid"], self.events_of(1)[0]["pid"])

    def test_a_job_that_fails_or_crashes_does_not_end_the_others(self):
        result, _ = self.series({"fails": True}, {"crashes": True}, {})
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual([event["exit"] for event in result.all("part")], [1, -11, 0])
        self.assertIn("ValueError: planted", result.err)
        ends = [self.events_of(number)[-1]["ev"] == "end" for number in range(3)]
        self.assertEqual(ends, [False, False, True])


class Golden(Case):
    """Streams that every SDK must produce: tests/golden/README.md."""

    STREAMS = {
        "training": {},
        "inference": {"config": {"batch_size": 2, "warmup_batches": 3}, "order": None},
        "check": {"mode": "check", "steps": 4, "dtype": "float64"},
        "untrained": {"mode": "check", "steps": 0},
        "activations": {"mode": "check", "steps": 1},
        "nonfinite": {"mode": "check", "steps": 3},
    }

    def normal(self, result, is_check):
        """Returns the events without what differs between runs and languages."""
        events = []
        for event in result.events:
            if event["ev"] == "step" and not is_check:
                continue  # these depend on the clock
            event["seq"] = len(events)
            for field in ["t", "pid", "ready", "first_step_seconds", "seconds"]:
                if isinstance(event.get(field), list):
                    event[field] = [0 for _ in event[field]]
                elif event.get(field) is not None:
                    event[field] = 0
            for field in ["language", "language_version", "sdk"]:
                if field in event:
                    event[field] = ""
            for field in ["path", "folder"]:
                if field in event:
                    event[field] = os.path.basename(event[field])
            events.append(event)
        return events

    def test_streams(self):
        for name, changes in self.STREAMS.items():
            with self.subTest(name):
                job = self.job(experiment=name, **changes)
                result = self.run_file(os.path.join(TESTS, "scripted.py"), job)
                self.assertEqual(result.code, 0, result.err)
                events = self.normal(result, job["mode"] == "check")
                path = os.path.join(GOLDEN, name + ".jsonl")
                if os.environ.get("ROSETTA_GOLDEN") == "write":
                    lines = [json.dumps(event, separators=(",", ":")) for event in events]
                    with open(path, "w", encoding="utf-8") as file:
                        file.write("\n".join(lines) + "\n")
                with open(path, encoding="utf-8") as file:
                    self.assertEqual(events, [json.loads(line) for line in file])
                totals = X_TEST.reshape(5, 4).sum(1) / 256
                expected = np.stack([totals, -totals], 1)
                np.testing.assert_array_equal(result.array("outputs.npy"), expected)
                if name == "activations":
                    np.testing.assert_array_equal(result.array("activation-0.npy"), X_TEST[:2] / 256)
                    np.testing.assert_array_equal(result.array("activation-1.npy"), expected[:2])
                if name == "check":
                    for weight, before in WEIGHTS.items():
                        after = result.array("weights", weight + ".npy")
                        np.testing.assert_array_equal(after, before + 1)
                        self.assertEqual(after.dtype, np.float64)


if __name__ == "__main__":
    unittest.main()
