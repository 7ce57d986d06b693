//! The shim of a job, `rosetta __job ORDER`: starts one process, watches it, measures it, and leaves nothing behind.
//!
//! May not know what the process says: its standard output and error pass it by. It works alike below rosetta and in a
//! Slurm task, and says how the job ended in `done.json`.
//!
//! Decision: a process of its own for each job instead of process groups alone. A group loses whoever calls setsid, and a
//! rosetta that was killed can sweep nothing. The shim is a subreaper: every orphan of the job becomes its child, so that
//! "no children left" is exactly "nothing left". It is told to end by a signal: TERM asks the job to stop and waits for
//! the grace, USR1 kills at once, and HUP comes from the kernel when rosetta has died and kills at once too.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libc::c_int;
use serde::{Deserialize, Serialize};

use super::intake::cannot_write;
use super::tree::{self, Tree};
use super::{Exit, LONGEST, Launch};
use crate::publish::publish;

/// Where the shim says how the job ended, in the job's folder.
pub const DONE: &str = "done.json";
/// The variable by which a job's processes are known when its shim is gone.
pub const TAG: &str = "ROSETTA_TREE";

/// How long descendants may take to leave by themselves once the process has ended.
const LINGER: Duration = Duration::from_millis(250);
/// How long to wait for a killed process. One that sits in a driver may never go.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What the shim is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub launch: Launch,
    /// Who must be alive for the job to go on; nobody in particular in a Slurm task.
    pub parent: Option<i32>,
    pub tag: String,
}

impl Order {
    /// Writes the order into the job's folder and returns its path.
    pub fn write(&self) -> Result<PathBuf> {
        let path = self.launch.job_folder.join("launch.json");
        let text = serde_json::to_vec_pretty(self).context("cannot describe the launch in JSON")?;
        fs::write(&path, text).with_context(|| cannot_write(&path))?;
        Ok(path)
    }

    fn read(path: &Path) -> Result<Order> {
        let text = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("`{}` is no order", path.display()))
    }
}

/// How the job ended, and what it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub exit: Exit,
    /// Start of the process on this machine's monotonic clock, in seconds.
    pub started: f64,
    pub wall_seconds: f64,
    pub user_seconds: f64,
    pub system_seconds: f64,
    /// The largest resident set of one process, by the kernel.
    pub max_rss_bytes: u64,
    /// The largest sum over the tree in a sample, and at least `max_rss_bytes`.
    pub peak_rss_bytes: u64,
    pub samples: u32,
    pub threads_seen: u32,
    pub processes_seen: u32,
    pub cpus_allowed: BTreeSet<usize>,
    pub left_behind: u32,
    pub oom_kills: u64,
}

impl Done {
    /// Reads what a shim wrote; none if it never did.
    pub fn read(job_folder: &Path) -> Result<Option<Done>> {
        let path = job_folder.join(DONE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            }
        };
        let done = serde_json::from_slice(&text);
        done.map(Some).with_context(|| format!("`{}` is not what a shim writes", path.display()))
    }

    /// Publishes the end: whoever sees the file sees all of it.
    fn write(&self, job_folder: &Path) -> Result<()> {
        let path = job_folder.join(DONE);
        let text = serde_json::to_vec_pretty(self)?;
        publish(&path, &text).with_context(|| cannot_write(&path))
    }

    /// Returns the end of a job whose process never ran, or of which nothing is known.
    fn without_process(exit: Exit) -> Done {
        Done {
            exit,
            started: monotonic_seconds(),
            wall_seconds: 0.0,
            user_seconds: 0.0,
            system_seconds: 0.0,
            max_rss_bytes: 0,
            peak_rss_bytes: 0,
            samples: 0,
            threads_seen: 0,
            processes_seen: 0,
            cpus_allowed: BTreeSet::new(),
            left_behind: 0,
            oom_kills: 0,
        }
    }

    /// Returns what can be said when the shim left no `done.json`.
    pub(super) fn lost(status: ExitStatus, wall: Duration) -> Done {
        let exit = Exit::Lost(format!("the job's shim ended without a word: {status}"));
        Done { wall_seconds: wall.as_secs_f64(), ..Done::without_process(exit) }
    }
}

/// Runs the job that `order` describes. Succeeds if it could say how the job ended, however that was.
pub fn shim_main(order: &Path) -> ExitCode {
    // Signals wait from here on: a request to stop must not fall between two lines of this file.
    let signals = Signals::block();
    let result = Order::read(order).and_then(|order| {
        follow_parent(order.parent)?;
        let done = run(&order, &signals)
            .unwrap_or_else(|error| Done::without_process(Exit::CannotStart(format!("{error:#}"))));
        done.write(&order.launch.job_folder)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::hint::report(&error);
            ExitCode::from(2)
        }
    }
}

/// Makes the kernel send HUP when the parent dies, and orphans of the job come here.
fn follow_parent(parent: Option<i32>) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1).context("cannot become a subreaper")?;
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP).context("cannot follow the parent's death")?;
    // SAFETY: getppid cannot fail and touches no memory of ours.
    let actual = unsafe { libc::getppid() };
    if parent.is_some_and(|expected| expected != actual) {
        bail!("rosetta was gone before the job began");
    }
    Ok(())
}

fn run(order: &Order, signals: &Signals) -> Result<Done> {
    let launch = &order.launch;
    let tree = Tree::before_first_child();
    let kills_before = oom_kills();
    let started = monotonic_seconds();
    let begin = Instant::now();
    let child = spawn(order)?;
    let mut watch = Watch::new(launch, signals, tree, child, begin);
    let status = watch.until_end();
    let wall = begin.elapsed();
    let left_behind = watch.sweep();
    let oom_kills = oom_kills().saturating_sub(kills_before);
    let usage = usage_of_children();
    let max_rss_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok(Done {
        exit: watch.stop.take().unwrap_or_else(|| exit(status, oom_kills)),
        started,
        wall_seconds: wall.as_secs_f64(),
        user_seconds: seconds(usage.ru_utime),
        system_seconds: seconds(usage.ru_stime),
        max_rss_bytes,
        peak_rss_bytes: watch.peak.rss_bytes.max(max_rss_bytes),
        samples: watch.samples,
        threads_seen: watch.peak.threads,
        processes_seen: watch.peak.processes,
        cpus_allowed: watch.peak.cpus,
        left_behind,
        oom_kills,
    })
}

/// Says how a process ended that nobody here stopped.
fn exit(status: ExitStatus, oom_kills: u64) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(libc::SIGKILL)) if oom_kills > 0 => Exit::OutOfMemory,
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

fn spawn(order: &Order) -> Result<i32> {
    let launch = &order.launch;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(&launch.environment)
        .env(TAG, &order.tag)
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .process_group(0);
    let cpus = launch.cpus.as_deref().map(cpu_set).transpose()?;
    let shim = tree::own_pid();
    // SAFETY: between fork and exec the closure makes system calls only; it allocates nothing.
    unsafe { command.pre_exec(move || prepare(shim, cpus.as_ref())) };
    let child = command.spawn().with_context(|| {
        format!("cannot start `{}` in `{}`", launch.program.display(), launch.folder.display())
    })?;
    Ok(i32::try_from(child.id()).expect("a process id fits a pid_t"))
}

/// Runs in the child before exec.
fn prepare(shim: i32, cpus: Option<&libc::cpu_set_t>) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)?;
    Signals::unblock()?;
    if let Some(cpus) = cpus {
        // SAFETY: the set lives as long as the call.
        check(unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) })?;
    }
    // SAFETY: getppid cannot fail and touches no memory of ours.
    match unsafe { libc::getppid() } == shim {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn cpu_set(cpus: &[usize]) -> Result<libc::cpu_set_t> {
    let allowed = tree::cpus_allowed(0);
    if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        bail!("CPU {cpu} is not available; available are {allowed:?}");
    }
    if cpus.is_empty() {
        bail!("no CPU is left for the job; available are {allowed:?}");
    }
    // SAFETY: an all-zero cpu_set_t is an empty set, and each index was checked against the kernel's own.
    unsafe {
        let mut set = std::mem::zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        Ok(set)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Running,
    /// It was asked to stop and has its grace.
    Stopping,
    Killed,
}

/// The life of the process from start to end.
struct Watch<'a> {
    launch: &'a Launch,
    signals: &'a Signals,
    tree: Tree,
    child: i32,
    begin: Instant,
    stage: Stage,
    /// When the stage is over.
    until: Instant,
    /// Why it was stopped, if it was.
    stop: Option<Exit>,
    peak: tree::Sample,
    samples: u32,
    next_sample: Instant,
}

impl<'a> Watch<'a> {
    fn new(
        launch: &'a Launch,
        signals: &'a Signals,
        tree: Tree,
        child: i32,
        begin: Instant,
    ) -> Watch<'a> {
        Watch {
            launch,
            signals,
            tree,
            child,
            begin,
            stage: Stage::Running,
            until: begin + launch.timeout.min(LONGEST),
            stop: None,
            // Known even of a process that has ended before the first sample: nobody has reaped it yet.
            peak: tree::Sample {
                cpus: tree::cpus_allowed(child).into_iter().collect(),
                ..Default::default()
            },
            samples: 0,
            next_sample: begin,
        }
    }

    /// Waits until the process has ended, stopping it where that is due.
    fn until_end(&mut self) -> ExitStatus {
        self.sample();
        loop {
            if let Reaped::Child(status) = reap(self.child) {
                return status;
            }
            let now = Instant::now();
            if now >= self.next_sample {
                self.sample();
            }
            if now >= self.until {
                match self.stage {
                    Stage::Running => self.terminate(Exit::TimedOut),
                    Stage::Stopping => self.kill(),
                    Stage::Killed => return ExitStatus::from_raw(libc::SIGKILL),
                }
            }
            match self.signals.wait_until(self.next_sample.min(self.until)) {
                Some(libc::SIGTERM | libc::SIGINT) => self.terminate(Exit::Cancelled),
                Some(libc::SIGHUP | libc::SIGUSR1) => {
                    self.stop.get_or_insert(Exit::Cancelled);
                    self.kill();
                }
                _ => {}
            }
        }
    }

    fn terminate(&mut self, why: Exit) {
        if self.stage == Stage::Running {
            self.stop.get_or_insert(why);
            send(-self.child, libc::SIGTERM);
            self.stage = Stage::Stopping;
            self.until = Instant::now() + self.launch.grace.min(LONGEST);
        }
    }

    fn kill(&mut self) {
        if self.stage != Stage::Killed {
            kill_all(self.child);
            self.stage = Stage::Killed;
            self.until = Instant::now() + GIVE_UP;
        }
    }

    fn sample(&mut self) {
        let sample = self.tree.sample();
        self.samples += 1;
        self.peak.rss_bytes = self.peak.rss_bytes.max(sample.rss_bytes);
        self.peak.threads = self.peak.threads.max(sample.threads);
        self.peak.processes = self.peak.processes.max(sample.processes);
        self.peak.cpus.extend(sample.cpus);
        self.next_sample = self.begin + self.next_sample_after(self.begin.elapsed());
        let is_above = |bytes| self.launch.memory_limit_bytes.is_some_and(|limit| bytes > limit);
        // Workers share pages, which the sum counts for each: ask again, exactly, before a job dies of it.
        if is_above(sample.rss_bytes) {
            if is_above(self.tree.proportional_bytes()) {
                self.stop.get_or_insert(Exit::OutOfMemory);
                self.kill();
            }
            self.next_sample = Instant::now() + Duration::from_secs(1);
        }
    }

    /// Returns when to sample next: early for short jobs, then once a second, or often enough to enforce a limit.
    fn next_sample_after(&self, elapsed: Duration) -> Duration {
        let early = [50, 200, 1000].map(Duration::from_millis);
        let regular = match self.launch.memory_limit_bytes {
            Some(_) => elapsed + Duration::from_millis(250),
            None => elapsed + Duration::from_secs(1),
        };
        early.into_iter().find(|time| *time > elapsed).map_or(regular, |time| time.min(regular))
    }

    /// Ends whatever the process has left behind and returns how many that were.
    fn sweep(&mut self) -> u32 {
        let linger = if self.stop.is_some() { Duration::ZERO } else { LINGER };
        let begin = Instant::now();
        let mut killed = BTreeSet::new();
        while reap(self.child) != Reaped::NobodyLeft && begin.elapsed() < GIVE_UP {
            if begin.elapsed() >= linger {
                killed.extend(kill_all(self.child));
            }
            self.signals.wait_until(Instant::now() + Duration::from_millis(5));
        }
        u32::try_from(killed.len()).unwrap_or(u32::MAX)
    }
}

/// Kills all descendants and returns them. Parents go first: one that sees its child die goes on.
fn kill_all(child: i32) -> Vec<i32> {
    let found = tree::descendants(tree::own_pid());
    // The group goes at once, with whatever it has forked since the walk.
    send(-child, libc::SIGKILL);
    found.iter().for_each(|pid| send(*pid, libc::SIGKILL));
    found
}

#[derive(Debug, PartialEq)]
enum Reaped {
    /// The process itself has ended.
    Child(ExitStatus),
    /// There is no child any more, adopted or own.
    NobodyLeft,
    SomebodyLeft,
}

/// Collects whoever has ended, adopted orphans too; their CPU time then counts as this process' children's.
fn reap(child: i32) -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: the status lives as long as the call. No library waits for children in this process.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            0 => return Reaped::SomebodyLeft,
            pid if pid == child => return Reaped::Child(ExitStatus::from_raw(status)),
            pid if pid > 0 => {}
            _ => return Reaped::NobodyLeft,
        }
    }
}

/// Signals that are taken when it suits, not when they come.
struct Signals(libc::sigset_t);

impl Signals {
    const TAKEN: [c_int; 5] =
        [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1];

    fn block() -> Signals {
        // SAFETY: the set is initialised by sigemptyset before it is used.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in Self::TAKEN {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            Signals(set)
        }
    }

    /// Gives a child the empty mask that programs expect: Rust's own spawn hands the parent's on.
    fn unblock() -> io::Result<()> {
        // SAFETY: the set is initialised by sigemptyset before it is used.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            match libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Returns the next signal, or none once it is `time`.
    fn wait_until(&self, time: Instant) -> Option<c_int> {
        let left = time.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos() as i32),
        };
        // SAFETY: both arguments live as long as the call.
        let signal =
            unsafe { libc::sigtimedwait(&self.0, std::ptr::null_mut(), &raw const timeout) };
        (signal > 0).then_some(signal)
    }
}

pub(super) fn prctl(option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the options used here take a number and touch no memory.
    check(unsafe { libc::prctl(option, value as libc::c_ulong, 0, 0, 0) })
}

/// Sends a signal to a process, or to a group if negative. That it is gone already is no error.
pub(super) fn send(pid: i32, signal: c_int) {
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns how often the kernel has killed for want of memory, in a cgroup or as a whole.
fn oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn usage_of_children() -> libc::rusage {
    // SAFETY: the kernel fills the structure, which is valid when all zero too.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// Returns the clock that all processes of this machine share and that `Instant` reads.
pub(super) fn monotonic_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives as long as the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
