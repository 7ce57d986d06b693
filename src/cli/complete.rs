//! Names that a shell completes: what this project has, looked up while somebody types.
//!
//! Must not depend on what is done with a name. What cannot be read completes to nothing: a shell shows no errors.

use std::path::PathBuf;

use clap_complete::CompletionCandidate;

use crate::catalog::Catalog;
use crate::data::KNOWN;
use crate::project::Project;
use crate::record::Record;
use crate::spec::Experiment;
use crate::store::Store;

/// The variable by which a shell asks, with its own name as the value; another program's `COMPLETE` is not meant.
pub const VARIABLE: &str = "ROSETTA_COMPLETE";

/// Returns the project's experiments, with their titles.
pub fn experiments() -> Vec<CompletionCandidate> {
    let mut found = Vec::new();
    for experiment in all_experiments() {
        let title = experiment.spec.title.clone();
        found.push(CompletionCandidate::new(experiment.name()).help(Some(title.into())));
    }
    found
}

/// Returns the profiles of all experiments, each once.
pub fn profiles() -> Vec<CompletionCandidate> {
    let experiments = all_experiments();
    unique(experiments.iter().flat_map(|one| one.spec.profiles.keys()))
}

/// Returns frameworks.
pub fn frameworks() -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let frameworks = catalog.iter().flat_map(|catalog| &catalog.frameworks);
    unique(frameworks.map(|framework| &framework.spec.name))
}

/// Returns frameworks and their targets.
pub fn frameworks_and_targets() -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let frameworks = catalog.iter().flat_map(|catalog| &catalog.frameworks);
    let targets = catalog.iter().flat_map(Catalog::targets).map(|(_, target)| &target.name);
    unique(frameworks.map(|framework| &framework.spec.name).chain(targets))
}

/// Returns environments and the targets that are made startable by one.
pub fn environments_and_targets() -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let environments = catalog.iter().flat_map(|catalog| catalog.envs.keys());
    let targets = catalog.iter().flat_map(Catalog::targets).map(|(_, target)| &target.name);
    unique(environments.chain(targets))
}

/// Returns the data sets and weights that rosetta knows.
pub fn data_sets() -> Vec<CompletionCandidate> {
    KNOWN.iter().map(|known| CompletionCandidate::new(known.name)).collect()
}

/// Returns the records of the newest run, as `latest/JOB`.
pub fn records() -> Vec<CompletionCandidate> {
    let reading = store().and_then(|store| store.read_one("latest").ok());
    let records = reading.map(|reading| reading.into_records().0).unwrap_or_default();
    let name = |record: &Record| CompletionCandidate::new(format!("latest/{}", record.job));
    records.iter().map(name).collect()
}

/// Returns runs, the newest first, and the word for that one.
pub fn runs() -> Vec<CompletionCandidate> {
    let runs = store().and_then(|store| store.ids().ok()).unwrap_or_default();
    let mut found = vec![CompletionCandidate::new("latest")];
    found.extend(runs.into_iter().rev().map(CompletionCandidate::new));
    found
}

fn store() -> Option<Store> {
    let named = std::env::var_os("ROSETTA_RESULTS").map(PathBuf::from);
    project().and_then(|project| project.store(named.as_deref()).ok())
}

fn project() -> Option<Project> {
    let named = std::env::var_os("ROSETTA_PROJECT").map(PathBuf::from);
    Project::find(named.as_deref()).ok()
}

fn all_experiments() -> Vec<Experiment> {
    let read = project().and_then(|project| project.readable_experiments().ok());
    read.unwrap_or_default().0
}

fn catalog() -> Option<Catalog> {
    project().and_then(|project| Catalog::load(&project.root).ok())
}

fn unique<'a>(names: impl Iterator<Item = &'a String>) -> Vec<CompletionCandidate> {
    let mut seen = names.collect::<Vec<_>>();
    seen.sort();
    seen.dedup();
    seen.into_iter().map(CompletionCandidate::new).collect()
}
