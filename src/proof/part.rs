//! What a program computes in a check, part by part: a list that follows from the experiment alone.
//!
//! Must not depend on files, on processes, or on which framework computes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::material::{Settings, dropout_probe};
use crate::proof::compare::Traces;
use crate::proof::trace::Trace;
use crate::spec::{Experiment, Setting, Task};

/// Steps of the training part.
pub const STEPS: u64 = 5;
/// Steps of the parts that tell whether a seed matters.
const SEED_STEPS: u64 = 2;
pub const FLOAT64: &str = "float64";
pub const FLOAT32: &str = "float32";

/// One job of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub name: String,
    pub dtype: &'static str,
    pub steps: u64,
    /// Settings that differ from the experiment's.
    pub settings: Settings,
    /// Seed that differs from the experiment's.
    pub seed: Option<u64>,
    pub input: Input,
    /// Whether its weights are compared; outputs and losses tell all of the others.
    pub compares_weights: bool,
}

/// Which data and weights a part is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Experiment,
    DropoutProbe,
}

impl Part {
    pub fn new(name: impl Into<String>, dtype: &'static str, steps: u64) -> Part {
        let (name, settings) = (name.into(), Settings::new());
        let (input, compares_weights) = (Input::Experiment, false);
        Part { name, dtype, steps, settings, seed: None, input, compares_weights }
    }

    /// Returns a part of which all numbers are compared.
    fn whole(name: String, dtype: &'static str, steps: u64) -> Part {
        Part { compares_weights: true, ..Part::new(name, dtype, steps) }
    }

    pub fn with(mut self, name: &str, value: Setting) -> Part {
        self.settings.insert(name.to_owned(), value);
        self
    }
}

/// What became of each part: its numbers, or why there are none.
pub type Outcomes = BTreeMap<String, Result<Arc<Trace>, String>>;

/// Returns the types to compare in: float64 needs both programs to compute in it.
pub fn dtypes(both_have_float64: bool) -> &'static [&'static str] {
    match both_have_float64 {
        true => &[FLOAT64, FLOAT32],
        false => &[FLOAT32],
    }
}

/// Returns the type that a reference computes in.
pub fn reference_dtype(has_float64: bool) -> &'static str {
    if has_float64 { FLOAT64 } else { FLOAT32 }
}

/// Returns the parts that a target computes with the data of the experiment, which has batches of
/// `batch_size`.
pub fn parts(experiment: &Experiment, dtypes: &[&'static str], batch_size: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    for dtype in dtypes {
        parts.extend(numeric_parts(experiment, dtype, Depth::Trained));
    }
    if experiment.spec.task == Task::Features {
        let half = i64::try_from(batch_size / 2).unwrap_or(i64::MAX).max(1);
        parts.push(Part::new("half-batches", FLOAT32, 0).with("batch_size", Setting::Int(half)));
        return parts;
    }
    let Some(dropout) = Dropout::of(experiment) else {
        parts.push(Part::new("again", FLOAT32, STEPS));
        return parts;
    };
    let stated = dropout.setting(&dropout.rates);
    parts.push(Part::new("predict", FLOAT32, 0).with("dropout", stated.clone()));
    for name in ["seed", "seed-again", "other-seed"] {
        let mut part = Part::new(name, FLOAT32, SEED_STEPS).with("dropout", stated.clone());
        part.seed = (name == "other-seed").then_some(experiment.spec.seed + 1);
        parts.push(part);
    }
    parts
}

/// Returns a part for each dropout, with the others off, that is given the dropout probe.
pub fn dropout_parts(experiment: &Experiment) -> Vec<Part> {
    let Some(dropout) = Dropout::of(experiment) else { return Vec::new() };
    let mut parts = Vec::new();
    for (which, rate) in dropout.rates.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
        let mut alone = vec![0.0; dropout.rates.len()];
        alone[which] = *rate;
        let part = Part::new(dropout_part(which), FLOAT32, dropout_probe::STEPS);
        let mut part = part.with("dropout", dropout.setting(&alone));
        part.input = Input::DropoutProbe;
        parts.push(part);
    }
    parts
}

/// Returns the name of the part that probes a dropout.
pub fn dropout_part(which: usize) -> String {
    format!("dropout-{which}")
}

/// How much of the numeric parts is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    Initial,
    Gradient,
    Trained,
}

/// Returns the parts whose numbers are compared.
pub fn numeric_parts(experiment: &Experiment, dtype: &'static str, depth: Depth) -> Vec<Part> {
    let mut parts = vec![Part::whole(format!("{dtype}-0"), dtype, 0)];
    if experiment.spec.task == Task::Features {
        return parts;
    }
    let settings = gradient_settings(experiment);
    if !settings.is_empty() && depth >= Depth::Gradient {
        let part = Part::whole(format!("{dtype}-gradient"), dtype, 1);
        parts.push(Part { settings, ..part });
    }
    if depth == Depth::Trained {
        parts.push(Part::whole(format!("{dtype}-{STEPS}"), dtype, STEPS));
    }
    parts
}

/// Returns the settings with which the first update is a multiple of the gradient, if there are any:
/// plain SGD's is the gradient times the learning rate; of another optimiser the spec states them.
fn gradient_settings(experiment: &Experiment) -> Settings {
    let stated = &experiment.spec.gradient;
    let optimizer = experiment.spec.settings.get("optimizer").map(|setting| &setting.value);
    if stated.is_empty() && optimizer == Some(&Setting::Text("sgd".to_owned())) {
        return Settings::from([("learning_rate".to_owned(), Setting::Float(1.0))]);
    }
    stated.iter().map(|(name, setting)| (name.clone(), setting.value.clone())).collect()
}

/// Returns the traces of one precision.
pub fn traces(dtype: &str, outcomes: &Outcomes) -> Traces {
    Traces {
        initial: numbers(outcomes, &format!("{dtype}-0")).cloned().unwrap_or_default(),
        gradient: numbers(outcomes, &format!("{dtype}-gradient")).cloned(),
        trained: numbers(outcomes, &format!("{dtype}-{STEPS}")).cloned(),
    }
}

/// Returns the numbers of a part, if there are any.
pub fn numbers<'a>(outcomes: &'a Outcomes, part: &str) -> Option<&'a Arc<Trace>> {
    outcomes.get(part)?.as_ref().ok()
}

/// Returns the first part that failed, and why.
pub fn failure<'a>(parts: &'a [Part], outcomes: &'a Outcomes) -> Option<(&'a str, &'a str)> {
    parts.iter().find_map(|part| {
        let why = outcomes.get(&part.name)?.as_ref().err()?;
        Some((part.name.as_str(), why.as_str()))
    })
}

/// The dropout of an experiment whose check turns it off.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropout {
    pub rates: Vec<f64>,
    /// Whether the spec has a list of them, not one number.
    is_list: bool,
}

impl Dropout {
    pub fn of(experiment: &Experiment) -> Option<Dropout> {
        experiment.spec.check.get("dropout")?;
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

fn number(rate: &Setting) -> Option<f64> {
    match rate {
        Setting::Float(rate) => Some(*rate),
        Setting::Int(rate) => Some(*rate as f64),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::Spec;
    use crate::yaml;

    /// Returns an experiment of a task with settings.
    pub(crate) fn experiment(task: &str, settings: &str, check: &str) -> Experiment {
        let text = format!(
            "version: 1\nname: tiny\ntitle: Tiny\ntask: {task}\nseed: 7\n\
             data: {{files: {{x_train: x.npy}}}}\nsettings: {settings}\ncheck: {check}\n\
             profiles: {{quick: {{rows: {{}}, timeout: 1s}}}}\n"
        );
        let path = Path::new("tiny.yaml");
        let spec = yaml::parse::<Spec>(path, &text).unwrap();
        Experiment { path: path.to_owned(), digest: "s1".to_owned(), spec }
    }

    fn names(parts: &[Part]) -> Vec<&str> {
        parts.iter().map(|part| part.name.as_str()).collect()
    }

    #[test]
    fn parts_follow_from_task_optimiser_and_dropout() {
        let sgd = "{optimizer: sgd}";
        let dropout = "{optimizer: adam, dropout: 0.5}";
        let cases = [
            ("features", "{}", "{}", "float32-0 half-batches"),
            ("classification", "{}", "{}", "float32-0 float32-5 again"),
            ("classification", sgd, "{}", "float32-0 float32-gradient float32-5 again"),
            // Dropout that a check leaves on is not probed.
            ("classification", dropout, "{}", "float32-0 float32-5 again"),
            (
                "classification",
                dropout,
                "{dropout: 0}",
                "float32-0 float32-5 predict seed seed-again other-seed",
            ),
        ];
        for (task, settings, check, expected) in cases {
            let experiment = experiment(task, settings, check);
            let parts = parts(&experiment, dtypes(false), 4);
            assert_eq!(names(&parts).join(" "), expected, "{task} {settings} {check}");
        }
        let both = parts(&experiment("features", "{}", "{}"), dtypes(true), 4);
        assert_eq!(names(&both), ["float64-0", "float32-0", "half-batches"]);
        assert_eq!(both[2].settings["batch_size"], Setting::Int(2));
    }

    #[test]
    fn gradients_are_those_of_sgd_or_of_the_settings_that_a_spec_states() {
        let mut experiment = experiment("classification", "{optimizer: adam, epsilon: 1e-8}", "{}");
        assert_eq!(numeric_parts(&experiment, FLOAT64, Depth::Gradient).len(), 1);
        experiment.spec.gradient =
            yaml::parse(Path::new("gradient.yaml"), "epsilon: 1e8\n").unwrap();
        let parts = numeric_parts(&experiment, FLOAT64, Depth::Gradient);
        assert_eq!(names(&parts), ["float64-0", "float64-gradient"]);
        assert_eq!(parts[1].settings, Settings::from([("epsilon".into(), Setting::Float(1e8))]));
    }

    #[test]
    fn each_dropout_is_probed_alone() {
        let none = dropout_parts(&experiment("classification", "{dropout: 0.5}", "{}"));
        assert!(none.is_empty());
        let rates = "{dropout: [0.25, 0, 0.5]}";
        let parts = dropout_parts(&experiment("classification", rates, "{dropout: [0, 0, 0]}"));
        assert_eq!(names(&parts), ["dropout-0", "dropout-2"]);
        let alone = [0.0, 0.0, 0.5].map(Setting::Float).to_vec();
        assert_eq!(parts[1].settings["dropout"], Setting::List(alone));
        assert_eq!(parts[1].input, Input::DropoutProbe);
        let one = dropout_parts(&experiment("classification", "{dropout: 0.5}", "{dropout: 0}"));
        assert_eq!(one[0].settings["dropout"], Setting::Float(0.5));
    }

    #[test]
    fn the_cheap_parts_come_first() {
        let experiment = experiment("classification", "{optimizer: sgd}", "{}");
        let depths = [Depth::Initial, Depth::Gradient, Depth::Trained];
        let counts = depths.map(|depth| numeric_parts(&experiment, FLOAT64, depth).len());
        assert_eq!(counts, [1, 2, 3]);
    }
}
