//! Under which conditions programs are started: threads, limits, interpreter, variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::catalog::{Framework, Own, ProviderName};
use crate::machine::cores;
use crate::request::{Limits, Request};
use crate::spec::Source;

/// What all jobs of one invocation are started with.
#[derive(Debug, Clone)]
pub struct Conditions {
    pub threads: u32,
    pub data: Option<Source>,
    pub limits: Limits,
    /// The interpreter of the provider `system`.
    pub python: Option<PathBuf>,
    /// The words of a command that runs that interpreter.
    pub wrap: Vec<String>,
    /// Compiled harnesses of the user's own: framework → the folder of their programs.
    pub programs: BTreeMap<String, PathBuf>,
    /// The provider that makes environments instead of env.yaml's own.
    pub provider: Option<ProviderName>,
    /// Variables to pass on: `NAME` or `NAME=VALUE`.
    pub environment: Vec<String>,
}

impl Conditions {
    /// Returns the conditions that were asked for.
    pub fn of(request: &Request) -> Conditions {
        Conditions {
            threads: request.threads.unwrap_or_else(cores),
            data: request.data,
            limits: request.limits,
            python: request.interpreter(),
            wrap: request.wrap.clone(),
            programs: request.programs.clone(),
            provider: request.provider.provider(),
            environment: request.environment.clone(),
        }
    }

    /// Returns the interpreter that the user named.
    pub(super) fn own(&self) -> Option<Own> {
        let python = self.python.clone()?;
        Some(Own { python, wrap: self.wrap.clone() })
    }

    /// Whether a framework's harnesses run in what the user has, not in an environment of the project's.
    pub fn is_own(&self, framework: &Framework) -> bool {
        self.is_system(framework) || self.programs.contains_key(&framework.spec.name)
    }

    /// Whether a framework's harnesses run in the interpreter that the user named.
    pub fn is_system(&self, framework: &Framework) -> bool {
        self.python.is_some() && framework.runs_in_an_interpreter()
    }
}
