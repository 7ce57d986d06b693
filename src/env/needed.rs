//! Which environments of a home somebody needs: those that an env.yaml of a project that has used them stands for now.
//!
//! Must not depend on how what is not needed is removed.

use std::path::{Path, PathBuf};
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

/// What the projects of a home claim of it.
struct Claims<'a> {
    envs: &'a Envs,
    catalog: &'a Catalog,
    others: Vec<OtherProject>,
}

impl Claims<'_> {
    /// Returns whether a project needs an environment that is built.
    fn need(&self, candidate: &Candidate) -> bool {
        let Candidate { name, short, users, age } = candidate;
        if self.envs.is_current(self.catalog, name, short) {
            return true;
        }
        match users {
            None => *age < UNKNOWN_USERS,
            Some(users) => {
                let mut others = self.others.iter();
                others.any(|other| users.contains(&other.root) && other.stands_for(name, short))
            }
        }
    }

    /// Returns whether cargo compiles something of this name for a project.
    fn compile(&self, name: &str) -> bool {
        is_crate(self.catalog, name) || self.others.iter().any(|other| other.compiles(name))
    }
}

/// A project, not this one, that has used the home.
struct OtherProject {
    root: PathBuf,
    envs: Envs,
    /// Nothing if it cannot be read.
    catalog: Option<Catalog>,
}

impl OtherProject {
    fn stands_for(&self, name: &str, short: &str) -> bool {
        let catalog = self.catalog.as_ref();
        catalog.is_none_or(|catalog| self.envs.is_current(catalog, name, short))
    }

    fn compiles(&self, name: &str) -> bool {
        self.catalog.as_ref().is_none_or(|catalog| is_crate(catalog, name))
    }
}

/// Returns whether an environment of a catalog is one that cargo compiles, or may be.
fn is_crate(catalog: &Catalog, name: &str) -> bool {
    let spec = catalog.envs.get(name);
    catalog.unreadable_envs.contains_key(name)
        || spec.is_some_and(|spec| spec.provider.name() == ProviderName::Cargo)
}

impl Envs {
    /// Removes builds that no env.yaml of the projects that used them stands for any more, half-built
    /// ones, and what cargo compiled for environments that are no more.
    ///
    /// Those of an environment whose digest cannot be told are kept, those that a run uses, and those
    /// of which no project is known and that were used lately.
    pub fn gc(&self, catalog: &Catalog, sweep: Sweep) -> Result<Freed> {
        let Workshop { home, project, .. } = &self.workshop;
        let mut claims = Claims { envs: self, catalog, others: Vec::new() };
        for root in store::users_of_home(home)?.into_iter().filter(|root| root != project) {
            // A project that is gone needs nothing; one that cannot be read may need anything.
            if root.join("envs").is_dir() {
                let (envs, catalog) = (self.beside(&root), Catalog::load(&root).ok());
                claims.others.push(OtherProject { root, envs, catalog });
            }
        }
        let engine = self.engine().ok();
        clean::gc(
            home,
            &|candidate| claims.need(candidate),
            &|name| claims.compile(name),
            engine.as_ref(),
            sweep,
        )
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
