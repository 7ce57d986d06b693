//! This machine as a place for jobs: each under a shim that is a child of rosetta and serves one job at a time.
//!
//! Must not depend on what a line means, nor on other kinds of place.
//!
//! rosetta hands the job to a shim, the shim starts the process. The process' standard output and error come straight to
//! rosetta, which stamps each line on arrival.
//!
//! Run jobs only from a thread that lives as long as they do, such as the main thread with a current-thread runtime: the
//! kernel takes the end of the thread that spawned for the death of the parent.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::finished::Finished;
use super::launcher::{Launcher, Running};
use super::pipe::Pipe;
use super::shim::{JobHome, Shim};
use crate::container::{self, Container};
use crate::event::{Event, Line, Stamped};
use crate::machine::Machine;
use crate::mask::Masker;
use crate::process::kernel::{self, Signal};
use crate::process::{
    Cancel, Done, Exit, Intake, LONGEST, Launch, Log, TAG, ended_foundlings, tagged,
};

/// How long to wait for more output after the end. Nothing is left then that could write, unless it hid from the sweep.
const DRAIN: Duration = Duration::from_millis(250);
/// How long to read what such a process goes on to write.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// How long a job may take to exit after its `end`: frameworks join their threads and give devices back.
const EXIT_GRACE: Duration = Duration::from_secs(30);
/// How much later than agreed a shim may be that somebody has stopped.
const STOPPED_DELAY: Duration = Duration::from_secs(2);
/// How much later than a grace the client of a container's engine may be.
const CONTAINER_DELAY: Duration = Duration::from_secs(10);
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
        let machine = launch.is_measured.then(|| Machine::first_look().clone());
        // Of this machine a container shows less than there is.
        let (told, seen) = match launch.container {
            None => (machine, None),
            Some(_) => (None, machine.map(Machine::now)),
        };
        let mut shim = Shim::start(&self.rosetta, launch, &home, told)?;
        let ended = job.attend(&mut shim, cancel, on_line).await;
        if launch.container.is_some() {
            // podman's monitor of each container comes here and ends a moment after its client: it is waited for
            // at the end of the next one.
            ended_foundlings().into_iter().for_each(kernel::reap);
        }
        if ended.is_err() {
            shim.tell(Cancel::Now);
            shim.ended().await.context("cannot wait for the job's shim")?;
        }
        let ended = ended?;
        // What cannot be read was not written by a shim: the job may have put it there.
        let mut done = Done::read(&launch.job_folder).unwrap_or_default();
        if done.is_none() {
            sweep_orphans(&shim.tag).await;
            shim.remove_container();
        }
        if let (Some(done), Some(machine)) = (&mut done, seen) {
            done.machine = Some(machine);
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
        let masker = || Masker::knowing(launch.environment.secrets());
        let intake = Intake::create(&launch.job_folder, masker())?;
        let log = Log::create(launch.job_folder.join("stderr.log"), masker())?;
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
        let mut stdout = Pipe::new(shim.stdout.take());
        let mut stderr = Pipe::new(shim.stderr.take());
        let mut ended = None;
        let mut may_cancel = true;
        let mut alarm = pin!(sleep_until(self.next_deadline()));
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
            // Each line of output puts a deadline off: an alarm that comes too early costs less than one that is set again.
            if wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
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
                status = shim.ended(), if ended.is_none() => {
                    let status = status.context("cannot wait for the job's shim")?;
                    ended = Some((status, Instant::now()));
                }
                changed = cancel.changed(), if may_cancel => {
                    may_cancel = changed.is_ok();
                    self.stop(shim, Exit::Cancelled, *cancel.borrow_and_update());
                }
                () = &mut alarm => {
                    if ended.is_none() && Instant::now() >= wake {
                        self.check_deadlines(shim);
                    }
                    let next = self.next_deadline();
                    alarm.as_mut().reset(next);
                }
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
    fn stop_if_refused(&mut self, shim: &mut Shim) {
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

    fn stop(&mut self, shim: &mut Shim, why: Exit, how: Cancel) {
        if how != Cancel::No {
            self.stop.get_or_insert(why);
            shim.tell(how);
            // A client that has not started the container yet loses what it is told.
            if self.launch.container.is_some() {
                let grace = self.launch.grace.min(LONGEST) + CONTAINER_DELAY;
                self.too_late = self.too_late.min(Instant::now() + grace);
            }
        }
    }

    fn finish(mut self, done: Option<Done>, status: ExitStatus) -> Finished {
        let taken = self.intake.finish();
        let (last_words, log_trouble) = self.log.finish();
        if let Some(why) = taken.trouble.as_ref().or(log_trouble.as_ref()) {
            self.stop.get_or_insert(Exit::Refused(why.clone()));
        }
        let was_lost = done.is_none();
        let container = self.launch.container.as_ref().filter(|_| was_lost);
        let mut done = done.unwrap_or_else(|| Done::lost(status, self.clock.elapsed()));
        if let Some(why) = not_started(container, status, &last_words) {
            done.exit = Exit::CannotStart(why);
        }
        // A shim takes the end of its input, which the client has held, for a wish of rosetta's.
        let is_unasked = done.exit == Exit::Cancelled && self.stop.is_none();
        if self.launch.container.is_some() && is_unasked && status.signal().is_some() {
            done.exit = Exit::Lost(format!("the client of its container's engine ended: {status}"));
        }
        // The shim knows that it was told to stop, not why; a shim told before it could listen left no word. What
        // could not be taken in counts however the job ended.
        if let Some(stop) = self.stop.take()
            && (was_lost || done.exit == Exit::Cancelled || matches!(stop, Exit::Refused(_)))
        {
            done.exit = stop;
        }
        let started = (done.started - self.launched).clamp(0.0, 1e6);
        let started = Duration::from_secs_f64(if was_lost { 0.0 } else { started });
        Finished::new(done, started, taken, last_words)
    }
}

/// Exit codes by which clients of engines say that a container was not started.
const NOT_STARTED: std::ops::RangeInclusive<i32> = 125..=127;

/// Returns why a container was not started, if its engine's client says so.
fn not_started(
    container: Option<&Container>,
    status: ExitStatus,
    said: &[String],
) -> Option<String> {
    let engine = &container?.engine;
    status.code().filter(|code| NOT_STARTED.contains(code))?;
    let known = container::explained(engine.kind, &said.join("\n"));
    let said = container::complaint(said.iter().map(String::as_str));
    let own = || said.map_or_else(|| format!("its client ended with {status}"), str::to_owned);
    Some(known.map_or_else(own, |obstacle| obstacle.to_string()))
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
