//! The life of a job's process from its start to its end: sampled, stopped where that is due, swept up after.
//!
//! Must not depend on who wants the job or what becomes of it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::LONGEST;
use super::done::Exit;
use super::kernel::{self, Peak, Reaped, Signal, Signals};
use super::order::Launch;
use super::tree::{self, Sample, Tree};

/// How long descendants may take to leave by themselves once the process has ended.
const LINGER: Duration = Duration::from_millis(250);
/// How long to wait for a killed process. One that sits in a driver may never go.
/// With the grace before it and the sweep after it, a job that is asked to stop is sealed within 20 s.
const GIVE_UP: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy, PartialEq)]
enum LifeStage {
    Running,
    /// It was asked to stop and has its grace.
    Stopping,
    Killed,
}

/// The life of the process from start to end.
pub struct Watch<'a> {
    launch: &'a Launch,
    signals: &'a Signals,
    tree: Tree,
    child: i32,
    begin: Instant,
    stage: LifeStage,
    /// When the stage is over.
    until: Instant,
    /// Why it was stopped, if it was.
    pub stop: Option<Exit>,
    /// The most that was seen at one time.
    pub peak: Sample,
    /// The largest resident set of one process of those that have ended.
    pub largest: Peak,
    pub samples: u32,
    next_sample: Instant,
}

impl<'a> Watch<'a> {
    pub fn new(
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
            stage: LifeStage::Running,
            until: begin + launch.timeout.min(LONGEST),
            stop: None,
            // Known even of a process that has ended before the first sample: nobody has reaped it yet.
            peak: Sample {
                cpus: kernel::cpus_allowed(child).into_iter().collect(),
                ..Default::default()
            },
            largest: Peak::default(),
            samples: 0,
            next_sample: begin,
        }
    }

    /// Waits until the process has ended, stopping it where that is due.
    pub fn until_end(&mut self) -> ExitStatus {
        self.take(Tree::first_sample(self.child));
        loop {
            if let Collected::Child(status) = self.reap() {
                return status;
            }
            let now = Instant::now();
            if now >= self.next_sample {
                self.sample();
            }
            if now >= self.until {
                match self.stage {
                    LifeStage::Running => self.terminate(Exit::TimedOut),
                    LifeStage::Stopping => self.kill(),
                    LifeStage::Killed => return ExitStatus::from_raw(libc::SIGKILL),
                }
            }
            match self.signals.wait_until(self.next_sample.min(self.until)) {
                Some(Signal::TERM | Signal::INT) => self.terminate(Exit::Cancelled),
                Some(Signal::HUP | Signal::USR1) => {
                    self.stop.get_or_insert(Exit::Cancelled);
                    self.kill();
                }
                _ => {}
            }
        }
    }

    fn terminate(&mut self, why: Exit) {
        if self.stage == LifeStage::Running {
            self.stop.get_or_insert(why);
            kernel::send_to_group(self.child, Signal::TERM);
            self.stage = LifeStage::Stopping;
            self.until = Instant::now() + self.launch.grace.min(LONGEST);
        }
    }

    fn kill(&mut self) {
        if self.stage != LifeStage::Killed {
            kill_all(self.child);
            self.stage = LifeStage::Killed;
            self.until = Instant::now() + GIVE_UP;
        }
    }

    fn sample(&mut self) {
        let sample = self.tree.sample();
        self.take(sample);
    }

    fn take(&mut self, sample: Sample) {
        self.samples += 1;
        self.peak.rss_bytes = self.peak.rss_bytes.max(sample.rss_bytes);
        self.peak.threads = self.peak.threads.max(sample.threads);
        self.peak.processes = self.peak.processes.max(sample.processes);
        self.peak.cpus.extend(sample.cpus);
        self.peak.is_stopped |= sample.is_stopped;
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
    pub fn sweep(&mut self) -> u32 {
        let linger = if self.stop.is_some() { Duration::ZERO } else { LINGER };
        let begin = Instant::now();
        let mut killed = BTreeSet::new();
        while self.reap() != Collected::NobodyLeft && begin.elapsed() < GIVE_UP {
            if begin.elapsed() >= linger {
                killed.extend(kill_all(self.child));
            }
            self.signals.wait_until(Instant::now() + Duration::from_millis(5));
        }
        u32::try_from(killed.len()).unwrap_or(u32::MAX)
    }

    /// Collects whoever has ended, until that is the process itself: then returns how.
    fn reap(&mut self) -> Collected {
        loop {
            match kernel::reap_any() {
                Reaped::Process(pid, status, peak) => {
                    self.largest = self.largest.max(peak);
                    if pid == self.child {
                        return Collected::Child(status);
                    }
                }
                Reaped::NobodyYet => return Collected::SomebodyLeft,
                Reaped::NobodyLeft => return Collected::NobodyLeft,
            }
        }
    }
}

/// Kills all descendants and returns them. Parents go first: one that sees its child die goes on.
fn kill_all(child: i32) -> Vec<i32> {
    let found = tree::descendants(kernel::own_pid());
    // The group goes at once, with whatever it has forked since the walk.
    kernel::send_to_group(child, Signal::KILL);
    for pid in &found {
        kernel::send(*pid, Signal::KILL);
    }
    found
}

#[derive(Debug, PartialEq)]
enum Collected {
    /// The process itself has ended.
    Child(ExitStatus),
    /// There is no child any more, adopted or own.
    NobodyLeft,
    SomebodyLeft,
}
