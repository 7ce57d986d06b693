//! What a harness can say: one variant for each kind of event, and what a line of its output is.
//!
//! Must not depend on how a line is parsed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::number::{all_seconds, maybe_number, maybe_seconds, number, seconds};

/// The version of the protocol that this rosetta speaks.
pub const PROTOCOL: u64 = 1;

/// What a harness says: one variant for each kind of docs/protocol.md. Large variants have boxes, that all may be small: each
/// event is moved some times.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The SDK is loaded; the framework is not imported yet.
    Start { language: String, language_version: String, sdk: String, pid: u32 },
    /// The framework is imported.
    Hello { framework: String, version: String, device: String },
    /// A phase begins and the one before it ends.
    Phase { name: String },
    /// `step` of `steps` are done; `loss` is that of the step before, or its own in a check.
    Step {
        epoch: u64,
        step: u64,
        steps: u64,
        #[serde(default, deserialize_with = "maybe_number")]
        loss: Option<f64>,
    },
    /// An epoch is over and the device has been waited for.
    Epoch {
        epoch: u64,
        #[serde(default, deserialize_with = "maybe_number")]
        loss: Option<f64>,
        #[serde(deserialize_with = "seconds")]
        seconds: f64,
        #[serde(default, deserialize_with = "maybe_seconds")]
        first_step_seconds: Option<f64>,
        samples: u64,
    },
    /// Duration and size of each batch of an inference phase.
    Batches {
        phase: String,
        #[serde(deserialize_with = "all_seconds")]
        seconds: Vec<f64>,
        samples: Vec<u64>,
    },
    /// An array was stored; it was in host memory at `ready`.
    Array {
        name: String,
        path: Box<Path>,
        shape: Box<[u64]>,
        dtype: Box<str>,
        #[serde(default, deserialize_with = "maybe_seconds")]
        ready: Option<f64>,
    },
    /// What a layer computed in the first prediction of a check was stored.
    Activation { name: String, path: PathBuf },
    /// The final weights of a check were stored as `folder/NAME.npy`.
    Weights { folder: PathBuf, names: Vec<String> },
    /// A job of a series, named by its job file, has ended with an exit code or a negative signal.
    Part { path: PathBuf, exit: i32 },
    /// A property of the run that a reader should know.
    Fact { name: Box<str>, value: Value },
    /// Any other number.
    Metric {
        name: String,
        #[serde(deserialize_with = "number")]
        value: f64,
        unit: Option<String>,
    },
    /// Everything is stored; the process is about to exit with 0.
    End {},
    /// A kind that this version does not know, with all of its fields.
    #[serde(skip)]
    Unknown { kind: Box<str>, fields: Map<String, Value> },
}

pub(super) const KINDS: [&str; 13] = [
    "start",
    "hello",
    "phase",
    "step",
    "epoch",
    "batches",
    "array",
    "activation",
    "weights",
    "part",
    "fact",
    "metric",
    "end",
];

/// An event with its place in the stream and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// Seconds on the host's clock since the job was launched; only in a stored line.
    pub at: Option<f64>,
    pub seq: u64,
    /// Seconds on the harness' clock since its SDK was loaded.
    pub t: f64,
    pub event: Event,
}

/// What a line of standard output is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Event(Stamped),
    /// Not an event and not meant as one.
    Chatter,
    /// Meant as an event, but not one of this protocol.
    Rejected {
        reason: String,
    },
}
