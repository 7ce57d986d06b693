//! Provider `julia`: the packages of a Manifest.toml in a depot of their own, precompiled, or Julia
//! alone where there is no Project.toml. Must not depend on what the packages are.
//!
//! Packages that a depot of the user's (JULIA_DEPOT_PATH) has are used from there and not fetched:
//! with all of them there, a build needs no network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::provide::{Contents, Provide};
use crate::catalog::{EnvSpec, Toml};
use crate::env::built::{Built, Runtime};
use crate::env::digest::Parts;
use crate::env::julia::FoundJulia;
use crate::env::lockfile::lock_hint;
use crate::env::scratch;
use crate::env::tool::{Build, Host, text};
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;
use crate::publish::publish;

/// The files that say which packages there are, and exactly which.
const PROJECT: &str = "Project.toml";
const MANIFEST: &str = "Manifest.toml";

/// The folder of an environment that Julia writes to, and the one with the two files.
const DEPOT: &str = "depot";
const PACKAGES: &str = "project";

/// Where the packages are looked for besides: a file of an environment, a folder a line.
const DEPOTS: &str = "depots";

/// Brings the packages, at exactly the versions of the lock, and compiles them before any job does. Where all of them are
/// in the user's depots nothing is asked for: Pkg would fetch the registry first, even then.
const INSTALL: &str = "using Pkg; \
    is_here = try Pkg.Operations.is_instantiated(Pkg.Types.EnvCache()) catch; false end; \
    is_here ? Pkg.precompile(; already_instantiated = true) : (Pkg.instantiate(); Pkg.precompile())";

/// Loads each package: one that cannot be loaded is an error of the build, not of the first job.
const LOAD: &str = "using Pkg; for name in sort(collect(keys(Pkg.project().dependencies))); \
    println(\"loading \", name); Base.require(Main, Symbol(name)); end";

/// An environment of Julia's, as env.yaml describes it.
pub(super) struct Julia<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) toml: &'a Toml,
    pub(super) workshop: &'a Workshop,
}

impl Provide for Julia<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        self.lock_obstacle().or_else(|| self.julia().err())
    }

    fn digest(&self) -> Result<String> {
        let julia = self.julia().map_err(Obstacle::into_error)?;
        self.digest_by(&julia.version, Some(&julia.program).filter(|_| julia.is_named))
    }

    fn digest_elsewhere(&self, built: &Built) -> Option<String> {
        let Runtime::Julia { julia, version } = &built.runtime else { return None };
        // A Julia that is here is asked: what it would make is what counts.
        if self.julia().is_ok() {
            return None;
        }
        let digests = [None, Some(julia)].map(|named| self.digest_by(version, named).ok());
        digests.into_iter().flatten().find(|digest| built.digest.as_ref() == Some(digest))
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let julia = self.julia().map_err(Obstacle::into_error)?;
        let depots = self.depots_of_user();
        let lines = depots.iter().map(|depot| Ok(text(depot)? + "\n"));
        let lines = lines.collect::<Result<String>>()?;
        make_folder(&root.join(DEPOT))?;
        publish(&root.join(DEPOTS), lines.as_bytes())?;
        let mut lock = String::new();
        if self.has_packages() {
            lock = self.read(MANIFEST)?;
            let project = root.join(PACKAGES);
            make_folder(&project)?;
            publish(&project.join(PROJECT), self.read(PROJECT)?.as_bytes())?;
            publish(&project.join(MANIFEST), lock.as_bytes())?;
            build.say(format!("bringing the packages of Julia {}", julia.version));
            let depot = depot_path(&root.join(DEPOT), &depots)?;
            for script in [INSTALL, LOAD] {
                let mut install = command(build.host, &julia, &project, &depot, script);
                // Jobs have an empty home: what the user has in `~/.julia` would not be there.
                install.env("HOME", root);
                build.run(install)?;
            }
        }
        Ok(Contents {
            runtime: Runtime::Julia { julia: julia.program, version: julia.version },
            packages: packages(&lock),
            lock: Some(lock),
            environment: BTreeMap::new(),
            found: BTreeMap::new(),
        })
    }

    /// Makes Manifest.toml anew: the newest versions that Project.toml allows.
    fn lock(&self, build: &Build) -> Result<()> {
        let julia = self.julia().map_err(Obstacle::into_error)?;
        if !self.has_packages() {
            return Err(anyhow!("it has no {PROJECT}, so there are no packages to lock"));
        }
        let scratch = scratch::folder(&self.workshop.home, &self.spec.name);
        scratch::clear(&scratch, &[])?;
        let project = scratch.join(PACKAGES);
        make_folder(&project)?;
        publish(&project.join(PROJECT), self.read(PROJECT)?.as_bytes())?;
        let depot = depot_path(&scratch.join(DEPOT), &self.depots_of_user())?;
        let script = "using Pkg; Pkg.update()";
        build.run(command(build.host, &julia, &project, &depot, script))?;
        let made = project.join(MANIFEST);
        let lock = fs::read(&made)
            .with_context(|| format!("Julia has not written `{}`", made.display()))?;
        publish(&self.spec.folder.join(MANIFEST), &lock)?;
        scratch::clear(&scratch, &[])
    }

    fn variables(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let depots = fs::read_to_string(root.join(DEPOTS)).unwrap_or_default();
        let depots = depots.lines().map(PathBuf::from).collect::<Vec<_>>();
        let mut variables = BTreeMap::from([
            ("JULIA_DEPOT_PATH".to_owned(), depot_path(&root.join(DEPOT), &depots)?),
            // What the user has in the environment of no project stays out.
            ("JULIA_LOAD_PATH".to_owned(), "@:@stdlib".to_owned()),
        ]);
        if self.has_packages() {
            variables.insert("JULIA_PROJECT".to_owned(), text(&root.join(PACKAGES))?);
        }
        Ok(variables)
    }
}

impl Julia<'_> {
    fn julia(&self) -> Result<FoundJulia, Obstacle> {
        self.workshop.julias.find(&self.workshop.host, &self.toml.julia)
    }

    fn has_packages(&self) -> bool {
        self.spec.folder.join(PROJECT).is_file()
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.spec.folder.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }

    /// Returns the digest of what a Julia makes. One that a person has named counts by its path too: it may be a script
    /// with options, as `-O1`.
    fn digest_by(&self, version: &str, named: Option<&PathBuf>) -> Result<String> {
        if let Some(obstacle) = self.lock_obstacle() {
            return Err(obstacle.into_error());
        }
        let mut parts = Parts::new("julia");
        parts.add("version", version);
        if let Some(program) = named {
            parts.add("program", text(program)?);
        }
        if self.has_packages() {
            parts.add(PROJECT, self.read(PROJECT)?);
            parts.add(MANIFEST, self.read(MANIFEST)?);
        }
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    /// Returns why the lock will not do.
    fn lock_obstacle(&self) -> Option<Obstacle> {
        let Ok(project) = self.read(PROJECT) else { return None };
        let hint = lock_hint(&self.spec.name);
        let Ok(manifest) = self.read(MANIFEST) else {
            return Some(Obstacle::new(format!("it has no {MANIFEST}"), hint));
        };
        let locked = headers(&manifest);
        let missing = dependencies(&project).find(|name| !locked.contains(name))?;
        let reason = format!("its {MANIFEST} lacks `{missing}` of {PROJECT}");
        Some(Obstacle::new(reason, hint))
    }

    /// Returns the depots that the user's shell names, whose packages need not be fetched.
    fn depots_of_user(&self) -> Vec<PathBuf> {
        let named = self.workshop.host.get("JULIA_DEPOT_PATH");
        let folders = named.map(|list| std::env::split_paths(list).collect::<Vec<_>>());
        let mut folders = folders.unwrap_or_default();
        // An empty entry is what Julia comes with, which it always is asked for.
        folders.retain(|folder| !folder.as_os_str().is_empty());
        folders
    }
}

/// Returns the list of depots for Julia: the environment's, the user's, and what Julia comes with.
fn depot_path(own: &Path, others: &[PathBuf]) -> Result<String> {
    let mut list = text(own)?;
    for depot in others {
        list += &format!(":{}", text(depot)?);
    }
    // An empty entry stands for Julia's own ones.
    Ok(list + ":")
}

fn command(host: &Host, julia: &FoundJulia, project: &Path, depot: &str, script: &str) -> Command {
    let mut command = host.command(&julia.program);
    command.args(["--startup-file=no", "--history-file=no", "--color=no", "-e", script]);
    command.env("JULIA_DEPOT_PATH", depot).env("JULIA_PROJECT", project);
    command.env("JULIA_LOAD_PATH", "@:@stdlib");
    command
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))
}

/// Returns the names of the packages below `[deps]` of a Project.toml.
fn dependencies(project: &str) -> impl Iterator<Item = &str> {
    let lines = project.lines().map(str::trim);
    let below = lines.skip_while(|line| *line != "[deps]").skip(1);
    let below = below.take_while(|line| !line.starts_with('['));
    below.filter_map(|line| Some(line.split_once('=')?.0.trim()))
}

/// Returns the name that a header of a Manifest.toml is for: `[[Lux]]` of Julia before 1.7, `[[deps.Lux]]` since.
fn header(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("[[")?.strip_suffix("]]")?;
    Some(name.strip_prefix("deps.").unwrap_or(name))
}

fn headers(manifest: &str) -> Vec<&str> {
    manifest.lines().filter_map(header).collect()
}

/// Returns the packages of a Manifest.toml that have versions: those of Julia itself have none.
fn packages(manifest: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut name = None;
    for line in manifest.lines() {
        name = header(line).or(name);
        let version = line.trim().strip_prefix("version = \"");
        if let (Some(name), Some(version)) = (name, version.and_then(|v| v.strip_suffix('"'))) {
            found.insert(name.to_owned(), version.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "[[Base64]]\nuuid = \"2a0f44e3\"\n\n[[Knet]]\ndeps = [\"AutoGrad\"]\n\
        git-tree-sha1 = \"7a45\"\nuuid = \"1902f260\"\nversion = \"1.2.3\"\n";
    const NEW: &str = "julia_version = \"1.12.1\"\nmanifest_format = \"2.0\"\n\n[[deps.Lux]]\n\
        version = \"1.2.3\"\n\n    [deps.Lux.extensions]\n    A = \"B\"\n\n[[deps.Random]]\n";

    #[test]
    fn packages_are_read_of_old_manifests_and_new_ones() {
        let one = |name: &str| BTreeMap::from([(name.to_owned(), "1.2.3".to_owned())]);
        assert_eq!((packages(OLD), packages(NEW)), (one("Knet"), one("Lux")));
        assert_eq!((headers(OLD), headers(NEW)), (vec!["Base64", "Knet"], vec!["Lux", "Random"]));
    }

    #[test]
    fn dependencies_are_those_below_their_header() {
        let project = "name = \"x\"\n\n[deps]\nLux = \"b2108857\"\nRandom = \"9a3f8284\"\n\n[compat]\njulia = \"1\"\n";
        assert_eq!(dependencies(project).collect::<Vec<_>>(), ["Lux", "Random"]);
        assert_eq!(dependencies("[compat]\njulia = \"1\"\n").count(), 0);
    }
}
