//! One job of a run → its record.
//!
//! Must not depend on the other jobs, on how anything is drawn, or on YAML.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::watch;

use super::again::passing;
use super::attempt::{Asked, Attempt, EarlyEnd, Ending, Program};
use super::conditions::Conditions;
use super::notice::{Notice, Notify};
use super::outcome::{self, Scored, advice};
use super::prepare::Prepared;
use super::record::{Became, JobOrigin, inputs};
use super::stamp::seconds;
use crate::digest::sha256;
use crate::jobfile::{self, JobFile, JobPlace};
use crate::machine::Machine;
use crate::material::Material;
use crate::obstacle::Obstacle;
use crate::plan::{Job, Skip};
use crate::process::Cancel;
use crate::proof::{Equivalence, Verdict};
use crate::record::{Outcome, Record, Status, Version};
use crate::regular;
use crate::score;
use crate::spec::Task;

/// What the jobs of one run share.
pub(super) struct RunContext {
    pub(super) id: String,
    pub(super) rosetta: Version,
    /// Where rosetta is.
    pub(super) machine: Machine,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) conditions: Conditions,
    pub(super) prepared: Prepared,
}

/// What an attempt at a job came to.
pub(super) struct Attempted {
    pub(super) record: Record,
    /// By which cause it ended, if that is one that passes.
    pub(super) passing: Option<&'static str>,
    /// How a GPU failed meanwhile.
    pub(super) gpu_failure: Option<String>,
    /// Whether it was ended because the run had no time left.
    pub(super) is_out_of_budget: bool,
}

impl Attempted {
    fn not_started(record: Record) -> Attempted {
        Attempted { record, passing: None, gpu_failure: None, is_out_of_budget: false }
    }
}

impl RunContext {
    /// Runs one job in a folder of its own; `left` is what is left of the run's budget.
    pub(super) async fn job(
        &self,
        job: &Job<'_>,
        folder: &Path,
        left: Option<Duration>,
        cancel: &mut watch::Receiver<Cancel>,
        notify: Notify<'_>,
    ) -> Result<Attempted> {
        let origin = self.origin(job);
        let built = match self.prepared.built_for(job, &self.conditions) {
            Ok(built) => built,
            Err(outcome) => return Ok(Attempted::not_started(self.never_started(job, outcome))),
        };
        let harness = &job.framework.harnesses[job.experiment.name()];
        // That a compiled harness is not there concerns this job alone.
        if let Err(error) = built.command(harness, job.experiment.name()) {
            let outcome = Outcome::because(Status::Failed, format!("{error:#}"));
            return Ok(Attempted::not_started(self.never_started(job, outcome)));
        }
        let material = self.prepared.material(job.experiment);
        let place = JobPlace {
            job: job.name(),
            target: &job.target.name,
            device: job.device,
            threads: self.conditions.threads,
            outputs: folder,
        };
        let file = JobFile::of_run(job.experiment, material, &place);
        let attempt = Attempt {
            program: Program::of(job, harness),
            built,
            job_file: &jobfile::write(folder, &file)?,
            writes: Vec::new(),
            conditions: &self.conditions,
            timeout: job.experiment.profile(&job.profile)?.timeout.0,
            asked: asked(material),
            left,
            is_timed: true,
            environment: Default::default(),
        };
        let ending = attempt.run(cancel, |event| notify(Notice::JobEvent(event))).await?;
        let mut scored = self.scored(job, &ending);
        scored.outcome.hint = advice(&scored.outcome, built, &folder.join("stderr.log"));
        let record = Record::of(job, origin, Became::Ended { built, ending: &ending, scored });
        let gpu_failure = outcome::gpu_failure(&ending).map(str::to_owned);
        let is_out_of_budget = ending.stop == Some(EarlyEnd::OutOfBudget);
        Ok(Attempted { record, passing: passing(&ending), gpu_failure, is_out_of_budget })
    }

    /// Returns the record of a job that is not begun, or not any more.
    pub(super) fn dropped(&self, job: &Job, obstacle: Obstacle) -> Record {
        self.never_started(job, Outcome::of(Status::Skipped, obstacle))
    }

    /// Returns the record of a job that never started.
    pub(super) fn never_started(&self, job: &Job, outcome: Outcome) -> Record {
        Record::of(job, self.origin(job), Became::NotStarted(outcome))
    }

    /// Returns the outcome of a job, its outputs included.
    fn scored(&self, job: &Job, ending: &Ending) -> Scored {
        let outcome = outcome::of(ending, job.device);
        let outputs = ending.fold.outputs.as_ref().filter(|_| outcome.status == Status::Ok);
        let Some(outputs) = outputs else { return Scored::nothing(outcome) };
        let material = self.prepared.material(job.experiment);
        let rows = material.test_rows;
        let computed = match (job.experiment.spec.task, material.labels()) {
            (Task::Classification, Some(labels)) => {
                score::accuracy(&outputs.path, labels, rows).map(Some)
            }
            _ => score::features(&outputs.path, rows, None).map(|()| None),
        };
        let computed = computed.map_err(|error| format!("{error:#}"));
        let band = job.experiment.expected_accuracy(&job.profile, material.dataset.source);
        outcome::scored(computed, ending.fold.reported_accuracy(), band)
    }

    /// Returns the record of a job that cannot run.
    pub(super) fn skipped(&self, skip: &Skip, profile: &str) -> Record {
        let Skip { experiment, framework, target, device, .. } = *skip;
        let (profile, repeat) = (profile.to_owned(), 1);
        let job = Job { experiment, framework, target, device, profile, repeat };
        self.dropped(&job, skip.obstacle.clone())
    }

    /// Returns what is known of a job before it starts.
    pub(super) fn origin(&self, job: &Job) -> JobOrigin<'_> {
        let harness = job.framework.harnesses.get(job.experiment.name());
        let harness = harness.and_then(|path| regular::read(path).ok());
        let material = self.prepared.find_material(job.experiment);
        JobOrigin {
            run: &self.id,
            started: seconds(Timestamp::now()),
            threads: self.conditions.threads,
            equivalence: self.equivalence(job),
            inputs: inputs(job, material, harness.map(sha256).unwrap_or_default()),
            machine: self.machine.clone(),
            rosetta: &self.rosetta,
        }
    }

    fn equivalence(&self, job: &Job) -> Equivalence {
        let verdict = self.verdicts.iter().find(|verdict| {
            verdict.experiment == job.experiment.name()
                && verdict.target == job.target.name
                && verdict.device == job.device
        });
        verdict.map_or_else(Equivalence::never_checked, |verdict| verdict.equivalence.clone())
    }
}

/// Returns the training that a job is asked for.
fn asked(material: &Material) -> Asked {
    match material.order {
        Some(_) => Asked {
            epochs: material.epochs,
            steps: material.steps(),
            batch_size: material.batch_size,
        },
        None => Asked::default(),
    }
}
