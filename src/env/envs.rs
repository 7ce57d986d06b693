//! The environments of a project under a home: which there are, and how one comes and goes.
//!
//! Must not depend on how a provider works, nor on events, records, tables or the command line.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::built::{Built, Runtime};
use super::bytecode;
use super::intact::missing_file;
use super::names::{Names, add_variables};
use super::programs::digests;
use super::provider::{self, Contents, Provide, size_of_image};
use super::store::{self, BuildPlace};
use super::tool::{Build, Host, text};
use super::workshop::Workshop;
use crate::catalog::{Catalog, Device, EnvSpec, Own, ProviderName, check_env_name};
use crate::container::Engine;
use crate::digest::sha256;
use crate::hint::hinted;
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::obstacle::Obstacle;
use crate::process::kernel::Interruptible;
use crate::progress::Report;
use crate::seal::find_or_make;

/// The environments of a project, built under a home. Builds of different ones may overlap.
#[derive(Debug)]
pub struct Envs {
    pub(super) workshop: Workshop,
    /// Name and digest of what could not be built → why.
    failed: Mutex<BTreeMap<(String, Option<String>), String>>,
}

/// Whether an environment can be used on this machine.
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
    pub provider: ProviderName,
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

    pub(super) fn on(host: Host, home: Home, project: PathBuf) -> Envs {
        Envs { workshop: Workshop::new(host, home, project), failed: Default::default() }
    }

    /// Returns the SHA-256 of everything that an environment is made from, in hexadecimal.
    pub fn digest(&self, spec: &EnvSpec) -> Result<String> {
        self.provider(spec).digest()
    }

    /// Returns an environment that has been built from what its files say now.
    ///
    /// Where its builder is missing, one that was built elsewhere from the same files is found.
    pub fn built(&self, spec: &EnvSpec) -> Option<Built> {
        let provider = self.provider(spec);
        if let Ok(digest) = provider.digest() {
            return self.sealed(spec, &digest);
        }
        let all = store::all_built(&self.workshop.home, &spec.name);
        let mut digests = all.iter().filter_map(|built| provider.digest_elsewhere(built));
        digests.find_map(|digest| self.sealed(spec, &digest))
    }

    /// Returns whether an environment can be used here. Builds nothing.
    pub fn availability(&self, spec: &EnvSpec) -> Availability {
        if self.built(spec).is_some() {
            return Availability::Ready;
        }
        match self.obstacle(spec) {
            Some(obstacle) => Availability::Unavailable(obstacle),
            None => Availability::Buildable,
        }
    }

    /// Returns the first thing that a build would fail for.
    fn obstacle(&self, spec: &EnvSpec) -> Option<Obstacle> {
        let missing = self.provider(spec).obstacle();
        // Programs that a build in an image needs are the image's.
        let programs = match spec.provider.name() {
            ProviderName::Docker => &[],
            _ => spec.programs.as_slice(),
        };
        missing.or_else(|| self.workshop.missing_program(programs))
    }

    /// Builds an environment unless it is built and whole, and returns it.
    ///
    /// Bytecode may be left to be compiled. A process that builds the same one is waited for. What programs say is in a
    /// log that an error names. What has failed is not tried again: a run asks for the same one several times. Ctrl-C,
    /// SIGTERM and a lost terminal end rosetta meanwhile, and what builds with it.
    pub fn build(&self, spec: &EnvSpec, report: Report) -> Result<Built> {
        let name = &spec.name;
        let what = format!("cannot build the environment `{name}`");
        let find = || self.built(spec).filter(|built| missing_file(built).is_none());
        if let Some(built) = find() {
            return Ok(built);
        }
        if let Some(obstacle) = self.obstacle(spec) {
            return Err(obstacle.stops(&what));
        }
        if let Some(why) = self.failed().get(&(name.clone(), self.digest(spec).ok())) {
            return Err(anyhow!(why.clone()).context(what));
        }
        let _interruptible = Interruptible::begin();
        let built = find_or_make(
            find,
            || store::lock(&self.workshop.home, name, report),
            |lock| self.build_anew(spec, lock, report),
        );
        built.context(what)
    }

    /// Whether checks have left what a program imports on a device compiled; without one, whether all of an environment is.
    pub fn is_compiled(&self, built: &Built, program: Option<(Device, &Path)>) -> bool {
        bytecode::is_compiled(built, program)
    }

    /// Compiles the bytecode of an environment.
    pub fn compile(&self, built: &Built) {
        bytecode::compile(&self.workshop.host, built);
    }

    fn failed(&self) -> MutexGuard<'_, BTreeMap<(String, Option<String>), String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others from removing an environment that is about to be used.
    pub fn hold(&self, built: Built, report: Report) -> Result<Held> {
        if built.digest.is_none() {
            return Ok(Held { built, _lock: None });
        }
        if let Some(file) = missing_file(&built) {
            let (name, file) = (&built.name, file.display());
            let message = format!(
                "the environment `{name}` is damaged: there is no `{file}`; \
                 `rosetta env build {name}{}` makes it anew",
                built.provider.flag()
            );
            return Err(anyhow!(message));
        }
        let held = store::hold(&built.root, report)?;
        store::note_use(&built.root, &self.workshop.project);
        match held {
            Some(lock) => Ok(Held { built, _lock: Some(lock) }),
            None => Err(anyhow!("the environment `{}` has just been removed", built.name)),
        }
    }

    /// Returns an interpreter that the user names as an environment, with the packages it has.
    pub fn system(&self, own: &Own) -> Result<Built> {
        let spec = EnvSpec::system(own, &self.workshop.project);
        let found = self.provider(&spec).found()?;
        let contents = found.ok_or_else(|| anyhow!("an interpreter is used as it is"))?;
        let root = match &contents.runtime {
            Runtime::Interpreter { python, .. } => python.parent().unwrap_or(Path::new("/")),
            _ => Path::new("/"),
        };
        let (root, environment) = (root.to_owned(), contents.environment.clone());
        let mut built = self.with_variables(&spec, assembled(&spec, &root, contents))?;
        built.environment.extend(environment);
        built.wrap.clone_from(&own.wrap);
        // A job starts in another folder than rosetta has.
        if let Some(first) = built.wrap.first_mut()
            && let Some(found) = self.workshop.host.which(&*first)
        {
            *first = text(&found)?;
        }
        Ok(built)
    }

    /// Returns the engine of containers, or why there is none that will do.
    pub fn engine(&self) -> Result<Engine, Obstacle> {
        self.workshop.engine()
    }

    /// Returns how large the last build of an environment by the same provider was.
    pub fn last_size(&self, spec: &EnvSpec) -> Option<u64> {
        let all = store::all_built(&self.workshop.home, &spec.name).into_iter();
        let alike = all.filter(|built| built.provider == spec.provider.name());
        alike.map(|built| built.size_bytes).max()
    }

    /// Returns the state of every environment of a catalog.
    pub fn list(&self, catalog: &Catalog) -> Vec<EnvStatus> {
        catalog.envs.values().map(|spec| self.status(spec)).collect()
    }

    fn status(&self, spec: &EnvSpec) -> EnvStatus {
        EnvStatus {
            name: spec.name.clone(),
            provider: spec.provider.name(),
            python: spec.provider.python().map(str::to_owned),
            availability: self.availability(spec),
            digest: self.digest(spec).ok(),
            built: self.built(spec),
        }
    }

    /// Makes the lock of an environment anew from its env.yaml, or brings Cargo.lock in line.
    pub fn lock(&self, spec: &EnvSpec, report: Report) -> Result<()> {
        let name = &spec.name;
        self.lock_anew(spec, report)
            .with_context(|| format!("cannot lock the environment `{name}`"))
    }

    /// Removes every build of an environment, or what one provider has built; returns the bytes
    /// freed. Fails if a run uses one.
    pub fn remove(&self, name: &str, by: Option<ProviderName>, report: Report) -> Result<u64> {
        check_env_name(name).map_err(|why| anyhow!(why))?;
        store::remove(&self.workshop.home, name, by, report)
            .with_context(|| format!("cannot remove the environment `{name}`"))
    }

    /// Returns compiled harnesses that the user names by their folder as an environment, with the digest of each.
    pub fn programs(&self, folder: &Path) -> Result<Built> {
        let root = std::path::absolute(folder)?;
        let packages = digests(&root)?;
        let runtime = Runtime::Programs { compiler: None };
        let (environment, found) = Default::default();
        let contents = Contents { runtime, packages, lock: None, environment, found };
        let own = Own { python: PathBuf::new(), wrap: Vec::new() };
        Ok(assembled(&EnvSpec::system(&own, &self.workshop.project), &root, contents))
    }

    /// Becomes a command inside a built environment, the user's shell if none is named; returns only if that fails.
    pub fn enter(&self, spec: &EnvSpec, command: &[OsString]) -> Result<Infallible> {
        let (name, host) = (&spec.name, &self.workshop.host);
        let built = self.built(spec).ok_or_else(|| {
            let message = format!("the environment `{name}` is not built");
            let flag = spec.provider.name().flag();
            hinted(message, format!("run `rosetta env build {name}{flag}`"))
        })?;
        if let Some(image) = built.image() {
            let error = image.enter(command, &built.environment, &built.seen).exec();
            let shown = image.engine.program.display().to_string();
            return Err(error).with_context(|| format!("cannot start `{shown}`"));
        }
        let shell = || OsString::from(host.get("SHELL").unwrap_or("/bin/sh".as_ref()));
        let (program, arguments) = match command {
            [program, arguments @ ..] => (program.clone(), arguments),
            [] => (shell(), [].as_slice()),
        };
        let mut command = host.command_as_is(&program);
        command.args(arguments).envs(&built.environment).env("ROSETTA_ENV", name);
        for name in &built.unset {
            command.env_remove(name);
        }
        let error = command.exec();
        Err(error).with_context(|| format!("cannot start `{}`", program.display()))
    }

    pub(super) fn provider<'a>(&'a self, spec: &'a EnvSpec) -> Box<dyn Provide + 'a> {
        provider::of(spec, &self.workshop)
    }

    fn sealed(&self, spec: &EnvSpec, digest: &str) -> Option<Built> {
        let mut built = BuildPlace::of(&self.workshop.home, &spec.name, digest).read(digest)?;
        // The image is as it was built; the engine may be another version by now, or elsewhere.
        if let (Some(image), Ok(engine)) = (built.image_mut(), self.engine()) {
            image.engine = engine;
        }
        let is_whole = self.provider(spec).is_whole(&built);
        self.with_variables(spec, built).ok().filter(|_| is_whole)
    }

    /// Adds what depends on env.yaml and the shell, which is not stored.
    fn with_variables(&self, spec: &EnvSpec, mut built: Built) -> Result<Built> {
        let provider = self.provider(spec);
        let names = Names::of(spec, &built.root, &built.runtime);
        built.environment = provider.variables(&built.root)?;
        let inside = built.image().map(|image| Host::inside(&image.path));
        if let Some(image) = built.image() {
            built.environment.insert("PATH".to_owned(), image.path.clone());
            built.seen = vec![self.workshop.project.clone(), self.workshop.home.root().to_owned()];
        }
        let host = inside.as_ref().unwrap_or(&self.workshop.host);
        add_variables(&mut built.environment, host, spec, &names)?;
        built.starter = Some(match &built.runtime {
            Runtime::Julia { .. } => self.workshop.julia_sdk().join("start.jl"),
            _ => self.workshop.python_sdk().join("rosetta/__main__.py"),
        });
        built.unset = provider.unwanted().iter().map(|&name| name.to_owned()).collect();
        Ok(built)
    }

    fn build_anew(&self, spec: &EnvSpec, lock: &Lock, report: Report) -> Result<Built> {
        let digest = self.digest(spec)?;
        let place = BuildPlace::of(&self.workshop.home, &spec.name, &digest);
        place.sealed.make_in_place(|root| {
            let host = &self.workshop.host;
            let build = Build::begin(host, place.log.clone(), lock.file(), report)?;
            let made = self.make(spec, &digest, root, &build);
            let made = made.inspect_err(|error| {
                let key = (spec.name.clone(), Some(digest.clone()));
                self.failed().insert(key, format!("{error:#}"));
            });
            place.seal(&made?)?;
            store::note_use(root, &self.workshop.project);
            Ok(())
        })?;
        self.sealed(spec, &digest).ok_or_else(|| anyhow!("its seal cannot be read back"))
    }

    fn make(&self, spec: &EnvSpec, digest: &str, root: &Path, build: &Build) -> Result<Built> {
        let begun = Instant::now();
        let mut built = assembled(spec, root, self.provider(spec).build(root, build)?);
        if built.image().is_none() {
            self.fix_up(spec, &built, build)?;
        }
        if self.digest(spec)? != digest {
            let flag = spec.provider.name().flag();
            let hint = format!("run `rosetta env build {}{flag}` again", spec.name);
            return Err(hinted("its files were changed while it was built", hint));
        }
        built.digest = Some(digest.to_owned());
        built.size_bytes = match built.image() {
            Some(image) => size_of_image(image)?,
            None => size_bytes(root),
        };
        built.build_seconds = begun.elapsed().as_secs_f64();
        Ok(built)
    }

    /// Runs the declared steps that mend what the packages lack.
    fn fix_up(&self, spec: &EnvSpec, built: &Built, build: &Build) -> Result<()> {
        let names = Names::of(spec, &built.root, &built.runtime);
        for fixup in &spec.fixups {
            build.say(&fixup.why);
            let words = fixup.run.iter().map(|word| names.replace(word));
            let words = words.collect::<Result<Vec<_>>>()?;
            let (program, args) =
                words.split_first().ok_or_else(|| anyhow!("a fix-up is empty"))?;
            let mut command = self.workshop.host.command(program);
            command.args(args).current_dir(&built.root);
            build.run(command).with_context(|| format!("a fix-up failed: {}", fixup.why))?;
        }
        Ok(())
    }

    fn lock_anew(&self, spec: &EnvSpec, report: Report) -> Result<()> {
        let Workshop { host, home, .. } = &self.workshop;
        let lock = store::lock(home, &spec.name, report)?;
        let log = home.envs().join(format!(".{}.lock.log", spec.name));
        let build = Build::begin(host, log, lock.file(), report)?;
        self.provider(spec).lock(&build)
    }
}

/// Returns an environment before it is known how large it is and how long it took.
fn assembled(spec: &EnvSpec, root: &Path, contents: Contents) -> Built {
    let Contents { runtime, lock, packages, environment: _, found } = contents;
    Built {
        name: spec.name.clone(),
        provider: spec.provider.name(),
        digest: None,
        lock_sha256: lock.map(sha256),
        root: root.to_owned(),
        runtime,
        packages,
        size_bytes: 0,
        build_seconds: 0.0,
        environment: Default::default(),
        unset: Vec::new(),
        starter: None,
        seen: Vec::new(),
        found,
        wrap: Vec::new(),
    }
}
