//! What an environment lacks on this machine, and the command that would bring it.
//!
//! May not know how an environment is built. Builds nothing, fetches nothing.

use super::python::parse_version;
use super::{Envs, cargo, lockfile, venv};
use crate::catalog::{EnvSpec, Provider};
use crate::obstacle::Obstacle;

pub(super) fn no_uv() -> Obstacle {
    Obstacle::new(
        "there is no uv here, and no CPython from 3.8 with `venv` to fetch it",
        "install uv (https://docs.astral.sh/uv), or your system's `python3-venv`",
    )
}

impl Envs {
    /// Returns the first thing that a build would fail for.
    pub(super) fn obstacle(&self, spec: &EnvSpec) -> Option<Obstacle> {
        let missing = match spec.file.provider {
            Provider::Venv => self.venv_obstacle(spec),
            Provider::Cargo => self.cargo_obstacle(spec),
        };
        missing.or_else(|| self.missing_program(spec))
    }

    fn venv_obstacle(&self, spec: &EnvSpec) -> Option<Obstacle> {
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        if (arch, os) != ("x86_64", "linux") {
            let reason = format!("its lock is for Linux on x86_64; this is {os} on {arch}");
            let hint =
                "use an interpreter that has the framework: `--provider system --python PATH`";
            return Some(Obstacle::new(reason, hint));
        }
        if let Err(missing) = lockfile::read(spec) {
            return Some(missing);
        }
        let python = match self.interpreter(spec) {
            Ok(python) => python,
            Err(why) => return Some(Obstacle::new(why, self.python_hint(spec))),
        };
        if !venv::is_for_uv(&python.version) {
            let reason = format!("`{}` has no `venv`", python.executable.display());
            return (!python.has_venv).then(|| Obstacle::new(reason, self.python_hint(spec)));
        }
        let has_uv = self.uvs.find(&self.host, &self.home).is_some();
        (!has_uv && self.fetcher(Some(&python)).is_none()).then(no_uv)
    }

    fn cargo_obstacle(&self, spec: &EnvSpec) -> Option<Obstacle> {
        for program in ["cargo", "rustc"] {
            if self.host.which(program).is_none() {
                let reason = format!("there is no `{program}` on PATH");
                return Some(Obstacle::new(reason, "install Rust (https://rustup.rs)"));
            }
        }
        let manifest = cargo::manifest(spec).unwrap_or_default();
        if !manifest.is_file() {
            let reason = format!("there is no `{}`", manifest.display());
            let file = spec.folder.join("env.yaml");
            return Some(Obstacle::new(reason, format!("mend `manifest` of `{}`", file.display())));
        }
        let missing = || Obstacle::new("it has no Cargo.lock", lockfile::lock_hint(spec));
        cargo::read_lock(spec).is_err().then(missing)
    }

    fn missing_program(&self, spec: &EnvSpec) -> Option<Obstacle> {
        let programs = &spec.file.programs;
        let missing = programs.iter().find(|program| self.host.which(program).is_none())?;
        let reason = format!("there is no `{missing}` on PATH");
        Some(Obstacle::new(
            reason,
            format!("install it, as `apt-get install {}`", package(missing)),
        ))
    }

    /// Returns the command that would bring the CPython that an environment needs.
    fn python_hint(&self, spec: &EnvSpec) -> String {
        let version = spec.file.python.as_deref().unwrap_or_default();
        let has = |program: &str| self.host.which(program).is_some();
        if venv::is_for_uv(&parse_version(version)) && (has("uv") || !has("pyenv")) {
            format!("run `uv python install {version}`")
        } else {
            format!(
                "run `pyenv install {version}` or `conda create --name python{version} python={version}`"
            )
        }
    }
}

/// Returns Debian's package of a program: of most, it has the program's name.
fn package(program: &str) -> &str {
    match program {
        "ln" => "coreutils",
        "nvcc" => "nvidia-cuda-toolkit",
        program => program,
    }
}
