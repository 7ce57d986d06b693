//! Which environments of a home somebody needs: those that an env.yaml of a project that has used them stands for now.
//!
//! Must not depend on how what is not needed is removed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::clean::{self, Candidate, Sweep, UsedEnv};
use super::envs::Envs;
use super::provider::{has_conda_lock, has_docker_lock};
use super::store;
use super::workshop::Workshop;
use crate::catalog::{Catalog, ProviderName};
use crate::seal::Freed;

/// How long an environment stays after its last use if it is not known which projects used it, as
/// one that was built before lists were kept.
const UNKNOWN_USERS: Duration = Duration::from_secs(30 * 24 * 3600);

impl Envs {
    /// Removes builds that no env.yaml of the projects that used them stands for any more, half-built
    /// ones, and what cargo compiled for environments that are no more.
    ///
    /// Those of an environment whose digest cannot be told are kept, those that a run uses, and those
    /// of which no project is known and that were used lately.
    pub fn gc(&self, catalog: &Catalog, sweep: Sweep) -> Result<Freed> {
        let Workshop { home, project, .. } = &self.workshop;
        let mut others = Vec::new();
        for root in store::users_of_home(home)?.into_iter().filter(|root| root != project) {
            // A project that is gone needs nothing; one that cannot be read may need anything.
            if root.join("envs").is_dir() {
                let envs = self.beside(&root);
                others.push((root.clone(), envs, Catalog::load(&root).ok()));
            }
        }
        let is_needed = |candidate: &Candidate| {
            let Candidate { name, short, users, age } = candidate;
            if self.is_current(catalog, name, short) {
                return true;
            }
            match users {
                None => *age < UNKNOWN_USERS,
                Some(users) => others.iter().any(|(root, envs, catalog)| {
                    let is_current = |catalog: &Catalog| envs.is_current(catalog, name, short);
                    users.contains(root) && catalog.as_ref().is_none_or(is_current)
                }),
            }
        };
        let is_crate = |catalog: &Catalog, name: &str| {
            let spec = catalog.envs.get(name);
            catalog.unreadable_envs.contains_key(name)
                || spec.is_some_and(|spec| spec.provider.name() == ProviderName::Cargo)
        };
        let is_compiled = |name: &str| {
            let others = others.iter().map(|(_, _, catalog)| catalog.as_ref());
            let mut others = others.map(|catalog| catalog.is_none_or(|one| is_crate(one, name)));
            is_crate(catalog, name) || others.any(|is_needed| is_needed)
        };
        let engine = self.engine().ok();
        clean::gc(home, &is_needed, &is_compiled, engine.as_ref(), sweep)
    }

    /// Returns the environments that are built under the home, whoever's they are.
    pub fn used(&self) -> Result<Vec<UsedEnv>> {
        clean::used(&self.workshop.home)
    }

    /// Removes such, those that nobody uses just now.
    pub fn remove_used(&self, these: &[UsedEnv]) -> Result<Freed> {
        clean::remove_used(&self.workshop.home, these)
    }

    fn is_current(&self, catalog: &Catalog, name: &str, short: &str) -> bool {
        match catalog.envs.get(name) {
            // An environment whose digest cannot be told is kept.
            Some(spec) => spec.forms().iter().any(|form| match self.digest(form) {
                Ok(digest) => digest.starts_with(short),
                Err(_) => match form.provider.name() {
                    ProviderName::Conda => has_conda_lock(form),
                    ProviderName::Docker => has_docker_lock(form),
                    _ => true,
                },
            }),
            None => catalog.unreadable_envs.contains_key(name),
        }
    }

    /// Returns the environments of another project under the same home.
    pub(super) fn beside(&self, project: &Path) -> Envs {
        let Workshop { host, home, .. } = &self.workshop;
        Envs::on(host.clone(), home.clone(), project.to_owned())
    }
}
