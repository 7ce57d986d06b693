//! An experiment as it is read from its file, and what others ask of it.
//!
//! Must not depend on which frameworks exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::digest::sha256;
use crate::hint::{Hinted, hinted, unknown};
use crate::spec::validate::validate;
use crate::spec::{Expectation, Profile, Setting, Source, Spec};
use crate::yaml::{self, Spanned};

/// What is compared: model, settings, data, profiles and expectations.
#[derive(Debug, Clone)]
pub struct Experiment {
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    pub spec: Spec,
}

/// Returns every experiment of a `specs/` folder, by file name, and what is wrong with the files that
/// cannot be read. Hidden files, such as those of editors and file systems, are passed over.
pub fn load_all(folder: &Path) -> Result<(Vec<Experiment>, Vec<anyhow::Error>)> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("cannot list the specs in `{}`", folder.display()))?;
    let mut paths = BTreeMap::<String, Vec<PathBuf>>::new();
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_spec = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        if is_spec && !stem.starts_with('.') {
            paths.entry(stem).or_default().push(path);
        }
    }
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for (stem, mut files) in paths {
        files.sort();
        let loaded = match files.as_slice() {
            [file] => Experiment::load(file),
            files => Err(named_twice(&stem, files)),
        };
        match loaded {
            Ok(experiment) => all.push(experiment),
            Err(error) => wrong.push(error),
        }
    }
    Ok((all, wrong))
}

fn named_twice(name: &str, files: &[PathBuf]) -> anyhow::Error {
    let files = files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>();
    let message = format!("{} are both the experiment `{name}`", files.join(" and "));
    hinted(message, "keep one of them")
}

/// Says where a setting goes that stands beside `settings`.
fn with_place_of_settings(error: anyhow::Error) -> anyhow::Error {
    let message = error.to_string();
    // The list of what is allowed beside it is that of the whole file.
    let is_beside =
        message.contains("unknown field `") && message.contains("`initial_weights`, `profiles`");
    match is_beside && error.downcast_ref::<Hinted>().is_some_and(|hinted| hinted.hints.is_empty())
    {
        true => hinted(message, "if it is a setting, it belongs below `settings:`"),
        false => error,
    }
}

impl Experiment {
    /// Reads and validates one spec.
    pub fn load(path: &Path) -> Result<Experiment> {
        let text = yaml::read(path)?;
        let digest = sha256(&text);
        let spec = yaml::parse(path, &text).map_err(with_place_of_settings)?;
        let experiment = Experiment { path: path.to_owned(), digest, spec };
        validate(&experiment)?;
        Ok(experiment)
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the name of the target that others are compared with.
    pub fn reference(&self) -> &str {
        self.spec.reference.as_ref().map_or("numpy", |stated| stated.value.as_str())
    }

    /// Returns a profile, or an error with those that exist.
    pub fn profile(&self, name: &str) -> Result<&Profile> {
        let known = self.spec.profiles.keys().map(String::as_str);
        let profile = self.spec.profiles.get(name);
        profile.ok_or_else(|| unknown(&format!("profile of {}", self.name()), name, known))
    }

    /// Returns the settings, those of `layer` over the experiment's.
    pub fn settings(
        &self,
        layer: &BTreeMap<String, Spanned<Setting>>,
    ) -> BTreeMap<String, Setting> {
        let all = self.spec.settings.iter().chain(layer);
        all.map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }

    /// Returns the band that an accuracy must fall into.
    pub fn expected_accuracy(&self, profile: &str, source: Source) -> Option<[f64; 2]> {
        let fits = |e: &&Expectation| e.profile.value == profile && e.source == source;
        self.spec.expect.iter().find(fits).map(|e| e.accuracy)
    }
}
