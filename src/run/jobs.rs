//! The loop of a run: what was prepared, then one job at a time, each on disk before the next one
//! starts.
//!
//! Must not depend on how a job goes, on how anything is drawn, or on YAML.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::again::{Attempts, Retries};
use super::budget::TimeBudget;
use super::check::Checked;
use super::conditions::Conditions;
use super::expected::Expected;
use super::job::{Attempted, RunContext};
use super::notice::{Notice, Notify};
use super::prepare::Needs;
use super::resume::Resumed;
use super::session::Session;
use super::signals;
use super::stamp::{run_id, seconds};
use crate::catalog::Device;
use crate::launch;
use crate::machine::Machine;
use crate::material::Size;
use crate::obstacle::Obstacle;
use crate::plan::{Job, Plan};
use crate::process::Cancel;
use crate::record::{Record, Status};
use crate::request::Request;
use crate::store::{Run, RunFolder};

/// A finished run.
pub struct EndedRun {
    pub id: String,
    pub folder: PathBuf,
    pub records: Vec<Record>,
    pub is_interrupted: bool,
    /// How many jobs of the plan were not begun, or not ended, because there was no time or no GPU left.
    pub dropped: usize,
}

/// Runs a plan. Each finished job is on disk before the next one starts, with what the checks
/// found of its target; those that are left are made before the first job of their experiment. Nothing is stored unless everything could be made ready. A run that goes on has the
/// plan of what is left of it.
pub(super) async fn run(
    plan: &Plan<'_>,
    resumed: Option<Resumed>,
    checked: Checked,
    request: &Request,
    budget: TimeBudget,
    session: &Session,
    notify: Notify<'_>,
) -> Result<EndedRun> {
    let jobs = budget.order(&plan.jobs);
    let (started, machine) = (Timestamp::now(), Machine::first_look().clone());
    let profile = request.profile.clone().unwrap_or_default();
    let conditions = Conditions::of(request);
    let needs = Needs::of(&jobs, Size::Profile(&profile), &conditions);
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
                jobs: jobs.iter().map(Job::name).collect(),
                launcher: None,
                machine: machine.clone(),
                rosetta: rosetta.clone(),
            })?;
            Resumed { id, folder, records: Vec::new() }
        }
    };
    let Checked { verdicts, left: mut not_checked, .. } = checked;
    let running = RunContext { id, rosetta, machine, verdicts, conditions, prepared };
    for skip in &plan.skips {
        let record = running.skipped(skip, &profile);
        seal(record, &folder, notify, &mut records)?;
    }
    let (retries, wait_quiet) = (Retries::of(request), request.wait_quiet);
    let mut under_way = Attempts { running, folder, budget, retries, wait_quiet };
    let (expected, mut cancel) = (session.expected(), signals::listen()?);
    let (mut lost_gpu, mut dropped, mut was_stopped) = (None, 0, false);
    for (index, job) in jobs.iter().enumerate() {
        if *cancel.borrow() != Cancel::No {
            break;
        }
        tell_of_experiment(&jobs, index, &records, notify);
        if not_checked.remove(job.experiment.name()) {
            let Checked { verdicts, is_interrupted, .. } =
                check_rest(plan, job, request, session, notify)?;
            under_way.running.verdicts.extend(verdicts);
            was_stopped = is_interrupted;
            if was_stopped {
                break;
            }
        }
        if let Some(why) = not_begun(job, &under_way.budget, &expected, &lost_gpu) {
            dropped += 1;
            seal(under_way.running.dropped(job, why), &under_way.folder, notify, &mut records)?;
            continue;
        }
        let RunContext { prepared, conditions, .. } = &under_way.running;
        prepared.compile_for(job, conditions, session, notify);
        let material = prepared.material(job.experiment);
        let left = expected.left(&jobs[index..]);
        notify(Notice::JobStarted { index, total: jobs.len(), left, job, material });
        let Attempted { record, gpu_failure, .. } = under_way.job(job, &mut cancel, notify).await?;
        under_way.budget.note(job, Duration::from_secs_f64(record.times.wall.unwrap_or_default()));
        lost_gpu = lost_gpu.or(gpu_failure.map(|why| (job.name(), why)));
        dropped += usize::from(record.outcome.status == Status::Skipped);
        seal(record, &under_way.folder, notify, &mut records)?;
    }
    let is_interrupted = was_stopped || *cancel.borrow() != Cancel::No;
    let folder = under_way.folder.path().to_owned();
    Ok(EndedRun { id: under_way.running.id, folder, records, is_interrupted, dropped })
}

/// Checks what is left to be checked of the experiment of a job.
fn check_rest(
    plan: &Plan,
    job: &Job,
    request: &Request,
    session: &Session,
    notify: Notify,
) -> Result<Checked> {
    let is_of_it = |other: &&Job| other.experiment.name() == job.experiment.name();
    let jobs = plan.jobs.iter().filter(is_of_it).cloned().collect();
    let of_it = Plan { jobs, ..Plan::default() };
    Ok(session.check_first(&of_it, request, None, notify)?.unwrap_or_else(|error| {
        notify(Notice::NotChecked(&error));
        Checked::default()
    }))
}

/// Returns why a job of the plan is not begun any more, if so; `lost_gpu` has the job in which a GPU failed, and how.
fn not_begun(
    job: &Job,
    budget: &TimeBudget,
    expected: &Expected,
    lost_gpu: &Option<(String, String)>,
) -> Option<Obstacle> {
    if let (Device::Cuda, Some((other, why))) = (job.device, lost_gpu) {
        let reason = format!("the GPU failed in job `{other}`: {why}");
        return Some(Obstacle::new(
            reason,
            "a reset of the GPU or a restart of the machine may help",
        ));
    }
    let why = budget.why_dropped(job, expected)?;
    Some(Obstacle::new(why, "`rosetta run --resume RUN` does what was dropped"))
}

/// Tells of the experiment of the jobs before `index`, if none of its jobs follows.
fn tell_of_experiment(jobs: &[Job], index: usize, records: &[Record], notify: Notify) {
    let Some(before) = index.checked_sub(1).map(|before| jobs[before].experiment.name()) else {
        return;
    };
    if jobs[index..].iter().all(|job| job.experiment.name() != before) {
        let of_it = records.iter().filter(|record| record.experiment == before);
        notify(Notice::ExperimentDone(&of_it.cloned().collect::<Vec<_>>()));
    }
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
pub(super) fn without_secrets(request: &Request) -> Request {
    let environment = request.environment.iter().map(|passed| launch::shown(passed)).collect();
    Request { environment, ..request.clone() }
}
