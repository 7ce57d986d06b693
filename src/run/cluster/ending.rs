//! A job that no task will leave a record of → its record.
//!
//! Must not depend on how it was found out.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;

use super::collect::Collector;
use crate::cluster::{Submission, TaskEnd};
use crate::digest::sha256;
use crate::hint::hinted;
use crate::machine::Machine;
use crate::obstacle::Obstacle;
use crate::plan::{self, Job};
use crate::proof::Equivalence;
use crate::record::{Outcome, Record, Status};
use crate::regular;
use crate::run::record::{Became, JobOrigin, inputs};
use crate::run::stamp::seconds;
use crate::spec::Experiment;

impl Collector<'_> {
    /// Seals jobs that no task will leave a record of.
    pub(super) fn end(
        &mut self,
        ends: Vec<(usize, TaskEnd)>,
        experiments: &[Experiment],
        submissions: &[Submission],
        places: &[Option<(usize, u32)>],
    ) -> Result<()> {
        if ends.is_empty() {
            return Ok(());
        }
        let gpus = self.launcher.gpus();
        let plan = plan::plan(&self.plan.request, experiments, &self.session.catalog, &gpus)?;
        for (index, ended) in ends {
            let wanted = &self.plan.jobs[index].0;
            let Some(job) = plan.jobs.iter().find(|job| job.name() == *wanted) else {
                let message =
                    format!("job `{wanted}` ended without a result and cannot be planned any more");
                bail!(hinted(
                    message,
                    "the project has changed since: put its specs and harnesses back, then collect"
                ));
            };
            let place = places[index].map(|(at, task)| (&submissions[at], task));
            let log = place.and_then(|(one, task)| {
                let array = one.array.as_deref()?;
                Some(self.ledger.path(&format!("output/{array}_{task}.log")))
            });
            let outcome = self.outcome(job, &ended, log.as_deref());
            let record = self.record(job, outcome, ended.node());
            self.folder.seal(&record)?;
            self.ended.insert(index, record.outcome.status);
            self.seen.jobs.remove(&index);
        }
        Ok(())
    }

    fn outcome(&self, job: &Job, ended: &TaskEnd, log: Option<&Path>) -> Outcome {
        let file = self.launcher.path.display();
        let device = job.device;
        let of =
            |status, reason: String, hint: String| Outcome::of(status, Obstacle::new(reason, hint));
        match ended {
            TaskEnd::TimedOut(task) => {
                let time = self
                    .launcher
                    .resources
                    .get(&device)
                    .map(|one| minutes(one.time))
                    .unwrap_or_default();
                let reason = format!("Slurm ended it at its limit of {time}: {}", task.words());
                of(
                    Status::TimedOut,
                    reason,
                    format!("raise `time` of `resources.{device}` in {file}"),
                )
            }
            TaskEnd::OutOfMemory(task) => {
                let reason =
                    format!("Slurm ended it, as it used more memory than it may: {}", task.words());
                of(
                    Status::OutOfMemory,
                    reason,
                    format!("raise `memory` of `resources.{device}` in {file}"),
                )
            }
            TaskEnd::Cancelled(task) => {
                let how =
                    task.as_ref().map(|task| format!(": {}", task.words())).unwrap_or_default();
                Outcome::because(Status::Cancelled, format!("it was cancelled{how}"))
            }
            TaskEnd::GivenUp(ways) => {
                let said = log
                    .and_then(last_line)
                    .map(|line| format!("; its last words: {line}"))
                    .unwrap_or_default();
                let reason =
                    format!("{} attempts left no result: {}{said}", ways.len(), ways.join(", "));
                let log = log.map(|log| format!("`{}`", log.display())).unwrap_or_default();
                of(
                    Status::Failed,
                    reason,
                    format!(
                        "what its tasks said is in {log}; `attempts` in {file} says how many there may be"
                    ),
                )
            }
        }
    }

    fn record(&self, job: &Job, outcome: Outcome, node: &str) -> Record {
        let machine = Machine {
            host: node.to_owned(),
            cluster: Some("slurm".to_owned()),
            ..Machine::default()
        };
        let harness = job.framework.harnesses.get(job.experiment.name());
        let harness = harness.and_then(|path| regular::read(path).ok()).map(sha256);
        let verdict = self.plan.verdicts.iter().find(|verdict| {
            verdict.experiment == job.experiment.name()
                && verdict.target == job.target.name
                && verdict.device == job.device
        });
        let origin = JobOrigin {
            run: &self.plan.run,
            started: seconds(Timestamp::now()),
            threads: self.plan.request.threads.unwrap_or_default(),
            equivalence: verdict
                .map_or_else(Equivalence::never_checked, |verdict| verdict.equivalence.clone()),
            inputs: inputs(job, None, harness.unwrap_or_default()),
            machine,
            rosetta: &self.session.version(),
        };
        Record::of(job, origin, Became::NotStarted(outcome))
    }
}

/// Returns the last line of a log that says something, shortened.
fn last_line(path: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&regular::read(path).ok()?).into_owned();
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(300).collect())
}

/// Returns a time as a launcher's file has it.
fn minutes(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes if minutes % 60 == 0 => format!("{} h", minutes / 60),
        minutes => format!("{minutes} min"),
    }
}

impl TaskEnd {
    /// Returns the node that Slurm named last.
    fn node(&self) -> &str {
        match self {
            TaskEnd::TimedOut(task)
            | TaskEnd::OutOfMemory(task)
            | TaskEnd::Cancelled(Some(task)) => &task.node,
            TaskEnd::Cancelled(None) | TaskEnd::GivenUp(_) => "",
        }
    }
}
