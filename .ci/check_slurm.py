"""Runs jobs on a real Slurm of four emulated nodes, and sees that nothing is lost, counted twice or left running.

    python3 .ci/check_slurm.py ROSETTA

Needs root and Debian's slurmctld, slurmd, slurm-client and munge (installed if missing), else it says so and ends well. While 42
jobs run: rosetta is killed and another one collects, a task is requeued, a node is killed with all that it runs, another loses
its slurmstepd, slurmctld is stopped and started again. Beside them, two tasks come to their time limit;
one of them hears nothing, and Slurm kills it.
"""

import collections
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import check_nightly
import slurm
from driving import Driven

JOBS = 42
# Of a task that hears of its limit, and of one that Slurm has to kill there.
REASONS = ("Slurm ended it at its limit", "the time limit of its task came near")
PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
LAUNCHER = """\
version: 1
launcher: slurm
shared: [{shared}]
resources:
  cpu: {{time: {time}, cpus: 1, exclusive: {exclusive}}}
attempts: 5
grace: 4s
poll: 3s
options: ["--nodelist={nodes}"]
"""


class Rosetta(Driven):
    def __init__(self, program, project, environment):
        self.program, self.project, self.environment = str(program), project, environment

    def submit(self, launcher, framework, repeats):
        """Submits jobs and returns the run's folder."""
        before = set(self.project.glob("results/runs/*"))
        self("run", "-f", framework, "-p", "smoke", "-r", str(repeats), "--no-check", "--launcher", launcher, "--detach")
        [folder] = set(self.project.glob("results/runs/*")) - before
        return folder

    def show(self, run):
        return json.loads(self("runs", "show", run.name, "--json"))


def make_project(folder, python):
    check_nightly.make_project(folder, python)
    harness = check_nightly.HARNESS
    long = {"numpy": 2, "slow": 600}
    for name, seconds in long.items():
        text = harness.replace('run.phase("train")', f'run.phase("train")\nimport time; time.sleep({seconds})')
        (folder / "harnesses" / name).mkdir(exist_ok=True)
        (folder / f"harnesses/{name}/line.py").write_text(text)
        framework = check_nightly.FRAMEWORK.replace("name: numpy", f"name: {name}")
        (folder / f"harnesses/{name}/framework.yaml").write_text(framework)


def records(run):
    """Returns the records of a run, each job once, in its folder and in the lines."""
    found = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    jobs = collections.Counter(record["job"] for record in found)
    assert all(count == 1 for count in jobs.values()), jobs
    for record in found:
        sealed = json.loads((run / record["job"] / "record.json").read_text())
        assert sealed == record and record["run"] == run.name, record["job"]
    return found


def tasks_here(project):
    """Returns what is left of tasks and their jobs."""
    left = []
    for pid in slurm.processes():
        words = slurm.read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        if str(project) in words and ("__task" in words or "__job" in words or "rosetta/__main__.py" in words):
            left.append(f"{pid}: {words}")
    return left


def hold(pid):
    """Stops a process as a debugger does: unlike one that was stopped by a signal, it hears no other but SIGKILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for thread in os.listdir(f"/proc/{pid}/task"):
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if libc.ptrace(request, int(thread), None, None):
                raise OSError(ctypes.get_errno(), f"process {pid} cannot be held")
        # Its parent hears of its end after us.
        threading.Thread(target=until_it_ends, args=(int(thread),), daemon=True).start()


def until_it_ends(thread):
    while os.WIFSTOPPED(os.waitpid(thread, WALL)[1]):
        pass


def main():
    rosetta = pathlib.Path(sys.argv[1]).resolve()
    if os.geteuid() != 0:
        check_nightly.leave("only root can start Slurm's daemons")
    if not slurm.install():
        check_nightly.leave("there is no Slurm, and it could not be installed")
    begun = time.monotonic()
    say = lambda words: print(f"{time.monotonic() - begun:6.1f} s  {words}", flush=True)
    with tempfile.TemporaryDirectory(prefix="rosetta-slurm-") as folder, slurm.Slurm(pathlib.Path(folder) / "lab") as lab:
        say("four nodes are idle")
        project = pathlib.Path(folder) / "project"
        project.mkdir()
        listed = subprocess.run([rosetta, "--project", check_nightly.ROOT, "env", "list", "--json"], check=True, stdout=subprocess.PIPE, text=True)
        [numpy] = [env for env in json.loads(listed.stdout) if env["name"] == "numpy"]
        make_project(project, pathlib.Path(numpy["root"]) / "bin/python")
        home = pathlib.Path(os.environ.get("ROSETTA_HOME") or pathlib.Path.home() / ".cache/rosetta")
        shared = ", ".join(map(str, (folder, home, rosetta.parent)))
        (project / "launchers").mkdir()
        for name, time_limit, exclusive, nodes in (("slurm", "10m", "true", "n[1-3]"), ("short", "1m", "false", "n4")):
            text = LAUNCHER.format(shared=shared, time=time_limit, exclusive=exclusive, nodes=nodes)
            if name == "slurm":
                # One node of three: a list of nodes means all of them to sbatch.
                text = text.replace('"--nodelist=n[1-3]"', '"--exclude=n4"')
            (project / f"launchers/{name}.yaml").write_text(text)
        drive = Rosetta(rosetta, project, lab.environment)

        short = drive.submit("short", "slow", 2)
        lab.wait(lambda: len(drive.show(short)["running"]) == 2, "both slow tasks run")
        # One of them is held: it hears nothing, and goes on to its limit, at which Slurm kills it.
        held = drive.show(short)["running"][1]["task"]
        its_index = f"SLURM_ARRAY_TASK_ID={held.split('_')[1]}".encode()
        is_it = lambda pid: b"__task" in slurm.read(pid, "cmdline").split(b"\0") and its_index in slurm.read(pid, "environ").split(b"\0")
        events = short / f"cluster/attempts/{drive.show(short)['running'][1]['job']}.1-0/events.jsonl"
        lab.wait(lambda: events.exists() and '"train"' in events.read_text(), "the slow task trains")
        [pid] = [pid for pid in slurm.processes() if is_it(pid)]
        hold(pid)
        say("two tasks run into their limit of a minute, one of them held fast")

        words = ("run", "-f", "numpy", "-p", "smoke", "-r", str(JOBS), "--no-check", "--launcher", "slurm")
        first = drive.start(*words)
        runs = lambda: [run for run in project.glob("results/runs/*") if run != short and (run / "cluster/submissions/1.json").exists()]
        lab.wait(lambda: runs() and len(list(runs()[0].glob("cluster/attempts/*/record.json"))) + len(list(runs()[0].glob("line.*"))) >= 4, "some jobs have ended")
        [run] = runs()
        first.kill()
        first.communicate()
        say("rosetta is killed; nobody waits any more")

        def training(node):
            """Returns the task of a node that is in the middle of its job."""
            tasks = drive.show(run)["running"]
            return next((task["task"] for task in tasks if task["node"] == node and task["progress"] == "train"), None)

        requeued = lab.wait(lambda: training("n3"), "a task trains on n3")
        lab.ask("scontrol", "requeue", requeued)
        say(f"task {requeued} is requeued")
        lab.wait(lambda: training("n2"), "a task trains on n2")
        lab.kill_node("n2")
        say("node n2 is dead")
        lab.wait(lambda: training("n1"), "a task trains on n1")
        for pid in lab.stepds_of("n1"):
            orphans = slurm.below(pid)
            os.kill(pid, signal.SIGKILL)
            lab.wait(lambda: not any(slurm.is_alive(one) for one in orphans), "orphans end", 15)
        say(f"slurmstepd on n1 is killed; its {len(orphans)} processes have ended")
        lab.stop("n1", signal.SIGKILL)
        lab.stop("slurmctld")
        silent = drive.start("runs", "collect", run.name)
        said = silent.communicate()[1]
        assert silent.returncode == 2 and "goes on once Slurm answers" in said, said
        lab.start_controller()
        lab.start_node("n1")
        say("slurmctld was stopped; it and slurmd on n1 are back")
        second = drive.start("runs", "collect", run.name, "--wait")
        time.sleep(8)
        lab.start_node("n2")
        say("n2 is back")

        # Without a word by Slurm a lost task may stay in the queue for minutes.
        stdout, stderr = second.communicate(timeout=170)
        assert second.returncode == 0, stderr
        say(f"another rosetta has collected: {stderr.splitlines()[-2]}")
        found = records(run)
        assert len(found) == JOBS and all(record["outcome"]["status"] == "ok" for record in found), found
        assert {record["machine"]["cluster"] for record in found} == {"lab"}
        hosts = collections.Counter(record["machine"]["host"] for record in found)
        assert set(hosts) <= {"n1", "n2", "n3"}, hosts
        unfinished = sorted(path.name for path in run.glob("cluster/attempts/*") if not (path / "record.json").exists())
        assert len(unfinished) >= 3, f"nothing was cut short: {unfinished}"
        say(f"{JOBS} records, each once, of {dict(hosts)}; cut short: {', '.join(unfinished)}")

        drive("runs", "collect", short.name, "--wait", code=1)
        reasons = sorted(record["outcome"]["reason"] for record in records(short))
        assert all(record["outcome"]["status"] == "timed_out" for record in records(short)), reasons
        assert [reason.startswith(expected) for reason, expected in zip(reasons, REASONS)] == [True, True], reasons
        say(f"at their limits: {'; '.join(reasons)}")

        cancelled = drive.submit("slurm", "slow", 5)
        lab.wait(lambda: drive.show(cancelled)["running"], "a task runs")
        drive("runs", "cancel", cancelled.name, code=0)
        drive("runs", "collect", cancelled.name, "--wait", code=1)
        assert [record["outcome"]["status"] for record in records(cancelled)] == ["cancelled"] * 5
        lab.wait(lambda: not lab.ask("squeue", "-h").strip(), "the queue is empty")
        assert not tasks_here(folder), tasks_here(folder)
        say("a run is cancelled; the queue is empty, and no process of a task is left")
        table = drive("table", "--run", run.name)
        assert table.count("– lab: ") == 1, table
        print(table)


if __name__ == "__main__":
    main()
