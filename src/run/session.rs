//! What an invocation works with, opened once: home, catalog, environments, data, results.
//!
//! Must not depend on what is done with it.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::catalog::{Catalog, EnvSpec, ProviderName};
use crate::container::Engine;
use crate::data::DataStore;
use crate::env::{Availability, Envs};
use crate::gpu::{self, Gpu};
use crate::home::Home;
use crate::launch;
use crate::obstacle::Obstacle;
use crate::plan::{Job, Plan, Skip, plan};
use crate::project::Project;
use crate::record::Version;
use crate::request::{FrameworksFrom, Request};
use crate::spec::Experiment;
use crate::store::Store;

/// One invocation of rosetta.
pub struct Session {
    pub catalog: Catalog,
    pub envs: Envs,
    pub home: Home,
    pub data: DataStore,
    pub store: Store,
    /// The command line.
    pub command: Vec<String>,
    version: Version,
    /// The GPUs that a plan reckons with.
    gpus: Vec<Gpu>,
    /// The provider that makes environments instead of env.yaml's own.
    provider: Option<ProviderName>,
}

impl Session {
    pub fn open(project: &Project, store: &Store, from: FrameworksFrom) -> Result<Session> {
        let home = Home::find()?;
        Ok(Session {
            catalog: project.catalog()?,
            envs: Envs::new(home.clone(), project.root.clone()),
            data: DataStore::at(home.data()),
            store: store.clone(),
            command: command(),
            version: project.version(),
            gpus: gpu::list(),
            provider: from.provider(),
            home,
        })
    }

    /// Returns which rosetta this is.
    pub fn version(&self) -> Version {
        self.version.clone()
    }

    /// Returns the same with the GPUs of the machines that jobs run on, if that is not this one.
    #[must_use]
    pub fn with_gpus(mut self, gpus: Vec<Gpu>) -> Session {
        self.gpus = gpus;
        self
    }

    /// Returns the plan for what was asked, whatever environments there are.
    pub(super) fn plan_of_all<'a>(
        &'a self,
        request: &Request,
        experiments: &'a [Experiment],
    ) -> Result<Plan<'a>> {
        plan(request, experiments, &self.catalog, &self.gpus)
    }

    /// Returns the plan for what was asked, without the jobs whose environment is not available
    /// here. Builds nothing.
    pub fn plan<'a>(
        &'a self,
        request: &Request,
        experiments: &'a [Experiment],
    ) -> Result<Plan<'a>> {
        let mut plan = self.plan_of_all(request, experiments)?;
        let mut known = BTreeMap::new();
        for job in std::mem::take(&mut plan.jobs) {
            match self.missing(&job, request, &mut known) {
                None => plan.jobs.push(job),
                Some(missing) if job.repeat == 1 => {
                    plan.skips.push(skip(&job, missing));
                    plan.is_something_missing = true;
                }
                Some(_) => {}
            }
        }
        Ok(plan)
    }

    /// Returns the provider that makes environments instead of env.yaml's own, if one was asked for.
    pub(super) fn provider(&self) -> Option<ProviderName> {
        self.provider
    }

    /// Returns the engine of containers, if jobs run in such.
    pub(super) fn engine(&self) -> Option<Engine> {
        let is_asked = self.provider == Some(ProviderName::Docker);
        is_asked.then(|| self.envs.engine().ok()).flatten()
    }

    /// Returns an environment as the provider makes it that was asked for.
    fn provided(&self, spec: &EnvSpec) -> EnvSpec {
        self.provider.map_or_else(|| spec.clone(), |provider| spec.provided_by(provider))
    }

    /// Returns the environment of a job that is planned, or of a reference. That of a reference has
    /// its own provider where the one that was asked for cannot make it: a job has been skipped then.
    pub fn spec(&self, env: &str) -> Result<EnvSpec> {
        let own = self.catalog.env(env)?;
        let provided = self.provided(own);
        let is_own = provided.provider == own.provider;
        Ok(match is_own || self.unavailable(env).is_none() {
            true => provided,
            false => own.clone(),
        })
    }

    /// Returns what a job's environment lacks; `known` remembers it by name. What runs in something
    /// of the user's needs no environment.
    fn missing(
        &self,
        job: &Job,
        request: &Request,
        known: &mut BTreeMap<String, Option<Obstacle>>,
    ) -> Option<Obstacle> {
        if request.is_own(job.framework) {
            return None;
        }
        let name = &job.target.env.get(&job.device)?.value;
        if !known.contains_key(name) {
            known.insert(name.clone(), self.unavailable(name));
        }
        known[name].clone()
    }

    fn unavailable(&self, env: &str) -> Option<Obstacle> {
        let spec = self.provided(self.catalog.env(env).ok()?);
        match self.envs.availability(&spec) {
            Availability::Unavailable(obstacle) => Some(obstacle),
            _ => None,
        }
    }
}

fn skip<'a>(job: &Job<'a>, obstacle: Obstacle) -> Skip<'a> {
    let Job { experiment, framework, target, device, .. } = *job;
    let obstacle = match &target.unverified {
        Some(why) => obstacle.with(&format!("unverified: {why}")),
        None => obstacle,
    };
    Skip { experiment, framework, target, device, obstacle }
}

/// Returns what was typed, as a record has it: secrets that are passed on are masked.
fn command() -> Vec<String> {
    let mut is_passed = false;
    let shown = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let shown = match word.strip_prefix("--env=") {
            Some(passed) => format!("--env={}", launch::shown(passed)),
            None if is_passed => launch::shown(&word),
            None => word.clone(),
        };
        is_passed = word == "--env";
        shown
    };
    std::env::args_os().map(shown).collect()
}
