//! What a harness is told: the job file of docs/protocol.md.
//!
//! May not know how a process is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::catalog::{DEFAULTS, Device};
use crate::data::{DataStore, Dataset, Order, Weights};
use crate::event::PROTOCOL;
use crate::progress::Report;
use crate::spec::{Experiment, Rows, Setting, Source, Task};

/// Everything that the jobs of one experiment share at one size.
#[derive(Debug, Clone)]
pub struct Material {
    /// Name of the profile, or `check`.
    pub profile: String,
    pub settings: Settings,
    pub dataset: Dataset,
    pub weights: Weights,
    pub order: Option<Order>,
    pub train_rows: usize,
    pub test_rows: usize,
    pub batch_size: u64,
    pub epochs: u64,
}

pub type Settings = BTreeMap<String, Setting>;

/// How much of an experiment is run.
#[derive(Debug, Clone, Copy)]
pub enum Size<'a> {
    Profile(&'a str),
    /// Two epochs of three batches, and one batch to predict.
    Check,
}

/// Batches of an epoch of a check. The steps go on into the second epoch, so that a state that
/// is lost between epochs shows.
const CHECK_BATCHES: usize = 3;
const CHECK_EPOCHS: i64 = 2;

/// A check asks for the loss of each step and the final weights.
#[derive(Debug, Clone)]
pub struct Check {
    pub steps: u64,
    pub dtype: String,
    /// Settings that differ from the material's.
    pub settings: Settings,
    /// Seed that differs from the experiment's.
    pub seed: Option<u64>,
}

/// Who computes where.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub job: String,
    pub target: &'a str,
    pub device: Device,
    pub threads: u32,
    pub outputs: &'a Path,
}

impl Material {
    /// Makes data, weights and batch order ready.
    pub fn prepare(
        store: &DataStore,
        experiment: &Experiment,
        size: Size,
        source: Option<Source>,
        report: Report,
    ) -> Result<Material> {
        let dataset = store.ready(experiment, source, report)?;
        let weights = store.weights(experiment, report)?;
        let (profile, settings, rows) = match size {
            Size::Profile(name) => {
                let profile = experiment.profile(name)?;
                (name.to_owned(), experiment.settings(&profile.settings), profile.rows)
            }
            Size::Check => {
                let settings = check_settings(experiment);
                let batch = usize::try_from(whole(&settings, "batch_size"))?;
                let rows = Rows { train: Some(CHECK_BATCHES * batch), test: Some(batch) };
                ("check".to_owned(), settings, rows)
            }
        };
        let (batch_size, epochs) = (whole(&settings, "batch_size"), whole(&settings, "epochs"));
        let rows_of = |name: &str, wanted: Option<usize>| {
            let there = dataset.arrays.get(name).map_or(0, |array| array.shape[0]);
            wanted.map_or(there, |wanted| wanted.min(there))
        };
        let train_rows = rows_of("x_train", rows.train);
        let test_rows = rows_of("x_test", rows.test);
        let is_training = experiment.spec.task == Task::Classification;
        if is_training && (train_rows as u64) < batch_size {
            let name = experiment.name();
            bail!("{name} has {train_rows} training rows, fewer than one batch of {batch_size}");
        }
        if test_rows == 0 {
            bail!("{} has no test rows", experiment.name());
        }
        let order = match is_training {
            true => {
                Some(store.order(experiment.spec.seed, usize::try_from(epochs)?, train_rows)?)
            }
            false => None,
        };
        Ok(Material {
            profile,
            settings,
            dataset,
            weights,
            order,
            train_rows,
            test_rows,
            batch_size,
            epochs,
        })
    }

    /// Returns the file of the labels of the test set.
    pub fn labels(&self) -> Option<&Path> {
        self.dataset.arrays.get("y_test").map(|array| array.path.as_path())
    }

    /// Returns the steps of an epoch.
    pub fn steps(&self) -> u64 {
        (self.train_rows as u64).checked_div(self.batch_size).unwrap_or_default()
    }
}

fn check_settings(experiment: &Experiment) -> Settings {
    let mut settings = experiment.settings(&experiment.spec.check);
    if let Some(epochs) = settings.get_mut("epochs") {
        *epochs = Setting::Int(CHECK_EPOCHS);
    }
    settings
}

/// Returns a setting that is a whole number, or 0.
fn whole(settings: &Settings, name: &str) -> u64 {
    match settings.get(name) {
        Some(Setting::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

/// Returns a job file.
pub fn job_file(
    experiment: &Experiment,
    material: &Material,
    place: &Place,
    check: Option<&Check>,
) -> Value {
    let mut settings = material.settings.clone();
    settings.extend(check.map(|check| check.settings.clone()).unwrap_or_default());
    let array = |(name, file): (&String, &crate::data::ArrayFile)| {
        let rows = if name.ends_with("_train") { material.train_rows } else { material.test_rows };
        let file = json!({"path": file.path, "rows": rows, "divide_by": file.divide_by});
        (name.clone(), file)
    };
    let has_training = material.order.is_some();
    let used = |(name, _): &(&String, _)| has_training || !name.ends_with("_train");
    json!({
        "protocol": PROTOCOL,
        "job": place.job,
        "experiment": experiment.name(),
        "target": place.target,
        "profile": material.profile,
        "device": place.device,
        "threads": place.threads,
        "seed": check.and_then(|check| check.seed).unwrap_or(experiment.spec.seed),
        "mode": if check.is_some() { "check" } else { "run" },
        "steps": check.map(|check| check.steps),
        "dtype": check.map_or("float32", |check| &check.dtype),
        "config": settings,
        "arrays": material.dataset.arrays.iter().filter(used).map(array).collect::<Map<_, _>>(),
        "weights": {"folder": material.weights.folder, "names": material.weights.names},
        "order": material.order.as_ref().map(|order| &order.path),
        "outputs": place.outputs,
    })
}

/// Returns a job file that holds the paths of others.
pub fn series(jobs: &[PathBuf]) -> Value {
    json!({"protocol": PROTOCOL, "series": jobs})
}

/// Returns the job file of a program that measures defaults: it has no data and no settings.
pub fn defaults_file(place: &Place) -> Value {
    json!({
        "protocol": PROTOCOL,
        "job": place.job,
        "experiment": DEFAULTS,
        "target": place.target,
        "profile": DEFAULTS,
        "device": place.device,
        "threads": place.threads,
        "seed": 1,
        "mode": "run",
        "steps": null,
        "dtype": "float32",
        "config": {},
        "arrays": {},
        "weights": {"folder": place.outputs, "names": []},
        "order": null,
        "outputs": place.outputs,
    })
}

/// Writes a job file and returns its path.
pub fn write(folder: &Path, job: &Value) -> Result<PathBuf> {
    let path = folder.join("job.json");
    let text = serde_json::to_vec_pretty(job)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}
