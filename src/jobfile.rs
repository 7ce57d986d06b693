//! What a harness is told: the job file of docs/protocol.md.
//!
//! Must not depend on how a process is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::catalog::Device;
use crate::data::ArrayFile;
use crate::event::PROTOCOL;
use crate::material::{Material, Settings};
use crate::spec::Experiment;

/// The file that a harness reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobFile<'a> {
    pub protocol: u64,
    pub job: &'a str,
    pub experiment: &'a str,
    pub target: &'a str,
    pub profile: &'a str,
    pub device: Device,
    pub threads: u32,
    pub seed: u64,
    pub mode: Mode,
    /// Training steps of a check; absent in a run, which takes its epochs from the settings.
    pub steps: Option<u64>,
    pub dtype: &'a str,
    pub config: Settings,
    pub arrays: BTreeMap<&'a str, Array<'a>>,
    pub weights: WeightFiles<'a>,
    pub order: Option<&'a Path>,
    pub outputs: &'a Path,
}

/// What a harness is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Run,
    Check,
}

/// The first rows of one `.npy` file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Array<'a> {
    pub path: &'a Path,
    pub rows: usize,
    pub divide_by: Option<f64>,
}

/// The initial weights: `folder/NAME.npy`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightFiles<'a> {
    pub folder: &'a Path,
    pub names: &'a [String],
}

/// Job files that one process computes one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series<'a> {
    protocol: u64,
    series: &'a [PathBuf],
    /// The file that has, and gets, the modules that the jobs import.
    imports: &'a Path,
}

/// A check asks for the loss of each step and the final weights.
#[derive(Debug, Clone)]
pub struct Check<'a> {
    pub steps: u64,
    pub dtype: &'a str,
    /// Settings that differ from the material's.
    pub settings: Settings,
    /// Seed that differs from the experiment's.
    pub seed: Option<u64>,
}

/// Who computes where.
#[derive(Debug, Clone)]
pub struct JobPlace<'a> {
    pub job: String,
    pub target: &'a str,
    pub device: Device,
    pub threads: u32,
    pub outputs: &'a Path,
}

impl<'a> JobFile<'a> {
    /// Returns the file of a job of a run.
    pub fn of_run(
        experiment: &'a Experiment,
        material: &'a Material,
        place: &'a JobPlace,
    ) -> JobFile<'a> {
        JobFile {
            protocol: PROTOCOL,
            job: &place.job,
            experiment: experiment.name(),
            target: place.target,
            profile: &material.profile,
            device: place.device,
            threads: place.threads,
            seed: experiment.spec.seed,
            mode: Mode::Run,
            steps: None,
            dtype: "float32",
            config: material.settings.clone(),
            arrays: arrays(material),
            weights: WeightFiles {
                folder: &material.weights.folder,
                names: &material.weights.names,
            },
            order: material.order.as_ref().map(|order| order.path.as_path()),
            outputs: place.outputs,
        }
    }

    /// Returns the file of a job of a check.
    pub fn of_check(
        experiment: &'a Experiment,
        material: &'a Material,
        place: &'a JobPlace,
        check: &Check<'a>,
    ) -> JobFile<'a> {
        let mut file = JobFile::of_run(experiment, material, place);
        file.mode = Mode::Check;
        file.steps = Some(check.steps);
        file.dtype = check.dtype;
        file.seed = check.seed.unwrap_or(file.seed);
        file.config.extend(check.settings.clone());
        file
    }

    /// Returns the file of a program that is no harness: it has no data and no settings.
    pub fn of_program(name: &'a str, place: &'a JobPlace) -> JobFile<'a> {
        JobFile {
            protocol: PROTOCOL,
            job: &place.job,
            experiment: name,
            target: place.target,
            profile: name,
            device: place.device,
            threads: place.threads,
            seed: 1,
            mode: Mode::Run,
            steps: None,
            dtype: "float32",
            config: Settings::new(),
            arrays: BTreeMap::new(),
            weights: WeightFiles { folder: place.outputs, names: &[] },
            order: None,
            outputs: place.outputs,
        }
    }
}

impl<'a> Series<'a> {
    /// Returns the job file that holds the paths of others.
    pub fn of(jobs: &'a [PathBuf], imports: &'a Path) -> Series<'a> {
        Series { protocol: PROTOCOL, series: jobs, imports }
    }
}

/// Returns the arrays of a job: none to train with where nothing is trained.
fn arrays(material: &Material) -> BTreeMap<&str, Array<'_>> {
    let mut arrays = BTreeMap::new();
    for (name, ArrayFile { path, divide_by, .. }) in &material.dataset.arrays {
        let is_training = name.ends_with("_train");
        if is_training && material.order.is_none() {
            continue;
        }
        let rows = if is_training { material.train_rows } else { material.test_rows };
        arrays.insert(name.as_str(), Array { path, rows, divide_by: *divide_by });
    }
    arrays
}

/// Writes a job file, or one that holds others, and returns its path.
pub fn write(folder: &Path, job: &impl Serialize) -> Result<PathBuf> {
    let path = folder.join("job.json");
    let text = serde_json::to_vec_pretty(job)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_file_says_what_the_protocol_says() {
        let (job, target) = ("defaults.fake.cpu.1".to_owned(), "fake");
        let place =
            JobPlace { job, target, device: Device::Cpu, threads: 2, outputs: Path::new("/out") };
        let expected = json!({
            "protocol": 1, "job": "defaults.fake.cpu.1", "experiment": "defaults",
            "target": "fake", "profile": "defaults", "device": "cpu", "threads": 2, "seed": 1,
            "mode": "run", "steps": null, "dtype": "float32", "config": {}, "arrays": {},
            "weights": {"folder": "/out", "names": []}, "order": null, "outputs": "/out",
        });
        assert_eq!(
            serde_json::to_value(JobFile::of_program("defaults", &place)).unwrap(),
            expected
        );
        let jobs = [PathBuf::from("/a/job.json")];
        let expected = json!({"protocol": 1, "series": ["/a/job.json"], "imports": "/a/imports"});
        assert_eq!(
            serde_json::to_value(Series::of(&jobs, Path::new("/a/imports"))).unwrap(),
            expected
        );
    }
}
