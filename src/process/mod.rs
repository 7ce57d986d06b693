//! Starts, watches, measures and stops one process and all its descendants.
//!
//! May not know frameworks, specs, or what becomes of an event.
//!
//! rosetta starts a shim, the shim starts the process (see `shim`). The process' standard output and error come straight
//! to rosetta, which stamps each line on arrival: nothing stands between the harness and the clock.
//!
//! Call [`run`] only from a thread that lives as long as the job, such as the main thread with a current-thread runtime:
//! the kernel takes the end of the thread that spawned for the death of the parent.

mod intake;
mod log;
mod shim;
mod splitter;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use intake::Counters;
pub use shim::{Done, Order, shim_main};
pub use splitter::{LONGEST_LINE, Piece, Splitter};

use crate::event::Line;
use intake::Intake;
use log::Log;

/// One process to be run as a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The rosetta that becomes the shim; see [`this_program`].
    pub rosetta: PathBuf,
    /// An absolute path, or a name to be found by `PATH` of `environment`.
    pub program: PathBuf,
    pub args: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// The working folder.
    pub folder: PathBuf,
    /// An existing, empty folder for `launch.json`, `events.jsonl`, `chatter.log`, `stderr.log` and `done.json`.
    pub job_folder: PathBuf,
    pub timeout: Duration,
    /// How long the process may say nothing at all, on standard output or error.
    pub stall_timeout: Option<Duration>,
    /// How long it may take to stop when asked, before it is killed.
    pub grace: Duration,
    /// The CPUs that it may use.
    pub cpus: Option<Vec<usize>>,
    /// The resident memory of the whole tree above which it is killed.
    pub memory_limit_bytes: Option<u64>,
}

/// Whether a job shall go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cancel {
    #[default]
    No,
    Gracefully,
    Now,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    Stalled,
    OutOfMemory,
    Cancelled,
    CannotStart(String),
    /// Nobody knows: the shim was killed.
    Lost(String),
}

/// What there is to know of a process that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    pub exit: Exit,
    /// From the launch, the zero of every stamp, to the start of the process.
    pub started: Duration,
    /// From the start of the process to its end.
    pub wall: Duration,
    /// From the start of the process to its first event.
    pub first_event: Option<Duration>,
    /// User and system time of the whole tree.
    pub cpu_seconds: f64,
    pub user_seconds: f64,
    pub system_seconds: f64,
    /// The largest sum over the tree in a sample, and at least `max_rss_bytes`.
    pub peak_rss_bytes: u64,
    /// The largest resident set of one process, by the kernel.
    pub max_rss_bytes: u64,
    pub samples: u32,
    /// The most threads and processes of the tree at one time.
    pub threads_seen: u32,
    pub processes_seen: u32,
    pub cpus_allowed: BTreeSet<usize>,
    /// How many processes outlived the job and were killed.
    pub left_behind: u32,
    /// How often the kernel killed for want of memory on this machine meanwhile.
    pub oom_kills: u64,
    pub lines: Counters,
    /// Standard output ended within a line.
    pub truncated_tail: bool,
    /// Why the first rejected line was rejected.
    pub first_rejection: Option<String>,
    /// The last lines of standard error.
    pub last_words: Vec<String>,
}

/// Returns the path of the running rosetta, good for a shim even if the file is replaced meanwhile.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The most that a pipe holds; the harness waits only when rosetta is as far behind as this.
const PIPE_BYTES: i32 = 1 << 20;
const CHUNK: usize = 1 << 16;
/// How long to wait for more output after the end. Nothing is left then that could write, unless it hid from the sweep.
const DRAIN: Duration = Duration::from_millis(250);
/// How long to read what such a process goes on to write.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// What stands for a longer time: sums of times stay within the clock's range.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How much later than agreed the shim may be.
const SHIM_DELAY: Duration = Duration::from_secs(60);

/// Runs a job to its end, hands on each line of its standard output, and returns how it went. However it ends, none of
/// its processes is left. Fails only if rosetta itself cannot go on, such as when the disk is full.
pub async fn run(
    launch: &Launch,
    cancel: &mut watch::Receiver<Cancel>,
    mut on_line: impl FnMut(Line),
) -> Result<Finished> {
    // Orphans of a shim that was killed come here, where they can be found.
    shim::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).context("cannot become a subreaper")?;
    let intake = Intake::create(&launch.job_folder)?;
    let log = Log::create(launch.job_folder.join("stderr.log"))?;
    let (clock, launched) = (Instant::now(), shim::monotonic_seconds());
    let mut shim = Shim::start(launch)?;
    let too_late = clock + launch.timeout.saturating_add(launch.grace).min(LONGEST) + SHIM_DELAY;
    let mut job =
        Job { launch, clock, launched, intake, log, last_output: clock, too_late, stop: None };
    let ended = job.attend(&mut shim, cancel, &mut on_line).await;
    if ended.is_err() {
        shim.tell(Cancel::Now);
        shim.child.wait().await.context("cannot wait for the job's shim")?;
    }
    let ended = ended?;
    let done = Done::read(&launch.job_folder)?;
    if done.is_none() {
        sweep_orphans(&shim.tag).await;
    }
    job.finish(done, ended)
}

/// The shim's process; killed with everything below it if rosetta loses interest.
struct Shim {
    child: Child,
    tag: String,
}

impl Shim {
    fn start(launch: &Launch) -> Result<Shim> {
        let pid = tree::own_pid();
        let tag = format!("{pid}-{}", shim::monotonic_seconds());
        let order = Order { launch: launch.clone(), parent: Some(pid), tag: tag.clone() };
        let order = order.write()?;
        remove(&launch.job_folder.join(shim::DONE))?;
        let child = Command::new(&launch.rosetta)
            .arg0("rosetta")
            .arg("__job")
            .arg(order)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // Ctrl-C at the terminal is for rosetta alone.
            .spawn()
            .with_context(|| format!("cannot start `{}`", launch.rosetta.display()))?;
        Ok(Shim { child, tag })
    }

    fn tell(&self, cancel: Cancel) {
        // The id is gone once the shim has been waited for: it may be somebody else's then.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        match (pid, cancel) {
            (Some(pid), Cancel::Gracefully) => shim::send(pid, libc::SIGTERM),
            (Some(pid), Cancel::Now) => shim::send(pid, libc::SIGUSR1),
            _ => {}
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.tell(Cancel::Now);
    }
}

/// rosetta's side of a running job.
struct Job<'a> {
    launch: &'a Launch,
    /// The zero of all stamps, twice: for this process and for all of the machine.
    clock: Instant,
    launched: f64,
    intake: Intake,
    log: Log,
    last_output: Instant,
    /// When even a slow shim must have ended.
    too_late: Instant,
    /// Why rosetta asked for the end, if it did.
    stop: Option<Exit>,
}

impl Job<'_> {
    /// Reads and watches until the shim has ended and its pipes are empty.
    async fn attend(
        &mut self,
        shim: &mut Shim,
        cancel: &mut watch::Receiver<Cancel>,
        on_line: &mut impl FnMut(Line),
    ) -> Result<ExitStatus> {
        let mut stdout = Pipe::<ChildStdout>::new(shim.child.stdout.take());
        let mut stderr = Pipe::<ChildStderr>::new(shim.child.stderr.take());
        let mut ended = None;
        let mut may_cancel = true;
        cancel.mark_changed();
        loop {
            let wake = match ended {
                None => self.next_deadline(),
                Some((_, time)) => (self.last_output.max(time) + DRAIN).min(time + LONGEST_DRAIN),
            };
            if let Some((status, _)) = ended
                && (Instant::now() >= wake || !(stdout.is_open() || stderr.is_open()))
            {
                return Ok(status);
            }
            tokio::select! {
                count = stdout.read(), if stdout.is_open() => {
                    let bytes = stdout.take(count);
                    self.last_output = Instant::now();
                    self.intake.feed(self.last_output - self.clock, bytes, on_line)?;
                }
                count = stderr.read(), if stderr.is_open() => {
                    self.last_output = Instant::now();
                    self.log.feed(stderr.take(count))?;
                }
                status = shim.child.wait(), if ended.is_none() => {
                    let status = status.context("cannot wait for the job's shim")?;
                    ended = Some((status, Instant::now()));
                }
                changed = cancel.changed(), if may_cancel => {
                    may_cancel = changed.is_ok();
                    self.stop(shim, Exit::Cancelled, *cancel.borrow_and_update());
                }
                () = sleep_until(wake), if ended.is_none() => self.check_deadlines(shim),
                () = sleep_until(wake), if ended.is_some() => {}
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        match self.launch.stall_timeout {
            Some(stall) if self.stop.is_none() => {
                (self.last_output + stall.min(LONGEST)).min(self.too_late)
            }
            _ => self.too_late,
        }
    }

    fn check_deadlines(&mut self, shim: &mut Shim) {
        let now = Instant::now();
        if now >= self.too_late {
            self.too_late = now + SHIM_DELAY;
            // That it has just ended is no error.
            let _ = shim.child.start_kill();
        } else {
            self.stop(shim, Exit::Stalled, Cancel::Gracefully);
        }
    }

    fn stop(&mut self, shim: &Shim, why: Exit, how: Cancel) {
        if how != Cancel::No {
            self.stop.get_or_insert(why);
            shim.tell(how);
        }
    }

    fn finish(self, done: Option<Done>, status: ExitStatus) -> Result<Finished> {
        let taken = self.intake.finish()?;
        let last_words = self.log.finish()?;
        let was_lost = done.is_none();
        let mut done = done.unwrap_or_else(|| Done::lost(status, self.clock.elapsed()));
        // The shim knows that it was told to stop, not why; a shim told before it could listen left no word.
        if let Some(stop) = self.stop
            && (was_lost || done.exit == Exit::Cancelled)
        {
            done.exit = stop;
        }
        let started = (done.started - self.launched).clamp(0.0, 1e6);
        let started = Duration::from_secs_f64(if was_lost { 0.0 } else { started });
        Ok(Finished {
            exit: done.exit,
            started,
            wall: Duration::from_secs_f64(done.wall_seconds.max(0.0)),
            first_event: taken.first_event.map(|at| at.saturating_sub(started)),
            cpu_seconds: done.user_seconds + done.system_seconds,
            user_seconds: done.user_seconds,
            system_seconds: done.system_seconds,
            peak_rss_bytes: done.peak_rss_bytes,
            max_rss_bytes: done.max_rss_bytes,
            samples: done.samples,
            threads_seen: done.threads_seen,
            processes_seen: done.processes_seen,
            cpus_allowed: done.cpus_allowed,
            left_behind: done.left_behind,
            oom_kills: done.oom_kills,
            lines: taken.counters,
            truncated_tail: taken.truncated_tail,
            first_rejection: taken.first_rejection,
            last_words,
        })
    }
}

/// One end of a pipe with its buffer, until the other end is closed.
struct Pipe<P> {
    pipe: Option<P>,
    buffer: Vec<u8>,
}

impl<P: AsyncRead + AsRawFd + Unpin> Pipe<P> {
    fn new(pipe: Option<P>) -> Pipe<P> {
        if let Some(pipe) = &pipe {
            // SAFETY: the descriptor is open. A refusal, by a limit of the user's, costs only speed.
            unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
        }
        Pipe { pipe, buffer: vec![0; CHUNK] }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn read(&mut self) -> io::Result<usize> {
        match &mut self.pipe {
            Some(pipe) => pipe.read(&mut self.buffer).await,
            None => Ok(0),
        }
    }

    /// Returns what was read; an error ends the stream as its end does.
    fn take(&mut self, count: io::Result<usize>) -> &[u8] {
        let count = count.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        &self.buffer[..count]
    }
}

/// Kills what a dead shim has left. Its processes are known by their environment; whoever changed that is lost.
async fn sweep_orphans(tag: &str) {
    for _ in 0..200 {
        let orphans = tree::tagged(shim::TAG, tag);
        if orphans.is_empty() {
            return;
        }
        for pid in &orphans {
            shim::send(*pid, libc::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        for pid in orphans {
            // SAFETY: a null status is allowed. By id: another child of this process is somebody else's to wait for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
