//! The loop: plan → environments and data → jobs, one at a time → records. The one module that
//! joins the stages. May not know how anything is drawn, nor YAML.

mod check;
mod defaults;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::catalog::{Catalog, Device, Framework, Target};
use crate::check::{Equivalence, Verdict};
use crate::data::DataStore;
use crate::digest::sha256;
use crate::env::{Availability, Built, Envs, Held};
use crate::event::{Event, Line};
use crate::fold::Fold;
use crate::gpu;
use crate::home::Home;
use crate::jobfile::{self, Material, Place, Size};
use crate::launch::{Finished, Launcher, Local, environment};
use crate::machine::Machine;
use crate::obstacle::Obstacle;
use crate::plan::{Job, Plan, Skip};
use crate::process::{Cancel, Exit, Launch};
use crate::progress::Progress;
use crate::record::{Cost, EnvIdentity, Inputs, Outcome, Record, Score, Status, Version};
use crate::score;
use crate::spec::{Experiment, Source, Task};
use crate::store::{Run, RunFolder, Store};

pub use self::check::{CheckSettings, Checked, check};
pub use self::defaults::{Gathered, gather};

/// How long a job may take to stop when asked.
const GRACE: Duration = Duration::from_secs(5);
/// How long a job may take that no profile sets a limit for.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What a run is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub threads: u32,
    pub data: Option<Source>,
    pub timeout: Option<Duration>,
    pub stall_timeout: Option<Duration>,
    pub memory_limit_bytes: Option<u64>,
    /// The interpreter of the provider `system`.
    pub python: Option<PathBuf>,
    /// Variables to pass on: `NAME` or `NAME=VALUE`.
    pub environment: Vec<String>,
    pub command: Vec<String>,
    pub profile: String,
}

impl Settings {
    /// Whether a framework's harnesses run in the interpreter that the user named.
    fn is_system(&self, framework: &Framework) -> bool {
        self.python.is_some() && framework.runs_in_an_interpreter()
    }
}

/// What a run says while it goes on.
pub enum Notice<'a> {
    /// A long step begins: an environment, a data set.
    StepStarted {
        name: &'a str,
    },
    StepProgress {
        name: &'a str,
        progress: Progress,
    },
    StepDone {
        name: &'a str,
        what: String,
    },
    StepFailed {
        name: &'a str,
        why: String,
    },
    /// Job `index` (from 0) of `total` begins.
    JobStarted {
        index: usize,
        total: usize,
        job: &'a Job<'a>,
        material: &'a Material,
    },
    JobEvent(&'a Event),
    JobFinished(&'a Record),
}

/// Receives what a run says, from several threads.
pub type Notify<'a> = &'a (dyn Fn(Notice) + Sync);

/// What everything is taken from and written to.
pub struct Places<'a> {
    pub catalog: &'a Catalog,
    pub envs: &'a Envs,
    pub home: &'a Home,
    pub data: &'a DataStore,
    pub store: &'a Store,
    pub version: Version,
}

/// A finished run.
pub struct Ended {
    pub id: String,
    pub folder: PathBuf,
    pub records: Vec<Record>,
    pub is_interrupted: bool,
}

/// An environment that is ready, and stays so for the whole run, or why it is not.
type Ready = BTreeMap<String, Result<Held, String>>;

/// The name under which the provider `system` is kept.
const SYSTEM: &str = "system";

/// Moves jobs whose environment is not available here to the skipped ones. Builds nothing. With
/// `is_system`, scripts run in an interpreter of the user's and need no environment.
pub fn skip_unavailable<'a>(plan: &mut Plan<'a>, is_system: bool, catalog: &Catalog, envs: &Envs) {
    let mut known = BTreeMap::<String, Option<Obstacle>>::new();
    let mut skips = Vec::<Skip<'a>>::new();
    plan.jobs.retain(|job| {
        if is_system && job.framework.runs_in_an_interpreter() {
            return true;
        }
        let Some(name) = job.target.env.get(&job.device) else { return true };
        let missing = known.entry(name.value.clone()).or_insert_with(|| {
            let availability = catalog.env(&name.value).map(|spec| envs.availability(spec));
            match availability {
                Ok(Availability::Unavailable(obstacle)) => Some(obstacle),
                _ => None,
            }
        });
        let Some(obstacle) = missing else { return true };
        if job.repeat == 1 {
            skips.push(Skip {
                experiment: job.experiment,
                framework: job.framework,
                target: job.target,
                device: job.device,
                obstacle: obstacle.clone(),
            });
        }
        false
    });
    plan.skips.extend(skips);
}

/// Runs a plan. Each finished job is on disk before the next one starts, with what `verdicts` say
/// of its target.
pub async fn run(
    plan: &Plan<'_>,
    verdicts: &[Verdict],
    settings: &Settings,
    places: &Places<'_>,
    notify: Notify<'_>,
) -> Result<Ended> {
    let started = jiff::Timestamp::now();
    let id = run_id(started);
    let machine = Machine::look();
    let folder = places.store.begin(&Run {
        run: 1,
        id: id.clone(),
        started: seconds(started),
        command: settings.command.clone(),
        profile: settings.profile.clone(),
        jobs: plan.jobs.iter().map(Job::name).collect(),
        machine: machine.clone(),
        rosetta: places.version.clone(),
    })?;
    let (envs, experiments) = (envs_of(&plan.jobs, settings), experiments_of(&plan.jobs));
    let size = Size::Profile(&settings.profile);
    let (ready, materials) = prepare(envs, &experiments, size, settings, places, notify)?;
    let mut this = Loop { id, verdicts, settings, places, ready, materials, folder, machine };
    let mut records = Vec::new();
    for skip in &plan.skips {
        let record = this.skipped(skip);
        this.folder.seal(&record)?;
        notify(Notice::JobFinished(&record));
        records.push(record);
    }
    let mut cancel = listen_to_signals()?;
    for (index, job) in plan.jobs.iter().enumerate() {
        if *cancel.borrow() != Cancel::No {
            break;
        }
        let material = &this.materials[job.experiment.name()];
        notify(Notice::JobStarted { index, total: plan.jobs.len(), job, material });
        let record = this.job(job, &mut cancel, notify).await?;
        this.folder.seal(&record)?;
        notify(Notice::JobFinished(&record));
        records.push(record);
    }
    let is_interrupted = *cancel.borrow() != Cancel::No;
    Ok(Ended { id: this.id, folder: this.folder.path().to_owned(), records, is_interrupted })
}

/// Ctrl-C once stops after cleaning up, twice at once; SIGTERM is the same as the first.
fn listen_to_signals() -> Result<watch::Receiver<Cancel>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(Cancel::No);
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    tokio::spawn(async move {
        let mut next = Cancel::Gracefully;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(next).is_err() {
                return;
            }
            next = Cancel::Now;
        }
    });
    Ok(receiver)
}

/// Makes environments, data, weights and batch orders ready, several at a time.
fn prepare(
    envs: Vec<String>,
    experiments: &[&Experiment],
    size: Size,
    settings: &Settings,
    places: &Places,
    notify: Notify,
) -> Result<(Ready, BTreeMap<String, Material>)> {
    let materials = || prepare_materials(experiments, size, settings, places, notify);
    let mut ready = Ready::new();
    if let Some(python) = &settings.python {
        let held = places.envs.hold(places.envs.system(python)?)?;
        ready.insert(SYSTEM.to_owned(), Ok(held));
    }
    let queue = Mutex::new(envs.into_iter());
    let ready = Mutex::new(ready);
    let builders = usize::try_from(crate::machine::cores()).unwrap_or(1).clamp(2, 4);
    let materials = std::thread::scope(|scope| {
        for _ in 0..builders {
            scope.spawn(|| {
                while let Some(name) = { lock(&queue).next() } {
                    let built = build(&name, places, notify);
                    let hold = |built| places.envs.hold(built).map_err(|why| format!("{why:#}"));
                    lock(&ready).insert(name, built.and_then(hold));
                }
            });
        }
        materials()
    })?;
    Ok((ready.into_inner().unwrap_or_else(PoisonError::into_inner), materials))
}

/// Returns the pinned environments of jobs, in the order in which they are first needed.
fn envs_of(jobs: &[Job], settings: &Settings) -> Vec<String> {
    let mut names = Vec::new();
    for job in jobs {
        if !settings.is_system(job.framework)
            && let Some(env) = job.target.env.get(&job.device)
            && !names.contains(&env.value)
        {
            names.push(env.value.clone());
        }
    }
    names
}

/// Returns the experiments of jobs, each once.
fn experiments_of<'a>(jobs: &[Job<'a>]) -> Vec<&'a Experiment> {
    let mut found = Vec::<&Experiment>::new();
    for job in jobs {
        if found.iter().all(|experiment| experiment.name() != job.experiment.name()) {
            found.push(job.experiment);
        }
    }
    found
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build(env: &str, places: &Places, notify: Notify) -> Result<Built, String> {
    let name = format!("environment {env}");
    let name = name.as_str();
    let spec = places.catalog.env(env).map_err(|error| format!("{error:#}"))?;
    if let Some(built) = places.envs.built(spec) {
        return Ok(built); // Nothing to wait for, nothing to say.
    }
    notify(Notice::StepStarted { name });
    let report = |progress| notify(Notice::StepProgress { name, progress });
    match places.envs.build(spec, &report) {
        Ok(built) => {
            notify(Notice::StepDone { name, what: "is built".to_owned() });
            Ok(built)
        }
        Err(error) => {
            let why = format!("{error:#}");
            notify(Notice::StepFailed { name, why: why.clone() });
            Err(why)
        }
    }
}

fn prepare_materials(
    experiments: &[&Experiment],
    size: Size,
    settings: &Settings,
    places: &Places,
    notify: Notify,
) -> Result<BTreeMap<String, Material>> {
    let mut materials = BTreeMap::new();
    for experiment in experiments {
        let name = format!("data of {}", experiment.name());
        let name = name.as_str();
        notify(Notice::StepStarted { name });
        let report = |progress| notify(Notice::StepProgress { name, progress });
        match Material::prepare(places.data, experiment, size, settings.data, &report) {
            Ok(material) => {
                let (data, source) = (&material.dataset.name, material.dataset.source.as_str());
                notify(Notice::StepDone { name, what: format!("are ready: {data} ({source})") });
                materials.insert(experiment.name().to_owned(), material);
            }
            Err(error) => {
                notify(Notice::StepFailed { name, why: "cannot be had".to_owned() });
                return Err(error.context(format!("cannot prepare the {name}")));
            }
        }
    }
    Ok(materials)
}

/// Returns the environment that a job runs in, or the outcome of a job that has none.
fn built_for<'a>(job: &Job, ready: &'a Ready, settings: &Settings) -> Result<&'a Built, Outcome> {
    let env = match settings.is_system(job.framework) {
        true => SYSTEM,
        false => job.target.env.get(&job.device).map_or(SYSTEM, |env| env.value.as_str()),
    };
    match ready.get(env) {
        Some(Ok(held)) => Ok(&held.built),
        Some(Err(why)) => {
            let reason = format!("environment `{env}`: {why}");
            let hint = format!("`rosetta env build {env}` shows more");
            Err(Outcome::of(Status::Failed, Obstacle::new(reason, hint)))
        }
        None => Err(Outcome::because(Status::Failed, "it has no environment")),
    }
}

/// A program of a framework that shall be started.
struct Start<'a> {
    framework: &'a Framework,
    target: &'a Target,
    device: Device,
    program: &'a Path,
    /// The program's name in a crate.
    name: &'a str,
}

impl<'a> Start<'a> {
    fn of(job: &'a Job, harness: &'a Path) -> Start<'a> {
        let Job { framework, target, device, .. } = *job;
        Start { framework, target, device, program: harness, name: job.experiment.name() }
    }
}

/// Returns how a program is started on a job file, whose folder is the job's.
fn launch(start: &Start, built: &Built, job_file: &Path, settings: &Settings) -> Result<Launch> {
    let command = built.command(start.program, start.name)?;
    let threads = settings.threads;
    let mut environment = environment(start.device, threads, &settings.environment);
    environment.extend(command.environment);
    for name in &command.unset {
        environment.remove(name);
    }
    environment.extend(start.target.environment.clone());
    environment.set("ROSETTA_JOB", job_file.to_string_lossy());
    Ok(Launch {
        program: command.program,
        args: command.args,
        environment,
        folder: start.framework.folder.clone(),
        job_folder: job_file.parent().unwrap_or(Path::new("/")).to_owned(),
        timeout: settings.timeout.unwrap_or(TIMEOUT),
        stall_timeout: settings.stall_timeout,
        grace: GRACE,
        device: start.device,
        cpus: Some(threads),
        memory_limit_bytes: settings.memory_limit_bytes,
        is_measured: true,
    })
}

/// What the jobs of one run share.
struct Loop<'a> {
    id: String,
    verdicts: &'a [Verdict],
    settings: &'a Settings,
    places: &'a Places<'a>,
    ready: Ready,
    materials: BTreeMap<String, Material>,
    folder: RunFolder,
    /// Where rosetta is.
    machine: Machine,
}

impl Loop<'_> {
    /// Runs one job and returns its record.
    async fn job(
        &mut self,
        job: &Job<'_>,
        cancel: &mut watch::Receiver<Cancel>,
        notify: Notify<'_>,
    ) -> Result<Record> {
        let name = job.name();
        let mut record = self.blank(job);
        let built = match built_for(job, &self.ready, self.settings) {
            Ok(built) => built.clone(),
            Err(outcome) => {
                record.outcome = outcome;
                return Ok(record);
            }
        };
        record.env = Some(identity(&built));
        let folder = self.folder.job(&name)?;
        let launch = self.launch(job, &built, &folder)?;
        let material = &self.materials[job.experiment.name()];
        let mut fold = Fold::new(material.steps());
        let mut on_line = |line| {
            if let Line::Event(stamped) = line {
                notify(Notice::JobEvent(&stamped.event));
                fold.take(stamped.at.unwrap_or_default(), &stamped);
            }
        };
        let finished = Local::new().run(&launch, cancel, &mut on_line).await?;
        fill(&mut record, &fold, &finished);
        if let Some(usage) = &finished.gpu {
            fill_gpu(&mut record, usage);
        }
        if let Some(why) = &finished.disturbance {
            record.marks.push(format!("tainted: {why}"));
        }
        record.outcome = outcome(&finished, &fold, &launch.timeout);
        if record.outcome.status == Status::Ok
            && let Some(why) = computed_elsewhere(job.device, &fold, finished.gpu.as_ref())
        {
            record.outcome = Outcome::because(Status::Failed, why);
        }
        if record.outcome.status == Status::Ok && fold.outputs.is_none() {
            record.outcome = incomplete(&finished, "it ended without outputs");
        }
        if record.outcome.status == Status::Ok {
            record.outcome = self.score(job, &fold, &mut record);
        }
        Ok(record)
    }

    fn launch(&self, job: &Job, built: &Built, folder: &Path) -> Result<Launch> {
        let experiment = job.experiment;
        let material = &self.materials[experiment.name()];
        let threads = self.settings.threads;
        let (target, outputs) = (job.target.name.as_str(), folder);
        let place = Place { job: job.name(), target, device: job.device, threads, outputs };
        let file = jobfile::job_file(experiment, material, &place, None);
        let path = jobfile::write(folder, &file)?;
        let profile = experiment.profile(&job.profile)?;
        let harness = &job.framework.harnesses[experiment.name()];
        let mut launch = launch(&Start::of(job, harness), built, &path, self.settings)?;
        launch.timeout = self.settings.timeout.unwrap_or(profile.timeout.0);
        Ok(launch)
    }

    /// Scores the outputs and compares them with what is expected.
    fn score(&self, job: &Job, fold: &Fold, record: &mut Record) -> Outcome {
        let material = &self.materials[job.experiment.name()];
        let Some(outputs) = &fold.outputs else {
            return Outcome::because(Status::Failed, "it ended without outputs");
        };
        let scored = match (job.experiment.spec.task, material.labels()) {
            (Task::Classification, Some(labels)) => {
                score::accuracy(&outputs.path, labels, material.test_rows).map(Some)
            }
            _ => score::features(&outputs.path, material.test_rows, None).map(|()| None),
        };
        let accuracy = match scored {
            Ok(accuracy) => accuracy,
            Err(error) => return Outcome::because(Status::CheckFailed, format!("{error:#}")),
        };
        record.score.accuracy = accuracy;
        record.score.accuracy_reported = fold.reported_accuracy();
        let Some(accuracy) = accuracy else { return Outcome::ok() };
        if let Some(reported) = record.score.accuracy_reported
            && (reported - accuracy).abs() > 1e-3
        {
            record.marks.push(format!("accuracy_disagrees: the harness says {reported:.4}"));
        }
        let source = material.dataset.source;
        let Some([low, high]) = job.experiment.expected_accuracy(&job.profile, source) else {
            return Outcome::ok();
        };
        (record.score.accuracy_low, record.score.accuracy_high) = (Some(low), Some(high));
        if (low..=high).contains(&accuracy) {
            return Outcome::ok();
        }
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        let (low, high) = (percent(low), percent(high));
        let reason = format!("accuracy {} % is outside {low} to {high} %", percent(accuracy));
        Outcome::because(Status::CheckFailed, reason)
    }

    fn skipped(&self, skip: &Skip) -> Record {
        let job = Job {
            experiment: skip.experiment,
            framework: skip.framework,
            target: skip.target,
            device: skip.device,
            profile: self.settings.profile.clone(),
            repeat: 1,
        };
        let mut record = self.blank(&job);
        record.outcome = Outcome::of(Status::Skipped, skip.obstacle.clone());
        record
    }

    fn equivalence(&self, job: &Job) -> Equivalence {
        let verdict = self.verdicts.iter().find(|verdict| {
            verdict.experiment == job.experiment.name()
                && verdict.target == job.target.name
                && verdict.device == job.device
        });
        verdict.map_or_else(Equivalence::never_checked, |verdict| verdict.equivalence.clone())
    }

    /// Returns the record of a job of which nothing is known yet but who it is.
    fn blank(&self, job: &Job) -> Record {
        let framework = &job.framework.spec;
        let material = self.materials.get(job.experiment.name());
        Record {
            record: crate::record::VERSION,
            run: self.id.clone(),
            job: job.name(),
            experiment: job.experiment.name().to_owned(),
            task: job.experiment.spec.task,
            profile: job.profile.clone(),
            framework: framework.name.clone(),
            target: job.target.name.clone(),
            title: job.target.title.clone(),
            era: framework.era,
            year: job.target.year.or(framework.year),
            successor: job.target.successor.as_ref().map(|target| target.value.clone()),
            lane: job.target.lane,
            device: job.device,
            repeat: job.repeat,
            started: seconds(jiff::Timestamp::now()),
            outcome: Outcome::ok(),
            framework_version: None,
            score: Score::default(),
            equivalence: Some(self.equivalence(job)),
            times: Default::default(),
            epochs: Vec::new(),
            cost: Cost { threads_allowed: self.settings.threads, ..Cost::default() },
            facts: Vec::new(),
            metrics: Vec::new(),
            marks: Vec::new(),
            inputs: inputs(job.experiment, job, material),
            env: None,
            machine: self.machine.clone(),
            rosetta: self.places.version.clone(),
        }
    }
}

fn inputs(experiment: &Experiment, job: &Job, material: Option<&Material>) -> Inputs {
    let harness =
        job.framework.harnesses.get(experiment.name()).and_then(|path| fs::read(path).ok());
    Inputs {
        dataset: material.map(|m| m.dataset.name.clone()),
        source: material.map(|m| m.dataset.source),
        data_digest: material.map(|m| m.dataset.digest.clone()),
        weights_digest: material.map(|m| m.weights.digest.clone()),
        weights_source: material.map(|m| m.weights.source),
        order_digest: material.and_then(|m| m.order.as_ref().map(|order| order.digest.clone())),
        spec_digest: experiment.digest.clone(),
        harness_digest: harness.map(sha256).unwrap_or_default(),
    }
}

fn identity(built: &Built) -> EnvIdentity {
    let package = |(name, version): (&String, &String)| format!("{name}=={version}");
    EnvIdentity {
        name: built.name.clone(),
        provider: built.provider.to_string(),
        digest: built.digest.clone(),
        lock_digest: built.lock_sha256.clone(),
        interpreter: built.interpreter_version().map(str::to_owned),
        packages: built.packages.iter().map(package).collect(),
    }
}

/// Takes over what was measured.
fn fill(record: &mut Record, fold: &Fold, finished: &Finished) {
    record.framework_version = fold.hello.as_ref().map(|hello| hello.version.clone());
    record.times = fold.times();
    record.times.wall = Some(finished.wall.as_secs_f64());
    record.epochs.clone_from(&fold.epochs);
    record.facts.clone_from(&fold.facts);
    record.metrics.clone_from(&fold.metrics);
    record.cost.cpu_seconds = Some(finished.cpu_seconds);
    record.cost.peak_rss_bytes = Some(finished.peak_rss_bytes).filter(|bytes| *bytes > 0);
    record.cost.threads_seen = Some(finished.threads_seen);
    record.cost.left_behind = finished.left_behind;
    if let Some(machine) = &finished.machine {
        record.machine.clone_from(machine);
    }
    if fold.do_clocks_disagree() {
        record.marks.push("clock_disagrees".to_owned());
    }
    if finished.lines.lost > 0 {
        record.marks.push(format!("{} events were lost", finished.lines.lost));
    }
}

/// Takes over what the GPUs were seen to do.
fn fill_gpu(record: &mut Record, usage: &gpu::Usage) {
    record.cost.peak_device_bytes = usage.held_bytes();
    record.cost.gpu_joules = usage.joules;
    if usage.foreign_processes > 0 {
        let count = usage.foreign_processes;
        record.marks.push(format!("tainted: {count} other processes used the GPU"));
    }
    if !usage.throttled.is_empty() {
        let reasons = usage.throttled.join(", ");
        record.marks.push(format!("tainted: the GPU was slowed down ({reasons})"));
    }
}

/// Returns why a job did not compute where it was asked to: some frameworks fall back to the CPU
/// without an error. Both what the harness says and what the driver saw must agree.
fn computed_elsewhere(device: Device, fold: &Fold, usage: Option<&gpu::Usage>) -> Option<String> {
    let said = fold.hello.as_ref().map_or("", |hello| hello.device.as_str());
    let says_cpu = said.eq_ignore_ascii_case("cpu");
    match device {
        Device::Cpu => None,
        Device::Cuda if says_cpu => {
            Some("it was asked to compute on the GPU and says that it used the CPU".to_owned())
        }
        Device::Cuda => usage
            .filter(|usage| usage.is_unused())
            .map(|_| "it was asked to compute on the GPU and held no memory of one".to_owned()),
    }
}

/// Returns how a job ended, as far as its process and its events tell.
fn outcome(finished: &Finished, fold: &Fold, timeout: &Duration) -> Outcome {
    ended_early(finished, timeout).unwrap_or_else(|| complete(finished, fold))
}

/// Returns why a process did not end by itself with 0, unless it did.
fn ended_early(finished: &Finished, timeout: &Duration) -> Option<Outcome> {
    let last_words = || {
        let line = finished.last_words.iter().rev().find(|line| !line.trim().is_empty());
        line.map(|line| format!(": {}", line.trim())).unwrap_or_default()
    };
    let (status, reason) = match &finished.exit {
        Exit::Code(0) => return None,
        Exit::Code(_) if finished.last_words.iter().any(|line| is_out_of_memory(line)) => {
            (Status::OutOfMemory, format!("the framework ran out of memory{}", last_words()))
        }
        Exit::Code(code) => (Status::Failed, format!("exit code {code}{}", last_words())),
        Exit::Signal(signal) => {
            (Status::Crashed, format!("{}{}", signal_name(*signal), last_words()))
        }
        Exit::TimedOut => {
            (Status::TimedOut, format!("it took longer than {} s", timeout.as_secs_f64()))
        }
        Exit::Stalled => (Status::Stalled, "it said nothing for too long".to_owned()),
        Exit::OutOfMemory => (Status::OutOfMemory, "it used more memory than it may".to_owned()),
        Exit::Cancelled => (Status::Cancelled, "it was interrupted".to_owned()),
        Exit::CannotStart(why) => (Status::Failed, format!("it cannot be started: {why}")),
        Exit::Lost(why) => (Status::Failed, format!("its end is unknown: {why}")),
    };
    let mut outcome = Outcome::because(status, reason);
    if matches!(status, Status::Failed | Status::Crashed | Status::OutOfMemory) {
        outcome.hint = Some("its log is stderr.log in the job's folder".to_owned());
    }
    Some(outcome)
}

/// Returns what is missing of a process that ended with 0.
fn complete(finished: &Finished, fold: &Fold) -> Outcome {
    if fold.hello.is_none() {
        incomplete(finished, "it ended without saying hello")
    } else if let Some(why) = &fold.bad_loss {
        incomplete(finished, why)
    } else if !fold.is_ended {
        incomplete(finished, "it ended without saying that everything is stored")
    } else {
        Outcome::ok()
    }
}

fn incomplete(finished: &Finished, missing: &str) -> Outcome {
    let mut missing = missing.to_owned();
    if let Some(why) = &finished.first_rejection {
        missing.push_str(&format!("; {} lines were no events: {why}", finished.lines.rejected));
    }
    Outcome::because(Status::Failed, missing)
}

fn is_out_of_memory(line: &str) -> bool {
    let signs = [
        "MemoryError",
        "CUDA out of memory",
        "OutOfMemoryError",
        "RESOURCE_EXHAUSTED",
        "bad_alloc",
    ];
    signs.iter().any(|sign| line.contains(sign))
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV (invalid memory access)",
        libc::SIGILL => "SIGILL (an instruction that this CPU lacks)",
        libc::SIGFPE => "SIGFPE (arithmetic error)",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        _ => return format!("ended by signal {signal}"),
    };
    format!("ended by {name}")
}

fn run_id(now: jiff::Timestamp) -> String {
    // Two runs of the same second differ by its fraction: in a container every rosetta is process 1.
    let fraction = u64::from(now.subsec_nanosecond().unsigned_abs()) * 0x1_0000 / 1_000_000_000;
    format!("{}-{fraction:04x}", now.strftime("%Y%m%dT%H%M%SZ"))
}

fn seconds(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::{Device, Fold, computed_elsewhere};
    use crate::gpu::Usage;

    #[test]
    fn a_cuda_job_that_held_no_memory_of_a_gpu_computed_elsewhere() {
        let (nothing, own) = (Usage::default(), Usage { own_bytes: Some(1), ..Usage::default() });
        let cases = [
            (Device::Cuda, Some(&nothing), true),
            (Device::Cuda, Some(&own), false),
            (Device::Cuda, None, false),
            (Device::Cpu, Some(&nothing), false),
        ];
        for (device, usage, is_elsewhere) in cases {
            let why = computed_elsewhere(device, &Fold::new(0), usage);
            assert_eq!(why.is_some(), is_elsewhere, "{device:?} {usage:?}");
        }
    }
}
