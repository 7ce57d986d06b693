//! Provider `conda`: an interpreter and libraries from an explicit lock of conda's, and the Python
//! packages of the same requirements.lock as a venv has, so that only the interpreter differs.
//!
//! Must not depend on when it is built or sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::provide::{Contents, Provide};
use super::wheels::{Others, Wheels, is_for_uv};
use crate::catalog::{EnvSpec, Pins};
use crate::env::built::Runtime;
use crate::env::conda::explicit::{self, Package};
use crate::env::conda::solve::{self, Wanted};
use crate::env::conda::{archives, platform};
use crate::env::digest::Parts;
use crate::env::lockfile;
use crate::env::python::{self, Interpreter, parse_version};
use crate::env::store;
use crate::env::tool::{Build, OutputLine, text};
use crate::env::workshop::Workshop;
use crate::hint::{Hinted, hinted};
use crate::obstacle::Obstacle;
use crate::publish::publish;

/// Variables of the user's shell that belong to an environment of theirs.
const UNWANTED: [&str; 7] = [
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "CONDA_DEFAULT_ENV",
    "CONDA_PROMPT_MODIFIER",
    "CONDA_SHLVL",
];

/// What both conda and a requirements.lock may bring: tools that no framework computes with.
const TOOLS: [&str; 3] = ["pip", "setuptools", "wheel"];

/// A prefix of conda's.
pub(super) struct Conda<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) pins: &'a Pins,
    pub(super) workshop: &'a Workshop,
}

/// Whether an environment has a lock of conda's for this platform.
pub(in crate::env) fn has_lock(spec: &EnvSpec) -> bool {
    platform().is_some_and(|platform| lock_path(spec, platform).is_file())
}

fn lock_path(spec: &EnvSpec, platform: &str) -> PathBuf {
    spec.folder.join(format!("conda-{platform}.lock"))
}

impl Provide for Conda<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        let found = self.wheels().lock().and_then(|lock| self.packages(&lock));
        found.err().or_else(|| self.workshop.conda().err())
    }

    fn digest(&self) -> Result<String> {
        let lock = self.wheels().lock_file().read().map_err(Obstacle::into_error)?;
        let mut parts = Parts::new("conda");
        // Each line by itself: a comment is no part of what is installed.
        for package in self.packages(&lock).map_err(Obstacle::into_error)? {
            parts.add(&package.file, &package.sha256);
        }
        self.wheels().add_to(&mut parts)?;
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let lock = self.wheels().lock().map_err(Obstacle::into_error)?;
        let packages = self.packages(&lock).map_err(Obstacle::into_error)?;
        let python = self.install(&packages, root, build).map_err(archives::explained)?;
        build.say(format!("installing Python packages for CPython {}", python.version_text()));
        self.install_wheels(&python, root, build)?;
        let mut versions = explicit::versions(&packages);
        versions.extend(lockfile::packages(&lock));
        let version = python.version_text();
        let runtime = Runtime::Interpreter { python: root.join("bin/python"), version };
        let pinned = fs::read_to_string(self.path()?).context("cannot read conda's lock again")?;
        let lock = Some(pinned + &lock);
        Ok(Contents { runtime, lock, packages: versions, environment: BTreeMap::new() })
    }

    /// Makes conda's lock anew; requirements.lock is another step.
    fn lock(&self, build: &Build) -> Result<()> {
        let (name, platform, path) = (&self.spec.name, self.platform()?, self.path()?);
        let yaml = self.spec.folder.join("environment.yml");
        if !yaml.is_file() {
            let message =
                format!("there is no `{}`, which says what conda shall install", yaml.display());
            let python = &self.pins.python;
            let hint = format!(
                "write it, as `channels: [conda-forge]` and `dependencies: [python={python}]`"
            );
            return Err(hinted(message, hint));
        }
        let wanted = Wanted::load(&yaml)?;
        let client = self.workshop.conda().map_err(|none| none.stops("there is no solver here"))?;
        let scratch = store::scratch(&self.workshop.home, name);
        store::clear_scratch(&scratch, &[])?;
        fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make `{}`", scratch.display()))?;
        build.say(format!("asking {}", client.shown()));
        let (channels, specs) = (&wanted.channels, wanted.specs());
        let command = client.solve(build.host, &scratch, channels, &specs)?;
        let mut answer = String::new();
        let solved = build.run_listening(command, &mut |line| {
            // Before its answer a client may warn, or die: that is for the log.
            if answer.is_empty() && !line.starts_with('{') {
                return OutputLine::Shown;
            }
            answer += &format!("{line}\n");
            OutputLine::Swallowed
        });
        solved.map_err(|error| match solve::problem(&answer) {
            Some(problem) => {
                let hint = format!("change `dependencies` or `channels` of `{}`", yaml.display());
                let message = format!("{} found no solution:\n  {problem}", client.shown());
                error.context(Hinted { message, hints: vec![hint] })
            }
            None => error,
        })?;
        let lock = solve::lock(name, platform, &answer)?;
        let lock = solve::checked(lock, platform)?;
        publish(&path, lock.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        store::clear_scratch(&scratch, &[])
    }

    fn variables(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let path = self.workshop.host.in_front("PATH", text(&root.join("bin"))?);
        Ok(BTreeMap::from([
            ("PATH".to_owned(), path),
            ("CONDA_PREFIX".to_owned(), text(root)?),
            ("PYTHONPATH".to_owned(), text(&self.workshop.python_sdk())?),
            ("PYTHONNOUSERSITE".to_owned(), "1".to_owned()),
        ]))
    }

    fn unwanted(&self) -> &'static [&'static str] {
        &UNWANTED
    }
}

impl Conda<'_> {
    fn wheels(&self) -> Wheels<'_> {
        Wheels { spec: self.spec, pins: self.pins, workshop: self.workshop }
    }

    fn platform(&self) -> Result<&'static str> {
        platform().ok_or_else(|| anyhow!("conda has no packages for this platform"))
    }

    fn path(&self) -> Result<PathBuf> {
        Ok(lock_path(self.spec, self.platform()?))
    }

    fn hint(&self) -> String {
        format!("run `rosetta env lock {} --provider conda`", self.spec.name)
    }

    /// Returns what conda's lock pins, or why it will not do beside that requirements.lock.
    fn packages(&self, lock: &str) -> Result<Vec<Package>, Obstacle> {
        let platform = self.platform().map_err(|why| Obstacle::without_hint(why.to_string()))?;
        let path = lock_path(self.spec, platform);
        let shown = path.display();
        let wrong = |reason: String| Err(Obstacle::new(reason, self.hint()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return wrong(format!("it has no conda-{platform}.lock"));
            }
            Err(error) => return wrong(format!("cannot read `{shown}`: {error}")),
        };
        let packages = match explicit::parse(&text, platform) {
            Ok(packages) => packages,
            Err(bad) => return wrong(format!("`{shown}` line {}: {}", bad.line, bad.why)),
        };
        let wanted = &self.pins.python;
        match packages.iter().find(|package| package.name == "python") {
            Some(python) if parse_version(&python.version).starts_with(&parse_version(wanted)) => {}
            Some(python) => {
                let (line, found) = (python.line, &python.version);
                return wrong(format!(
                    "`{shown}` line {line}: found python {found}; env.yaml wants {wanted}"
                ));
            }
            None => return wrong(format!("`{shown}` pins no `python`; env.yaml wants {wanted}")),
        }
        let ours = lockfile::packages(lock);
        let is_twice = |package: &&Package| {
            ours.contains_key(&package.name) && !TOOLS.contains(&package.name.as_str())
        };
        if let Some(twice) = packages.iter().find(is_twice) {
            let Package { name, line, .. } = twice;
            let reason = format!("`{shown}` line {line}: `{name}` is in requirements.lock too");
            return Err(Obstacle::new(
                reason,
                "leave to conda the interpreter and libraries that pip has not",
            ));
        }
        match self.not_locked(&packages) {
            Some(name) => wrong(format!(
                "its conda-{platform}.lock does not hold `{name}` of environment.yml"
            )),
            None => Ok(packages),
        }
    }

    /// Returns what environment.yml asks for, if it is there, and the lock has not.
    fn not_locked(&self, packages: &[Package]) -> Option<String> {
        let wanted = Wanted::load(&self.spec.folder.join("environment.yml")).ok()?;
        let is_locked = |name: &str| packages.iter().any(|package| package.name == name);
        wanted.names().find(|name| !is_locked(name)).map(str::to_owned)
    }

    /// Makes the prefix: archives first, each hashed, then the client, then a look at what it did.
    fn install(&self, packages: &[Package], root: &Path, build: &Build) -> Result<Interpreter> {
        let client = self.workshop.conda().map_err(Obstacle::into_error)?;
        let scratch = store::scratch(&self.workshop.home, &self.spec.name);
        // Archives that are whole are hashed again; all else of a build that was killed goes.
        store::clear_scratch(&scratch, &["archives"])?;
        let bring = |package: &Package| {
            let brought = archives::bring(package, &scratch.join("archives"), build.report);
            brought.with_context(|| {
                format!("cannot bring `{}`, line {} of conda's lock", package.file, package.line)
            })
        };
        let brought = packages.iter().map(bring).collect::<Result<Vec<_>>>()?;
        let explicit = scratch.join("explicit.txt");
        client.write_explicit(&explicit, &brought)?;
        build.say(format!(
            "making a prefix of {} packages with {}",
            packages.len(),
            client.shown()
        ));
        build.run(client.create(build.host, &scratch, root, &explicit)?)?;
        check_installed(root, packages)?;
        store::clear_scratch(&scratch, &[])?;
        let python = python::probe(build.host, &root.join("bin/python"))?;
        let pinned = packages.iter().find(|package| package.name == "python");
        match pinned.filter(|pinned| parse_version(&pinned.version) == python.version) {
            Some(_) => Ok(python),
            None => Err(anyhow!(
                "`{}` is CPython {}, which is not what the lock pins",
                root.join("bin/python").display(),
                python.version_text()
            )),
        }
    }

    fn install_wheels(&self, python: &Interpreter, root: &Path, build: &Build) -> Result<()> {
        let wheels = self.wheels();
        if is_for_uv(&python.version) {
            let uv = self.workshop.uv(Some(python), build.report)?;
            return wheels.sync_with_uv(&uv, root, Others::Kept, build);
        }
        if !root.join("bin/pip").exists() {
            let mut pip = build.host.command(root.join("bin/python"));
            pip.args(["-m", "ensurepip", "--default-pip"]).current_dir(root);
            build.run(pip)?;
        }
        wheels.sync_with_pip(root, build)
    }
}

/// Refuses a prefix that has not exactly the packages of its lock, whatever the client said of it.
fn check_installed(root: &Path, packages: &[Package]) -> Result<()> {
    let notes = root.join("conda-meta");
    let listing = fs::read_dir(&notes).into_iter().flatten().flatten();
    let names = listing.filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    let found = found.collect::<BTreeSet<_>>();
    let pinned =
        packages.iter().map(|package| package.stem().replace("%21", "!")).collect::<BTreeSet<_>>();
    let shown = notes.display();
    if let Some(missing) = pinned.difference(&found).next() {
        return Err(anyhow!(
            "the client ended well and has not installed `{missing}`: it is not in `{shown}`"
        ));
    }
    match found.difference(&pinned).next() {
        Some(more) => {
            Err(anyhow!("the client has installed `{more}`, which the lock does not pin"))
        }
        None => Ok(()),
    }
}
