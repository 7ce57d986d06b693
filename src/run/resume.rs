//! A run that was interrupted → what is left of it to do, in the same folder.
//!
//! Sealed jobs stay as they are. A job that was under way, or was cancelled, is done again from its beginning; what the first
//! attempt left is kept below `attempts/`. Must not depend on how a job goes.

use anyhow::{Result, bail};

use super::session::Session;
use crate::hint::hinted;
use crate::launch;
use crate::machine::Machine;
use crate::plan::{Job, Plan};
use crate::record::{Record, Status};
use crate::request::Request;
use crate::store::{RunFolder, Stored};

/// A run that goes on.
pub struct Resumed {
    pub(super) id: String,
    pub(super) folder: RunFolder,
    /// Records of the jobs that are done, in the order in which they were made.
    pub(super) records: Vec<Record>,
}

impl Resumed {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns how many jobs were done before.
    pub fn done(&self) -> usize {
        self.records.iter().filter(|record| record.outcome.status != Status::Skipped).count()
    }
}

/// What an interrupted run was asked for.
pub struct Unfinished {
    stored: Stored,
    pub request: Request,
}

impl Unfinished {
    /// Returns what is left of a stored run; `environment` is passed on once more, for secrets are not stored.
    pub fn of(stored: Stored, environment: &[String]) -> Result<Unfinished> {
        let id = &stored.id;
        if stored.is_running {
            bail!("run `{id}` is going on: another rosetta holds it");
        }
        let run = stored.run.as_ref();
        let asked = run.and_then(|run| Some((run, run.request.clone()?)));
        let Some((run, mut request)) = asked else {
            let message = format!("run `{id}` does not say what was asked for");
            return Err(hinted(message, "it is of an older rosetta, or damaged: start a new run"));
        };
        if let Some(launcher) = &run.launcher {
            let message = format!("run `{id}` was submitted to {launcher}");
            let hint = format!(
                "`rosetta runs collect {id}` takes its results in and submits again what was lost"
            );
            return Err(hinted(message, hint));
        }
        if !run.machine.is_same(Machine::first_look()) {
            let message = format!("run `{id}` is of another machine: {}", run.machine.words());
            return Err(hinted(
                message,
                "numbers of two machines are not one run: start a new one",
            ));
        }
        if !environment.is_empty() {
            request.environment = environment.to_vec();
        }
        let mut secrets = request.environment.iter().filter_map(|passed| launch::masked(passed));
        if let Some(name) = secrets.next() {
            let message = format!("run `{id}` was given the secret `{name}`, which is not stored");
            return Err(hinted(message, format!("add `--env {name}` to `--resume`")));
        }
        Ok(Unfinished { request, stored })
    }

    /// Returns the run, open again, and the plan of what is left of it.
    pub fn resume<'a>(self, mut plan: Plan<'a>, session: &Session) -> Result<(Resumed, Plan<'a>)> {
        let Unfinished { stored, .. } = self;
        let id = stored.id.clone();
        let planned = stored.run.map(|run| run.jobs).unwrap_or_default();
        // A job that was planned and skipped was dropped.
        let is_done = |record: &Record| match record.outcome.status {
            Status::Cancelled => false,
            Status::Skipped => !planned.contains(&record.job),
            _ => true,
        };
        let records = stored.records.into_iter().filter(is_done).collect::<Vec<_>>();
        let mut left = planned.iter().collect::<Vec<_>>();
        left.retain(|name| !records.iter().any(|record| record.job == **name));
        if left.is_empty() {
            let message =
                format!("run `{id}` is finished: all of its {} jobs have a record", planned.len());
            return Err(hinted(message, "`rosetta list runs` shows which runs were interrupted"));
        }
        let lost = left.iter().find(|name| !plan.jobs.iter().any(|job| job.name() == ***name));
        if let Some(lost) = lost {
            let message =
                format!("run `{id}` cannot go on: its job `{lost}` cannot be planned any more");
            return Err(hinted(message, "the project or the machine has changed: start a new run"));
        }
        plan.jobs.retain(|job| left.contains(&&job.name()));
        // They were told of, and have their records.
        plan.skips.clear();
        let folder = session.store.reopen(&id, &stored.folder)?;
        folder.set_aside(&plan.jobs.iter().map(Job::name).collect::<Vec<_>>())?;
        Ok((Resumed { id, folder, records }, plan))
    }
}
