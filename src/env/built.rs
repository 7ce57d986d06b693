//! A built environment: what is in it and how a harness is started in it.
//!
//! Must not depend on how it was built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::tool::text;
use crate::catalog::ProviderName;
use crate::container::Image;
use crate::hint::hinted;

/// An environment that jobs can be started in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Built {
    pub name: String,
    pub provider: ProviderName,
    /// What it was made from; none of what is used as it is.
    pub digest: Option<String>,
    /// SHA-256 of its lock; none of what is used as it is.
    pub lock_sha256: Option<String>,
    /// The environment's folder; for `system`, that of the interpreter.
    pub root: PathBuf,
    pub runtime: Runtime,
    /// Package → version: from the lock, or as found.
    pub packages: BTreeMap<String, String>,
    /// What the packages of an interpreter of the user's were built with: BLAS, CUDA.
    #[serde(default)]
    pub found: BTreeMap<String, String>,
    /// The words of a command that an interpreter of the user's is run by.
    #[serde(default)]
    pub wrap: Vec<String>,
    pub size_bytes: u64,
    pub build_seconds: f64,
    /// Variables for every job in it; depends on env.yaml and the shell, so it is not stored.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// Variables of the user's shell that its jobs must not see.
    #[serde(skip)]
    pub unset: Vec<String>,
    /// The file of the SDK that starts scripts; not stored either.
    #[serde(skip)]
    pub starter: Option<PathBuf>,
    /// Folders that a job in a container must see.
    #[serde(skip)]
    pub seen: Vec<PathBuf>,
}

/// What runs harnesses in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// A Python, for scripts.
    Interpreter { python: PathBuf, version: String },
    /// Compiled harnesses, in `bin` of the environment's folder.
    Programs {
        /// What `rustc -vV` said where they were compiled.
        compiler: Option<String>,
    },
    /// A Python in an image, for scripts.
    Container(Image),
    /// A Julia, for scripts.
    Julia { julia: PathBuf, version: String },
}

/// A program with its arguments and what to change in the variables of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Variables to set.
    pub environment: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset: Vec<String>,
}

impl Built {
    /// Returns the command that runs a harness; `experiment` names the program of a crate.
    pub fn command(&self, harness: &Path, experiment: &str) -> Result<Command> {
        let (program, args) = match &self.runtime {
            Runtime::Interpreter { python, .. } | Runtime::Container(Image { python, .. }) => {
                let starter = self.starter.as_ref().map(|file| text(file)).transpose()?;
                // By its file: `-m` looks for Python's own modules beside the harness first, where
                // `signal.py` may be an experiment.
                let starter = starter.map(|file| vec![file]);
                let mut args = starter.unwrap_or_else(|| vec!["-m".into(), "rosetta".into()]);
                args.push(text(harness)?);
                (python.clone(), args)
            }
            Runtime::Programs { .. } => (self.program(experiment)?, Vec::new()),
            Runtime::Julia { julia, .. } => {
                // What a person has in startup.jl is no part of a job.
                let mut args = vec!["--startup-file=no".to_owned()];
                args.extend(self.starter.as_ref().map(|file| text(file)).transpose()?);
                args.push(text(harness)?);
                (julia.clone(), args)
            }
        };
        let (program, args) = self.wrapped(program, args)?;
        let (environment, unset) = (self.environment.clone(), self.unset.clone());
        Ok(Command { program, args, environment, unset })
    }

    /// Returns a command with the user's own words before it.
    fn wrapped(&self, program: PathBuf, args: Vec<String>) -> Result<(PathBuf, Vec<String>)> {
        let Some((first, rest)) = self.wrap.split_first() else { return Ok((program, args)) };
        let mut words = rest.to_vec();
        words.push(text(&program)?);
        words.extend(args);
        Ok((first.into(), words))
    }

    /// Returns the Python of this machine that runs harnesses.
    pub fn interpreter(&self) -> Option<&Path> {
        match &self.runtime {
            Runtime::Interpreter { python, .. } => Some(python),
            Runtime::Programs { .. } | Runtime::Container(_) | Runtime::Julia { .. } => None,
        }
    }

    /// Returns the image that harnesses run in.
    pub fn image(&self) -> Option<&Image> {
        match &self.runtime {
            Runtime::Container(image) => Some(image),
            _ => None,
        }
    }

    pub(super) fn image_mut(&mut self) -> Option<&mut Image> {
        match &mut self.runtime {
            Runtime::Container(image) => Some(image),
            _ => None,
        }
    }

    pub fn interpreter_version(&self) -> Option<&str> {
        match &self.runtime {
            Runtime::Interpreter { version, .. }
            | Runtime::Container(Image { version, .. })
            | Runtime::Julia { version, .. } => Some(version),
            Runtime::Programs { .. } => None,
        }
    }

    /// Returns the environment that was found in `folder`, if it works there.
    pub(super) fn at(self, folder: &Path) -> Option<Built> {
        match &self.runtime {
            // A venv holds absolute paths, and its interpreter is a link that ends with the other.
            Runtime::Interpreter { python, .. } => {
                (self.root == folder && python.is_file()).then_some(self)
            }
            // So do the precompiled packages of a depot.
            Runtime::Julia { julia, .. } => {
                (self.root == folder && julia.is_file()).then_some(self)
            }
            Runtime::Container(_) => (self.root == folder).then_some(self),
            // Compiled programs may be copied to another machine.
            Runtime::Programs { .. } => Some(Built { root: folder.to_owned(), ..self }),
        }
    }

    fn program(&self, experiment: &str) -> Result<PathBuf> {
        let is_own = self.provider == ProviderName::System;
        let folder = if is_own { self.root.clone() } else { self.root.join("bin") };
        let program = folder.join(experiment);
        if program.is_file() {
            return Ok(program);
        }
        if is_own {
            return Err(hinted(
                format!("there is no program `{}`", program.display()),
                "each experiment has a program of its name in the folder that `--programs` names",
            ));
        }
        let name = &self.name;
        let message =
            format!("the crate of the environment `{name}` has no program `{experiment}`");
        Err(hinted(message, format!("name a [[bin]] `{experiment}` in its Cargo.toml")))
    }
}
