//! Words of which an argument takes one. Must not depend on what becomes of it.

use clap::ValueEnum;

use crate::catalog::{Era, Lane, ProviderName};
use crate::spec::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    Experiments,
    Frameworks,
    Targets,
    Runs,
}

/// When there are colours in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    Auto,
    Always,
    Never,
}

impl ColorArg {
    pub fn choice(self) -> anstream::ColorChoice {
        match self {
            ColorArg::Auto => anstream::ColorChoice::Auto,
            ColorArg::Always => anstream::ColorChoice::Always,
            ColorArg::Never => anstream::ColorChoice::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    Experiment,
    Framework,
    Env,
    Variants,
    Launcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderArg {
    /// What env.yaml names
    Pinned,
    /// Conda's interpreter and libraries, and the same Python packages
    Conda,
    /// Images of docker or podman with the same Python packages
    Docker,
    /// An interpreter of yours
    System,
}

impl ProviderArg {
    pub fn name(self) -> &'static str {
        match self {
            ProviderArg::Pinned => "pinned",
            ProviderArg::Conda => "conda",
            ProviderArg::Docker => "docker",
            ProviderArg::System => "system",
        }
    }
}

/// Who makes environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MakerArg {
    /// What env.yaml names
    Pinned,
    /// Conda's interpreter and libraries, and the same Python packages
    Conda,
    /// Images of docker or podman with the same Python packages
    Docker,
}

impl MakerArg {
    /// Returns the provider to take instead of env.yaml's own, if there is one.
    pub fn provider(self) -> Option<ProviderName> {
        match self {
            MakerArg::Pinned => None,
            MakerArg::Conda => Some(ProviderName::Conda),
            MakerArg::Docker => Some(ProviderName::Docker),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EraArg {
    Current,
    Historic,
    All,
}

impl EraArg {
    /// Returns the era to keep to, if it is one.
    pub fn era(self) -> Option<Era> {
        match self {
            EraArg::Current => Some(Era::Current),
            EraArg::Historic => Some(Era::Historic),
            EraArg::All => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LaneArg {
    Idiomatic,
    Tuned,
    All,
}

impl LaneArg {
    /// Returns the lane to keep to, if it is one.
    pub fn lane(self) -> Option<Lane> {
        match self {
            LaneArg::Idiomatic => Some(Lane::Idiomatic),
            LaneArg::Tuned => Some(Lane::Tuned),
            LaneArg::All => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceArg {
    Real,
    Unverified,
    Synthetic,
}

impl SourceArg {
    pub fn source(self) -> Source {
        match self {
            SourceArg::Real => Source::Real,
            SourceArg::Unverified => Source::Unverified,
            SourceArg::Synthetic => Source::Synthetic,
        }
    }
}
