//! Provider `conda`: an interpreter and libraries from an explicit lock of conda's, and the Python
//! packages of the same requirements.lock as a venv has, so that only the interpreter differs.
//!
//! Must not depend on when it is built or sealed.

use std::collections::BTreeMap;
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
use crate::env::conda::{archives, installed, platform};
use crate::env::digest::Parts;
use crate::env::lockfile;
use crate::env::python::{self, Interpreter, parse_version};
use crate::env::scratch;
use crate::env::tool::{Build, OutputLine, text};
use crate::env::workshop::Workshop;
use crate::hint::{Hinted, hinted};
use crate::obstacle::Obstacle;
use crate::publish::publish;

/// Variables of the user's shell that belong to an environment of theirs.
const UNWANTED: [&str; 8] = [
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "CONDA_DEFAULT_ENV",
    "CONDA_PROMPT_MODIFIER",
    "CONDA_SHLVL",
];

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
        let found = self.wheels().lock().and_then(|_| self.packages());
        found.err().or_else(|| self.workshop.conda().err())
    }

    fn digest(&self) -> Result<String> {
        let mut parts = Parts::new("conda");
        // Each line by itself: a comment is no part of what is installed.
        for package in self.packages().map_err(Obstacle::into_error)? {
            parts.add(&package.file, &package.sha256);
        }
        self.wheels().add_to(&mut parts)?;
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let lock = self.wheels().lock().map_err(Obstacle::into_error)?;
        let packages = self.packages().map_err(Obstacle::into_error)?;
        let python = self.install(&packages, root, build).map_err(archives::explained)?;
        build.say(format!("installing Python packages for CPython {}", python.version_text()));
        self.install_wheels(&python, root, build)?;
        let mut versions = explicit::versions(&packages);
        versions.extend(lockfile::packages(&lock));
        let version = python.version_text();
        let runtime = Runtime::Interpreter { python: root.join("bin/python"), version };
        let pinned = fs::read_to_string(self.path()?).context("cannot read conda's lock again")?;
        let lock = Some(pinned + &lock);
        Ok(Contents {
            runtime,
            lock,
            packages: versions,
            environment: BTreeMap::new(),
            found: BTreeMap::new(),
        })
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
        let scratch = scratch::folder(&self.workshop.home, name);
        scratch::clear(&scratch, &[])?;
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
        scratch::clear(&scratch, &[])
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

    /// Returns what conda's lock pins, or why it will not do.
    fn packages(&self) -> Result<Vec<Package>, Obstacle> {
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
        let scratch = scratch::folder(&self.workshop.home, &self.spec.name);
        // Archives that are whole are hashed again; all else of a build that was killed goes.
        scratch::clear(&scratch, &["archives"])?;
        let bring = |package: &Package| {
            let brought = archives::bring(package, &scratch.join("archives"), build.report);
            brought.map_err(|error| {
                let (file, line) = (&package.file, package.line);
                let message = format!("cannot bring `{file}`, line {line} of conda's lock");
                let hint = format!(
                    "see that its address has the pinned archive, or {} for what there is now",
                    self.hint()
                );
                error.context(Hinted { message, hints: vec![hint] })
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
        if let Some(wrong) = installed::differs(root, packages) {
            return Err(wrong.into_error());
        }
        scratch::clear(&scratch, &[])?;
        let program = root.join("bin/python");
        let python = python::probe(build.host, &program)?;
        let pinned = packages.iter().find(|package| package.name == "python");
        let pinned = pinned.map(|package| package.version.as_str()).unwrap_or_default();
        match parse_version(pinned) == python.version {
            true => Ok(python),
            false => {
                let (shown, found) = (program.display(), python.version_text());
                let message = format!("`{shown}` is CPython {found}; the lock pins {pinned}");
                Err(hinted(message, self.hint()))
            }
        }
    }

    fn install_wheels(&self, python: &Interpreter, root: &Path, build: &Build) -> Result<()> {
        let (wheels, [major, minor, _]) = (self.wheels(), python.version);
        let site = root.join(format!("lib/python{major}.{minor}/site-packages"));
        let lock = wheels.lock().map_err(Obstacle::into_error)?;
        if let Some(twice) = installed::twice(&site, &lockfile::packages(&lock)) {
            return Err(twice.into_error());
        }
        if is_for_uv(&python.version) {
            let uv = self.workshop.uv(Some(python), build.report)?;
            return wheels.sync_with_uv(&uv, root, Others::Kept, build);
        }
        // A script of that name may be without what it starts.
        if !site.join("pip").is_dir() {
            let mut pip = build.host.command(root.join("bin/python"));
            pip.args(["-m", "ensurepip", "--default-pip"]).current_dir(root);
            build.run(pip)?;
        }
        wheels.sync_with_pip(root, build)
    }
}
