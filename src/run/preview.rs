//! What a run will build before its first job: environments, how large they are, and how much room there is.
//!
//! Must not depend on how anything is built or drawn.

use super::session::Session;
use crate::catalog::{EnvSpec, ProviderName};
use crate::env::Availability;
use crate::home::free_bytes;
use crate::plan::Plan;
use crate::request::Request;

/// What has to be built, and the room for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Preview {
    pub to_build: Vec<ToBuild>,
    /// Free bytes where environments are; none where that is not known.
    pub free_bytes: Option<u64>,
}

/// An environment that a run will build.
#[derive(Debug, PartialEq, Eq)]
pub struct ToBuild {
    pub name: String,
    pub provider: ProviderName,
    /// About how much room it takes, if that is known: what one of its name took, or what env.yaml says.
    pub size_bytes: Option<u64>,
}

impl Preview {
    /// Returns what is known of the room that all of them take together.
    pub fn known_bytes(&self) -> u64 {
        self.to_build.iter().filter_map(|one| one.size_bytes).sum()
    }

    /// Whether the room is known to be too little.
    pub fn is_too_much(&self) -> bool {
        self.free_bytes.is_some_and(|free| free < self.known_bytes())
    }
}

impl Session {
    /// Returns what a plan needs that is not there yet. Builds nothing.
    pub fn preview(&self, plan: &Plan, request: &Request) -> Preview {
        let mut names = Vec::new();
        for job in &plan.jobs {
            let own = job.target.env.get(&job.device).map(|env| env.value.as_str());
            let is_own = request.is_own(job.framework);
            let reference = self.catalog.find(job.experiment.reference(), job.experiment.name());
            let reference = reference.filter(|_| request.check && !is_own);
            let theirs = reference.and_then(|(_, target)| target.env.values().next());
            let theirs = theirs.map(|env| env.value.as_str());
            for name in own.filter(|_| !is_own).into_iter().chain(theirs) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let to_build = names.into_iter().filter_map(|name| self.to_build(name)).collect();
        Preview { to_build, free_bytes: free_bytes(&self.home.envs()) }
    }

    fn to_build(&self, name: &str) -> Option<ToBuild> {
        let spec = self.spec(name).ok()?;
        if self.envs.availability(&spec) != Availability::Buildable {
            return None;
        }
        let provider = spec.provider.name();
        Some(ToBuild { name: name.to_owned(), provider, size_bytes: self.size_when_built(&spec) })
    }

    /// Returns how large an environment was when it was built last, or what its file says.
    pub(super) fn size_when_built(&self, spec: &EnvSpec) -> Option<u64> {
        self.envs.last_size(spec).or(spec.size_bytes)
    }
}
