//! Checks many targets, several at once. Must not depend on how one of them is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::cache;
use super::case::Case;
use super::compute::{Computer, Entrant};
use super::reference::NoReference;
use crate::catalog::Device;
use crate::digest::sha256;
use crate::env::Built;
use crate::hint::unknown;
use crate::machine::cores;
use crate::material::{Material, Size};
use crate::plan::Job;
use crate::process::Cancel;
use crate::proof::key::{CheckSide, verdict_key};
use crate::proof::{Equivalence, Grade, Verdict};
use crate::run::conditions::Conditions;
use crate::run::notice::{Notice, Notify};
use crate::run::prepare::{Needs, Prepared, lock};
use crate::run::session::Session;
use crate::run::signals;
use crate::run::stamp::seconds;
use crate::spec::Experiment;
use crate::{variant, yaml};

/// How long nothing must have been made ready before a check begins that is not urgent: it takes CPUs from what the first
/// table waits for.
const LULL: Duration = Duration::from_secs(10);

/// How targets are checked.
pub struct CheckSettings<'a> {
    pub conditions: &'a Conditions,
    /// A target to compare with, instead of the experiment's reference.
    pub reference: Option<String>,
    /// How many targets are checked at once.
    pub at_once: usize,
    /// The experiment whose targets are all checked; those of others only while something is still made ready and none of
    /// these can be. None: all are.
    pub urgent: Option<&'a str>,
}

/// What a check ended with.
#[derive(Default)]
pub struct Checked {
    pub verdicts: Vec<Verdict>,
    /// Experiments that have targets left to be checked.
    pub left: BTreeSet<String>,
    pub is_interrupted: bool,
}

/// Returns how many targets are checked at once on this machine.
pub fn at_once() -> usize {
    usize::try_from(cores()).unwrap_or(1).div_ceil(2).max(2)
}

/// Returns the threads of each of so many.
pub fn threads(at_once: usize) -> u32 {
    (cores() / u32::try_from(at_once).unwrap_or(1)).max(1)
}

/// Checks every job of `jobs` whose verdict is not known yet to `known`, and returns all verdicts
/// in the order of the jobs.
pub fn check(
    jobs: &[Job],
    settings: &CheckSettings,
    session: &Session,
    known: &BTreeMap<String, Verdict>,
    notify: Notify,
) -> Result<Checked> {
    let conditions = settings.conditions;
    let mut needs = Needs::of(jobs, Size::Check, conditions);
    let mut references = Vec::new();
    for experiment in &needs.experiments {
        references.extend(reference_of(experiment, settings, session)?);
    }
    needs.order_for_checks(&references, conditions, session);
    // Before anything is prepared: meanwhile Ctrl-C ends rosetta at once, and comes back to this afterwards.
    let cancel = signals::listen_apart()?;
    let references = references.as_slice();
    let mut prepared = needs.begin();
    needs.prepare_while(&mut prepared, conditions, session, notify, |prepared| {
        let bench = Bench { settings, session, references, prepared, known, cancel, notify };
        let mut checked = bench.all(jobs)?;
        cache::tidy(&session.home);
        checked.is_interrupted = bench.is_cancelled();
        Ok(checked)
    })
}

/// Returns the job that stands for the reference of an experiment, if it has one.
fn reference_of<'a>(
    experiment: &'a Experiment,
    settings: &CheckSettings,
    session: &'a Session,
) -> Result<Option<Job<'a>>> {
    let name = settings.reference.as_deref().unwrap_or(experiment.reference());
    let Some((framework, target)) = session.catalog.find(name, experiment.name()) else {
        let kind = format!("target with a harness for {}", experiment.name());
        let error = unknown(&kind, name, with_harness(experiment, session));
        return match (&settings.reference, &experiment.spec.reference) {
            (Some(_), _) => Err(error),
            (None, Some(stated)) => {
                let why = "this `reference` is not available";
                let place = yaml::wrong(&experiment.path, &stated.referenced, why);
                Err(error.context(place.to_string()))
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
fn with_harness<'a>(experiment: &Experiment, session: &'a Session) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (framework, target) in session.catalog.targets() {
        if framework.harnesses.contains_key(experiment.name()) {
            names.push(target.name.as_str());
        }
    }
    names
}

/// Jobs that wait, with their places.
type Queue<'a> = Mutex<Vec<(usize, &'a Job<'a>)>>;

/// What all checks of one invocation share.
struct Bench<'a> {
    settings: &'a CheckSettings<'a>,
    session: &'a Session,
    references: &'a [Job<'a>],
    prepared: &'a Prepared,
    /// Verdicts of earlier checks, by key.
    known: &'a BTreeMap<String, Verdict>,
    cancel: watch::Receiver<Cancel>,
    notify: Notify<'a>,
}

impl Bench<'_> {
    /// Checks jobs, several at once, each as soon as what it needs is there.
    fn all(&self, jobs: &[Job]) -> Result<Checked> {
        let queue = Mutex::new(jobs.iter().enumerate().collect::<Vec<_>>());
        let done = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            let mut workers = Vec::new();
            for _ in 0..self.settings.at_once.max(1) {
                workers.push(scope.spawn(|| self.work(&queue, &done)));
            }
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            anyhow::Ok(())
        })?;
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = left.into_iter().map(|(_, job)| job.experiment.name().to_owned());
        let verdicts = done.into_values().collect();
        Ok(Checked { verdicts, left: left.collect(), is_interrupted: false })
    }

    /// Checks jobs of a queue until it is empty.
    fn work(&self, queue: &Queue<'_>, done: &Mutex<BTreeMap<usize, Verdict>>) -> Result<()> {
        // Each thread waits for the processes that it started: none outlives it.
        let runtime = signals::runtime()?;
        while let Some((index, job)) = self.next(queue) {
            if self.is_cancelled() {
                return Ok(());
            }
            if let Some(verdict) = self.verdict(job, &runtime)? {
                lock(done).insert(index, verdict);
            }
        }
        Ok(())
    }

    /// Takes the first job out of a queue that can be checked; waits for one. Returns nothing when none is left, or when what
    /// the others need will not come.
    fn next<'b>(&self, queue: &Queue<'b>) -> Option<(usize, &'b Job<'b>)> {
        let mut is_lull = false;
        loop {
            let known = self.prepared.news();
            let mut waiting = lock(queue);
            if !waiting.iter().any(|(_, job)| self.is_wanted(job)) {
                return None;
            }
            let is_next = |job: &Job| (is_lull || self.is_urgent(job)) && self.is_ready(job);
            if let Some(place) = waiting.iter().position(|(_, job)| is_next(job)) {
                return Some(waiting.remove(place));
            }
            drop(waiting);
            if !self.prepared.wait(known, LULL) {
                return None;
            }
            is_lull = self.prepared.news() == known;
        }
    }

    /// Whether a job that waits has to be checked, as it seems now.
    fn is_wanted(&self, job: &Job) -> bool {
        !self.prepared.is_over() || self.is_urgent(job)
    }

    fn is_urgent(&self, job: &Job) -> bool {
        self.settings.urgent.is_none_or(|urgent| job.experiment.name() == urgent)
    }

    /// Whether a job can be checked now: its environment, its reference's and their data are there.
    fn is_ready(&self, job: &Job) -> bool {
        let conditions = self.settings.conditions;
        let is_ready = |job: &Job| self.prepared.is_ready_for(job, conditions);
        is_ready(job) && self.reference(job).is_none_or(is_ready)
    }

    fn reference(&self, job: &Job) -> Option<&Job<'_>> {
        let experiment = job.experiment.name();
        self.references.iter().find(|one| one.experiment.name() == experiment)
    }

    fn is_cancelled(&self) -> bool {
        *self.cancel.borrow() != Cancel::No
    }

    /// Returns the verdict on a target, unless it was interrupted.
    fn verdict(&self, job: &Job, runtime: &Runtime) -> Result<Option<Verdict>> {
        let started = Instant::now();
        let material = self.prepared.material(job.experiment);
        let (ours, theirs) = match self.entrants(job) {
            Ok(entrants) => entrants,
            Err(why) => return Ok(Some(unchecked(job, why))),
        };
        let key = key_of(&ours, &theirs, material)?;
        if let Some(verdict) = self.known.get(&key) {
            return Ok(Some(verdict.clone()));
        }
        let (experiment, title) = (job.experiment.name(), &job.target.title);
        let name = format!("check {experiment} · {title} · {}", job.device);
        let name = name.as_str();
        (self.notify)(Notice::StepStarted { name });
        let computer = Computer {
            conditions: self.settings.conditions,
            home: &self.session.home,
            cancel: &self.cancel,
            notify: self.notify,
            step: name,
            runtime,
        };
        let blank = blank(job, key, &theirs.job.target.name, Equivalence::unchecked(""));
        let verdict = Case { computer: &computer, ours, theirs, material }.verdict(blank);
        let verdict = stopped(job, verdict);
        (self.notify)(told(name, &verdict));
        let Some(mut verdict) = verdict? else { return Ok(None) };
        verdict.seconds = started.elapsed().as_secs_f64();
        // What could not be computed today may be tomorrow.
        if verdict.equivalence.grade != Grade::Unchecked {
            self.session.store.keep(&verdict)?;
        }
        Ok(Some(verdict))
    }

    /// Returns the target's program and the reference's, or why there is one too few.
    fn entrants<'b>(&'b self, job: &'b Job<'b>) -> Result<(Entrant<'b>, Entrant<'b>), String> {
        let Some(reference) = self.reference(job) else {
            let experiment = job.experiment.name();
            let known = with_harness(job.experiment, self.session).join("`, `");
            return Err(format!(
                "{experiment} has no reference; name one of `{known}` with `--reference`, or as \
                 `reference` in `{}`",
                job.experiment.path.display()
            ));
        };
        Ok((self.entrant(job)?, self.entrant(reference)?))
    }

    fn entrant<'b>(&'b self, job: &'b Job<'b>) -> Result<Entrant<'b>, String> {
        let built = self.prepared.built_for(job, self.settings.conditions);
        let built = built.map_err(|outcome| outcome.reason.unwrap_or_default())?;
        Ok(Entrant { job, built, harness: &job.framework.harnesses[job.experiment.name()] })
    }
}

fn blank(job: &Job, key: String, reference: &str, equivalence: Equivalence) -> Verdict {
    let checked = seconds(Timestamp::now());
    Verdict { checked, ..Verdict::blank(job, key, reference, equivalence) }
}

fn unchecked(job: &Job, why: String) -> Verdict {
    blank(job, String::new(), "", Equivalence::unchecked(why))
}

/// Makes of a reference that failed a fact about one verdict.
fn stopped(job: &Job, verdict: Result<Option<Verdict>>) -> Result<Option<Verdict>> {
    let error = match verdict {
        Err(error) => error,
        verdict => return verdict,
    };
    match error.downcast::<NoReference>() {
        Ok(NoReference::Interrupted) => Ok(None),
        Ok(NoReference::Failed(why)) => Ok(Some(unchecked(job, why))),
        Err(error) => Err(error),
    }
}

/// Returns what is said of a check that has ended.
fn told<'a>(name: &'a str, verdict: &Result<Option<Verdict>>) -> Notice<'a> {
    match verdict {
        Ok(Some(Verdict { equivalence, .. })) => match &equivalence.reason {
            Some(why) => {
                Notice::StepFailed { name, why: format!("{}: {why}", equivalence.words()) }
            }
            None => Notice::StepDone { name, what: equivalence.words() },
        },
        Ok(None) => Notice::StepFailed { name, why: "interrupted".to_owned() },
        Err(error) => Notice::StepFailed { name, why: format!("{error:#}") },
    }
}

/// Returns the digest of all that a verdict follows from.
pub(super) fn key_of(ours: &Entrant, theirs: &Entrant, material: &Material) -> Result<String> {
    let variants = variant::file(&theirs.job.framework.folder, ours.job.experiment.name());
    let variants = fs::read(variants).ok().map(sha256);
    let [harness, their_harness] = [file_digest(ours.harness)?, file_digest(theirs.harness)?];
    let [env, their_env] = [env_digest(ours.built), env_digest(theirs.built)];
    let ours = CheckSide { job: ours.job, harness: &harness, env: &env };
    let theirs = CheckSide { job: theirs.job, harness: &their_harness, env: &their_env };
    Ok(verdict_key(&ours, &theirs, material, variants.as_deref()))
}

fn file_digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(sha256(bytes))
}

/// Returns what an environment is known by; one of the user's own by its packages.
pub(super) fn env_digest(built: &Built) -> String {
    built.digest.clone().unwrap_or_else(|| {
        let what = json!([built.interpreter(), built.interpreter_version(), built.packages]);
        sha256(what.to_string())
    })
}
