//! What was typed → what is asked for.
//!
//! Must not depend on what becomes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::cli::args::{
    CheckArgs, DefaultsArgs, EraArg, LimitArgs, NightlyArgs, ProviderArg, RunArgs, Selection,
    SourceArg,
};
use crate::hint::hinted;
use crate::request::{FrameworksFrom, Limits, Request};

impl Selection {
    /// Returns what is asked for: each job once, in order.
    pub fn request(&self) -> Request {
        Request {
            folder: std::env::current_dir().unwrap_or_default(),
            experiments: self.experiments.clone(),
            frameworks: self.frameworks.clone(),
            all: self.all,
            era: self.era.and_then(EraArg::era),
            lane: self.lane.lane(),
            newest: self.newest,
            devices: self.device.clone(),
            repeats: 1,
            provider: provider(self.provider, &self.python),
            python: self.python.clone(),
            wrap: self.wrap.clone().map(|words| words.0).unwrap_or_default(),
            programs: programs(&self.programs),
            data: self.data.map(SourceArg::source),
            environment: self.environment.clone(),
            ..Request::default()
        }
    }

    /// Refuses an interpreter that would not be used.
    pub fn check(&self) -> Result<()> {
        refuse_unused(self.provider, &self.python)
    }
}

/// Refuses an interpreter beside a provider that would not use it.
fn refuse_unused(provider: Option<ProviderArg>, python: &Option<PathBuf>) -> Result<()> {
    match (provider, python) {
        (Some(other), Some(python)) if other != ProviderArg::System => Err(hinted(
            format!(
                "`--python` goes with `--provider system`, not with `{}`: found `--python {}`",
                other.name(),
                python.display()
            ),
            "leave one of the two out",
        )),
        _ => Ok(()),
    }
}

impl LimitArgs {
    /// Returns a request with these limits.
    fn request(&self, request: Request) -> Request {
        Request {
            limits: Limits {
                timeout: self.timeout,
                stall_timeout: self.stall_timeout,
                memory_bytes: self.memory_limit,
            },
            budget: self.budget,
            retries: self.retries,
            retry_tainted: self.retry_tainted,
            wait_quiet: self.wait_quiet,
            no_wait: self.no_wait,
            ..request
        }
    }
}

impl RunArgs {
    pub fn request(&self) -> Request {
        Request {
            profile: Some(self.profile.clone()),
            repeats: self.repeats,
            order_seed: self.order_seed,
            threads: self.threads,
            check: !self.no_check,
            ..self.limits.request(self.selection.request())
        }
    }
}

impl NightlyArgs {
    pub fn request(&self) -> Request {
        Request {
            profile: Some(self.profile.clone()),
            repeats: self.repeats,
            threads: self.threads,
            check: !self.no_check,
            ..self.limits.request(self.selection.request())
        }
    }
}

impl CheckArgs {
    /// Returns what is asked for: by name, not shuffled, for nothing is timed.
    pub fn request(&self) -> Request {
        let limits = Limits { timeout: self.timeout, ..Limits::default() };
        Request { limits, check: true, ..self.selection.request() }
    }
}

impl DefaultsArgs {
    /// Refuses an interpreter that would not be used.
    pub fn check(&self) -> Result<()> {
        refuse_unused(self.provider, &self.python)
    }

    /// Returns what is asked for of `frameworks`; none means all.
    pub fn request(&self, frameworks: Vec<String>) -> Request {
        Request {
            all: frameworks.is_empty(),
            frameworks,
            provider: provider(self.provider, &self.python),
            python: self.python.clone(),
            wrap: self.wrap.clone().map(|words| words.0).unwrap_or_default(),
            threads: self.threads,
            ..Request::default()
        }
    }
}

/// Returns folders of programs by framework; a run that goes on later may be started elsewhere.
fn programs(named: &[(String, PathBuf)]) -> BTreeMap<String, PathBuf> {
    let absolute =
        |folder: &PathBuf| std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    named.iter().map(|(framework, folder)| (framework.clone(), absolute(folder))).collect()
}

/// An interpreter that was named has the frameworks.
fn provider(named: Option<ProviderArg>, python: &Option<PathBuf>) -> FrameworksFrom {
    match (named, python) {
        (Some(ProviderArg::Conda), _) => FrameworksFrom::Conda,
        (Some(ProviderArg::Docker), _) => FrameworksFrom::Docker,
        (_, Some(_)) => FrameworksFrom::System,
        (_, None) => FrameworksFrom::Pinned,
    }
}
