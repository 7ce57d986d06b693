//! Provider `venv`: a hash-locked virtual environment made by uv, or by venv and pip for CPython
//! before 3.8, which uv does not promise to serve. Must not depend on when it is built or sealed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};

use super::conda;
use super::provide::{Contents, Provide};
use super::wheels::{Others, Wheels, is_for_uv};
use crate::catalog::{EnvSpec, Pins};
use crate::env::built::Runtime;
use crate::env::bytecode;
use crate::env::digest::Parts;
use crate::env::lockfile;
use crate::env::python::{Interpreter, parse_version};
use crate::env::tool::{Build, text};
use crate::env::uv;
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;

/// Variables of the user's shell that do not become a venv. To CPython 3.6 an empty PYTHONHOME is
/// not absent but fatal. Bytecode that may not be written, or is looked for elsewhere, is compiled in each job.
const UNWANTED: [&str; 4] =
    ["PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "__PYVENV_LAUNCHER__"];

/// A virtual environment, as env.yaml describes it.
pub(super) struct Venv<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) pins: &'a Pins,
    pub(super) workshop: &'a Workshop,
}

impl Provide for Venv<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        self.wheels().lock().err().or_else(|| self.no_python())
    }

    fn digest(&self) -> Result<String> {
        let mut parts = Parts::new("venv");
        self.wheels().add_to(&mut parts)?;
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let python = self.interpreter().map_err(|why| anyhow!(why))?;
        let lock = self.wheels().lock_file().read().map_err(Obstacle::into_error)?;
        let version = python.version_text();
        build.say(format!("making a virtual environment of CPython {version}"));
        match is_for_uv(&python.version) {
            true => self.make_with_uv(&python, root, build)?,
            false => self.make_with_pip(&python, root, build)?,
        }
        let packages = lockfile::packages(&lock);
        let runtime = Runtime::Interpreter { python: root.join("bin/python"), version };
        Ok(Contents {
            runtime,
            lock: Some(lock),
            packages,
            environment: BTreeMap::new(),
            found: BTreeMap::new(),
        })
    }

    fn lock(&self, build: &Build) -> Result<()> {
        let Workshop { host, home, .. } = self.workshop;
        let python = self.interpreter().ok();
        let uv = self.workshop.uv(python.as_ref(), build.report)?;
        let uv = uv::command(host, home, &uv)?;
        let python = python.as_ref().map(|python| python.executable.as_path());
        self.wheels().lock_file().make(build, uv, python, &home.envs())
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
    fn wheels(&self) -> Wheels<'_> {
        Wheels { spec: self.spec, pins: self.pins, workshop: self.workshop }
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

    /// Returns what would bring the CPython that it needs.
    fn python_hint(&self) -> String {
        let own = self.python_command();
        match conda::has_lock(self.spec) {
            true => format!("{own}, or take conda's CPython with `--provider conda`"),
            false => own,
        }
    }

    fn python_command(&self) -> String {
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
        let mut venv = self.wheels().uv(&uv)?;
        venv.args(["venv", "--quiet", "--no-project", "--python"]);
        venv.arg(&python.executable).arg(root);
        build.run(venv)?;
        self.wheels().sync_with_uv(&uv, root, Others::Removed, build)?;
        bytecode::leave(root)
    }

    /// Makes the environment in `root` with the interpreter's own venv and a pinned pip.
    fn make_with_pip(&self, python: &Interpreter, root: &Path, build: &Build) -> Result<()> {
        let mut venv = build.host.command(&python.executable);
        venv.args(["-m", "venv"]).arg(root);
        build.run(venv)?;
        self.wheels().sync_with_pip(root, build)
    }
}
