//! Makes ready what jobs need before the first of them starts: environments, data, weights and
//! batch orders, several at a time.
//!
//! Must not depend on how a job is started.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::conditions::Conditions;
use super::notice::{Notice, Notify};
use super::session::Session;
use crate::catalog::ProviderName;
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

/// What is ready, and stays so as long as this lives.
pub(super) struct Prepared {
    /// Environments that are held, or why they are not there.
    envs: BTreeMap<String, Result<Held, String>>,
    /// By experiment.
    materials: BTreeMap<String, Material>,
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

    /// Adds the environments of more jobs.
    pub(super) fn add_envs(&mut self, jobs: &'a [Job<'a>], conditions: &Conditions) {
        for job in jobs.iter().filter(|job| !conditions.is_own(job.framework)) {
            if let Some(env) = job.target.env.get(&job.device)
                && !self.envs.contains(&env.value.as_str())
            {
                self.envs.push(&env.value);
            }
        }
    }

    /// Makes it all ready. An environment that cannot be built is a fact about its jobs; data that
    /// are not available are an error.
    pub(super) fn prepare(
        &self,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
    ) -> Result<Prepared> {
        // A check that went before has left its handlers, which nobody would ask here.
        let _interruptible = Interruptible::begin();
        let envs = Mutex::new(BTreeMap::new());
        if let Some(own) = conditions.own() {
            let held = session.envs.hold(session.envs.system(&own)?, &|_| ())?;
            lock(&envs).insert(SYSTEM.to_owned(), Ok(held));
        }
        for (framework, folder) in &conditions.programs {
            let held = session.envs.hold(session.envs.programs(folder)?, &|_| ())?;
            lock(&envs).insert(programs_of(framework), Ok(held));
        }
        let queue = Mutex::new(self.envs.iter());
        let builders = usize::try_from(cores()).unwrap_or(1).clamp(2, 4);
        let materials = std::thread::scope(|scope| {
            for _ in 0..builders {
                scope.spawn(|| build_all(&queue, &envs, session, notify));
            }
            self.materials(conditions, session, notify)
        })?;
        let envs = envs.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Prepared { envs, materials })
    }

    fn materials(
        &self,
        conditions: &Conditions,
        session: &Session,
        notify: Notify,
    ) -> Result<BTreeMap<String, Material>> {
        let mut materials = BTreeMap::new();
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
                    materials.insert(experiment.name().to_owned(), material);
                }
                Err(error) => {
                    let why = "not available".to_owned();
                    notify(Notice::StepFailed { name, why });
                    return Err(error.context(format!("cannot prepare the {name}")));
                }
            }
        }
        Ok(materials)
    }
}

impl Prepared {
    /// Returns the environment that a job runs in, or the outcome of a job that has none.
    pub(super) fn built_for(&self, job: &Job, conditions: &Conditions) -> Result<&Built, Outcome> {
        let own = programs_of(&job.framework.spec.name);
        let env = if conditions.is_system(job.framework) {
            SYSTEM
        } else if self.envs.contains_key(&own) {
            own.as_str()
        } else {
            job.target.env.get(&job.device).map_or(SYSTEM, |env| env.value.as_str())
        };
        match self.envs.get(env) {
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

    /// Returns what the jobs of an experiment share.
    pub(super) fn material(&self, experiment: &Experiment) -> &Material {
        &self.materials[experiment.name()]
    }

    /// Returns the same, if it was made ready: that of a job that was skipped may not be.
    pub(super) fn find_material(&self, experiment: &Experiment) -> Option<&Material> {
        self.materials.get(experiment.name())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds and holds environments of a queue until it is empty.
fn build_all(
    queue: &Mutex<std::slice::Iter<&str>>,
    envs: &Mutex<BTreeMap<String, Result<Held, String>>>,
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
        lock(envs).insert((*name).to_owned(), held);
    }
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
