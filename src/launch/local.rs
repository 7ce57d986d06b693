//! This machine as a place for jobs: each under a shim that is a child of rosetta.
//!
//! Must not depend on what a line means, nor on other kinds of place.
//!
//! rosetta starts a shim, the shim starts the process. The process' standard output and error come straight to rosetta,
//! which stamps each line on arrival.
//!
//! Run jobs only from a thread that lives as long as they do, such as the main thread with a current-thread runtime: the
//! kernel takes the end of the thread that spawned for the death of the parent.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::finished::Finished;
use super::launcher::{Launcher, Running};
use super::pipe::Pipe;
use crate::event::{Event, Line, Stamped};
use crate::machine;
use crate::process::kernel::{self, Signal};
use crate::process::{
    Cancel, DONE, Done, Exit, Intake, LONGEST, Launch, Log, Order, SHIM, TAG, is_stopped, tagged,
};

/// How long to wait for more output after the end. Nothing is left then that could write, unless it hid from the sweep.
const DRAIN: Duration = Duration::from_millis(250);
/// How long to read what such a process goes on to write.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// How long a job may take to exit after its `end`: frameworks join their threads and give devices back.
const EXIT_GRACE: Duration = Duration::from_secs(30);
/// How much later than agreed a shim may be that somebody has stopped.
const STOPPED_DELAY: Duration = Duration::from_secs(2);
/// How much later than agreed the shim may be.
const SHIM_DELAY: Duration = Duration::from_secs(60);

/// This machine.
#[derive(Debug, Clone)]
pub struct Local {
    /// The rosetta that becomes the shim.
    rosetta: PathBuf,
}

impl Local {
    /// Returns this machine, whose shims are the running rosetta even if its file is replaced meanwhile.
    pub fn new() -> Local {
        Local::with("/proc/self/exe")
    }

    /// Returns this machine with another program as the shim.
    pub fn with(rosetta: impl Into<PathBuf>) -> Local {
        Local { rosetta: rosetta.into() }
    }

    async fn attend(
        &self,
        launch: &Launch,
        cancel: &mut watch::Receiver<Cancel>,
        on_line: &mut dyn FnMut(Line),
    ) -> Result<Finished> {
        // Orphans of a shim that was killed come here, where they can be found.
        kernel::become_subreaper().context("cannot become a subreaper")?;
        let mut job = Attended::new(launch)?;
        let home = JobHome::make(&launch.job_folder)?;
        let mut shim = Shim::start(&self.rosetta, launch, &home)?;
        let ended = job.attend(&mut shim, cancel, on_line).await;
        if ended.is_err() {
            shim.tell(Cancel::Now);
            shim.child.wait().await.context("cannot wait for the job's shim")?;
        }
        let ended = ended?;
        // What cannot be read was not written by a shim: the job may have put it there.
        let done = Done::read(&launch.job_folder).unwrap_or_default();
        if done.is_none() {
            sweep_orphans(&shim.tag).await;
        }
        Ok(job.finish(done, ended))
    }
}

impl Default for Local {
    fn default() -> Local {
        Local::new()
    }
}

impl Launcher for Local {
    fn run<'a>(
        &'a self,
        launch: &'a Launch,
        cancel: &'a mut watch::Receiver<Cancel>,
        on_line: &'a mut dyn FnMut(Line),
    ) -> Running<'a> {
        Box::pin(self.attend(launch, cancel, on_line))
    }
}

/// A home folder for one job, empty when it begins and gone when it has ended: what frameworks keep for their users there
/// must not change what the next job computes, nor how fast.
struct JobHome(PathBuf);

impl JobHome {
    fn make(job_folder: &Path) -> Result<JobHome> {
        let folder = job_folder.join("home");
        let failed = || format!("cannot make `{}`", folder.display());
        std::fs::create_dir_all(&folder).with_context(failed)?;
        Ok(JobHome(folder))
    }
}

impl Drop for JobHome {
    fn drop(&mut self) {
        // What cannot be removed stays beside the job's other files and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The shim's process; killed with everything below it if rosetta loses interest.
struct Shim {
    child: Child,
    tag: String,
}

impl Shim {
    fn start(rosetta: &Path, launch: &Launch, home: &JobHome) -> Result<Shim> {
        let pid = kernel::own_pid();
        let tag = format!("{pid}-{}", kernel::monotonic_seconds());
        let mut launch = launch.clone();
        launch.environment.set_default("HOME", home.0.to_string_lossy());
        let job_folder = launch.job_folder.clone();
        let order = Order { launch, parent: Some(pid), tag: tag.clone() };
        let order = order.write()?;
        remove(&job_folder.join(DONE))?;
        let child = Command::new(rosetta)
            .arg0("rosetta")
            .arg(SHIM)
            .arg(order)
            .env(machine::VARIABLE, machine::name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // Ctrl-C at the terminal is for rosetta alone.
            .spawn()
            .with_context(|| format!("cannot start `{}`", rosetta.display()))?;
        Ok(Shim { child, tag })
    }

    /// Returns its id, which is gone once it has been waited for: it may be somebody else's then.
    fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok())
    }

    fn is_stopped(&self) -> bool {
        self.pid().is_some_and(is_stopped)
    }

    fn kill(&mut self) {
        // That it has just ended is not an error.
        let _ = self.child.start_kill();
    }

    fn tell(&self, cancel: Cancel) {
        match (self.pid(), cancel) {
            (Some(pid), Cancel::Gracefully) => kernel::send(pid, Signal::TERM),
            (Some(pid), Cancel::Now) => kernel::send(pid, Signal::USR1),
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
struct Attended<'a> {
    launch: &'a Launch,
    /// The zero of all stamps, twice: for this process and for all of the machine.
    clock: Instant,
    launched: f64,
    intake: Intake,
    log: Log,
    last_output: Instant,
    /// When a job that said that it was done must have exited.
    exit_by: Option<Instant>,
    /// When a shim that is stopped must have ended.
    overdue: Instant,
    /// When even a slow shim must have ended.
    too_late: Instant,
    /// Why rosetta asked for the end, if it did.
    stop: Option<Exit>,
}

impl<'a> Attended<'a> {
    fn new(launch: &'a Launch) -> Result<Attended<'a>> {
        let intake = Intake::create(&launch.job_folder)?;
        let log = Log::create(launch.job_folder.join("stderr.log"))?;
        let clock = Instant::now();
        let longest = launch.timeout.saturating_add(launch.grace).min(LONGEST);
        Ok(Attended {
            launch,
            clock,
            launched: kernel::monotonic_seconds(),
            intake,
            log,
            last_output: clock,
            exit_by: None,
            overdue: clock + longest + STOPPED_DELAY,
            too_late: clock + longest + SHIM_DELAY,
            stop: None,
        })
    }

    /// Reads and watches until the shim has ended and its pipes are empty.
    async fn attend(
        &mut self,
        shim: &mut Shim,
        cancel: &mut watch::Receiver<Cancel>,
        on_line: &mut dyn FnMut(Line),
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
                    self.last_output = Instant::now();
                    self.take(stdout.take(count), on_line);
                    self.stop_if_refused(shim);
                }
                count = stderr.read(), if stderr.is_open() => {
                    self.last_output = Instant::now();
                    self.log.feed(stderr.take(count));
                    self.stop_if_refused(shim);
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

    fn take(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(Line)) {
        let (now, exit_by) = (self.last_output, &mut self.exit_by);
        self.intake.feed(now - self.clock, bytes, &mut |line| {
            if matches!(line, Line::Event(Stamped { event: Event::End {}, .. })) {
                exit_by.get_or_insert(now + EXIT_GRACE);
            }
            on_line(line);
        });
    }

    /// Ends a job whose words cannot all be taken in.
    fn stop_if_refused(&mut self, shim: &Shim) {
        if self.stop.is_none()
            && let Some(why) = self.intake.trouble().or_else(|| self.log.trouble())
        {
            let why = Exit::Refused(why.to_owned());
            self.stop(shim, why, Cancel::Now);
        }
    }

    fn next_deadline(&self) -> Instant {
        let shim = self.overdue.min(self.too_late);
        if self.stop.is_some() {
            return shim;
        }
        let stall = self.launch.stall_timeout.map(|stall| self.last_output + stall.min(LONGEST));
        let deadlines = [stall, self.exit_by];
        deadlines.into_iter().flatten().fold(shim, Instant::min)
    }

    fn check_deadlines(&mut self, shim: &mut Shim) {
        let now = Instant::now();
        if now >= self.too_late {
            self.too_late = now + SHIM_DELAY;
            shim.kill();
        } else if now >= self.overdue {
            self.overdue = self.too_late;
            if shim.is_stopped() {
                shim.kill();
            }
        } else if self.exit_by.is_some_and(|time| now >= time) {
            self.stop(shim, Exit::DidNotExit, Cancel::Gracefully);
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

    fn finish(mut self, done: Option<Done>, status: ExitStatus) -> Finished {
        let taken = self.intake.finish();
        let (last_words, log_trouble) = self.log.finish();
        if let Some(why) = taken.trouble.as_ref().or(log_trouble.as_ref()) {
            self.stop.get_or_insert(Exit::Refused(why.clone()));
        }
        let was_lost = done.is_none();
        let mut done = done.unwrap_or_else(|| Done::lost(status, self.clock.elapsed()));
        // The shim knows that it was told to stop, not why; a shim told before it could listen left no word. What
        // could not be taken in counts however the job ended.
        if let Some(stop) = self.stop
            && (was_lost || done.exit == Exit::Cancelled || matches!(stop, Exit::Refused(_)))
        {
            done.exit = stop;
        }
        let started = (done.started - self.launched).clamp(0.0, 1e6);
        let started = Duration::from_secs_f64(if was_lost { 0.0 } else { started });
        Finished::new(done, started, taken, last_words)
    }
}

/// Kills what a dead shim has left. Its processes are known by their environment; whoever changed that is lost.
async fn sweep_orphans(tag: &str) {
    for _ in 0..200 {
        let orphans = tagged(TAG, tag);
        if orphans.is_empty() {
            return;
        }
        for pid in &orphans {
            kernel::send(*pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        for pid in orphans {
            // By id: another child of this process is somebody else's to wait for.
            kernel::reap(pid);
        }
    }
}

/// Removes what is in the way of the shim's word, whatever it is.
fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() && !path.is_symlink() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
