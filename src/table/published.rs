//! The tables of 2017, as data in `results/published/`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::report::{Cell, Grid, Value};
use crate::table::column::Column;
use crate::table::group::without_version;
use crate::table::provenance::{self, Provenance};
use crate::yaml;

/// A publication: its machine and its tables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub published: String,
    pub machine: PublishedMachine,
    pub tables: BTreeMap<String, PublishedTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedMachine {
    pub name: String,
    pub cpu: String,
    pub gpu: String,
    pub memory_gb: u32,
    pub disk: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedTable {
    pub title: String,
    pub columns: Vec<PublishedColumn>,
    pub rows: Vec<PublishedRow>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedColumn {
    TestAccuracyPercent,
    TrainingTimeS,
    UsingCudnn,
    ImagesPerSGpu,
    ImagesPerSCpu,
}

/// A row as it was published; an empty cell is null.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedRow {
    pub library: String,
    pub test_accuracy_percent: Option<f64>,
    pub training_time_s: Option<f64>,
    pub using_cudnn: Option<String>,
    pub images_per_s_gpu: Option<f64>,
    pub images_per_s_cpu: Option<f64>,
}

impl Published {
    /// Reads a publication.
    pub fn load(path: &Path) -> Result<Published> {
        yaml::load(path)
    }

    /// Returns where and when it was measured.
    pub fn words(&self) -> String {
        let PublishedMachine { name, cpu, gpu, memory_gb, .. } = &self.machine;
        let date = &self.published;
        format!("2017: published {date}, real data, {name}: {cpu}, {gpu}, {memory_gb} GB")
    }

    fn provenance(&self) -> Provenance {
        let (dates, hosts) = (vec![self.published.clone()], vec![self.machine.name.clone()]);
        Provenance { dates, hosts, ..Provenance::default() }
    }

    /// Returns the tables as they were published, cell for cell and in their order.
    pub fn to_tables(&self, experiments: &[String]) -> Vec<Grid> {
        let order = ["cnn", "rnn", "resnet50"];
        let mut names = self.tables.keys().map(String::as_str).collect::<Vec<_>>();
        names.sort_by_key(|name| order.iter().position(|one| one == name).unwrap_or(order.len()));
        names.retain(|name| experiments.is_empty() || experiments.iter().any(|one| one == name));
        names.into_iter().map(|name| self.tables[name].to_table(name, self)).collect()
    }
}

impl PublishedRow {
    fn cell(&self, column: Column) -> Cell {
        let number = match column {
            Column::Library => return Cell::text(&self.library),
            Column::Cudnn => {
                return self.using_cudnn.as_ref().map_or(Cell::of(Value::Missing), Cell::text);
            }
            Column::Accuracy => self.test_accuracy_percent,
            Column::TrainingTime => self.training_time_s,
            Column::RateGpu => self.images_per_s_gpu,
            Column::RateCpu => self.images_per_s_cpu,
            _ => None,
        };
        Cell::of(number.map_or(Value::Missing, Value::Number))
    }
}

impl PublishedTable {
    /// Returns the row of a library; case, spaces and versions do not count
    /// ("Pytorch", "Keras (TF)", "TensorFlow 1.4").
    pub fn row(&self, title: &str) -> Option<&PublishedRow> {
        let plain = |text: &str| without_version(text).replace(' ', "").to_lowercase();
        self.rows.iter().find(|row| plain(&row.library) == plain(title))
    }

    fn to_table(&self, experiment: &str, publication: &Published) -> Grid {
        let columns = self.columns.iter().map(|column| match column {
            PublishedColumn::TestAccuracyPercent => Column::Accuracy,
            PublishedColumn::TrainingTimeS => Column::TrainingTime,
            PublishedColumn::UsingCudnn => Column::Cudnn,
            PublishedColumn::ImagesPerSGpu => Column::RateGpu,
            PublishedColumn::ImagesPerSCpu => Column::RateCpu,
        });
        let columns = std::iter::once(Column::Library).chain(columns).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| columns.iter().map(|c| row.cell(*c)).collect());
        Grid {
            experiment: experiment.to_owned(),
            title: self.title.clone(),
            headings: columns.iter().map(|column| column.heading()).collect(),
            rows: rows.collect(),
            beside: provenance::beside(vec![publication.provenance(); self.rows.len()]),
            notes: vec![publication.words().into()],
            ..Grid::default()
        }
    }
}
