//! The loop of a run: what was prepared, then one job at a time, each on disk before the next one
//! starts.
//!
//! Must not depend on how a job goes, on how anything is drawn, or on YAML.

use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;

use super::conditions::Conditions;
use super::job::RunContext;
use super::notice::{Notice, Notify};
use super::prepare::Needs;
use super::resume::Resumed;
use super::session::Session;
use super::signals;
use super::stamp::{run_id, seconds};
use crate::launch;
use crate::machine::Machine;
use crate::material::Size;
use crate::plan::{Job, Plan};
use crate::process::Cancel;
use crate::proof::Verdict;
use crate::record::Record;
use crate::request::Request;
use crate::store::{Run, RunFolder};

/// A finished run.
pub struct Ended {
    pub id: String,
    pub folder: PathBuf,
    pub records: Vec<Record>,
    pub is_interrupted: bool,
}

/// Runs a plan. Each finished job is on disk before the next one starts, with what `verdicts` say
/// of its target. Nothing is stored unless everything could be made ready. A run that goes on has the
/// plan of what is left of it.
pub async fn run(
    plan: &Plan<'_>,
    resumed: Option<Resumed>,
    verdicts: &[Verdict],
    request: &Request,
    session: &Session,
    notify: Notify<'_>,
) -> Result<Ended> {
    let (started, machine) = (Timestamp::now(), Machine::look());
    let profile = request.profile.clone().unwrap_or_default();
    let conditions = Conditions::of(request);
    let needs = Needs::of(&plan.jobs, Size::Profile(&profile), &conditions);
    let prepared = needs.prepare(&conditions, session, notify)?;
    let rosetta = session.version();
    let Resumed { id, folder, mut records } = match resumed {
        Some(resumed) => resumed,
        None => {
            let id = run_id(started);
            let folder = session.store.begin(&Run {
                run: 1,
                id: id.clone(),
                started: seconds(started),
                command: session.command.clone(),
                request: Some(without_secrets(request)),
                profile: profile.clone(),
                jobs: plan.jobs.iter().map(Job::name).collect(),
                machine: machine.clone(),
                rosetta: rosetta.clone(),
            })?;
            Resumed { id, folder, records: Vec::new() }
        }
    };
    let running = RunContext { id, rosetta, machine, verdicts, conditions, prepared, folder };
    for skip in &plan.skips {
        let record = running.skipped(skip, &profile);
        seal(record, &running.folder, notify, &mut records)?;
    }
    let (expected, mut cancel) = (session.expected(), signals::listen()?);
    for (index, job) in plan.jobs.iter().enumerate() {
        if *cancel.borrow() != Cancel::No {
            break;
        }
        let material = running.prepared.material(job.experiment);
        let left = expected.left(&plan.jobs[index..]);
        notify(Notice::JobStarted { index, total: plan.jobs.len(), left, job, material });
        let record = running.job(job, &mut cancel, notify).await?;
        seal(record, &running.folder, notify, &mut records)?;
    }
    let is_interrupted = *cancel.borrow() != Cancel::No;
    let folder = running.folder.path().to_owned();
    Ok(Ended { id: running.id, folder, records, is_interrupted })
}

/// Stores a record and tells of it.
fn seal(
    record: Record,
    folder: &RunFolder,
    notify: Notify,
    records: &mut Vec<Record>,
) -> Result<()> {
    folder.seal(&record)?;
    notify(Notice::JobFinished(&record));
    records.push(record);
    Ok(())
}

/// Returns a request as a record may have it.
fn without_secrets(request: &Request) -> Request {
    let environment = request.environment.iter().map(|passed| launch::shown(passed)).collect();
    Request { environment, ..request.clone() }
}
