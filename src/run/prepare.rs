//! Makes ready what jobs need: environments, data, weights and batch orders, several at a time; before the first of them
//! starts, or while those go ahead that have what they need.
//!
//! Must not depend on how a job is started.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::conditions::Conditions;
use super::notice::{Notice, Notify};
use super::session::Session;
use crate::catalog::{Device, ProviderName};
use crate::env::{Built, Held};
use crate::machine::cores;
use crate::material::{Material, Size};
use crate::obstacle::Obstacle;
use crate::plan::Job;
use crate::process::kernel::Interruptible;
use crate::record::{Outcome, Status};
use crate::spec::Experiment;

/// The name under which the provider `system` is kept.
pub(super) const SYSTEM: &str = "system";

/// Returns the name under which a framework's programs of the user's own are kept; no environment can have it.
fn programs_of(framework: &str) -> String {
    format!("programs of {framework}")
}

/// What the step that makes data ready is called, before the experiment's name.
pub(super) const DATA_OF: &str = "data of ";

/// What some jobs need.
pub(super) struct Needs<'a> {
    /// Pinned environments, in the order in which they are first needed.
    pub(super) envs: Vec<&'a str>,
    /// Each once.
    pub(super) experiments: Vec<&'a Experiment>,
    pub(super) size: Size<'a>,
}

/// What is ready, or will be, and stays so as long as this lives.
#[derive(Default)]
pub(super) struct Prepared {
    /// Environments that are held, or why they are not there; empty until that is known.
    envs: BTreeMap<String, OnceLock<Result<Held, String>>>,
    /// By experiment; empty until it is there.
    materials: BTreeMap<String, OnceLock<Material>>,
    /// How many of both are to come.
    wanted: usize,
    news: Mutex<News>,
    more: Condvar,
}

/// How much has come since the beginning, and whether that was all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    count: usize,
    is_over: bool,
}

impl<'a> Needs<'a> {
    pub(super) fn of(jobs: &'a [Job<'a>], size: Size<'a>, conditions: &Conditions) -> Needs<'a> {
        let mut needs = Needs { envs: Vec::new(), experiments: Vec::new(), size };
        needs.add_envs(jobs, conditions);
        for job in jobs {
            let name = job.experiment.name();
            if needs.experiments.iter().all(|experiment| experiment.name() != name) {
                needs.experiments.push(job.experiment);
            }
        }
        needs
    }

    fn add_envs(&mut self, jobs: &'a [Job<'a>], conditions: &Conditions) {
        for job in jobs.iter().filter(|job| !conditions.is_own(job.framework)) {
            if let Some(env) = job.target.env.get(&job.device)
                && !self.envs.contains(&env.value.as_str())
            {
                self.envs.push(&env.value);
            }
        }
    }

    /// Orders environments as checks, which begin as soon as theirs is there, are done soonest: first those of `references`,
    /// which all wait for, then the largest, whose download takes longest.
    pub(super) fn order_for_checks(
        &mut self,
        references: &'a [Job<'a>],
        conditions: &Conditions,
        session: &Session,
    ) {
        let mut others = std::mem::take(&mut self.envs);
        self.add_envs(references, conditions);
        let size = |env: &&str| session.size_when_built(&session.spec(env).ok()?);
        others.sort_by_cached_key(|env| Reverse(size(env)));
        let seen = self.envs.clone();
        self.envs.extend(others.into_iter().filter(|env| !seen.contains(env)));
    }

    /// Makes it all ready. An environment that cannot be built is a fact about its jobs; data that
    /// are not available are an error.
    pub(super) fn prepare(
        &self,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
    ) -> Result<Prepared> {
        let mut prepared = self.begin();
        self.prepare_while(&mut prepared, conditions, session, notify, |_| Ok(()))?;
        Ok(prepared)
    }

    /// Returns what will be ready: nothing yet.
    pub(super) fn begin(&self) -> Prepared {
        let envs = self.envs.iter().map(|env| (*env).to_owned());
        let materials = self.experiments.iter().map(|experiment| experiment.name().to_owned());
        Prepared {
            wanted: self.envs.len() + self.experiments.len(),
            envs: envs.map(|env| (env, OnceLock::new())).collect(),
            materials: materials.map(|name| (name, OnceLock::new())).collect(),
            ..Prepared::default()
        }
    }

    /// Makes it all ready as `prepare` does, while `work` goes on with what is ready already. Ctrl-C ends rosetta at once
    /// until all is.
    pub(super) fn prepare_while<T>(
        &self,
        prepared: &mut Prepared,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
        work: impl FnOnce(&Prepared) -> Result<T>,
    ) -> Result<T> {
        // A check that went before has left its handlers, which nobody would ask here.
        let interruptible = Interruptible::begin();
        if let Some(own) = conditions.own() {
            let held = session.envs.hold(session.envs.system(&own)?, &|_| ())?;
            prepared.envs.insert(SYSTEM.to_owned(), OnceLock::from(Ok(held)));
        }
        for (framework, folder) in &conditions.programs {
            let held = session.envs.hold(session.envs.programs(folder)?, &|_| ())?;
            prepared.envs.insert(programs_of(framework), OnceLock::from(Ok(held)));
        }
        let prepared = &*prepared;
        let queue = Mutex::new(self.envs.iter());
        let builders = usize::try_from(cores()).unwrap_or(1).clamp(2, 4);
        std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                let _interruptible = interruptible;
                std::thread::scope(|scope| {
                    for _ in 0..builders {
                        scope.spawn(|| build_all(&queue, prepared, session, notify));
                    }
                    let materials = self.materials(prepared, conditions, session, notify);
                    materials.inspect_err(|_| prepared.give_up())
                })
            });
            let worked = work(prepared);
            making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            worked
        })
    }

    fn materials(
        &self,
        prepared: &Prepared,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
    ) -> Result<()> {
        for experiment in &self.experiments {
            let name = format!("{DATA_OF}{}", experiment.name());
            let name = name.as_str();
            notify(Notice::StepStarted { name });
            let report = |progress| notify(Notice::StepProgress { name, progress });
            let (data, source) = (&session.data, conditions.data);
            match Material::prepare(data, experiment, self.size, source, &report) {
                Ok(material) => {
                    let (data, source) = (&material.dataset.name, material.dataset.source.as_str());
                    let what = format!("are ready: {data} ({source})");
                    notify(Notice::StepDone { name, what });
                    prepared.tell(|| drop(prepared.materials[experiment.name()].set(material)));
                }
                Err(error) => {
                    let why = "not available".to_owned();
                    notify(Notice::StepFailed { name, why });
                    return Err(error.context(format!("cannot prepare the {name}")));
                }
            }
        }
        Ok(())
    }
}

impl Prepared {
    /// Whether a job has all that it needs, or will never have it.
    pub(super) fn is_ready_for(&self, job: &Job, conditions: &Conditions) -> bool {
        let env = self.envs.get(&self.env_of(job, conditions));
        let is_known = env.is_none_or(|env| env.get().is_some());
        is_known && self.find_material(job.experiment).is_some()
    }

    /// Returns what has come until now.
    pub(super) fn news(&self) -> News {
        *lock(&self.news)
    }

    /// Whether all has come that will.
    pub(super) fn is_over(&self) -> bool {
        self.news().is_over
    }

    /// Waits until more has come than was known, or for so long; returns whether more may come.
    pub(super) fn wait(&self, known: News, limit: Duration) -> bool {
        let nothing_new = |news: &mut News| *news == known && !news.is_over;
        let waited = self.more.wait_timeout_while(lock(&self.news), limit, nothing_new);
        let (news, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        timeout.timed_out() || *news != known
    }

    /// Makes something ready and tells whoever waits.
    fn tell(&self, make: impl FnOnce()) {
        make();
        let mut news = lock(&self.news);
        news.count += 1;
        news.is_over |= news.count == self.wanted;
        self.more.notify_all();
    }

    /// Tells whoever waits that not all will come.
    fn give_up(&self) {
        lock(&self.news).is_over = true;
        self.more.notify_all();
    }

    /// Returns the name of the environment that a job runs in.
    fn env_of(&self, job: &Job, conditions: &Conditions) -> String {
        let own = programs_of(&job.framework.spec.name);
        if conditions.is_system(job.framework) {
            SYSTEM.to_owned()
        } else if self.envs.contains_key(&own) {
            own
        } else {
            let env = job.target.env.get(&job.device);
            env.map_or(SYSTEM, |env| env.value.as_str()).to_owned()
        }
    }

    /// Returns the environment that a job runs in, or the outcome of a job that has none.
    pub(super) fn built_for(&self, job: &Job, conditions: &Conditions) -> Result<&Built, Outcome> {
        let env = self.env_of(job, conditions);
        match self.envs.get(&env).and_then(OnceLock::get) {
            Some(Ok(held)) => Ok(&held.built),
            Some(Err(why)) => {
                let reason = format!("environment `{env}`: {why}");
                let flag = conditions.provider.map_or("", ProviderName::flag);
                let hint = format!("`rosetta env build {env}{flag}` shows more");
                Err(Outcome::of(Status::Failed, Obstacle::new(reason, hint)))
            }
            None => Err(Outcome::because(Status::Failed, "it has no environment")),
        }
    }

    /// Sees that what a job imports is compiled before it is timed.
    pub(super) fn compile_for(
        &self,
        job: &Job,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
    ) {
        let Ok(built) = self.built_for(job, conditions) else { return };
        let harness = job.framework.harnesses[job.experiment.name()].as_path();
        compile(built, Some((job.device, harness)), session, notify);
    }

    /// Returns what the jobs of an experiment share.
    pub(super) fn material(&self, experiment: &Experiment) -> &Material {
        self.materials[experiment.name()].get().expect("a job begins when its data are ready")
    }

    /// Returns the same, if it was made ready: that of a job that was skipped may not be.
    pub(super) fn find_material(&self, experiment: &Experiment) -> Option<&Material> {
        self.materials.get(experiment.name())?.get()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds and holds environments of a queue until it is empty.
fn build_all(
    queue: &Mutex<std::slice::Iter<&str>>,
    prepared: &Prepared,
    session: &Session,
    notify: Notify,
) {
    loop {
        let Some(name) = lock(queue).next() else { return };
        let step = format!("environment {name}");
        let report = |progress| notify(Notice::StepProgress { name: &step, progress });
        let held = match build(name, session, notify) {
            Ok(built) => session.envs.hold(built, &report).map_err(|why| format!("{why:#}")),
            Err(why) => Err(why),
        };
        prepared.tell(|| drop(prepared.envs[*name].set(held)));
    }
}

/// Sees that what a program imports on a device is compiled; without one, all that is there.
pub(super) fn compile(
    built: &Built,
    program: Option<(Device, &Path)>,
    session: &Session,
    notify: Notify,
) {
    if session.envs.is_compiled(built, program) {
        return;
    }
    let name = format!("bytecode of the environment {}", built.name);
    let name = name.as_str();
    notify(Notice::StepStarted { name });
    session.envs.compile(built);
    notify(Notice::StepDone { name, what: "is compiled".to_owned() });
}

/// Returns a pinned environment, built if it was not.
pub(super) fn build(env: &str, session: &Session, notify: Notify) -> Result<Built, String> {
    let name = format!("environment {env}");
    let name = name.as_str();
    let spec = &session.spec(env).map_err(|error| format!("{error:#}"))?;
    if let Some(built) = session.envs.built(spec) {
        return Ok(built); // Nothing to wait for, nothing to say.
    }
    notify(Notice::StepStarted { name });
    let report = |progress| notify(Notice::StepProgress { name, progress });
    match session.envs.build(spec, &report) {
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
