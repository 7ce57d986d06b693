//! The loop of a check: each target computes a few steps from the same weights on the same
//! batches, and so does the reference; what both stored is compared.
//!
//! The harnesses are those of a run, in the mode `check` of the protocol. A check is not timed:
//! several go on at once. What the reference computes is kept under `checks/` of rosetta's home,
//! by a digest of all that it follows from.

mod case;
mod kept;
mod part;
mod reference;
mod semantics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::sync::watch;

use self::case::{Case, Program};
use self::reference::Stop;
use super::{
    Notice, Notify, Places, Ready, Settings, built_for, envs_of, experiments_of, listen_to_signals,
    lock, prepare, seconds,
};
use crate::catalog::Device;
use crate::check::{Equivalence, Grade, Verdict};
use crate::digest::sha256;
use crate::env::Built;
use crate::hint::unknown;
use crate::jobfile::{Material, Size};
use crate::plan::Job;
use crate::process::Cancel;
use crate::spec::Experiment;
use crate::yaml;

/// What a check is to do beyond a run's settings.
pub struct CheckSettings<'a> {
    pub run: &'a Settings,
    /// A target to compare with, instead of the experiment's reference.
    pub reference: Option<String>,
    /// How many targets are checked at once.
    pub at_once: usize,
}

/// What a check ended with.
pub struct Checked {
    pub verdicts: Vec<Verdict>,
    pub is_interrupted: bool,
}

/// Checks every job of `jobs` whose verdict is not known yet to `known`, and returns all verdicts
/// in the order of the jobs.
pub fn check(
    jobs: &[Job],
    settings: &CheckSettings,
    places: &Places,
    known: &BTreeMap<String, Verdict>,
    notify: Notify,
) -> Result<Checked> {
    let experiments = experiments_of(jobs);
    let references = experiments
        .iter()
        .filter_map(|experiment| reference_of(experiment, settings, places).transpose())
        .collect::<Result<Vec<_>>>()?;
    let mut envs = envs_of(jobs, settings.run);
    for name in envs_of(&references, settings.run) {
        if !envs.contains(&name) {
            envs.push(name);
        }
    }
    let (ready, materials) =
        prepare(envs, &experiments, Size::Check, settings.run, places, notify)?;
    let cancel = signals()?;
    let bench = Bench { settings, places, references, ready, materials, cancel, notify };
    let queue = Mutex::new(jobs.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            // Each thread waits for the processes that it started: none outlives it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            while let Some((index, job)) = { lock(&queue).next() } {
                if *bench.cancel.borrow() != Cancel::No {
                    return Ok(());
                }
                if let Some(verdict) = bench.verdict(job, known, &runtime)? {
                    lock(&done).insert(index, verdict);
                }
            }
            Ok(())
        };
        let workers = (0..settings.at_once.max(1)).map(|_| scope.spawn(work)).collect::<Vec<_>>();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    kept::tidy(places.home);
    let is_interrupted = *bench.cancel.borrow() != Cancel::No;
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Checked { verdicts: done.into_values().collect(), is_interrupted })
}

/// Listens to Ctrl-C on a thread of its own, for several threads that work.
fn signals() -> Result<watch::Receiver<Cancel>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let receiver = {
        let _inside = runtime.enter();
        listen_to_signals()?
    };
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(receiver)
}

/// Returns the job that stands for the reference of an experiment, if it has one.
fn reference_of<'a>(
    experiment: &'a Experiment,
    settings: &CheckSettings,
    places: &Places<'a>,
) -> Result<Option<Job<'a>>> {
    let name = settings.reference.as_deref().unwrap_or(experiment.reference());
    let found = places.catalog.find(name, experiment.name());
    let Some((framework, target)) = found else {
        let known = has_harness(experiment, places).collect::<Vec<_>>();
        let error =
            || unknown(&format!("target with a harness for {}", experiment.name()), name, known);
        return match (&settings.reference, &experiment.spec.reference) {
            (Some(_), _) => Err(error()),
            (None, Some(stated)) => {
                let place = yaml::wrong(
                    &experiment.path,
                    &stated.referenced,
                    "this `reference` cannot be had",
                );
                Err(error().context(place.to_string()))
            }
            (None, None) => Ok(None),
        };
    };
    let device = match target.env.contains_key(&Device::Cpu) {
        true => Device::Cpu,
        false => Device::Cuda,
    };
    let profile = "check".to_owned();
    Ok(Some(Job { experiment, framework, target, device, profile, repeat: 1 }))
}

/// Returns the names of the targets that have a harness for an experiment.
fn has_harness<'a>(
    experiment: &Experiment,
    places: &Places<'a>,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let name = experiment.name().to_owned();
    let targets = places.catalog.targets();
    let with = targets.filter(move |(framework, _)| framework.harnesses.contains_key(&name));
    with.map(|(_, target)| target.name.as_str())
}

/// What all checks of one invocation share.
struct Bench<'a> {
    settings: &'a CheckSettings<'a>,
    places: &'a Places<'a>,
    references: Vec<Job<'a>>,
    ready: Ready,
    materials: BTreeMap<String, Material>,
    cancel: watch::Receiver<Cancel>,
    notify: Notify<'a>,
}

impl Bench<'_> {
    /// Returns the verdict on a target, unless it was interrupted.
    fn verdict(
        &self,
        job: &Job,
        known: &BTreeMap<String, Verdict>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Option<Verdict>> {
        let started = Instant::now();
        let material = &self.materials[job.experiment.name()];
        let (ours, theirs) = match self.programs(job) {
            Ok(programs) => programs,
            Err(why) => {
                return Ok(Some(self.blank(job, String::new(), "", Equivalence::unchecked(why))));
            }
        };
        let key = key(&ours, &theirs, material)?;
        if let Some(verdict) = known.get(&key) {
            return Ok(Some(verdict.clone()));
        }
        let (experiment, title) = (job.experiment.name(), &job.target.title);
        let name = format!("check {experiment} · {title} · {}", job.device);
        let name = name.as_str();
        (self.notify)(Notice::StepStarted { name });
        let case = Case { bench: self, step: name, ours, theirs, material, runtime };
        let verdict = match case.verdict(key) {
            Err(error) => match error.downcast::<Stop>() {
                Ok(Stop::Interrupted) => Ok(None),
                Ok(Stop::Failed(why)) => {
                    Ok(Some(self.blank(job, String::new(), "", Equivalence::unchecked(why))))
                }
                Err(error) => Err(error),
            },
            verdict => verdict,
        };
        (self.notify)(match &verdict {
            Ok(Some(Verdict { equivalence, .. })) => match &equivalence.reason {
                Some(why) => {
                    Notice::StepFailed { name, why: format!("{}: {why}", equivalence.words()) }
                }
                None => Notice::StepDone { name, what: equivalence.words() },
            },
            Ok(None) => Notice::StepFailed { name, why: "interrupted".to_owned() },
            Err(error) => Notice::StepFailed { name, why: format!("{error:#}") },
        });
        let took = started.elapsed().as_secs_f64();
        let verdict = verdict?.map(|verdict| Verdict { seconds: took, ..verdict });
        // What could not be computed today may be tomorrow.
        if let Some(verdict) = verdict.iter().find(|v| v.equivalence.grade != Grade::Unchecked) {
            self.places.store.keep(verdict)?;
        }
        Ok(verdict)
    }

    /// Returns the target's program and the reference's, or why there is one too few.
    fn programs<'b>(&'b self, job: &'b Job<'b>) -> Result<(Program<'b>, Program<'b>), String> {
        let experiment = job.experiment.name();
        let reference = self.references.iter().find(|one| one.experiment.name() == experiment);
        let reference = reference.ok_or_else(|| {
            let known = has_harness(job.experiment, self.places).collect::<Vec<_>>().join("`, `");
            format!(
                "{experiment} has no reference; name one of `{known}` with `--reference`, or as \
                 `reference` in `{}`",
                job.experiment.path.display()
            )
        })?;
        let program = |job: &'b Job<'b>| -> Result<Program<'b>, String> {
            let built = built_for(job, &self.ready, self.settings.run);
            let built = built.map_err(|outcome| outcome.reason.unwrap_or_default())?;
            Ok(Program { job, built, harness: &job.framework.harnesses[experiment] })
        };
        Ok((program(job)?, program(reference)?))
    }

    fn blank(&self, job: &Job, key: String, reference: &str, equivalence: Equivalence) -> Verdict {
        Verdict {
            verdict: crate::check::VERSION,
            key,
            experiment: job.experiment.name().to_owned(),
            framework: job.framework.spec.name.clone(),
            target: job.target.name.clone(),
            title: job.target.title.clone(),
            device: job.device,
            framework_version: None,
            reference: reference.to_owned(),
            checked: seconds(jiff::Timestamp::now()),
            seconds: 0.0,
            equivalence,
            cause: None,
            compared: Vec::new(),
            semantics: Vec::new(),
        }
    }
}

/// Returns the digest of all that a verdict follows from.
fn key(ours: &Program, theirs: &Program, material: &Material) -> Result<String> {
    let (target, experiment) = (ours.job.target, ours.job.experiment.name());
    let variants = fs::read(theirs.job.framework.folder.join(crate::variant::FILE));
    let from = json!({
        "verdict": crate::check::VERSION,
        "experiment": ours.job.experiment.digest,
        "target": target.name,
        "device": ours.job.device,
        "declared": [
            json!(target.environment),
            json!(ours.job.has_float64()),
            json!(target.deterministic),
            json!(target.variants.get(experiment)),
            json!(target.differences.get(experiment)),
        ],
        "harness": file_digest(ours.harness)?,
        "env": env_digest(ours.built),
        "reference": [
            json!(theirs.job.target.name),
            json!(theirs.job.target.environment),
            json!(theirs.job.has_float64()),
        ],
        "reference_harness": file_digest(theirs.harness)?,
        "reference_env": env_digest(theirs.built),
        "variants": variants.ok().map(sha256),
        "data": material.dataset.digest,
        "weights": material.weights.digest,
    });
    Ok(sha256(from.to_string()))
}

fn file_digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(sha256(bytes))
}

/// Returns what an environment is known by; one of the user's own by its packages.
fn env_digest(built: &Built) -> String {
    built.digest.clone().unwrap_or_else(|| {
        let what = json!([built.interpreter(), built.interpreter_version(), built.packages]);
        sha256(what.to_string())
    })
}
