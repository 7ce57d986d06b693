//! What this machine has for builds: programs, interpreters, compilers, uv, and where they may put
//! things. Must not depend on what is built with it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;

use super::compilers::Compilers;
use super::conda::client::{self, Client};
use super::julia::Julias;
use super::python::{Interpreter, Interpreters};
use super::tool::Host;
use super::uv::{self, Uvs};
use crate::container::{self, Engine};
use crate::home::Home;
use crate::obstacle::Obstacle;
use crate::progress::Report;

/// Whatever is asked of it is asked of the machine at most once.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) host: Host,
    pub(super) home: Home,
    pub(super) project: PathBuf,
    pub(super) interpreters: Interpreters,
    pub(super) compilers: Compilers,
    pub(super) julias: Julias,
    uvs: Uvs,
    conda: OnceLock<Result<Client, Obstacle>>,
    engine: OnceLock<Result<Engine, Obstacle>>,
}

impl Workshop {
    pub(super) fn new(host: Host, home: Home, project: PathBuf) -> Workshop {
        let (interpreters, compilers, julias, uvs, conda, engine) = Default::default();
        Workshop { host, home, project, interpreters, compilers, julias, uvs, conda, engine }
    }

    pub(super) fn has(&self, program: &str) -> bool {
        self.host.which(program).is_some()
    }

    /// Returns the first of some programs that is not on PATH.
    pub(super) fn missing_program(&self, programs: &[String]) -> Option<Obstacle> {
        let missing = programs.iter().find(|program| !self.has(program))?;
        let reason = format!("there is no `{missing}` on PATH");
        let hint = format!("install it, as `apt-get install {}`", package(missing));
        Some(Obstacle::new(reason, hint))
    }

    /// Returns why there will be no uv.
    pub(super) fn missing_uv(&self, preferred: &Interpreter) -> Option<Obstacle> {
        let has_uv = self.uvs.find(&self.host, &self.home).is_some();
        (!has_uv && self.fetcher(Some(preferred)).is_none()).then(no_uv)
    }

    /// Returns uv, fetched if need be.
    pub(super) fn uv(&self, preferred: Option<&Interpreter>, report: Report) -> Result<PathBuf> {
        if let Some(uv) = self.uvs.find(&self.host, &self.home) {
            return Ok(uv);
        }
        let python = self.fetcher(preferred).ok_or_else(|| no_uv().into_error())?;
        uv::fetch_once(&self.host, &self.home, &python, report)
    }

    /// Returns an interpreter that can fetch uv.
    fn fetcher(&self, preferred: Option<&Interpreter>) -> Option<Interpreter> {
        if let Some(python) = preferred.filter(|python| uv::can_fetch(python)) {
            return Some(python.clone());
        }
        let versions = (8..=14).rev().map(|minor| format!("3.{minor}"));
        let mut found = versions.flat_map(|version| self.interpreters.find(&self.host, &version));
        found.find(uv::can_fetch)
    }

    /// Returns a client of conda's, or why there is none that will do.
    pub(super) fn conda(&self) -> Result<Client, Obstacle> {
        self.conda.get_or_init(|| client::find(&self.host)).clone()
    }

    /// Returns the engine of containers, or why there is none that will do.
    pub(super) fn engine(&self) -> Result<Engine, Obstacle> {
        let find =
            || container::find(self.host.get(container::NAMED), |name| self.host.which(name));
        self.engine.get_or_init(find).clone()
    }

    /// Returns the folder of the Python SDK.
    pub(super) fn python_sdk(&self) -> PathBuf {
        self.project.join("harnesses/sdk/python")
    }

    /// Returns the folder of the Julia SDK.
    pub(super) fn julia_sdk(&self) -> PathBuf {
        self.project.join("harnesses/sdk/julia")
    }

    /// Returns the program of an interpreter that the user names.
    pub(super) fn named_python(&self, python: &Path) -> Result<PathBuf, Obstacle> {
        self.host.which(python).ok_or_else(|| {
            let reason = format!("there is no program `{}`", python.display());
            Obstacle::new(reason, "name a Python interpreter, as `--python /usr/bin/python3`")
        })
    }
}

fn no_uv() -> Obstacle {
    Obstacle::new(
        "there is no uv here, and no CPython from 3.8 with `venv` to fetch it",
        "install uv (https://docs.astral.sh/uv), or your system's `python3-venv`",
    )
}

/// Returns Debian's package of a program: of most, it has the program's name.
fn package(program: &str) -> &str {
    match program {
        "ln" => "coreutils",
        "nvcc" => "nvidia-cuda-toolkit",
        program => program,
    }
}
