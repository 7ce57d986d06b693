//! The loop of a check: each target computes a few steps from the same weights on the same
//! batches, and so does the reference; what both stored is compared.
//!
//! The harnesses are those of a run, in the mode `check` of the protocol. A check is not timed:
//! several go on at once. What the reference computes is kept under `checks/` of rosetta's home,
//! by a digest of all that it follows from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    Notice, Notify, Places, Ready, Settings, Start, built_for, envs_of, experiments_of, launch,
    listen_to_signals, lock, prepare, seconds,
};
use crate::catalog::{Device, Framework, Language, Target};
use crate::check::{
    Cause, Compared, Difference, Equivalence, Given, Grade, NOT_TRAINED, Quantity, Semantic, Trace,
    Traces, Verdict, compare, float64_tolerance, given, probe, recognise, relative_max, sentence,
};
use crate::env::Built;
use crate::hint::{hinted, unknown};
use crate::home::Home;
use crate::jobfile::{self, Check, Material, Place, Size};
use crate::lock::Lock;
use crate::plan::Job;
use crate::process::{self, Cancel, Exit, Finished};
use crate::spec::{Experiment, Setting, Task, Tolerance, hex};
use crate::variant::{Kind, Stage, Variant};

/// Steps of the training part.
const STEPS: u64 = 5;
/// Steps of the parts that tell whether a seed matters.
const SEED_STEPS: u64 = 2;
/// The same computation on the same batch may differ by this much in float32.
const SAME: f64 = 1e-6;
const FLOAT64: &str = "float64";
const FLOAT32: &str = "float32";

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

/// A program that computes parts: a harness of a target in its environment.
#[derive(Clone, Copy)]
struct Program<'a> {
    job: &'a Job<'a>,
    built: &'a Built,
    harness: &'a Path,
}

/// One job of a check.
struct Part {
    name: String,
    check: Check,
    /// Its own data and weights, if not those of the experiment.
    material: Option<Material>,
}

impl Part {
    fn new(name: impl Into<String>, dtype: &str, steps: u64) -> Part {
        let settings = jobfile::Settings::new();
        let check = Check { steps, dtype: dtype.to_owned(), settings, seed: None };
        Part { name: name.into(), check, material: None }
    }

    fn with(mut self, name: &str, value: Setting) -> Part {
        self.check.settings.insert(name.to_owned(), value);
        self
    }
}

/// What became of a part: its numbers, or why there are none.
type Outcomes = BTreeMap<String, Result<Trace, String>>;

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
    let mut envs = envs_of(jobs);
    for name in envs_of(&references) {
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
    let fits = |(framework, target): &(&Framework, &Target)| {
        framework.harnesses.contains_key(experiment.name())
            && (target.name == name || framework.spec.name == name)
    };
    let found = places.catalog.targets().find(fits);
    let Some((framework, target)) = found else {
        let has = |(framework, _): &(&Framework, &Target)| {
            framework.harnesses.contains_key(experiment.name())
        };
        let known = places.catalog.targets().filter(has).map(|(_, t)| t.name.as_str());
        return match &settings.reference {
            Some(name) => Err(unknown(
                &format!("target with a harness for {}", experiment.name()),
                name,
                known.collect::<Vec<_>>(),
            )),
            None => Ok(None),
        };
    };
    let device = match target.env.contains_key(&Device::Cpu) {
        true => Device::Cpu,
        false => Device::Cuda,
    };
    let profile = "check".to_owned();
    Ok(Some(Job { experiment, framework, target, device, profile, repeat: 1 }))
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
        let built = match built_for(job, &self.ready, self.settings.run) {
            Ok(built) => built,
            Err(outcome) => {
                let why = outcome.reason.unwrap_or_default();
                return Ok(Some(self.blank(job, String::new(), "", Equivalence::unchecked(why))));
            }
        };
        let harness = &job.framework.harnesses[job.experiment.name()];
        let reference =
            self.references.iter().find(|one| one.experiment.name() == job.experiment.name());
        let Some(reference) = reference else {
            let why = format!("{} has no reference to compare with", job.experiment.name());
            return Ok(Some(self.blank(job, String::new(), "", Equivalence::unchecked(why))));
        };
        let theirs = match built_for(reference, &self.ready, self.settings.run) {
            Ok(built) => Program {
                job: reference,
                built,
                harness: &reference.framework.harnesses[reference.experiment.name()],
            },
            Err(outcome) => {
                let why = outcome.reason.unwrap_or_default();
                return Ok(Some(self.blank(job, String::new(), "", Equivalence::unchecked(why))));
            }
        };
        let ours = Program { job, built, harness };
        let key = key(&ours, &theirs, material)?;
        if let Some(verdict) = known.get(&key) {
            return Ok(Some(verdict.clone()));
        }
        let name =
            format!("check {} · {} · {}", job.experiment.name(), job.target.title, job.device);
        (self.notify)(Notice::StepStarted { name: &name });
        let case = Case { bench: self, ours, theirs, material, runtime };
        let verdict = case.verdict(key);
        match &verdict {
            Ok(Some(verdict)) => {
                let words = verdict.equivalence.words();
                match &verdict.equivalence.reason {
                    Some(why) => {
                        (self.notify)(Notice::StepFailed {
                            name: &name,
                            why: format!("{words}: {why}"),
                        });
                    }
                    None => (self.notify)(Notice::StepDone { name: &name, what: words }),
                }
            }
            Ok(None) => {
                (self.notify)(Notice::StepFailed { name: &name, why: "interrupted".to_owned() });
            }
            Err(error) => {
                (self.notify)(Notice::StepFailed { name: &name, why: format!("{error:#}") });
            }
        }
        let took = started.elapsed().as_secs_f64();
        let verdict = verdict?.map(|verdict| Verdict { seconds: took, ..verdict });
        // What could not be computed today may be tomorrow.
        if let Some(verdict) = verdict.iter().find(|v| v.equivalence.grade != Grade::Unchecked) {
            self.places.store.keep(verdict)?;
        }
        Ok(verdict)
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
            json!(target.float64),
            json!(target.deterministic),
            json!(target.variants.get(experiment)),
            json!(target.differences.get(experiment)),
        ],
        "harness": file_digest(ours.harness)?,
        "env": env_digest(ours.built),
        "reference": theirs.job.target.name,
        "reference_harness": file_digest(theirs.harness)?,
        "reference_env": env_digest(theirs.built),
        "variants": variants.ok().map(|bytes| hex(&Sha256::digest(bytes))),
        "data": material.dataset.digest,
        "weights": material.weights.digest,
    });
    Ok(hex(&Sha256::digest(from.to_string())))
}

fn file_digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Returns what an environment is known by; one of the user's own by its packages.
fn env_digest(built: &Built) -> String {
    built.digest.clone().unwrap_or_else(|| {
        let what = json!([built.interpreter, built.interpreter_version, built.packages]);
        hex(&Sha256::digest(what.to_string()))
    })
}

/// One target on its way to a verdict.
struct Case<'a> {
    bench: &'a Bench<'a>,
    ours: Program<'a>,
    theirs: Program<'a>,
    material: &'a Material,
    runtime: &'a tokio::runtime::Runtime,
}

impl Case<'_> {
    fn verdict(&self, key: String) -> Result<Option<Verdict>> {
        let (experiment, target) = (self.ours.job.experiment, self.ours.job.target);
        let reference = self.theirs.job.target.name.as_str();
        let mut verdict =
            self.bench.blank(self.ours.job, key, reference, Equivalence::unchecked(""));
        let declared = target.variants.get(experiment.name()).cloned().unwrap_or_default();
        let variants = declared
            .iter()
            .map(|name| self.theirs.job.framework.variants.declared(experiment.name(), name))
            .collect::<Result<Vec<_>>>();
        let variants = match variants {
            Ok(variants) => variants,
            Err(error) => {
                let file = self.ours.job.framework.folder.join("framework.yaml");
                return Err(
                    error.context(format!("cannot use the variants of `{}`", file.display()))
                );
            }
        };
        let work = Work::begin(self.bench.places.home, self.ours.job)?;
        let parts = self.parts(work.path())?;
        let all = parts.iter().collect::<Vec<_>>();
        let outcomes = self.compute(&self.ours, &all, work.path(), self.ours.harness)?;
        if *self.bench.cancel.borrow() != Cancel::No {
            return Ok(None);
        }
        if let Some((name, why)) = failure(&parts, &outcomes) {
            verdict.cause = self.shape(work.path());
            let grade = if verdict.cause.is_some() { Grade::Different } else { Grade::Unchecked };
            let says = verdict.cause.as_ref().map(|cause| format!("{}; ", cause.says));
            let reason = format!("{}its job `{name}` failed: {why}", says.unwrap_or_default());
            verdict.equivalence = Equivalence { grade, ..Equivalence::unchecked(reason) };
            return Ok(Some(verdict));
        }
        let given = given(&self.material.weights.folder, &self.material.weights.names)?;
        let version = outcomes.values().flatten().find_map(|trace| trace.version.clone());
        verdict.framework_version = version;
        let dtypes = if target.float64 { &[FLOAT64, FLOAT32][..] } else { &[FLOAT32] };
        let mut cause = None;
        for dtype in dtypes {
            let tolerance = self.tolerance(dtype);
            let ours = traces(dtype, &outcomes);
            let theirs = self.reference(&variants, Depth::Trained)?;
            let differences = compare(&ours, &theirs, &given, &tolerance);
            let compared = Compared { dtype: (*dtype).to_owned(), differences };
            if let (None, Some(first)) = (&cause, compared.first()) {
                cause = self.batch_statistics(&outcomes)?;
                if cause.is_none() {
                    cause = self.cause(first, &ours, &theirs, &given, &variants, &tolerance)?;
                }
            }
            verdict.compared.push(compared);
        }
        if let Some((dtype, first)) = verdict.first() {
            let mut reason = sentence(dtype, first);
            if let Some(cause) = &cause {
                reason = format!("{}; {reason}", cause.says);
            }
            verdict.cause = cause;
            verdict.equivalence = self.different(reason);
            return Ok(Some(verdict));
        }
        verdict.semantics = self.semantics(&outcomes, &parts)?;
        if let Some(wrong) = verdict.semantics.iter().find(|semantic| !semantic.is_so) {
            verdict.equivalence = self.different(format!("{}: it is {}", wrong.claim, wrong.seen));
            return Ok(Some(verdict));
        }
        let grade = match (declared.is_empty(), target.float64) {
            (false, _) => Grade::Variant,
            (true, true) => Grade::Exact,
            (true, false) => Grade::Close,
        };
        verdict.equivalence =
            Equivalence { grade, variants: declared, reason: None, is_declared: false };
        Ok(Some(verdict))
    }

    fn different(&self, reason: String) -> Equivalence {
        let (target, name) = (self.ours.job.target, self.ours.job.experiment.name());
        let declared = target.differences.get(name);
        Equivalence {
            grade: Grade::Different,
            variants: Vec::new(),
            reason: Some(declared.cloned().unwrap_or(reason)),
            is_declared: declared.is_some(),
        }
    }

    fn tolerance(&self, dtype: &str) -> Tolerance {
        match dtype {
            FLOAT64 => float64_tolerance(),
            _ => self.ours.job.experiment.spec.tolerance,
        }
    }

    /// Returns the parts that a target computes.
    fn parts(&self, work: &Path) -> Result<Vec<Part>> {
        let experiment = self.ours.job.experiment;
        let mut parts = Vec::new();
        let dtypes = match self.ours.job.target.float64 {
            true => &[FLOAT64, FLOAT32][..],
            false => &[FLOAT32],
        };
        for dtype in dtypes {
            parts.extend(numeric_parts(experiment, dtype, Depth::Trained));
        }
        if experiment.spec.task == Task::Features {
            let half = i64::try_from(self.material.batch_size / 2)?.max(1);
            parts
                .push(Part::new("half-batches", FLOAT32, 0).with("batch_size", Setting::Int(half)));
            return Ok(parts);
        }
        let Some(rates) = dropout(experiment) else {
            parts.push(Part::new("again", FLOAT32, STEPS));
            return Ok(parts);
        };
        let stated = dropout_setting(&rates);
        parts.push(Part::new("predict", FLOAT32, 0).with("dropout", stated.clone()));
        for name in ["seed", "seed-again", "other-seed"] {
            let mut part = Part::new(name, FLOAT32, SEED_STEPS).with("dropout", stated.clone());
            part.check.seed = (name == "other-seed").then_some(experiment.spec.seed + 1);
            parts.push(part);
        }
        parts.extend(self.probes(&rates, work)?);
        Ok(parts)
    }

    /// Returns a part for each dropout, with the others off.
    fn probes(&self, rates: &[f64], work: &Path) -> Result<Vec<Part>> {
        let folder = work.join("probe");
        fs::create_dir_all(&folder)?;
        let tensors = &self.ours.job.experiment.spec.initial_weights.tensors;
        let shapes = tensors.iter().map(|t| (t.name.value.clone(), t.shape.clone()));
        let material = probe::material(&folder, self.material, &shapes.collect::<Vec<_>>())?;
        let probe = |which: usize| {
            let alone = (0..rates.len()).map(|k| if k == which { rates[k] } else { 0.0 });
            let alone = dropout_setting(&alone.collect::<Vec<_>>());
            let mut part =
                Part::new(format!("dropout-{which}"), FLOAT32, probe::STEPS).with("dropout", alone);
            part.material = Some(material.clone());
            part
        };
        Ok((0..rates.len()).map(probe).collect())
    }

    /// Computes parts with a program, in folders below `folder`.
    fn compute(
        &self,
        program: &Program,
        parts: &[&Part],
        folder: &Path,
        harness: &Path,
    ) -> Result<Outcomes> {
        let mut files = Vec::new();
        for part in parts {
            let outputs = folder.join(&part.name);
            fs::create_dir_all(&outputs)
                .with_context(|| format!("cannot make `{}`", outputs.display()))?;
            let job = program.job;
            let place = Place {
                job: format!("{}.{}", job.name(), part.name),
                target: &job.target.name,
                device: job.device,
                threads: self.bench.settings.run.threads,
                outputs: &outputs,
            };
            let material = part.material.as_ref().unwrap_or(self.material);
            let file = jobfile::job_file(job.experiment, material, &place, Some(&part.check));
            files.push(jobfile::write(&outputs, &file)?);
        }
        let mut why = BTreeMap::new();
        if program.job.framework.spec.language == Language::Python {
            let series = folder.join("series");
            fs::create_dir_all(&series)?;
            let file = jobfile::write(&series, &jobfile::series(&files))?;
            let finished = self.run(program, harness, &file)?;
            let words = how_it_ended(&finished);
            why.extend(parts.iter().map(|part| (part.name.clone(), words.clone())));
        } else {
            for (part, file) in parts.iter().zip(&files) {
                let finished = self.run(program, harness, file)?;
                why.insert(part.name.clone(), how_it_ended(&finished));
            }
        }
        let read = |part: &&Part| {
            let trace = Trace::read(&folder.join(&part.name));
            let trace = trace.map_err(|error| match why[&part.name].as_str() {
                "" => format!("{error:#}"),
                words => words.to_owned(),
            });
            (part.name.clone(), trace)
        };
        Ok(parts.iter().map(read).collect())
    }

    fn run(&self, program: &Program, harness: &Path, file: &Path) -> Result<Finished> {
        let mut launch =
            launch(&Start::of(program.job, harness), program.built, file, self.bench.settings.run)?;
        // Nothing is timed: several checks share the CPUs.
        launch.cpus = None;
        let cache = self.bench.places.home.checks().join("cache").join(&program.job.target.name);
        let cache = cache.to_string_lossy();
        let variables = program.job.target.check_environment.iter();
        launch.environment.extend(
            variables.map(|(name, value)| (name.clone(), value.replace("{cache}", &cache))),
        );
        let mut cancel = self.bench.cancel.clone();
        self.runtime.block_on(process::run(&launch, &mut cancel, |_| ()))
    }

    /// Returns what the reference computes with `variants`, from what is kept of it.
    fn reference(&self, variants: &[&Variant], depth: Depth) -> Result<Traces> {
        let experiment = self.theirs.job.experiment;
        let dtype = match self.theirs.job.target.float64 {
            true => FLOAT64,
            false => FLOAT32,
        };
        let parts = numeric_parts(experiment, dtype, depth);
        let kept = self.kept(&self.theirs, variants, &parts.iter().collect::<Vec<_>>())?;
        Ok(traces(dtype, &kept))
    }

    /// Returns parts of the reference, computed once for all checks to come.
    fn kept(&self, program: &Program, variants: &[&Variant], parts: &[&Part]) -> Result<Outcomes> {
        let experiment = program.job.experiment.name();
        let source = fs::read_to_string(program.harness)
            .with_context(|| format!("cannot read `{}`", program.harness.display()))?;
        let source =
            variants.iter().fold(source, |source, variant| variant.apply(experiment, &source));
        let store = self.bench.places.home.checks().join("reference");
        let folder_of = |part: &Part| store.join(self.reference_key(program, &source, part));
        fs::create_dir_all(&store).with_context(|| format!("cannot make `{}`", store.display()))?;
        let all = parts.iter().map(|part| folder_of(part)).collect::<Vec<_>>();
        let is_kept = |folder: &PathBuf| folder.join("events.jsonl").is_file();
        if !all.iter().all(is_kept) {
            let lock_file = all[0].with_extension("lock");
            let _lock = Lock::wait(&lock_file, "another check of the reference", &|_| ())?;
            let missing = parts.iter().zip(&all).filter(|(_, folder)| !is_kept(folder));
            let missing = missing.map(|(part, _)| *part).collect::<Vec<_>>();
            if !missing.is_empty() {
                self.keep(program, experiment, &source, &missing, &folder_of)?;
            }
        }
        let read = |(part, folder): (&&Part, &PathBuf)| {
            let trace = Trace::read(folder).map_err(|error| format!("{error:#}"));
            (part.name.clone(), trace)
        };
        Ok(parts.iter().zip(&all).map(read).collect())
    }

    fn reference_key(&self, program: &Program, source: &str, part: &Part) -> String {
        let material = part.material.as_ref().unwrap_or(self.material);
        let order = material.order.as_ref().map(|order| order.digest.as_str());
        let mut settings = material.settings.clone();
        settings.extend(part.check.settings.clone());
        let from = json!({
            "source": hex(&Sha256::digest(source)),
            "env": env_digest(program.built),
            "settings": settings,
            "seed": part.check.seed.unwrap_or(program.job.experiment.spec.seed),
            "part": [json!(part.name), json!(part.check.dtype), json!(part.check.steps)],
            "rows": [material.train_rows, material.test_rows],
            "digests": [Some(material.dataset.digest.as_str()), Some(&material.weights.digest), order],
        });
        hex(&Sha256::digest(from.to_string()))[..24].to_owned()
    }

    /// Computes parts of the reference and puts them in place, whole.
    fn keep(
        &self,
        program: &Program,
        experiment: &str,
        source: &str,
        parts: &[&Part],
        folder_of: &dyn Fn(&Part) -> PathBuf,
    ) -> Result<()> {
        let work = Work::begin(self.bench.places.home, program.job)?;
        // The changed source takes the harness' name: it is the experiment's.
        let extension = program.harness.extension().unwrap_or_default();
        let harness = work.path().join(experiment).with_extension(extension);
        let harness = match fs::read_to_string(program.harness)? == source {
            true => program.harness.to_owned(),
            false => {
                ensure!(
                    program.job.framework.spec.language == Language::Python,
                    "variants of a harness that is compiled cannot be computed"
                );
                fs::write(&harness, source)?;
                harness
            }
        };
        let outcomes = self.compute(program, parts, work.path(), &harness)?;
        ensure!(*self.bench.cancel.borrow() == Cancel::No, "interrupted");
        for part in parts {
            if let Some(Err(why)) = outcomes.get(&part.name) {
                let name = &program.job.target.name;
                let message = format!("the reference `{name}` failed in `{}`: {why}", part.name);
                return Err(hinted(message, "`rosetta run` with that target shows more"));
            }
            let place = folder_of(part);
            let folder = work.path().join(&part.name);
            match fs::rename(&folder, &place) {
                // Another check was here first with the same numbers.
                Err(_) if place.join("events.jsonl").is_file() => {}
                result => {
                    result.with_context(|| format!("cannot put `{}` in place", place.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the cause of a difference: what the numbers tell, or the variant that fits them.
    fn cause(
        &self,
        first: &Difference,
        ours: &Traces,
        theirs: &Traces,
        given: &Given,
        declared: &[&Variant],
        tolerance: &Tolerance,
    ) -> Result<Option<Cause>> {
        let told = recognise(first, ours, theirs, given);
        if told.as_ref().is_some_and(|cause| cause.name != NOT_TRAINED) {
            return Ok(told);
        }
        let stages: &[Stage] = match (first.quantity, first.of.as_deref()) {
            (Quantity::Parameters | Quantity::InitialWeights, _) => return Ok(None),
            (Quantity::Outputs, _) => &[Stage::Forward],
            (Quantity::Loss, Some("step 1")) => &[Stage::Loss],
            _ => &[Stage::Update, Stage::Loss],
        };
        let experiment = self.ours.job.experiment.name();
        let source = fs::read_to_string(self.theirs.harness)?;
        for stage in stages {
            let all = self.theirs.job.framework.variants.of(experiment);
            let candidates = all.filter(|variant| {
                variant.stage == *stage
                    && declared.iter().all(|one| one.name.value != variant.name.value)
            });
            for candidate in candidates {
                if *self.bench.cancel.borrow() != Cancel::No {
                    return Ok(None);
                }
                if self.fits(candidate, declared, ours, given, tolerance)? {
                    let mut says = candidate.says.clone();
                    if candidate.is == Kind::Variant {
                        says += &format!(
                            " (a variant that can be declared: `{}`)",
                            candidate.name.value
                        );
                    }
                    let lines = candidate.lines(experiment, &source);
                    let name = candidate.name.value.clone();
                    return Ok(Some(Cause { name, says, lines }));
                }
            }
        }
        Ok(told)
    }

    /// Returns the cause of features that change with the batch they are computed in.
    fn batch_statistics(&self, outcomes: &Outcomes) -> Result<Option<Cause>> {
        if self.ours.job.experiment.spec.task != Task::Features {
            return Ok(None);
        }
        let wrong = self.semantics(outcomes, &[])?.into_iter().find(|semantic| !semantic.is_so);
        Ok(wrong.map(|semantic| Cause {
            name: "batch_statistics".to_owned(),
            says: format!(
                "features depend on their batch ({}): batch normalisation is in training mode",
                semantic.seen
            ),
            lines: Vec::new(),
        }))
    }

    /// Whether the target agrees with the reference once it is changed; the cheap parts first.
    fn fits(
        &self,
        candidate: &Variant,
        declared: &[&Variant],
        ours: &Traces,
        given: &Given,
        tolerance: &Tolerance,
    ) -> Result<bool> {
        let variants = declared.iter().copied().chain([candidate]).collect::<Vec<_>>();
        for depth in [Depth::Initial, Depth::Gradient, Depth::Trained] {
            let theirs = self.reference(&variants, depth)?;
            let ours = Traces {
                gradient: ours.gradient.clone().filter(|_| theirs.gradient.is_some()),
                trained: ours.trained.clone().filter(|_| theirs.trained.is_some()),
                initial: ours.initial.clone(),
            };
            let differences = match depth {
                Depth::Gradient => gradients(&ours, &theirs, given, tolerance),
                _ => compare(&ours, &theirs, given, tolerance),
            };
            if differences.iter().any(|difference| !difference.is_within()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the cause of a job that failed over a shape, if its log shows a known number.
    fn shape(&self, work: &Path) -> Option<Cause> {
        let experiment = self.ours.job.experiment.name();
        let logs = fs::read_dir(work).ok()?.flatten();
        let text = logs
            .filter_map(|entry| fs::read(entry.path().join("stderr.log")).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect::<String>();
        let numbers = text.split(|c: char| !c.is_ascii_digit()).collect::<Vec<_>>();
        let variants = &self.theirs.job.framework.variants.variants;
        let found = variants.iter().find(|variant| {
            let number = variant.shows.get(experiment).map(u64::to_string);
            number.is_some_and(|number| numbers.contains(&number.as_str()))
        })?;
        let (name, says) = (found.name.value.clone(), found.says.clone());
        Some(Cause { name, says, lines: Vec::new() })
    }

    /// Returns how the harness treats what a check without dropout hides.
    fn semantics(&self, outcomes: &Outcomes, parts: &[Part]) -> Result<Vec<Semantic>> {
        let experiment = self.ours.job.experiment;
        let part = |name: &str| {
            let trace = outcomes.get(name).and_then(|outcome| outcome.as_ref().ok());
            trace.ok_or_else(|| anyhow!("the part `{name}` is missing"))
        };
        let initial = part("float32-0")?;
        if experiment.spec.task == Task::Features {
            let apart = outputs_apart(initial, part("half-batches")?);
            return Ok(vec![Semantic {
                claim: "features do not depend on the batch they are computed in".to_owned(),
                seen: format!("{apart:.0e} apart"),
                is_so: apart <= experiment.spec.tolerance.outputs,
            }]);
        }
        let Some(rates) = dropout(experiment) else {
            let apart = losses_apart(part(&format!("float32-{STEPS}"))?, part("again")?);
            return Ok(vec![self.repeats("one seed repeats", apart)]);
        };
        let apart = outputs_apart(initial, part("predict")?);
        let mut found = vec![Semantic {
            claim: "prediction drops nothing".to_owned(),
            seen: format!("{apart:.0e} apart from no dropout"),
            is_so: apart <= SAME,
        }];
        for (which, rate) in rates.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
            let name = format!("dropout-{which}");
            let probe = parts.iter().filter(|part| part.name == name).collect::<Vec<_>>();
            let theirs = self.kept(&self.theirs, &[], &probe)?;
            let theirs = theirs[&name].as_ref().map_err(|why| anyhow!("{why}"))?;
            let layers = probe::layers(probe::see(theirs, self.material.batch_size)?, *rate);
            let seen = probe::see(part(&name)?, self.material.batch_size)?;
            found.extend(probe::judge(seen, layers, *rate, which));
            found.push(Semantic {
                claim: format!("prediction passes on all of dropout {}", which + 1),
                seen: "what was put in came out".to_owned(),
                is_so: probe::predicts_whole(part(&name)?),
            });
        }
        let apart = losses_apart(part("seed")?, part("other-seed")?);
        found.push(Semantic {
            claim: "two seeds differ".to_owned(),
            seen: format!("losses {apart:.0e} apart"),
            is_so: apart > SAME,
        });
        found.push(
            self.repeats("one seed repeats", losses_apart(part("seed")?, part("seed-again")?)),
        );
        Ok(found)
    }

    fn repeats(&self, claim: &str, apart: f64) -> Semantic {
        let is_declared = !self.ours.job.target.deterministic;
        let mut seen = match apart {
            0.0 => "bit for bit".to_owned(),
            apart => format!("losses {apart:.0e} apart"),
        };
        if is_declared && apart > SAME {
            seen += ", as declared";
        }
        Semantic { claim: claim.to_owned(), seen, is_so: apart <= SAME || is_declared }
    }
}

/// How much of the numeric parts is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Initial,
    Gradient,
    Trained,
}

/// Returns the parts whose numbers are compared.
fn numeric_parts(experiment: &Experiment, dtype: &str, depth: Depth) -> Vec<Part> {
    let mut parts = vec![Part::new(format!("{dtype}-0"), dtype, 0)];
    if experiment.spec.task == Task::Features {
        return parts;
    }
    // Plain SGD's first update is the gradient times the learning rate; that of others is not.
    let optimizer = experiment.spec.settings.get("optimizer").map(|setting| &setting.value);
    let is_sgd = optimizer == Some(&Setting::Text("sgd".to_owned()));
    if is_sgd && depth >= Depth::Gradient {
        let part = Part::new(format!("{dtype}-gradient"), dtype, 1);
        parts.push(part.with("learning_rate", Setting::Float(1.0)));
    }
    if depth == Depth::Trained {
        parts.push(Part::new(format!("{dtype}-{STEPS}"), dtype, STEPS));
    }
    parts
}

/// Returns the traces of one precision.
fn traces(dtype: &str, outcomes: &Outcomes) -> Traces {
    let part = |name: &str| {
        let outcome = outcomes.get(&format!("{dtype}-{name}"));
        outcome.and_then(|outcome| outcome.as_ref().ok()).cloned()
    };
    Traces {
        initial: part("0").unwrap_or_default(),
        gradient: part("gradient"),
        trained: part(&STEPS.to_string()),
    }
}

/// Compares what a single step gives.
fn gradients(
    ours: &Traces,
    theirs: &Traces,
    given: &Given,
    tolerance: &Tolerance,
) -> Vec<Difference> {
    // The one step stands for the training; what it changes is the gradient.
    let as_trained = |traces: &Traces| Traces {
        initial: traces.initial.clone(),
        gradient: traces.gradient.clone(),
        trained: traces.gradient.clone(),
    };
    let tolerance = Tolerance {
        update: tolerance.gradient.max(tolerance.update),
        trained: f64::INFINITY,
        ..*tolerance
    };
    compare(&as_trained(ours), &as_trained(theirs), given, &tolerance)
}

/// Returns the first part that failed.
fn failure(parts: &[Part], outcomes: &Outcomes) -> Option<(String, String)> {
    parts.iter().find_map(|part| {
        let why = outcomes.get(&part.name)?.as_ref().err()?;
        Some((part.name.clone(), why.clone()))
    })
}

fn how_it_ended(finished: &Finished) -> String {
    let last = finished.last_words.iter().rev().find(|line| !line.trim().is_empty());
    let last = last.map(|line| line.trim().to_owned());
    match &finished.exit {
        // A series goes on after a job that fails; the log has why.
        Exit::Code(0) => last.unwrap_or_default(),
        exit => {
            let words = match exit {
                Exit::Code(code) => format!("exit code {code}"),
                Exit::Signal(signal) => super::signal_name(*signal),
                Exit::TimedOut => "it took too long".to_owned(),
                Exit::CannotStart(why) | Exit::Lost(why) => why.clone(),
                other => format!("{other:?}").to_lowercase(),
            };
            last.map_or(words.clone(), |last| format!("{words}: {last}"))
        }
    }
}

fn outputs_apart(one: &Trace, two: &Trace) -> f64 {
    match (&one.outputs, &two.outputs) {
        (Some(a), Some(b)) if a.shape == b.shape => relative_max(&a.values, &b.values),
        _ => f64::INFINITY,
    }
}

fn losses_apart(one: &Trace, two: &Trace) -> f64 {
    match one.losses.len() == two.losses.len() {
        true => relative_max(&one.losses, &two.losses),
        false => f64::INFINITY,
    }
}

/// Returns the rates of an experiment whose check turns dropout off.
fn dropout(experiment: &Experiment) -> Option<Vec<f64>> {
    experiment.spec.check.get("dropout")?;
    let stated = &experiment.spec.settings.get("dropout")?.value;
    let Setting::List(rates) = stated else { return None };
    let number = |rate: &Setting| match rate {
        Setting::Float(rate) => Some(*rate),
        Setting::Int(rate) => Some(*rate as f64),
        _ => None,
    };
    rates.iter().map(number).collect()
}

fn dropout_setting(rates: &[f64]) -> Setting {
    Setting::List(rates.iter().map(|rate| Setting::Float(*rate)).collect())
}

/// A folder for the jobs of one check, removed at its end.
struct Work {
    folder: PathBuf,
}

impl Work {
    fn begin(home: &Home, job: &Job) -> Result<Work> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", job.name(), std::process::id());
        let folder = home.checks().join("work").join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Work { folder })
    }

    fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays is found under the name of a process that has ended; the numbers are read.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
