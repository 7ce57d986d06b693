//! A job that is made once more: after a cause that passes, or after something disturbed it. Every attempt is kept.
//!
//! Must not depend on how an attempt goes.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::attempt::Ending;
use super::budget::TimeBudget;
use super::job::{Attempted, RunContext};
use super::notice::{Notice, Notify};
use super::quiet::wait_until_quiet;
use crate::plan::Job;
use crate::process::{Cancel, Exit};
use crate::record::{Outcome, Record, Status};
use crate::request::Request;
use crate::store::RunFolder;

/// How often a job is made once more, and what for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retries {
    passing: u32,
    tainted: u32,
}

impl Retries {
    pub(super) fn of(request: &Request) -> Retries {
        Retries { passing: request.retries, tainted: request.retry_tainted }
    }

    /// Returns which retry comes next, of how many, and why; none if the attempt counts.
    fn next(&mut self, of: Retries, attempted: &Attempted) -> Option<(u32, u32, String)> {
        let (left, all, why) = match &attempted.passing {
            Some(why) => (&mut self.passing, of.passing, (*why).to_owned()),
            None => (&mut self.tainted, of.tainted, taint(&attempted.record)?),
        };
        *left = left.checked_sub(1)?;
        Some((all - *left, all, why))
    }
}

fn taint(record: &Record) -> Option<String> {
    let mark = record.marks.iter().find(|mark| mark.starts_with("tainted"));
    mark.filter(|_| record.outcome.status == Status::Ok).cloned()
}

/// What the operating system says where it has no room for a process just now.
const NO_ROOM: [&str; 4] = [
    "Resource temporarily unavailable",
    "Cannot allocate memory",
    "Text file busy",
    "Too many open files in system",
];

/// Returns the cause by which a job ended, if it is one that passes: nothing that a harness does is.
pub(super) fn passing(ending: &Ending) -> Option<&'static str> {
    match &ending.finished.exit {
        Exit::Lost(_) => Some("somebody killed its shim"),
        Exit::Signal(libc::SIGKILL) if !ending.fold.is_ended => Some("somebody killed it"),
        Exit::CannotStart(why) if NO_ROOM.iter().any(|words| why.contains(words)) => {
            Some("the machine had no room for a process")
        }
        _ => None,
    }
}

/// The jobs of a run that is under way: what they share, and what becomes of those that do not count.
pub(super) struct Attempts {
    pub(super) running: RunContext,
    pub(super) folder: RunFolder,
    pub(super) budget: TimeBudget,
    pub(super) retries: Retries,
    pub(super) wait_quiet: Option<Duration>,
}

impl Attempts {
    /// Runs a job until an attempt counts.
    pub(super) async fn job(
        &self,
        job: &Job<'_>,
        cancel: &mut watch::Receiver<Cancel>,
        notify: Notify<'_>,
    ) -> Result<Attempted> {
        let mut retries = self.retries;
        let mut earlier = Vec::new();
        loop {
            if let Some(limit) = self.wait_quiet {
                wait_until_quiet(limit, job.device, cancel, notify).await;
            }
            let (folder, left) = (self.folder.job(&job.name())?, self.budget.left());
            let mut attempted = self.running.job(job, &folder, left, cancel, notify).await?;
            attempted.record.earlier.clone_from(&earlier);
            if attempted.is_out_of_budget {
                attempted.record.outcome.reason = Some(self.budget.why_ended());
            }
            let is_cancelled = *cancel.borrow() != Cancel::No;
            let next = retries.next(self.retries, &attempted).filter(|_| !is_cancelled);
            let Some((number, of, why)) = next else { return Ok(attempted) };
            self.folder.keep_attempt(&attempted.record)?;
            notify(Notice::Again { job, number, of, why: &why });
            let status = attempted.record.outcome.status;
            earlier.push(Outcome::because(status, why));
        }
    }
}
