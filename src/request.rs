//! What a person asked for, as it is stored in run.json.
//!
//! Together with specs, harnesses and whether there is a GPU it gives the plan: see [`crate::plan`].
//! Must not depend on the command line, nor on what becomes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalog::{Device, Era, Framework, Lane, ProviderName};
use crate::spec::Source;

/// What was asked for. Fields that a stored request lacks are as if nothing had been said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The folder that relative paths start in.
    pub folder: PathBuf,
    /// Experiments by name; empty means all.
    pub experiments: Vec<String>,
    /// Frameworks or targets by name; empty means the starter set, or all with `all`.
    pub frameworks: Vec<String>,
    pub all: bool,
    pub era: Option<Era>,
    /// The lane of what is not named; absent for both.
    pub lane: Option<Lane>,
    /// Also the newest version that is kept of each target, beside the pinned one.
    pub newest: bool,
    /// Devices; empty means the CPU, and the GPU where there is one.
    pub devices: Vec<Device>,
    /// Absent for a check, which has a size of its own.
    pub profile: Option<String>,
    pub repeats: u32,
    /// Seed of the order of the jobs within a round.
    pub order_seed: u64,
    pub provider: FrameworksFrom,
    /// With `system`: the interpreter that has the frameworks.
    pub python: Option<PathBuf>,
    /// With `system`: the words of a command that runs that interpreter.
    pub wrap: Vec<String>,
    /// Compiled harnesses of the user's own: framework → the folder of their programs.
    pub programs: BTreeMap<String, PathBuf>,
    /// CPU threads of each job; absent means the cores of the machine.
    pub threads: Option<u32>,
    pub limits: Limits,
    pub data: Option<Source>,
    /// How long the run may take as a whole; absent for no limit.
    #[serde(rename = "budget_seconds", with = "seconds")]
    pub budget: Option<Duration>,
    /// How often a job is started once more that ended by a cause which passes.
    pub retries: u32,
    /// How often a job is measured once more that was disturbed.
    pub retry_tainted: u32,
    /// How long each job waits for a quiet machine; absent for not at all.
    #[serde(rename = "wait_quiet_seconds", with = "seconds")]
    pub wait_quiet: Option<Duration>,
    /// Fail instead of waiting for another run of the same home.
    pub no_wait: bool,
    /// Variables to pass on: `NAME` or `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Whether a target is checked before it runs.
    pub check: bool,
}

/// Where the frameworks come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameworksFrom {
    #[default]
    Pinned,
    /// An interpreter of the user's; programs that are compiled have their pinned environment all
    /// the same.
    System,
    /// The pinned Python packages on conda's pinned interpreter and libraries; programs that are
    /// compiled are compiled all the same.
    Conda,
    /// The pinned Python packages in images; programs that are compiled are compiled all the same.
    Docker,
}

impl FrameworksFrom {
    /// Returns the provider that makes the environments instead of env.yaml's own.
    pub fn provider(self) -> Option<ProviderName> {
        match self {
            FrameworksFrom::Pinned | FrameworksFrom::System => None,
            FrameworksFrom::Conda => Some(ProviderName::Conda),
            FrameworksFrom::Docker => Some(ProviderName::Docker),
        }
    }
}

/// What ends a job early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Absent means the profile's.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    pub timeout: Option<Duration>,
    #[serde(rename = "stall_timeout_seconds", with = "seconds")]
    pub stall_timeout: Option<Duration>,
    pub memory_bytes: Option<u64>,
}

impl Request {
    pub fn is_system(&self) -> bool {
        self.provider == FrameworksFrom::System
    }

    /// Whether a framework's harnesses run in what the user has, not in an environment of the project's.
    pub fn is_own(&self, framework: &Framework) -> bool {
        let in_an_interpreter = self.is_system() && framework.runs_in_an_interpreter();
        in_an_interpreter || self.programs.contains_key(&framework.spec.name)
    }

    /// Returns the interpreter of the user's own, if the frameworks come from there.
    pub fn interpreter(&self) -> Option<PathBuf> {
        self.python.clone().filter(|_| self.is_system())
    }
}

/// Durations as seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|duration| duration.as_secs_f64()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        seconds
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_was_asked() {
        let asked = Request {
            folder: "/here".into(),
            experiments: vec!["cnn".to_owned()],
            devices: vec![Device::Cuda],
            profile: Some("full".to_owned()),
            repeats: 3,
            order_seed: 7,
            provider: FrameworksFrom::System,
            python: Some("./python".into()),
            programs: BTreeMap::from([("burn".to_owned(), "/made".into())]),
            limits: Limits {
                timeout: Some(Duration::from_millis(1_500)),
                stall_timeout: None,
                memory_bytes: Some(1 << 33),
            },
            data: Some(Source::Synthetic),
            budget: Some(Duration::from_secs(7_200)),
            retries: 1,
            environment: vec!["A=1".to_owned()],
            check: true,
            ..Request::default()
        };
        let stored = serde_json::to_value(&asked).unwrap();
        assert_eq!(stored["limits"]["timeout_seconds"], 1.5);
        assert_eq!(serde_json::from_value::<Request>(stored).unwrap(), asked);
    }

    #[test]
    fn a_request_with_fewer_or_more_fields_can_be_read() {
        let read = |text| serde_json::from_str::<Request>(text);
        assert_eq!(read("{}").unwrap(), Request::default());
        let other = read(r#"{"repeats": 2, "limits": {}, "launcher": "slurm"}"#).unwrap();
        assert_eq!(other, Request { repeats: 2, ..Request::default() });
        assert!(read(r#"{"limits": {"timeout_seconds": -1}}"#).is_err());
        let conda = read(r#"{"provider": "conda"}"#).unwrap();
        assert_eq!((conda.provider, conda.is_system()), (FrameworksFrom::Conda, false));
    }
}
