"""Sees `--provider docker` work with a real engine: the docker of this machine, or Debian's, started here; or podman.

    python3 .ci/check_docker.py ROSETTA [--engine podman]

Needs root and what an engine needs (namespaces, mounts, iptables); podman also runs as anybody. Where one cannot be
started this says so and ends with 0: a machine without these rights cannot tell. No registry is asked: .ci/base_image.py
makes the base from this machine's own packages and CPythons. What the targets are in the venv is known from
results/reference, where nothing has changed.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import base_image  # noqa: E402
import driving  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Target → the experiment that is checked and run.
TARGETS = {"numpy": "rnn", "cntk": "cnn", "jax": "cnn", "mxnet-1.9": "cnn"}
# What the images of one, and of all of these, take of a disk at most, with a third to spare: 3.1 GiB were seen (Docker
# 20.10, overlay2).
ROOM_OF_ONE, ROOM = 2 << 30, 4 << 30
# How long, in seconds, what is to be ended would sleep: a number by which it is found among all processes.
LONG = str(100_000 + os.getpid())
# What stands in for a harness: it does what the name of its target says.
PLAYED = """
import os, subprocess, sys, time
what = os.environ["PLAYS"]
if what == "sleep":
    subprocess.Popen(["sleep", "LONG"], start_new_session=True)
    time.sleep(300)
elif what == "memory":
    hog = [bytearray(1 << 20) for _ in range(4000)]
elif what == "helper":
    code = "hog = [bytearray(1 << 20) for _ in range(4000)]"
    sys.exit(3 if subprocess.run([sys.executable, "-c", code]).returncode else 0)
elif what == "walls":
    found = []
    for path in (__file__, "/opt/rosetta/env/x", "/etc/x"):
        try:
            open(path, "a").close()
            found.append("wrote " + path)
        except OSError:
            pass
    status = open("/proc/self/status").read()
    if "CapEff:\\t0000000000000000" not in status or "NoNewPrivs:\\t1" not in status:
        found.append("it has rights")
    if os.listdir("/sys/class/net") != ["lo"]:
        found.append("it has a network")
    found.append("%d CPUs" % len(os.sched_getaffinity(0)))
    sys.exit("; ".join(found))
""".replace("LONG", LONG)
YAML = """
version: 1
name: played
title: Played
language: python
era: current
targets:
""" + "".join(
    f"  - {{name: {what}, title: {what}, env: {{cpu: numpy}}, environment: {{PLAYS: {what}}}}}\n"
    for what in ("sleep", "memory", "helper", "walls")
)


DOCKER = ("--provider", "docker")
# Environments whose build fails, or does not end, after all packages are installed.
BROKEN = {"fails": "'false'", "lasts": f"sleep, '{LONG}'"}


class Skipped(Exception):
    """Why nothing can be seen here."""


class Engine:
    """An engine, by its client's name."""

    def __init__(self, name):
        self.name = name
        # Containers that were here before.
        self.others = set()

    def run(self, *words):
        return subprocess.run([self.name, *words], capture_output=True, text=True)

    def lines(self, *words):
        return subprocess.check_output([self.name, *words], text=True).splitlines()

    def run_one(self, tag):
        done = self.run("run", "--rm", "--network", "none", tag, "true")
        if done.returncode:
            raise Skipped(f"this machine runs no container: {done.stderr.strip()}")

    def shown(self):
        """Returns what rosetta calls it."""
        form = "{{.ServerVersion}}" if self.name == "docker" else "{{.Version.Version}}"
        return f"{self.name} {self.lines('info', '--format', form)[0]}"

    def of_builds(self):
        """Returns the containers in which an image is built."""
        external = ["--external"] if self.name == "podman" else []
        return set(self.lines("ps", "--all", "--quiet", *external)) - set(self.containers()) - self.others

    def forget_builds(self):
        """podman keeps the first container of a build that is killed, in which nothing has been done yet."""
        of_builds = self.of_builds()
        if self.name == "podman" and len(of_builds) == 1:
            self.run("rm", "--force", *of_builds)

    def containers(self):
        return self.lines("ps", "--all", "--quiet", "--filter", "label=rosetta.owner")

    def images(self):
        """Returns the ids of all images, those of a build's steps too."""
        return set(self.lines("images", "--all", "--quiet", "--no-trunc"))

    def unmount(self, folder):
        """What an engine has mounted goes with its folder."""
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            place = line.split()[1]
            if place.startswith(f"{folder}/"):
                subprocess.run(["umount", "--lazy", place])


def install(program, *packages):
    """Sees that a program is here, from Debian's packages where they may be installed."""
    if shutil.which(program):
        return
    if os.geteuid() != 0:
        raise Skipped(f"there is no {program}, and only root can install it")
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode or not shutil.which(program):
        raise Skipped(f"{program} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


class Docker(Engine):
    """The docker engine of this machine, or one of our own: its socket, files and process."""

    def __init__(self, folder):
        super().__init__("docker")
        self.folder, self.socket, self.process = folder, f"unix://{folder}/docker.sock", None
        if shutil.which("docker") and self.run("info").returncode == 0:
            return  # One is here. A second one without a bridge would take that of the first away.
        if os.geteuid() != 0:
            raise Skipped("only root can start an engine")
        for program in ("dockerd", "iptables"):
            install(program, "docker.io", "iptables")
        words = ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
                 "--host", self.socket, "--bridge", "none", "--iptables=false"]
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, start_new_session=True)
        os.environ["DOCKER_HOST"] = self.socket
        for _ in range(300):
            if self.run("info").returncode == 0:
                break
            if self.process.poll() is not None:
                raise Skipped(f"dockerd does not start: {(folder / 'log').read_text().strip().splitlines()[-1:]}")
            time.sleep(0.1)
        else:
            self.stop()
            raise Skipped("dockerd does not answer within 30 s")

    def stop(self):
        if self.process is None:
            self.run("image", "rm", "--force", "base:1")
            return
        self.process.terminate()
        self.process.wait(30)
        self.unmount(self.folder)


class Podman(Engine):
    """podman with images and settings of its own: it has no process, and what this machine keeps is not touched."""

    def __init__(self, folder):
        super().__init__("podman")
        self.folder = folder
        install("podman", "podman", "runc")
        files, (_, processes) = (resource.getrlimit(one) for one in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
        # Where nobody may raise a limit, podman's own limits are refused; it takes 32768 processes for itself. Without
        # systemd nobody else makes control groups, and crun takes none where both versions of them are mounted.
        processes = min(processes, 32768) if processes > 0 else 32768
        limits = [f"nofile={files[0]}:{files[1]}", f"nproc={processes}:{processes}"]
        runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
        # Without root a network of a container's own needs this device.
        network = "" if os.access("/dev/net/tun", os.W_OK) else 'netns = "host"\n'
        (folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = {json.dumps(limits)}\n{network}'
            f'[engine]\ncgroup_manager = "cgroupfs"\n{runtime}'
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
            f'rootless_storage_path = "{folder}/images"\n'
        )
        os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
        os.environ["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")
        os.environ["ROSETTA_CONTAINER"] = "podman"
        done = self.run("info")
        if done.returncode:
            raise Skipped(f"podman does not work: {done.stderr.strip()}")

    def stop(self):
        # podman goes round and round an image of which a build that was ended has a container.
        self.run("rm", "--force", *self.lines("ps", "--all", "--quiet", "--external"))
        self.run("image", "rm", "--all", "--force")
        self.unmount(self.folder)


ENGINES = {"docker": Docker, "podman": Podman}


class Rosetta(driving.Driven):
    """rosetta in a project of its own."""

    def __init__(self, program, folder, targets):
        self.program, self.project, self.results = os.path.abspath(program), folder / "project", folder / "results"
        shutil.copytree(ROOT / "specs", self.project / "specs")
        for kind in ("harnesses", "envs"):
            shutil.copytree(ROOT / kind, self.project / kind, ignore=shutil.ignore_patterns("target", "docker.lock"))
        shutil.copytree(ROOT / "results/reference/checks", self.results / "checks")
        played = self.project / "harnesses/played"
        played.mkdir()
        (played / "framework.yaml").write_text(YAML)
        (played / "rnn.py").write_text(PLAYED)
        for name, step in BROKEN.items():
            shutil.copytree(self.project / "envs/numpy", self.project / "envs" / name)
            env = self.project / "envs" / name / "env.yaml"
            text = env.read_text().replace("name: numpy", f"name: {name}")
            env.write_text(f"{text}fixups: [{{why: its end is looked at, run: [{step}]}}]\n")
        self.children = []
        self.environment = {**os.environ, "ROSETTA_RESULTS": str(self.results), "NO_COLOR": "1"}

    def start(self, *words):
        self.children.append(super().start(*words))
        return self.children[-1]

    def end(self):
        """One that goes on would keep its lock from whatever comes next."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()

    def records(self):
        files = sorted((self.results / "runs").glob("*/records.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def interpreters(rosetta, targets):
    """Returns the CPythons under the pinned environments."""
    rosetta("env", "build", *targets)
    envs = {env["name"]: env for env in json.loads(rosetta("env", "list", "--json"))}
    pythons = [f"{envs[name]['root']}/bin/python" for name in targets]
    if any(subprocess.check_output([one, "-c", "import sys; print(sys.base_prefix)"], text=True).strip() == "/usr"
           for one in pythons):
        raise Skipped("the CPython of the system cannot be packed; install one with `uv python install` or pyenv")
    return pythons


def with_room(targets, free):
    """Returns the targets for whose images there is room, and says which are left out."""
    if free >= ROOM:
        return targets
    kept = dict(list(targets.items())[:1]) if free >= ROOM_OF_ONE else {}
    why = f"{free / 2**30:.1f} GiB of disk are free; one target needs {ROOM_OF_ONE >> 30}, all need {ROOM >> 30}"
    if not kept:
        raise Skipped(why)
    if kept != targets:
        print(f"left out: {', '.join(targets.keys() - kept.keys())}: {why}")
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rosetta")
    parser.add_argument("--engine", choices=ENGINES, default="docker")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    asked = parser.parse_args()
    targets, begun = {name: TARGETS[name] for name in asked.targets}, time.time()
    # What a shell starts behind itself ignores Ctrl-C, and so would the builds that are to be ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def done(what):
        print(f"{time.time() - begun:5.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        engine = None
        try:
            targets = with_room(targets, shutil.disk_usage(folder).free)
            (folder / "engine").mkdir()
            engine = ENGINES[asked.engine](folder / "engine")
            engine.others = engine.of_builds()
            rosetta = Rosetta(asked.rosetta, folder, targets)
            # CNTK looks for its libraries with bash, and the fix-up compiles.
            base_image.make(engine.name, "base:1", interpreters(rosetta, targets), ["bash", "gcc", "libc6-dev"])
            engine.run_one("base:1")
            done(f"{engine.shown()}, and a base image from this machine's own files")
            before = engine.images()
            try:
                build(rosetta, engine, targets, done)
                kept_to_limits(rosetta, engine, done)
                ended(rosetta, engine, done)
                swept(rosetta, engine, done)
                as_in_the_venv(rosetta, targets, done)
            finally:
                rosetta.end()
                rosetta("env", "remove", *targets, *BROKEN, *DOCKER)
            if engine.images() != before:
                sys.exit(f"images are left:\n{engine.run('images', '--all').stdout}")
            done("no image is left")
        except Skipped as why:
            print(f"skipped: no container can be looked at here: {why}")
        finally:
            if engine:
                engine.stop()


def build(rosetta, engine, targets, done):
    rosetta("env", "lock", *targets, *BROKEN, *DOCKER, "--base", "base:1")
    id = engine.lines("image", "inspect", "--format", "{{.Id}}", "base:1")[0]
    for name in targets:
        lock = (rosetta.project / f"envs/{name}/docker.lock").read_text()
        if id not in lock:
            sys.exit(f"the image is {id}, and not so in its lock:\n{lock}")
    rosetta("env", "build", *targets, *DOCKER)
    without_stages(engine, "a build")
    done(f"images of {', '.join(targets)}")
    rosetta("env", "build", "fails", *DOCKER, code=1, says="cannot build the environment `fails`")
    without_stages(engine, "a build that fails")
    for sent in (signal.SIGINT, signal.SIGKILL):
        child = rosetta.start("env", "build", "lasts", *DOCKER)
        wait("the last step of a build", 120, sleepers)
        child.send_signal(sent)
        child.communicate()
        wait(f"the end of a build after {sent.name}", 30, lambda: not sleepers())
        rosetta("env", "gc", "--yes")
        engine.forget_builds()
        without_stages(engine, f"a build that {sent.name} ends")
    done("a build that fails, and one that is ended, leave nothing of their stages")
    list_ = json.loads(rosetta("env", "list", "--json", *DOCKER))
    state = {env["name"]: env["state"] for env in list_}
    if any(state[name] != "built" for name in targets) or any(state[name] == "built" for name in BROKEN):
        sys.exit(f"not built: {state}")
    said = rosetta("env", "run", "numpy", *DOCKER, "--", "python", "-c", "import numpy, sys; print(sys.prefix, numpy.__version__)")
    if not said.startswith("/opt/rosetta/env 2."):
        sys.exit(f"a command in an environment says `{said}`")
    found = {one["name"]: one["version"] for one in json.loads(rosetta("doctor", "--json"))["programs"]}
    if not (found.get(engine.name) or "").startswith(engine.shown()):
        sys.exit(f"doctor does not know {engine.shown()}: {found}")
    done("env list, env run and doctor know them")


def without_stages(engine, after):
    """What an installer was told, which may be secret, stays in no image."""
    left = engine.lines("images", "--all", "--quiet", "--filter", "label=rosetta.stage")
    if left or engine.of_builds():
        sys.exit(f"{after} has left {left} {engine.of_builds()}")


def wait(what, seconds, is_so):
    begun = time.time()
    while not is_so():
        if time.time() - begun > seconds:
            sys.exit(f"{what} has not come within {seconds} s")
        time.sleep(0.05)


def words(played):
    return ["run", "rnn", "-f", played, "--no-check", "--profile", "smoke", "--data", "synthetic", "--device", "cpu", *DOCKER]


def kept_to_limits(rosetta, engine, done):
    for what, status, reason in (
        ("walls", "failed", "exit code 1: 1 CPUs"),
        ("memory", "out_of_memory", ""),
        ("helper", "out_of_memory", ""),
        ("sleep", "timed_out", ""),
    ):
        rosetta(*words(what), "--timeout", "4s", "--memory-limit", "400M", "--threads", "1", code=1)
        outcome = rosetta.records()[-1]["outcome"]
        if outcome["status"] != status or not (outcome["reason"] or "").startswith(reason):
            sys.exit(f"{what}: {outcome}, not {status}: {reason}")
        if engine.containers():
            sys.exit(f"{what} has left a container")
    left = rosetta.records()[-1]["cost"]["left_behind"]
    owners = {path.stat().st_uid for path in rosetta.results.rglob("*")}
    if owners != {os.getuid()}:
        sys.exit(f"files of jobs belong to {owners}")
    done(f"walls, memory of a job and of its helper, a time limit; {left} processes were left behind and ended; "
         "all files are the caller's own")


def ended(rosetta, engine, done):
    for sent, who in ((signal.SIGINT, "rosetta"), (signal.SIGTERM, "rosetta"), (signal.SIGKILL, "rosetta"),
                      (signal.SIGKILL, "client"), (signal.SIGKILL, "shim")):
        child = rosetta.start(*words("sleep"), "--retries", "0")
        wait("a container", 60, engine.containers)
        time.sleep(1)
        labels = json.loads(engine.lines("inspect", "--format", "{{json .Config.Labels}}", *engine.containers())[0])
        if not labels["rosetta.owner"].startswith(f"{child.pid}-") or str(rosetta.results) not in labels["rosetta.job"]:
            sys.exit(f"a container of {child.pid} has the labels {labels}")
        if who == "client":
            below = subprocess.check_output(["pgrep", "--parent", str(child.pid), engine.name], text=True).split()
            os.kill(int(below[0]), sent)
        elif who == "shim":
            inside = engine.lines("inspect", "--format", "{{.State.Pid}}", *engine.containers())
            os.kill(int(inside[0]), sent)
        else:
            child.send_signal(sent)
        child.communicate()
        wait(f"the end of a container after {sent.name} to {who}", 10, lambda: not engine.containers())
        wait(f"the end of its job after {sent.name} to {who}", 10, lambda: not sleepers())
        status = rosetta.records()[-1]["outcome"]
        if who in ("client", "shim") and status["status"] not in ("failed", "crashed"):
            sys.exit(f"{sent.name} to {who}: {status}")
    done(f"Ctrl-C, SIGTERM and SIGKILL of rosetta, SIGKILL of {engine.name}'s client and of the shim, leave no container")


def sleepers():
    return subprocess.run(["pgrep", "--full", f"(^|/)sleep {LONG}$"], capture_output=True, text=True).stdout.split()


def swept(rosetta, engine, done):
    """Containers whose rosetta is gone go at the next start or with `clean`; nobody else's do."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ours = f"{os.getpid()}-{time.monotonic()}"

    def begin(owner, boot):
        labels = [f"rosetta.owner={owner}", f"rosetta.boot={boot}", "rosetta.job=/nowhere/a job"]
        labels = [word for label in labels for word in ("--label", label)]
        return engine.lines("run", "--detach", "--network", "none", *labels, "base:1", "sleep", "100")[0]

    kept = begin(ours, boot)
    for sweep in (lambda: rosetta(*words("walls"), code=1), lambda: rosetta("clean", "--yes")):
        begin("4194305-12.5", boot)
        begin(ours, "00000000-0000-0000-0000-000000000000")
        sweep()
        left = engine.lines("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=rosetta.owner")
        if left != [kept]:
            sys.exit(f"containers are left: {left}, not {[kept]}")
    engine.run("rm", "--force", kept)
    # An image of which no environment knows any more.
    env = next(env for env in json.loads(rosetta("env", "list", "--json", *DOCKER)) if env["name"] == "numpy")
    shutil.rmtree(env["root"])
    if not engine.lines("images", "--quiet", "rosetta/numpy"):
        sys.exit("there is no image of numpy")
    rosetta("env", "gc", "--yes", says="removed")
    if engine.lines("images", "--quiet", "rosetta/numpy"):
        sys.exit("an image of no environment is left")
    rosetta("env", "build", "numpy", *DOCKER)
    done("containers of dead rosettas and images of no environment are removed, no others")


def as_in_the_venv(rosetta, targets, done):
    runs, grades = {}, {}
    for provider in ("pinned", "docker"):
        for target, experiment in targets.items():
            same = ["--framework", target, "--data", "synthetic", "--device", "cpu", "--provider", provider]
            again = [] if provider == "pinned" else ["--again"]
            verdicts = json.loads(rosetta("check", experiment, *same, *again, "--json"))
            grades.setdefault(target, []).append(verdicts[0]["equivalence"]["grade"])
            if target != "numpy":  # whose float64 loops would take most of the time
                rosetta("run", experiment, *same, "--profile", "smoke")
                record = rosetta.records()[-1]
                runs[target, record["env"]["provider"]] = record
    if any(one != other for one, other in grades.values()):
        sys.exit(f"grades of venv and docker: {grades}")
    done(f"the same grades as in the venv: {grades}")
    for target in targets.keys() - {"numpy"}:
        venv, image = runs[target, "venv"], runs[target, "docker"]
        what = [(one["equivalence"]["grade"], one["score"]["accuracy"], one["env"]["packages"]) for one in (venv, image)]
        if what[0] != what[1]:
            sys.exit(f"{target}: venv and docker differ: {what}")
        starts, times = ([one["times"][name] for one in (venv, image)] for name in ("start", "training"))
        done(f"{target}: {what[0][0]}, the same accuracy as in the venv; start {starts[0]:.2f} and {starts[1]:.2f} s, "
             f"training {times[0]:.2f} and {times[1]:.2f} s")
    table = rosetta("table", "--columns", "library,provider,equivalence", "--csv")
    if table.count(",docker,") < len(targets) - 1 or table.count(",venv,") < len(targets) - 1:
        sys.exit(f"rows of two providers do not stand side by side:\n{table}")


if __name__ == "__main__":
    main()
