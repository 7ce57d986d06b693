//! What every provider does: it says what is missing, what its environment is made from (the digest),
//! how it is built and locked, and with which variables its jobs start.
//!
//! The command that starts a harness follows from the [`Runtime`] that a provider builds. Must not
//! depend on any one provider.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::env::built::{Built, Runtime};
use crate::env::tool::Build;
use crate::obstacle::Obstacle;

/// What a provider knows of one environment.
pub(in crate::env) trait Provide {
    /// Returns the first thing that is missing for a build. Builds nothing, fetches nothing.
    fn obstacle(&self) -> Option<Obstacle>;

    /// Returns the SHA-256 of everything that the environment is made from, in hexadecimal.
    fn digest(&self) -> Result<String>;

    /// Returns the digest of what the builder of `built` would make now: this machine, as the nodes
    /// of a cluster that share the home of the one that builds, has no builder to ask.
    fn digest_elsewhere(&self, _built: &Built) -> Option<String> {
        None
    }

    /// Returns what is used as it is, if that is how this provider works: nothing to build or seal.
    fn found(&self) -> Result<Option<Contents>> {
        Ok(None)
    }

    /// Whether what a seal says is here still is: an image may have been removed by its engine.
    fn is_whole(&self, _built: &Built) -> bool {
        true
    }

    /// Makes the environment in `root`.
    fn build(&self, root: &Path, build: &Build) -> Result<Contents>;

    /// Makes the lock anew.
    fn lock(&self, build: &Build) -> Result<()>;

    /// Returns the variables that its jobs need, without those of env.yaml.
    fn variables(&self, root: &Path) -> Result<BTreeMap<String, String>>;

    /// Returns the variables of the user's shell that its jobs must not see.
    fn unwanted(&self) -> &'static [&'static str] {
        &[]
    }
}

/// What is inside an environment.
pub(in crate::env) struct Contents {
    pub(in crate::env) runtime: Runtime,
    /// The text of the lock; none of what is used as it is.
    pub(in crate::env) lock: Option<String>,
    /// Package → version.
    pub(in crate::env) packages: BTreeMap<String, String>,
    /// Variables that its jobs need, as found in what is used as it is.
    pub(in crate::env) environment: BTreeMap<String, String>,
    /// What its packages were built with, as found in what is used as it is.
    pub(in crate::env) found: BTreeMap<String, String>,
}
