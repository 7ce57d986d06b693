"""A Slurm of four emulated nodes on this machine, from Debian's packages: for checks, and to try launchers/slurm.yaml.

    python3 .ci/slurm.py up FOLDER      prints what to export; as root
    python3 .ci/slurm.py down FOLDER    stops what was started, and leaves nothing

Debian builds Slurm with more than one slurmd a machine. Everything is in FOLDER; no service of the machine is touched.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

NODES = ["n1", "n2", "n3", "n4"]
PACKAGES = ["munge", "slurmctld", "slurmd", "slurm-client"]
MARK = "ROSETTA_EMULATED_NODE"  # slurmd hands its own variables on to slurmstepd, not to tasks
FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")

CONF = """\
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=17816
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits as long as a credential lasts before it starts again: 120 s unless said otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/pids/slurmctld.own
SlurmdPidFile={folder}/pids/%n.own
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType={track}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0,defer_batch
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=15
NodeName=n[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[17811-17814] CPUs=2 RealMemory=4000 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes=n[1-4] Default=YES MaxTime=INFINITE State=UP
"""


def is_installed():
    return all(shutil.which(name) for name in ("munged", "slurmctld", "slurmd", "sbatch"))


def install():
    """Returns whether Slurm's programs are here, or could be installed."""
    if is_installed():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    # A service that a package starts would hold no port of ours, but has no business here.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    is_ours = not policy.exists()
    if is_ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        if subprocess.run(words, **quiet).returncode:
            subprocess.run(["apt-get", "update"], **quiet)
            subprocess.run(words, **quiet)
    finally:
        if is_ours:
            policy.unlink()
    return is_installed()


class Slurm:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *words, check=True):
        done = subprocess.run(words, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        if check and done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout

    def up(self):
        for name in ("state", "log", "pids", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        # munge refuses folders that anybody may write to.
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
        # With linuxproc, what a job leaves behind lives on: control groups, as real clusters have, where the kernel lets us.
        track = "proctrack/cgroup" if FREEZER.is_dir() and os.access(FREEZER, os.W_OK) else "proctrack/linuxproc"
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder, track=track))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n")
        (self.folder / "gres.conf").write_text("NodeName=n[1-4] Name=gpu File=/dev/null\n")
        munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "pids/munged.own", "log-file": "log/munged.log", "seed-file": "munge.seed"}
        self.start("munged", "munged", "--foreground", "--force", *(f"--{name}={self.folder / path}" for name, path in munge.items()))
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munged answers")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T", check=False).split() == ["idle"] * len(NODES), "four nodes are idle")

    def start_controller(self):
        self.start("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))

    def start_node(self, node):
        self.start(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"), mark=node)

    def start(self, name, *words, mark="none"):
        with (self.folder / f"log/{name}.out").open("ab") as log:
            environment = {**self.environment, MARK: f"{self.folder}:{mark}"}
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        (self.folder / f"pids/{name}").write_text(str(child.pid))

    def stop(self, name, how=signal.SIGTERM):
        path = self.folder / f"pids/{name}"
        if path.exists():
            pid = int(path.read_text())
            path.unlink()
            end([pid], how)

    def daemons_of(self, node):
        """Returns slurmd and the slurmstepds of a node."""
        wanted = f"{MARK}={self.folder}:{node}".encode()
        return [pid for pid in processes() if wanted in read(pid, "environ").split(b"\0")]

    def stepds_of(self, node):
        return [pid for pid in self.daemons_of(node) if read(pid, "comm").strip() == b"slurmstepd"]

    def kill_node(self, node):
        """As if its plug was pulled: everything that it runs is gone at once."""
        everything = [pid for daemon in self.daemons_of(node) for pid in (daemon, *below(daemon))]
        end(everything, signal.SIGKILL)
        (self.folder / f"pids/{node}").unlink(missing_ok=True)

    def down(self):
        if not (self.folder / "slurm.conf").exists():
            return
        self.ask("scancel", "--me", check=False)
        for _ in range(100):
            if not self.ask("squeue", "-h", check=False).strip():
                break
            time.sleep(0.1)
        self.stop("slurmctld")
        for node in NODES:
            self.kill_node(node)
        self.stop("munged")
        for node in NODES:
            # Innermost first; a group that something is in stays, and would be seen.
            for folder in sorted(FREEZER.glob(f"slurm_{node}/**/"), reverse=True):
                try:
                    folder.rmdir()
                except OSError:
                    pass

    def wait(self, condition, what, seconds=60):
        """Returns what the condition is once it is something."""
        limit = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > limit:
                logs = "".join(path.read_text(errors="replace")[-1500:] for path in sorted((self.folder / "log").glob("*")))
                raise SystemExit(f"not within {seconds} s: {what}\n{logs}")
            time.sleep(0.1)
        return found

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()


def processes():
    return [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]


def read(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def below(pid):
    """Returns the descendants of a process."""
    parents = {}
    for one in processes():
        fields = read(one, "stat").rpartition(b")")[2].split()
        if fields:
            parents.setdefault(int(fields[1]), []).append(one)
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def end(pids, how):
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass
    limit = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids) and time.monotonic() < limit:
        time.sleep(0.05)
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # Another run of this program started it.
    return read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"])


def main():
    match sys.argv[1:]:
        case ["install"]:
            sys.exit(0 if install() else 1)
        case ["up", folder]:
            if not install():
                sys.exit("Slurm is not here and could not be installed: as root, `apt-get install " + " ".join(PACKAGES) + "`")
            Slurm(folder).up()
            print(f"export SLURM_CONF={pathlib.Path(folder).resolve() / 'slurm.conf'}")
        case ["down", folder]:
            Slurm(folder).down()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
