//! A task of an array on its node, `rosetta __task RUN`: one job of the plan, through the same shim as everywhere.
//!
//! Must not depend on who submitted it nor on whether anybody waits for it.
//!
//! The record is computed here, on the node that ran the job: all its times are of one clock, and its machine is the node's. It
//! is published in the attempt's folder when all else is there. A task that is stopped before its job has ended publishes
//! nothing: it is requeued, preempted or cancelled, and Slurm knows which.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::collect::launcher;
use super::submit::conditions;
use crate::catalog::Device;
use crate::cluster::{ClusterLauncher, ClusterPlan, Ledger, SUBMISSION, Started};
use crate::gpu;
use crate::hint::{hinted, say};
use crate::machine::{self, Machine};
use crate::material::Size;
use crate::obstacle::Obstacle;
use crate::plan::Job;
use crate::process::kernel::{self, Signal};
use crate::project::Project;
use crate::publish::publish;
use crate::record::{Outcome, Record, Status};
use crate::run::conditions::Conditions;
use crate::run::job::RunContext;
use crate::run::prepare::Needs;
use crate::run::session::Session;
use crate::run::signals::{self, TaskStop};
use crate::run::stamp::seconds;
use crate::store::Store;

/// The word that makes a rosetta a task; not a subcommand, for nobody types it.
pub const TASK: &str = "__task";

/// Exit codes of a task that leaves no record.
const STOPPED: u8 = 75;
const FAILED: u8 = 70;

/// Who a task is, as Slurm and its script say.
struct Identity {
    submission: u32,
    task: u32,
    restart: u32,
    /// What Slurm calls it.
    id: String,
}

/// Runs the task that the variables of this process name. Succeeds if there is a record, however the job ended.
pub fn task_main(run: &Path) -> ExitCode {
    // Who started it may be gone before it: then nobody would stop it.
    let followed = kernel::follow_parent(Signal::HUP);
    match followed.context("cannot follow the end of Slurm's own process").and_then(|()| task(run))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(STOPPED),
        Err(error) => {
            crate::hint::report(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// Returns whether the job has a record now.
fn task(run: &Path) -> Result<bool> {
    let (ledger, me) = (Ledger::of(run), Identity::find()?);
    let plan = ledger.plan()?;
    if plan.version != env!("CARGO_PKG_VERSION") {
        bail!(
            "this rosetta is {}, the run was submitted by {}",
            env!("CARGO_PKG_VERSION"),
            plan.version
        );
    }
    let submission = ledger.submission(me.submission)?;
    let job = submission.jobs.get(me.task as usize).and_then(|index| plan.jobs.get(*index));
    let (name, device) =
        job.with_context(|| format!("submission {} has no task {}", me.submission, me.task))?;
    let before = ledger.attempts()?.remove(name).unwrap_or_default();
    let has_record = before.iter().any(|attempt| attempt.has_record());
    if has_record || ledger.is_cancelled() || run.join(name).exists() {
        say(format_args!("{name} has a record already, or the run is cancelled: nothing to do"));
        return Ok(true);
    }
    let folder = ledger.attempt(name, me.submission, me.restart);
    std::fs::create_dir(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let started = Started {
        submission: me.submission,
        restart: me.restart,
        node: machine::name(),
        task: me.id.clone(),
        started: seconds(Timestamp::now()),
    };
    publish(&folder.join("attempt.json"), &serde_json::to_vec(&started)?)
        .with_context(|| format!("cannot write into `{}`", folder.display()))?;
    say(format_args!("{name} on {} as {}, attempt {}", started.node, me.id, before.len() + 1));
    let launcher = launcher(&plan)?;
    // Relative names in what was asked, as of an interpreter, start there; where nodes do not have it, they are not found.
    let _ = std::env::set_current_dir(&plan.request.folder);
    let project = Project::at(&plan.project);
    let store = Store::at(run.parent().and_then(Path::parent).unwrap_or(run));
    let session =
        Session::open(&project, &store, plan.request.provider)?.with_gpus(launcher.gpus());
    let experiments = project.experiments()?;
    let planned = session.plan_of_all(&plan.request, &experiments)?;
    let job = planned.jobs.into_iter().find(|job| job.name() == *name);
    let job = job.ok_or_else(|| {
        let message = format!("job `{name}` cannot be planned any more");
        hinted(
            message,
            "the project has changed since it was submitted: put its specs and harnesses back",
        )
    })?;
    let task = TaskOf { plan: &plan, launcher: &launcher, session: &session, folder: &folder };
    let starts = before.len() + 1;
    let record = match starts > launcher.attempts as usize {
        true => Some(task.without_process(&job, *device, worn_out(before.len(), &launcher))?),
        false => task.run(&job, *device, &ledger.variables()?)?,
    };
    let Some(mut record) = record else { return Ok(false) };
    // The folder has another name by the time that somebody reads this.
    let (there, then) = (folder.display().to_string(), run.join(name).display().to_string());
    record.outcome.hint = record.outcome.hint.map(|hint| hint.replace(&there, &then));
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    publish(&folder.join("record.json"), &line)
        .with_context(|| format!("cannot write the record into `{}`", folder.display()))?;
    Ok(true)
}

fn worn_out(starts: usize, launcher: &ClusterLauncher) -> Outcome {
    let reason = format!(
        "it was started {starts} times and never came to its end: requeued, preempted or lost"
    );
    let hint = format!("`attempts` in {} says how often a job is started", launcher.path.display());
    Outcome::of(Status::Failed, Obstacle::new(reason, hint))
}

impl Identity {
    fn find() -> Result<Identity> {
        let (array, task) = (text("SLURM_ARRAY_JOB_ID")?, number("SLURM_ARRAY_TASK_ID")?);
        let restart = match std::env::var_os("SLURM_RESTART_COUNT") {
            Some(_) => number("SLURM_RESTART_COUNT")?,
            None => 0,
        };
        Ok(Identity {
            submission: number(SUBMISSION)?,
            task,
            restart,
            id: format!("{array}_{task}"),
        })
    }
}

/// Returns a variable that the script of a submission sets.
fn text(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| {
        let message = format!("`{name}` is not set");
        let hint = "only the script of a submission starts a task; use `rosetta run --launcher`";
        hinted(message, hint)
    })
}

/// Returns such a variable that is a number.
fn number(name: &str) -> Result<u32> {
    let text = text(name)?;
    text.parse().with_context(|| format!("`{name}` is `{text}`, not a number"))
}

/// A job in its task.
struct TaskOf<'a> {
    plan: &'a ClusterPlan,
    launcher: &'a ClusterLauncher,
    session: &'a Session,
    folder: &'a Path,
}

impl TaskOf<'_> {
    /// Runs the job; returns nothing if it was stopped from outside.
    fn run(&self, job: &Job, device: Device, variables: &[String]) -> Result<Option<Record>> {
        if device == Device::Cuda && gpu::list().is_empty() {
            let reason = format!("node {} shows no CUDA GPU to its task", machine::name());
            let file = self.launcher.path.display();
            let hint = format!(
                "correct `gres` of `resources.cuda` in {file}; `sinfo -o '%P %G'` lists what nodes have"
            );
            let outcome = Outcome::of(Status::Failed, Obstacle::new(reason, hint));
            return self.without_process(job, device, outcome).map(Some);
        }
        let context = self.context(std::slice::from_ref(job), device, variables)?;
        let runtime = signals::runtime()?;
        let (record, stop) = runtime.block_on(async {
            let (mut cancel, stop) = signals::listen_in_task()?;
            let record = context.job(job, self.folder, None, &mut cancel, &|_| ()).await?.record;
            let stop = *stop.borrow();
            anyhow::Ok((record, stop))
        })?;
        match (record.outcome.status, stop) {
            (Status::Cancelled, Some(TaskStop::Limit)) => {
                let time = self
                    .launcher
                    .resources
                    .get(&device)
                    .map(|one| one.time.as_secs() / 60)
                    .unwrap_or_default();
                let reason = format!("the time limit of its task came near: {time} min");
                let file = self.launcher.path.display();
                let hint = format!("raise `time` of `resources.{device}` in {file}");
                let outcome = Outcome::of(Status::TimedOut, Obstacle::new(reason, hint));
                Ok(Some(Record { outcome, ..record }))
            }
            (Status::Cancelled, Some(TaskStop::Asked)) => {
                say("it was stopped from outside: requeued, preempted or cancelled");
                Ok(None)
            }
            _ => Ok(Some(record)),
        }
    }

    /// Returns the record of a job of which no process runs.
    fn without_process(&self, job: &Job, device: Device, outcome: Outcome) -> Result<Record> {
        let context = self.context(&[], device, &[])?;
        Ok(context.never_started(job, outcome))
    }

    fn context(&self, jobs: &[Job], device: Device, variables: &[String]) -> Result<RunContext> {
        let (plan, request) = (self.plan, &self.plan.request);
        let conditions = Conditions {
            environment: variables.to_vec(),
            ..conditions(request, self.launcher, device)
        };
        let profile = request.profile.clone().unwrap_or_default();
        let needs = Needs::of(jobs, Size::Profile(&profile), &conditions);
        let prepared = needs.prepare(&conditions, self.session, &|_| ())?;
        Ok(RunContext {
            id: plan.run.clone(),
            rosetta: self.session.version(),
            machine: Machine::look(),
            verdicts: plan.verdicts.clone(),
            conditions,
            prepared,
        })
    }
}
