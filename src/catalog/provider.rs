//! The ways to make an environment real: those that env.yaml may name, and those that a person chooses
//! instead. Must not depend on how any of them builds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::EnvSpec;

/// What makes an environment real, with its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    Venv(Pins),
    /// The same Python packages on an interpreter and libraries of conda's; no env.yaml has it.
    Conda(Pins),
    /// The same Python packages in an image; no env.yaml has it.
    Docker {
        pins: Pins,
        /// The base image that a lock is made for, if a person names one.
        base: Option<String>,
    },
    Cargo(Crate),
    Julia(Toml),
    /// An interpreter that the user names; no env.yaml has it.
    System(Own),
}

/// The name of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    Venv,
    Conda,
    Docker,
    Cargo,
    Julia,
    #[serde(skip_deserializing)]
    System,
}

/// A provider that env.yaml may name; the others are chosen with `--provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProviderName", description = "The name of a provider.")]
pub(super) enum OwnProvider {
    Venv,
    Cargo,
    Julia,
}

/// Python packages that are installed from `requirements.lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The CPython that is needed, as `3.12`.
    pub python: String,
    /// Direct pins; the lock has the rest.
    pub requirements: Vec<String>,
    /// The oldest glibc that has wheels of them all, if that is not the usual one.
    pub glibc: Option<String>,
    /// Packages that may be built from source.
    pub source: Vec<String>,
}

/// An interpreter of the user's, and what stands before it on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub python: PathBuf,
    /// The words of a command that runs another, as `apptainer exec IMAGE`; often none.
    pub wrap: Vec<String>,
}

/// A crate whose programs are compiled as its Cargo.lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Its Cargo.toml, relative to the project.
    pub manifest: PathBuf,
    pub features: Vec<String>,
}

/// Julia and, where a Project.toml stands beside env.yaml, the packages that its Manifest.toml pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toml {
    /// The Julia that is needed, as `1.10`: one whose version begins so.
    pub julia: String,
}

/// The providers that a person may choose instead of env.yaml's own.
const CHOSEN: [ProviderName; 2] = [ProviderName::Conda, ProviderName::Docker];

impl OwnProvider {
    pub(super) fn name(self) -> ProviderName {
        match self {
            OwnProvider::Venv => ProviderName::Venv,
            OwnProvider::Cargo => ProviderName::Cargo,
            OwnProvider::Julia => ProviderName::Julia,
        }
    }
}

impl Provider {
    pub fn name(&self) -> ProviderName {
        match self {
            Provider::Venv(_) => ProviderName::Venv,
            Provider::Conda(_) => ProviderName::Conda,
            Provider::Docker { .. } => ProviderName::Docker,
            Provider::Cargo(_) => ProviderName::Cargo,
            Provider::Julia(_) => ProviderName::Julia,
            Provider::System(_) => ProviderName::System,
        }
    }

    /// Returns the version of CPython that it wants, if it wants one.
    pub fn python(&self) -> Option<&str> {
        match self {
            Provider::Venv(pins) | Provider::Conda(pins) | Provider::Docker { pins, .. } => {
                Some(&pins.python)
            }
            Provider::Cargo(_) | Provider::Julia(_) | Provider::System(_) => None,
        }
    }
}

impl ProviderName {
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderName::Venv => "venv",
            ProviderName::Conda => "conda",
            ProviderName::Docker => "docker",
            ProviderName::Cargo => "cargo",
            ProviderName::Julia => "julia",
            ProviderName::System => "system",
        }
    }

    /// Returns what a command line must say to mean it, with a space before it.
    pub fn flag(self) -> &'static str {
        match self {
            ProviderName::Venv | ProviderName::Cargo | ProviderName::Julia => "",
            ProviderName::Conda => " --provider conda",
            ProviderName::Docker => " --provider docker",
            ProviderName::System => " --provider system",
        }
    }
}

impl std::fmt::Display for ProviderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl EnvSpec {
    /// Returns the environment as another provider makes it; itself where that one makes none such,
    /// as conda and docker make no crates and no Julia.
    pub fn provided_by(&self, provider: ProviderName) -> EnvSpec {
        let provider = match (provider, &self.provider) {
            (ProviderName::Conda, Provider::Venv(pins)) => Provider::Conda(pins.clone()),
            (ProviderName::Docker, Provider::Venv(pins)) => {
                Provider::Docker { pins: pins.clone(), base: None }
            }
            _ => self.provider.clone(),
        };
        EnvSpec { provider, ..self.clone() }
    }

    /// Returns every form of the environment that a home may hold, its own first.
    pub fn forms(&self) -> Vec<EnvSpec> {
        let others = CHOSEN.map(|provider| self.provided_by(provider));
        let others = others.into_iter().filter(|other| other.provider != self.provider);
        std::iter::once(self.clone()).chain(others).collect()
    }
}
