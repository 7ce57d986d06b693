//! What is stored of a finished job: identity, outcome, measurements, machine.
//!
//! Plain data with a fixed shape, so that pandas, polars and duckdb read many at once: what
//! differs from job to job is a list of names and values, never a field of its own. Must not depend on
//! the terminal, nor how a job is run.

use serde::{Deserialize, Deserializer, Serialize};

use crate::catalog::{Device, Era, Lane};
use crate::machine::Machine;
use crate::obstacle::Obstacle;
use crate::proof::Equivalence;
use crate::spec::{Source, Task};

/// Version of this format.
pub const VERSION: u32 = 1;

/// A finished, or skipped, job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format.
    pub record: u32,
    pub run: String,
    pub job: String,
    pub experiment: String,
    pub task: Task,
    pub profile: String,
    pub framework: String,
    pub target: String,
    /// The target's name in a table.
    pub title: String,
    pub era: Era,
    pub year: Option<u16>,
    /// The target that is the framework's newest version; absent before there were any.
    #[serde(default)]
    pub successor: Option<String>,
    #[serde(default)]
    pub lane: Lane,
    pub device: Device,
    pub repeat: u32,
    /// When the job began, in UTC (RFC 3339).
    pub started: String,
    pub outcome: Outcome,
    /// The framework's version as the harness said it.
    pub framework_version: Option<String>,
    pub score: Score,
    /// Whether the target computes the experiment, as a check found; absent before there were any.
    #[serde(default)]
    pub equivalence: Option<Equivalence>,
    pub times: Times,
    pub epochs: Vec<Epoch>,
    pub cost: Cost,
    pub facts: Vec<Fact>,
    pub metrics: Vec<Metric>,
    /// Why a reader should doubt a number: `clock_disagrees`, `tainted: …`.
    pub marks: Vec<String>,
    pub inputs: Inputs,
    pub env: Option<EnvIdentity>,
    pub machine: Machine,
    pub rosetta: Version,
    /// How attempts ended that were made before, the first one first; absent before there were any.
    #[serde(default)]
    pub earlier: Vec<Outcome>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Status,
    pub reason: Option<String>,
    pub hint: Option<String>,
}

impl Outcome {
    pub fn ok() -> Outcome {
        Outcome { status: Status::Ok, reason: None, hint: None }
    }

    pub fn because(status: Status, reason: impl Into<String>) -> Outcome {
        Outcome::of(status, Obstacle::without_hint(reason))
    }

    /// Returns the outcome of a job that an obstacle stopped.
    pub fn of(status: Status, obstacle: Obstacle) -> Outcome {
        Outcome { status, reason: Some(obstacle.reason), hint: obstacle.hint }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// It ran to its end, but a result is not what it must be.
    CheckFailed,
    Failed,
    Crashed,
    TimedOut,
    Stalled,
    OutOfMemory,
    Cancelled,
    Skipped,
}

impl Status {
    /// Returns whether a job ran to its end, so that it has numbers.
    pub fn is_whole(self) -> bool {
        matches!(self, Status::Ok | Status::CheckFailed)
    }

    /// Returns the words that a person reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::CheckFailed => "accuracy out of range",
            Status::Failed => "failed",
            Status::Crashed => "crashed",
            Status::TimedOut => "timed out",
            Status::Stalled => "stalled",
            Status::OutOfMemory => "out of memory",
            Status::Cancelled => "cancelled",
            Status::Skipped => "skipped",
        }
    }
}

/// What the host computed from the stored outputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of test rows whose largest logit is the label, 0 to 1.
    pub accuracy: Option<f64>,
    /// The same as the framework's own metric saw it.
    pub accuracy_reported: Option<f64>,
    /// The band that the spec expects.
    pub accuracy_low: Option<f64>,
    pub accuracy_high: Option<f64>,
}

/// Durations in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// From the start of the process to the SDK's first event.
    pub start: Option<f64>,
    /// From there to `hello`: the framework's import.
    pub import: Option<f64>,
    pub load: Option<f64>,
    pub build: Option<f64>,
    /// The epoch loop.
    pub training: Option<f64>,
    /// What the first epoch (or, of a single epoch, the first step) took beyond the others.
    pub compile: Option<f64>,
    pub warmup: Option<f64>,
    pub predict: Option<f64>,
    /// Training samples per second over the epoch loop.
    pub training_rate: Option<f64>,
    /// Test samples per second over the timed pass.
    pub predict_rate: Option<f64>,
    /// Seconds of a batch of the timed pass.
    pub batch_p50: Option<f64>,
    pub batch_p90: Option<f64>,
    pub batch_p99: Option<f64>,
    /// The whole process, by the host's clock.
    pub wall: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    pub epoch: u32,
    pub loss: Option<f64>,
    /// Not a number where an old record has `null`: the harness said NaN or infinity.
    #[serde(deserialize_with = "number_or_nan")]
    pub seconds: f64,
    pub samples: u64,
}

fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What the job used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub cpu_seconds: Option<f64>,
    /// Largest sum of resident memory over the process tree.
    pub peak_rss_bytes: Option<u64>,
    pub peak_device_bytes: Option<u64>,
    /// What all GPUs of the machine used from the job's start to its end; absent before it was
    /// measured and where the driver does not count it.
    #[serde(default)]
    pub gpu_joules: Option<f64>,
    pub threads_allowed: u32,
    pub threads_seen: Option<u32>,
    /// Processes that had to be killed after the harness had ended.
    pub left_behind: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    /// The value as text: its type differs from fact to fact.
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub value: Option<f64>,
    pub unit: Option<String>,
}

/// What went in, by digest (SHA-256).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub dataset: Option<String>,
    pub source: Option<Source>,
    pub data_digest: Option<String>,
    pub weights_digest: Option<String>,
    pub weights_source: Option<Source>,
    pub order_digest: Option<String>,
    pub spec_digest: String,
    pub harness_digest: String,
}

/// The environment that the job ran in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvIdentity {
    pub name: String,
    pub provider: String,
    pub digest: Option<String>,
    pub lock_digest: Option<String>,
    pub interpreter: Option<String>,
    /// Packages as `name==version`.
    pub packages: Vec<String>,
    /// What the packages of an installation of the user's own were built with; absent before it was looked for.
    #[serde(default)]
    pub found: Vec<Fact>,
    /// The command that ran it, of an installation of the user's own; empty if none did.
    #[serde(default)]
    pub wrap: Vec<String>,
}

/// The rosetta that made the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    /// Git revision of the project, with `+` when its files differ from it.
    pub revision: Option<String>,
}

impl Record {
    pub fn is_ok(&self) -> bool {
        self.outcome.status == Status::Ok
    }

    /// Returns whether it ran to its end, so that it has numbers.
    pub fn is_whole(&self) -> bool {
        self.outcome.status.is_whole()
    }

    /// Returns what it took, in seconds: its training, or an image where nothing is trained; only a time that can be.
    pub fn seconds(&self) -> Option<f64> {
        let seconds = match self.task {
            Task::Classification => self.times.training,
            Task::Features => self.times.predict_rate.map(|rate| 1.0 / rate),
        };
        seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0)
    }

    /// Returns the provider that was chosen instead of env.yaml's own, or nothing.
    pub fn chosen_provider(&self) -> Option<&str> {
        let provider = self.env.as_ref()?.provider.as_str();
        Some(provider).filter(|provider| ["conda", "docker", "system"].contains(provider))
    }

    pub fn is_tainted(&self) -> bool {
        self.marks.iter().any(|mark| mark.starts_with("tainted"))
    }

    /// Returns a fact's value.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    }
}
