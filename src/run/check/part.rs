//! What a program computes in a check, job by job.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::case::Case;
use super::reference::Stop;
use crate::check::{Trace, Traces, probe};
use crate::jobfile::{self, Check, Material};
use crate::spec::{Experiment, Setting, Task};

/// Steps of the training part.
pub(super) const STEPS: u64 = 5;
/// Steps of the parts that tell whether a seed matters.
const SEED_STEPS: u64 = 2;
pub(super) const FLOAT64: &str = "float64";
pub(super) const FLOAT32: &str = "float32";

/// One job of a check.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) check: Check,
    /// Its own data and weights, if not those of the experiment.
    pub(super) material: Option<Material>,
}

impl Part {
    pub(super) fn new(name: impl Into<String>, dtype: &str, steps: u64) -> Part {
        let settings = jobfile::Settings::new();
        let check = Check { steps, dtype: dtype.to_owned(), settings, seed: None };
        Part { name: name.into(), check, material: None }
    }

    pub(super) fn with(mut self, name: &str, value: Setting) -> Part {
        self.check.settings.insert(name.to_owned(), value);
        self
    }
}

/// What became of a part: its numbers, or why there are none.
pub(super) type Outcomes = BTreeMap<String, Result<Trace, String>>;

impl Case<'_> {
    /// Returns the types to compare in: float64 needs both programs to compute in it.
    pub(super) fn dtypes(&self) -> &'static [&'static str] {
        match self.ours.job.has_float64() && self.theirs.job.has_float64() {
            true => &[FLOAT64, FLOAT32],
            false => &[FLOAT32],
        }
    }

    /// Returns the parts that a target computes.
    pub(super) fn parts(&self, work: &Path) -> Result<Vec<Part>> {
        let experiment = self.ours.job.experiment;
        let mut parts = Vec::new();
        for dtype in self.dtypes() {
            parts.extend(numeric_parts(experiment, dtype, Depth::Trained));
        }
        if experiment.spec.task == Task::Features {
            let half = i64::try_from(self.material.batch_size / 2)?.max(1);
            parts
                .push(Part::new("half-batches", FLOAT32, 0).with("batch_size", Setting::Int(half)));
            return Ok(parts);
        }
        let Some(dropout) = Dropout::of(experiment) else {
            parts.push(Part::new("again", FLOAT32, STEPS));
            return Ok(parts);
        };
        let stated = dropout.setting(&dropout.rates);
        parts.push(Part::new("predict", FLOAT32, 0).with("dropout", stated.clone()));
        for name in ["seed", "seed-again", "other-seed"] {
            let mut part = Part::new(name, FLOAT32, SEED_STEPS).with("dropout", stated.clone());
            part.check.seed = (name == "other-seed").then_some(experiment.spec.seed + 1);
            parts.push(part);
        }
        parts.extend(self.probes(&dropout, work)?);
        Ok(parts)
    }

    /// Returns a part for each dropout, with the others off; none where no number of the probe
    /// comes through the reference, as in a network that normalises or embeds.
    fn probes(&self, dropout: &Dropout, work: &Path) -> Result<Vec<Part>> {
        let rates = &dropout.rates;
        let folder = work.join("probe");
        fs::create_dir_all(&folder)?;
        let tensors = &self.ours.job.experiment.spec.initial_weights.tensors;
        let shapes = tensors.iter().map(|t| (t.name.value.clone(), t.shape.clone()));
        let shapes = shapes.collect::<Vec<_>>();
        let Some(material) = probe::material(&folder, self.material, &shapes)? else {
            return Ok(Vec::new());
        };
        let probe = |which: usize| {
            let alone = (0..rates.len()).map(|k| if k == which { rates[k] } else { 0.0 });
            let alone = dropout.setting(&alone.collect::<Vec<_>>());
            let mut part =
                Part::new(format!("dropout-{which}"), FLOAT32, probe::STEPS).with("dropout", alone);
            part.material = Some(material.clone());
            part
        };
        let parts = (0..rates.len()).filter(|which| rates[*which] > 0.0).map(probe);
        let parts = parts.collect::<Vec<_>>();
        let theirs = match self.kept(&[], &parts.iter().collect::<Vec<_>>()) {
            // It cannot take the probe's inputs.
            Err(error) if matches!(error.downcast_ref(), Some(Stop::Failed(_))) => {
                return Ok(Vec::new());
            }
            theirs => theirs?,
        };
        let is_whole = |part: &Part| theirs[&part.name].as_ref().is_ok_and(probe::predicts_whole);
        Ok(if parts.iter().all(is_whole) { parts } else { Vec::new() })
    }
}

/// How much of the numeric parts is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    Initial,
    Gradient,
    Trained,
}

/// Returns the parts whose numbers are compared.
pub(super) fn numeric_parts(experiment: &Experiment, dtype: &str, depth: Depth) -> Vec<Part> {
    let mut parts = vec![Part::new(format!("{dtype}-0"), dtype, 0)];
    if experiment.spec.task == Task::Features {
        return parts;
    }
    // Plain SGD's first update is the gradient times the learning rate; that of others is not.
    let optimizer = experiment.spec.settings.get("optimizer").map(|setting| &setting.value);
    let is_sgd = optimizer == Some(&Setting::Text("sgd".to_owned()));
    if is_sgd && depth >= Depth::Gradient {
        let part = Part::new(format!("{dtype}-gradient"), dtype, 1);
        parts.push(part.with("learning_rate", Setting::Float(1.0)));
    }
    if depth == Depth::Trained {
        parts.push(Part::new(format!("{dtype}-{STEPS}"), dtype, STEPS));
    }
    parts
}

/// Returns the traces of one precision.
pub(super) fn traces(dtype: &str, outcomes: &Outcomes) -> Traces {
    let part = |name: &str| {
        let outcome = outcomes.get(&format!("{dtype}-{name}"));
        outcome.and_then(|outcome| outcome.as_ref().ok()).cloned()
    };
    Traces {
        initial: part("0").unwrap_or_default(),
        gradient: part("gradient"),
        trained: part(&STEPS.to_string()),
    }
}

/// Returns the first part that failed.
pub(super) fn failure(parts: &[Part], outcomes: &Outcomes) -> Option<(String, String)> {
    parts.iter().find_map(|part| {
        let why = outcomes.get(&part.name)?.as_ref().err()?;
        Some((part.name.clone(), why.clone()))
    })
}

/// The dropout of an experiment whose check turns it off.
pub(super) struct Dropout {
    pub(super) rates: Vec<f64>,
    /// Whether the spec has a list of them, not one number.
    is_list: bool,
}

impl Dropout {
    pub(super) fn of(experiment: &Experiment) -> Option<Dropout> {
        experiment.spec.check.get("dropout")?;
        let number = |rate: &Setting| match rate {
            Setting::Float(rate) => Some(*rate),
            Setting::Int(rate) => Some(*rate as f64),
            _ => None,
        };
        match &experiment.spec.settings.get("dropout")?.value {
            Setting::List(rates) => {
                let rates = rates.iter().map(number).collect::<Option<_>>()?;
                Some(Dropout { rates, is_list: true })
            }
            rate => Some(Dropout { rates: vec![number(rate)?], is_list: false }),
        }
    }

    fn setting(&self, rates: &[f64]) -> Setting {
        match (self.is_list, rates) {
            (false, [rate]) => Setting::Float(*rate),
            _ => Setting::List(rates.iter().map(|rate| Setting::Float(*rate)).collect()),
        }
    }
}
