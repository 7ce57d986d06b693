//! A folder that repeats one job with its framework alone, to be attached to an issue: the texts in it.
//!
//! What runs there is the harness, unchanged, by the SDK that it speaks through; `run.py` stands in for rosetta: it tells the
//! job and reads the events. Pure: must not depend on where the files come from.

mod script;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalog::EnvSpec;
use crate::record::Record;
use crate::report::three_digits;

/// Where the folder has the lock of the environment.
pub const LOCK: &str = "environment/requirements.lock";

/// What a folder is made of.
pub struct Repro<'a> {
    pub record: &'a Record,
    /// The experiment's title.
    pub title: &'a str,
    /// The harness's file name.
    pub harness: &'a str,
    /// The environment that its lock makes; absent where the record is of another.
    pub env: Option<&'a EnvSpec>,
    /// The job file, its paths relative to the folder.
    pub job: Value,
    /// What the process is told beside; `{env}` and the like stand for places.
    pub variables: BTreeMap<String, String>,
    pub arrays: Vec<CopiedArray>,
    /// What is not as it was when the record was made.
    pub doubts: &'a [String],
}

/// An array that was copied into the folder.
pub struct CopiedArray {
    pub file: String,
    pub shape: Vec<usize>,
    pub bytes: u64,
    pub sha256: String,
}

/// Stands in for rosetta.
const RUN: &str = include_str!("run.py");

impl Repro<'_> {
    /// Returns the texts by their names; the README comes last, so that a folder with one is whole.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let mut files = vec![
            ("run.py", RUN.to_owned()),
            ("run.sh", script::script(self.env)),
            ("job.json", pretty(&self.job)),
            ("variables.json", pretty(&json!(self.variables))),
            ("expected.json", pretty(&self.expected())),
        ];
        if let Some(env) = self.record.env.as_ref().filter(|env| !env.packages.is_empty()) {
            files.push(("environment/packages.txt", env.packages.join("\n") + "\n"));
        }
        files.push(("README.md", self.readme()));
        files
    }

    /// Returns what the record has of what can be repeated.
    fn expected(&self) -> Value {
        let Record { outcome, times, score, epochs, .. } = self.record;
        json!({
            "harness": self.harness,
            "version": self.record.framework_version,
            "status": outcome.status.as_str(),
            "reason": outcome.reason,
            "training_seconds": times.training,
            "predict_rate": times.predict_rate,
            "accuracy": score.accuracy,
            "losses": epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>(),
        })
    }

    fn readme(&self) -> String {
        let record = self.record;
        let Record { title, device, .. } = record;
        let mut parts = vec![format!(
            "# {title} on {device}: {}\n\nOne measured result, to be repeated with {title} alone. `harness/{}` is the program that was \
             measured, unchanged; `sdk/` is what it speaks through, and `run.py` gives it its job and reads what it says.",
            self.title, self.harness
        )];
        if !self.doubts.is_empty() {
            let lines = self.doubts.iter().map(|doubt| format!("- {doubt}\n"));
            parts.push(format!(
                "## Not as it was\n\nSince the result was recorded, this has changed, so that another may come of it:\n\n{}",
                lines.collect::<String>().trim_end()
            ));
        }
        parts.push(self.how());
        parts.push(format!("## What was recorded\n\n{}", self.recorded()));
        parts.push(format!("## What it computes on\n\n{}", self.data()));
        let revision = record.rosetta.revision.as_deref().unwrap_or("unknown");
        parts.push(format!(
            "## Where it comes from\n\nrosetta {}, revision {revision}: job `{}` of run `{}`, begun {}.",
            record.rosetta.version, record.job, record.run, record.started
        ));
        parts.join("\n\n") + "\n"
    }

    fn how(&self) -> String {
        let (command, made) = match self.env {
            Some(_) => (
                "sh run.sh",
                "That makes the environment of `environment/requirements.lock` in `.venv/`, once, and runs the harness in it. A Python \
                 that has the packages is taken with `PYTHON=/path/to/python sh run.sh`.",
            ),
            None => (
                "PYTHON=/path/to/python sh run.sh",
                "That is a Python with the packages of `environment/packages.txt`: the result was not recorded in an environment that \
                 uv or pip makes from a lock.",
            ),
        };
        format!(
            "## Run it\n\n    {command}\n\n{made} In the end it shows what was recorded beside what it took here."
        )
    }

    fn recorded(&self) -> String {
        let Record { outcome, times, score, machine, cost, .. } = self.record;
        let number =
            |value: Option<f64>, scale: f64| value.map(|value| three_digits(value * scale));
        let env = self.record.env.as_ref();
        let losses = self.record.epochs.iter().filter_map(|epoch| epoch.loss).map(three_digits);
        let losses = losses.collect::<Vec<_>>().join(", ");
        let lines = [
            ("Outcome", Some(outcome.status.as_str().to_owned())),
            ("Reason", outcome.reason.clone()),
            ("Version", self.record.framework_version.clone()),
            ("Python", env.and_then(|env| env.interpreter.clone())),
            ("Training (s)", number(times.training, 1.0)),
            ("Predicted rows a second", number(times.predict_rate, 1.0)),
            ("Test accuracy (%)", number(score.accuracy, 100.0)),
            ("Loss of each epoch's last step", Some(losses).filter(|losses| !losses.is_empty())),
            ("Threads", Some(cost.threads_allowed.to_string())),
            ("Machine", Some(machine.words())),
            ("System", Some(format!("{}, kernel {}", machine.os, machine.kernel))),
            (
                "Doubts of its own",
                Some(self.record.marks.join("; ")).filter(|marks| !marks.is_empty()),
            ),
        ];
        let lines = lines.into_iter().filter_map(|(name, text)| Some((name, text?)));
        let lines = lines.map(|(name, text)| format!("| {name} | {} |\n", one_line(&text)));
        format!("| | |\n|---|---|\n{}", lines.collect::<String>().trim_end())
    }

    fn data(&self) -> String {
        let source = self.record.inputs.source.map_or("unknown", |source| source.as_str());
        let words = match source {
            "synthetic" => {
                "The data were made from a fixed seed, in the shape, type and size of the set that they stand for: they are nobody's."
            }
            "own" => {
                "The data are the experiment's own files: whoever made those says who may have them."
            }
            _ => {
                "The data are rows of the published set. They belong to its authors: read their terms before you hand this folder on."
            }
        };
        let rows = self.arrays.iter().map(|array| {
            let shape = array.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
            format!("| `{}` | {shape} | {} | `{}` |\n", array.file, array.bytes, array.sha256)
        });
        let sizes = self.arrays.iter().map(|array| array.bytes).sum::<u64>() as f64 / 1e6;
        format!(
            "{words} Weights and batch order are those of every framework in the comparison. In all {} MB.\n\n\
             | file | shape | bytes | SHA-256 |\n|---|---|---:|---|\n{}",
            three_digits(sizes),
            rows.collect::<String>().trim_end()
        )
    }
}

/// Returns a text as the cell of a Markdown table.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::report::printable(&words).replace('|', "\\|")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
