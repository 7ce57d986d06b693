//! Provider `venv`: a hash-locked virtual environment made by uv, or by venv and pip for CPython
//! before 3.8, which uv does not promise to serve. Must not depend on when it is built or sealed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::provide::{Contents, Provide};
use crate::catalog::{EnvSpec, Pins};
use crate::env::built::Runtime;
use crate::env::digest::Parts;
use crate::env::lockfile::{self, Lockfile};
use crate::env::python::{Interpreter, parse_version};
use crate::env::settings;
use crate::env::tool::{Build, text};
use crate::env::uv;
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;

/// The pip that old interpreters get: the last for CPython 3.6. Theirs knows no manylinux2014.
const PIP: &str = "\
pip==21.3.1 \\
    --hash=sha256:deaf32dcd9ab821e359cd8330786bcd077604b5c5730c0b096eda46f95c24a2d
";

/// What builds from source need besides the lock, whose pins hold for them too.
const BUILD_TOOLS: &str = "\
wheel==0.45.1 \\
    --hash=sha256:708e7481cc80179af0e556bbf0cc00b8444c7321e2700b8d8580231d13017248
";

/// The first CPython that uv serves.
const FIRST_FOR_UV: [u16; 2] = [3, 8];

/// Variables of the user's shell that do not become a venv. To CPython 3.6 an empty PYTHONHOME is
/// not absent but fatal. Bytecode that may not be written is compiled in each job.
const UNWANTED: [&str; 3] = ["PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "__PYVENV_LAUNCHER__"];

/// A virtual environment, as env.yaml describes it.
pub(super) struct Venv<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) pins: &'a Pins,
    pub(super) workshop: &'a Workshop,
}

impl Provide for Venv<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        wrong_platform().or_else(|| self.lock_file().read().err()).or_else(|| self.no_python())
    }

    fn digest(&self) -> Result<String> {
        let mut parts = Parts::new("venv");
        parts.add("python", &self.pins.python);
        parts.add("lock", self.lock_file().read().map_err(Obstacle::into_error)?);
        parts.add_all("source", &self.pins.source);
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let python = self.interpreter().map_err(|why| anyhow!(why))?;
        let lock = self.lock_file().read().map_err(Obstacle::into_error)?;
        let version = python.version_text();
        build.say(format!("making a virtual environment of CPython {version}"));
        match is_for_uv(&python.version) {
            true => self.make_with_uv(&python, root, build)?,
            false => self.make_with_pip(&python, root, build)?,
        }
        let packages = lockfile::packages(&lock);
        let runtime = Runtime::Interpreter { python: root.join("bin/python"), version };
        Ok(Contents { runtime, lock: Some(lock), packages, environment: BTreeMap::new() })
    }

    fn lock(&self, build: &Build) -> Result<()> {
        let Workshop { host, home, .. } = self.workshop;
        let python = self.interpreter().ok();
        let uv = self.workshop.uv(python.as_ref(), build.report)?;
        let uv = uv::command(host, home, &uv)?;
        let python = python.as_ref().map(|python| python.executable.as_path());
        self.lock_file().make(build, uv, python, &home.envs())
    }

    fn variables(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let path = self.workshop.host.in_front("PATH", text(&root.join("bin"))?);
        Ok(BTreeMap::from([
            ("PATH".to_owned(), path),
            ("VIRTUAL_ENV".to_owned(), text(root)?),
            ("PYTHONPATH".to_owned(), text(&self.workshop.python_sdk())?),
            ("PYTHONNOUSERSITE".to_owned(), "1".to_owned()),
        ]))
    }

    fn unwanted(&self) -> &'static [&'static str] {
        &UNWANTED
    }
}

impl Venv<'_> {
    fn lock_file(&self) -> Lockfile<'_> {
        Lockfile { name: &self.spec.name, folder: &self.spec.folder, pins: self.pins }
    }

    fn interpreter(&self) -> Result<Interpreter, String> {
        self.workshop.interpreters.find(&self.workshop.host, &self.pins.python)
    }

    fn no_python(&self) -> Option<Obstacle> {
        let python = match self.interpreter() {
            Ok(python) => python,
            Err(why) => return Some(Obstacle::new(why, self.python_hint())),
        };
        if is_for_uv(&python.version) {
            return self.workshop.missing_uv(&python);
        }
        let reason = format!("`{}` has no `venv`", python.executable.display());
        (!python.has_venv).then(|| Obstacle::new(reason, self.python_hint()))
    }

    /// Returns the command that would bring the CPython that it needs.
    fn python_hint(&self) -> String {
        let version = &self.pins.python;
        let has = |program: &str| self.workshop.has(program);
        if is_for_uv(&parse_version(version)) && (has("uv") || !has("pyenv")) {
            return format!("run `uv python install {version}`");
        }
        let conda = format!("`conda create --name python{version} python={version}`");
        format!("run `pyenv install {version}` or {conda}")
    }

    /// Makes the environment in `root` with uv.
    fn make_with_uv(&self, python: &Interpreter, root: &Path, build: &Build) -> Result<()> {
        let uv = self.workshop.uv(Some(python), build.report)?;
        let lock = self.lock_file().path();
        let mut venv = self.uv(&uv)?;
        venv.args(["venv", "--quiet", "--no-project", "--python"]);
        venv.arg(&python.executable).arg(root);
        build.run(venv)?;
        let mut sync = self.uv(&uv)?;
        sync.args(["pip", "sync", "--require-hashes", "--strict", "--compile-bytecode"]);
        sync.args(["--link-mode", "hardlink", "--python"]).arg(root.join("bin/python"));
        sync.args(lockfile::only_wheels(self.pins));
        if !self.pins.source.is_empty() {
            let tools = root.join("build-tools.txt");
            fs::write(&tools, BUILD_TOOLS).context("cannot write the pins of build tools")?;
            sync.arg("--build-constraints").arg(tools).arg("--build-constraints").arg(&lock);
        }
        // A pyproject.toml of the folder that rosetta was started in is none of uv's business.
        sync.arg(&lock).current_dir(root);
        build.run(sync)
    }

    fn uv(&self, uv: &Path) -> Result<Command> {
        uv::command(&self.workshop.host, &self.workshop.home, uv)
    }

    /// Makes the environment in `root` with the interpreter's own venv and a pinned pip.
    fn make_with_pip(&self, python: &Interpreter, root: &Path, build: &Build) -> Result<()> {
        let mut venv = build.host.command(&python.executable);
        venv.args(["-m", "venv"]).arg(root);
        build.run(venv)?;
        let pinned = root.join("pip.txt");
        fs::write(&pinned, PIP).context("cannot write pip's requirements")?;
        let mut upgrade = pip_install(root, build);
        upgrade.args(["--only-binary", ":all:", "--requirement"]).arg(pinned);
        build.run(upgrade)?;
        let mut sync = pip_install(root, build);
        sync.args(lockfile::only_wheels(self.pins));
        sync.arg("--requirement").arg(self.lock_file().path());
        build.run(sync)
    }
}

fn pip_install(root: &Path, build: &Build) -> Command {
    let mut pip = build.host.command(root.join("bin/python"));
    pip.args(["-m", "pip", "install", "--progress-bar", "off", "--no-deps"]);
    pip.arg("--require-hashes").current_dir(root);
    settings::for_pip(build.host, &mut pip);
    pip
}

/// Whether uv installs into a CPython of that version; pip does otherwise.
pub(in crate::env) fn is_for_uv(version: &[u16]) -> bool {
    version >= FIRST_FOR_UV.as_slice()
}

/// Locks name wheels of one platform.
fn wrong_platform() -> Option<Obstacle> {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let reason = format!("its lock is for Linux on x86_64; this is {os} on {arch}");
    let hint = "use an interpreter that has the framework: `--provider system --python PATH`";
    ((arch, os) != ("x86_64", "linux")).then(|| Obstacle::new(reason, hint))
}
