//! Makes jobs startable: builds, finds, locks and removes environments.
//!
//! May not know events, records, tables, nor the command line.
//!
//! Decision: an environment is built at its final place, under a lock of its name, and sealed last.
//! A rename into place, the usual way to be atomic, breaks what holds absolute paths: the scripts
//! and the `pyvenv.cfg` of a venv, and whatever a cure wrote. See [`store`].

mod built;
mod cargo;
mod digest;
mod lockfile;
mod missing;
mod python;
mod store;
mod system;
mod tool;
mod uv;
mod venv;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

pub use self::built::{Built, Command};
use self::built::{Names, system_variables, variables};
use self::cargo::Compilers;
use self::python::{Interpreter, Interpreters, parse_version};
use self::store::Place;
use self::tool::{Build, Host};
use self::uv::Uvs;
use crate::catalog::{Catalog, EnvSpec, Provider};
use crate::digest::sha256;
use crate::hint::hinted;
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::obstacle::Obstacle;
use crate::progress::Report;
pub use crate::seal::Freed;
use crate::spec::check_name;

/// The environments of a project, built under a home. Builds of different ones may overlap.
#[derive(Debug)]
pub struct Envs {
    home: Home,
    project: PathBuf,
    host: Host,
    interpreters: Interpreters,
    compilers: Compilers,
    uvs: Uvs,
}

/// Whether an environment can be had on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It is built.
    Ready,
    /// Nothing that its build needs is known to be missing.
    Buildable,
    /// What is missing, and the command that would help.
    Unavailable(Obstacle),
}

/// A row of `rosetta env list`.
#[derive(Debug, Clone)]
pub struct EnvStatus {
    pub name: String,
    pub provider: Provider,
    /// The CPython it wants.
    pub python: Option<String>,
    pub availability: Availability,
    /// None if it cannot be told, for want of a lock or a compiler.
    pub digest: Option<String>,
    pub built: Option<Built>,
}

/// An environment that nobody can remove as long as this lives.
#[derive(Debug)]
pub struct Held {
    pub built: Built,
    /// None for an interpreter of the user's.
    _lock: Option<Lock>,
}

impl Envs {
    pub fn new(home: Home, project: PathBuf) -> Envs {
        Envs::on(Host::of_this_process(), home, project)
    }

    fn on(host: Host, home: Home, project: PathBuf) -> Envs {
        let (interpreters, compilers, uvs) = Default::default();
        Envs { home, project, host, interpreters, compilers, uvs }
    }

    /// Returns the SHA-256 of everything that an environment is made from, in hexadecimal.
    pub fn digest(&self, spec: &EnvSpec) -> Result<String> {
        match spec.file.provider {
            Provider::Venv => digest::of_venv(spec),
            Provider::Cargo => {
                let krate = cargo::krate(spec)?;
                let rustc = self.compilers.version(&self.host, &krate)?;
                digest::of_cargo(&self.host, spec, &krate, &rustc)
            }
        }
    }

    /// Returns an environment that has been built from what its files say now.
    pub fn built(&self, spec: &EnvSpec) -> Option<Built> {
        match self.digest(spec) {
            Ok(digest) => self.sealed(spec, &digest),
            Err(_) => self.built_elsewhere(spec),
        }
    }

    /// Returns programs that were compiled from what their files say now where a compiler was: this
    /// machine has none, as the nodes of a cluster that share the home of the one that builds.
    fn built_elsewhere(&self, spec: &EnvSpec) -> Option<Built> {
        if spec.file.provider != Provider::Cargo || self.host.which("rustc").is_some() {
            return None;
        }
        let krate = cargo::krate(spec).ok()?;
        let compilers = store::compilers(&self.home, &spec.file.name);
        compilers.iter().find_map(|rustc| {
            let digest = digest::of_cargo(&self.host, spec, &krate, rustc).ok()?;
            self.sealed(spec, &digest)
        })
    }

    /// Returns whether an environment can be had here. Builds nothing.
    pub fn availability(&self, spec: &EnvSpec) -> Availability {
        if self.built(spec).is_some() {
            return Availability::Ready;
        }
        match self.obstacle(spec) {
            Some(obstacle) => Availability::Unavailable(obstacle),
            None => Availability::Buildable,
        }
    }

    /// Builds an environment unless it is built, and returns it.
    ///
    /// A process that builds the same one is waited for. What programs say is in a log that an
    /// error names.
    pub fn build(&self, spec: &EnvSpec, report: Report) -> Result<Built> {
        let name = &spec.file.name;
        if let Some(built) = self.built(spec) {
            return Ok(built);
        }
        if let Some(obstacle) = self.obstacle(spec) {
            return Err(obstacle.stops(&format!("cannot build the environment `{name}`")));
        }
        self.build_anew(spec, report)
            .with_context(|| format!("cannot build the environment `{name}`"))
    }

    /// Keeps others from removing an environment that is about to be used.
    pub fn hold(&self, built: Built) -> Result<Held> {
        if built.digest.is_none() {
            return Ok(Held { built, _lock: None });
        }
        match store::hold(&built.root)? {
            Some(lock) => Ok(Held { built, _lock: Some(lock) }),
            None => Err(anyhow!("the environment `{}` has just been removed", built.name)),
        }
    }

    /// Returns an interpreter that the user names as an environment, with the packages it has.
    pub fn system(&self, python: &Path) -> Result<Built> {
        let program = self.host.which(python).ok_or_else(|| {
            let message = format!("there is no program `{}`", python.display());
            hinted(message, "name a Python interpreter, as `--python /usr/bin/python3`")
        })?;
        let found = system::ask(&self.host, &program)?;
        let root = found.executable.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Built {
            name: "system".to_owned(),
            provider: "system".to_owned(),
            digest: None,
            lock_sha256: None,
            root,
            interpreter: Some(found.executable),
            interpreter_version: Some(found.version),
            packages: found.packages,
            compiler: None,
            size_bytes: 0,
            build_seconds: 0.0,
            environment: system_variables(&self.host, &self.project)?,
        })
    }

    /// Returns the state of every environment of a catalog.
    pub fn list(&self, catalog: &Catalog) -> Vec<EnvStatus> {
        let status = |spec: &EnvSpec| EnvStatus {
            name: spec.file.name.clone(),
            provider: spec.file.provider,
            python: spec.file.python.clone(),
            availability: self.availability(spec),
            digest: self.digest(spec).ok(),
            built: self.built(spec),
        };
        catalog.envs.values().map(status).collect()
    }

    /// Makes the lock of an environment anew from its env.yaml, or brings Cargo.lock in line.
    pub fn lock(&self, spec: &EnvSpec, report: Report) -> Result<()> {
        let name = &spec.file.name;
        self.lock_anew(spec, report)
            .with_context(|| format!("cannot lock the environment `{name}`"))
    }

    /// Removes every build of an environment; returns the bytes freed. Fails if a run uses one.
    pub fn remove(&self, name: &str, report: Report) -> Result<u64> {
        check_name(name).map_err(|why| anyhow!(why))?;
        store::remove(&self.home, name, report)
            .with_context(|| format!("cannot remove the environment `{name}`"))
    }

    /// Removes builds that no env.yaml stands for any more, half-built ones, and what cargo
    /// compiled for environments that are no more.
    ///
    /// Those of an environment whose digest cannot be told are kept, and those that a run uses.
    pub fn gc(&self, catalog: &Catalog) -> Result<Freed> {
        let digest = |name: &str| catalog.envs.get(name).map(|spec| self.digest(spec));
        let is_current = |name: &str, short: &str| match digest(name) {
            Some(Ok(digest)) => digest.starts_with(short),
            Some(Err(_)) => true,
            None => false,
        };
        let is_compiled = |name: &str| {
            catalog.envs.get(name).is_some_and(|spec| spec.file.provider == Provider::Cargo)
        };
        store::gc(&self.home, &is_current, &is_compiled)
    }

    /// Becomes the user's shell inside a built environment; returns only if that fails.
    pub fn shell(&self, spec: &EnvSpec) -> Result<std::convert::Infallible> {
        let name = &spec.file.name;
        let built = self.built(spec).ok_or_else(|| {
            let message = format!("the environment `{name}` is not built");
            hinted(message, format!("run `rosetta env build {name}`"))
        })?;
        let shell = self.host.get("SHELL").unwrap_or("/bin/sh".as_ref());
        let mut command = self.host.command_as_is(shell);
        command.envs(&built.environment).env("ROSETTA_ENV", name);
        built.unset().iter().for_each(|name| _ = command.env_remove(name));
        let error = command.exec();
        Err(error).with_context(|| format!("cannot start `{}`", shell.display()))
    }

    fn place(&self, spec: &EnvSpec, digest: &str) -> Place {
        Place::of(&self.home, &spec.file.name, digest)
    }

    fn sealed(&self, spec: &EnvSpec, digest: &str) -> Option<Built> {
        let mut built = self.place(spec, digest).read(digest)?;
        let names = self.names(spec, &built);
        built.environment = variables(&self.host, &self.project, spec, &names).ok()?;
        Some(built)
    }

    fn names(&self, spec: &EnvSpec, built: &Built) -> Names {
        let python = built.interpreter.clone();
        let version = parse_version(built.interpreter_version.as_deref().unwrap_or_default());
        let site = match version[..] {
            [major, minor, patch] => Some(venv::site(&built.root, [major, minor, patch])),
            _ => None,
        };
        Names { root: built.root.clone(), folder: spec.folder.clone(), site, python }
    }

    fn build_anew(&self, spec: &EnvSpec, report: Report) -> Result<Built> {
        let name = &spec.file.name;
        let lock = store::lock(&self.home, name, report)?;
        let digest = self.digest(spec)?;
        if let Some(built) = self.sealed(spec, &digest) {
            return Ok(built);
        }
        let place = self.place(spec, &digest);
        place.sealed.make_in_place(|_| {
            let build = Build::begin(&self.host, place.log.clone(), lock.file(), report)?;
            self.make(spec, &digest, &place, &build)
        })?;
        self.sealed(spec, &digest).ok_or_else(|| anyhow!("its seal cannot be read back"))
    }

    fn make(&self, spec: &EnvSpec, digest: &str, place: &Place, build: &Build) -> Result<()> {
        let begun = Instant::now();
        let root = place.sealed.folder();
        let mut built = match spec.file.provider {
            Provider::Venv => self.make_venv(spec, root, build)?,
            Provider::Cargo => self.make_cargo(spec, root, build)?,
        };
        self.cure(spec, &built, build)?;
        if self.digest(spec)? != digest {
            let hint = format!("run `rosetta env build {}` again", spec.file.name);
            return Err(hinted("its files were changed while it was built", hint));
        }
        built.digest = Some(digest.to_owned());
        built.size_bytes = size_bytes(root);
        built.build_seconds = begun.elapsed().as_secs_f64();
        place.seal(&built)
    }

    fn make_venv(&self, spec: &EnvSpec, root: &Path, build: &Build) -> Result<Built> {
        let python = self.interpreter(spec).map_err(|why| anyhow!(why))?;
        let lock = lockfile::read(spec).map_err(Obstacle::into_error)?;
        build.say(format!("making a virtual environment of CPython {}", python.version_text()));
        if venv::is_for_uv(&python.version) {
            let uv = self.uv(Some(&python), build.report)?;
            let uv = || uv::command(&self.host, &self.home, &uv);
            venv::make_with_uv(build, &uv, spec, &python, root)?;
        } else {
            venv::make_with_pip(build, spec, &python, root)?;
        }
        let packages = lockfile::packages(&lock);
        let interpreter = (root.join("bin/python"), python.version_text());
        Ok(unsealed(spec, root, &lock, Some(interpreter), packages))
    }

    fn make_cargo(&self, spec: &EnvSpec, root: &Path, build: &Build) -> Result<Built> {
        let lock = cargo::read_lock(spec)?;
        let target = store::shared_target(&self.home, &spec.file.name);
        cargo::make(build, spec, &target, root)?;
        let packages = cargo::packages(&lock);
        let compiler = self.compilers.version(&self.host, &cargo::krate(spec)?)?;
        Ok(Built { compiler: Some(compiler), ..unsealed(spec, root, &lock, None, packages) })
    }

    /// Runs the declared steps that mend what the packages lack.
    fn cure(&self, spec: &EnvSpec, built: &Built, build: &Build) -> Result<()> {
        let names = self.names(spec, built);
        for cure in &spec.file.cures {
            build.say(&cure.why);
            let words = cure.run.iter().map(|word| names.replace(word));
            let words = words.collect::<Result<Vec<_>>>()?;
            let (program, args) = words.split_first().ok_or_else(|| anyhow!("a cure is empty"))?;
            let mut command = self.host.command(program);
            command.args(args).current_dir(&built.root);
            build.run(command).with_context(|| format!("a cure failed: {}", cure.why))?;
        }
        Ok(())
    }

    fn lock_anew(&self, spec: &EnvSpec, report: Report) -> Result<()> {
        let name = &spec.file.name;
        let lock = store::lock(&self.home, name, report)?;
        let log = self.home.envs().join(format!(".{name}.lock.log"));
        let build = Build::begin(&self.host, log, lock.file(), report)?;
        if spec.file.provider == Provider::Cargo {
            return cargo::lock(&build, spec);
        }
        let python = self.interpreter(spec).ok();
        let uv = self.uv(python.as_ref(), report)?;
        let uv = uv::command(&self.host, &self.home, &uv);
        let python = python.as_ref().map(|python| python.executable.as_path());
        lockfile::make(&build, uv, spec, python, &self.home.envs())
    }

    fn interpreter(&self, spec: &EnvSpec) -> Result<Interpreter, String> {
        self.interpreters.find(&self.host, spec.file.python.as_deref().unwrap_or_default())
    }

    /// Returns uv, fetched if need be.
    fn uv(&self, preferred: Option<&Interpreter>, report: Report) -> Result<PathBuf> {
        if let Some(uv) = self.uvs.find(&self.host, &self.home) {
            return Ok(uv);
        }
        let python = self.fetcher(preferred);
        let python = python.ok_or_else(|| missing::no_uv().into_error())?;
        uv::fetch_once(&self.host, &self.home, &python, report)
    }

    /// Returns an interpreter that can fetch uv.
    fn fetcher(&self, preferred: Option<&Interpreter>) -> Option<Interpreter> {
        let preferred = preferred.filter(|python| uv::can_fetch(python)).cloned();
        preferred.or_else(|| {
            let versions = (8..=14).rev().map(|minor| format!("3.{minor}"));
            let mut found = versions.flat_map(|v| self.interpreters.find(&self.host, &v));
            found.find(uv::can_fetch)
        })
    }
}

/// Returns what was made, before it is known how large it is and how long it took.
fn unsealed(
    spec: &EnvSpec,
    root: &Path,
    lock: &str,
    interpreter: Option<(PathBuf, String)>,
    packages: std::collections::BTreeMap<String, String>,
) -> Built {
    let (interpreter, interpreter_version) = interpreter.unzip();
    let provider = if interpreter.is_some() { "venv" } else { "cargo" };
    Built {
        name: spec.file.name.clone(),
        provider: provider.to_owned(),
        digest: None,
        lock_sha256: Some(sha256(lock)),
        root: root.to_owned(),
        interpreter,
        interpreter_version,
        packages,
        compiler: None,
        size_bytes: 0,
        build_seconds: 0.0,
        environment: Default::default(),
    }
}

#[cfg(test)]
mod tests;
