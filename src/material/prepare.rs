//! Makes ready what the jobs of one experiment share, at one size.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::data::{BatchOrder, DataStore, Dataset, Weights};
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
    pub order: Option<BatchOrder>,
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
