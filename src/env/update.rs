//! A version to keep beside the pinned one: asks the solver for it, and puts its lock in place.
//!
//! Must not depend on whether it is any good: nothing here changes what is pinned.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::envs::Envs;
use super::lockfile::{Lockfile, heading, normalised, packages};
use super::tool::Build;
use super::workshop::Workshop;
use super::{scratch, store};
use crate::catalog::{EnvSpec, Provider, ProviderName, check_version};
use crate::hint::hinted;
use crate::lock::Lock;
use crate::obstacle::Obstacle;
use crate::progress::{Progress, Report};
use crate::publish::publish;

/// What stands for the version while it is not known.
const PROPOSED: &str = "proposed";

/// A lock that a solver has made. It lies in a folder of its own, and goes with this.
#[derive(Debug)]
pub struct Proposal {
    /// The environment that it would be.
    pub spec: EnvSpec,
    /// The framework, its pinned version, and the one that is proposed.
    pub framework: String,
    pub pinned: String,
    pub version: String,
    /// Package → the pinned and the proposed version, of those that differ.
    pub changes: BTreeMap<String, (Option<String>, Option<String>)>,
    scratch: PathBuf,
    /// Nobody else proposes one for the same environment.
    _lock: Lock,
}

impl Proposal {
    /// Whether it is the version that is pinned.
    pub fn is_pinned(&self) -> bool {
        self.version == self.pinned
    }

    /// Puts the lock where the project keeps it; returns the file.
    pub fn keep(&self, of: &EnvSpec) -> Result<PathBuf> {
        let place = of.lock_of(&self.version);
        let failed = || format!("cannot write `{}`", place.display());
        let lock = fs::read(&self.spec.lock).with_context(failed)?;
        fs::create_dir_all(of.locks()).with_context(failed)?;
        publish(&place, &lock).with_context(failed)?;
        Ok(place)
    }
}

impl Drop for Proposal {
    fn drop(&mut self) {
        // What stays, the next one clears away.
        let _ = scratch::clear(&self.scratch, &[]);
    }
}

impl Envs {
    /// Returns the newest packages for an environment, or those with one version of its framework.
    pub fn propose(&self, of: &EnvSpec, version: Option<&str>, report: Report) -> Result<Proposal> {
        let name = &of.name;
        let asked = match version {
            Some(version) => format!("version {version} of the environment `{name}`"),
            None => format!("the newest version of the environment `{name}`"),
        };
        let stays = "what is pinned and what is kept are as they were";
        self.proposed(of, version, report).with_context(|| format!("cannot lock {asked}; {stays}"))
    }

    fn proposed(&self, of: &EnvSpec, version: Option<&str>, report: Report) -> Result<Proposal> {
        let Workshop { host, home, .. } = &self.workshop;
        let (pins, (framework, pinned)) = match (&of.provider, of.framework()) {
            (Provider::Venv(pins), Some(framework)) => (pins, framework),
            _ => return Err(not_updatable(of)),
        };
        let old = Lockfile { name: &of.name, path: &of.lock, pins }.read();
        let old = packages(&old.map_err(Obstacle::into_error)?);
        let name = format!("{}@{PROPOSED}", of.name);
        let held = store::lock(home, &name, report)?;
        let scratch = scratch::folder(home, &name);
        scratch::clear(&scratch, &[])?;
        let failed = || format!("cannot make `{}`", scratch.display());
        fs::create_dir_all(&scratch).with_context(failed)?;
        let lock = scratch.join("requirements.lock");
        let asked = of.unpinned(version, PROPOSED, lock.clone());
        let asked = asked.ok_or_else(|| not_updatable(of))?;
        report(Progress::Doing("asking the package index".to_owned()));
        let log = home.envs().join(format!(".{name}.lock.log"));
        let build = Build::begin(host, log, held.file(), report)?;
        self.provider(&asked).lock(&build)?;
        let text = fs::read_to_string(&lock).with_context(|| "cannot read the new lock")?;
        let new = packages(&text);
        let version = new.get(&normalised(framework)).cloned();
        let version = version.ok_or_else(|| anyhow!("the new lock does not hold `{framework}`"))?;
        check_version(&version).map_err(|why| anyhow!("`{framework}` is of {why}"))?;
        let spec = of.at_version(&version, lock.clone()).ok_or_else(|| not_updatable(of))?;
        let body = text.split_once('\n').map_or(text.as_str(), |(_, body)| body);
        fs::write(&lock, heading(&spec.name) + body).with_context(failed)?;
        Ok(Proposal {
            spec,
            framework: framework.to_owned(),
            pinned: pinned.to_owned(),
            version,
            changes: changes(&old, &new),
            scratch,
            _lock: held,
        })
    }
}

/// Returns what differs between two locks.
fn changes(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let names = old.keys().chain(new.keys());
    let both = names.map(|name| (name.clone(), (old.get(name).cloned(), new.get(name).cloned())));
    both.filter(|(_, (old, new))| old != new).collect()
}

/// Returns why an environment has no other versions, and what to do instead.
fn not_updatable(spec: &EnvSpec) -> anyhow::Error {
    let name = &spec.name;
    let cannot = |why: &str| format!("the environment `{name}` has no other versions: {why}");
    match (&spec.provider, spec.provider.name()) {
        (Provider::Cargo(of), _) => hinted(
            cannot("its packages are those of a crate"),
            format!(
                "change them in `{0}`, run `rosetta env lock {name}`, and commit both; for two side by side, a \
                 folder of harnesses and an env.yaml with another `manifest`",
                of.manifest.display()
            ),
        ),
        (Provider::Julia(_), _) => hinted(
            cannot("its packages are those of a Project.toml"),
            format!(
                "change them in `{}`, and run `rosetta env lock {name}`",
                spec.folder.join("Project.toml").display()
            ),
        ),
        (_, ProviderName::System) => {
            hinted(cannot("it is an interpreter of yours"), "name another one with `--python`")
        }
        _ if spec.kept_version().is_some() => {
            hinted(cannot("it is one"), "name the environment that env.yaml pins")
        }
        _ => hinted(
            cannot("the first of its `requirements` is not pinned, as `torch==2.15.0`"),
            format!("pin it in `{}`", spec.folder.join("env.yaml").display()),
        ),
    }
}

impl EnvSpec {
    /// Returns why it has no other versions, if that is so.
    pub fn refuse_versions(&self) -> Result<()> {
        match (&self.provider, self.framework(), self.kept_version()) {
            (Provider::Venv(_), Some(_), None) => Ok(()),
            _ => Err(not_updatable(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_change() {
        let lock = |text: &str| packages(text);
        let old = lock("a==1\nb==1\nc==1\n");
        let new = lock("a==1\nb==2\nd==1\n");
        let text = |version: &str| Some(version.to_owned());
        let expected =
            [("b", (text("1"), text("2"))), ("c", (text("1"), None)), ("d", (None, text("1")))];
        let expected = expected.map(|(name, change)| (name.to_owned(), change));
        assert_eq!(changes(&old, &new), expected.into());
    }
}
