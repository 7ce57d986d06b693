//! An experiment as it is read from its file, and what others ask of it.
//!
//! Must not depend on which frameworks exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::digest::sha256;
use crate::hint::unknown;
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

/// Returns every experiment of a `specs/` folder, by file name.
pub fn load_all(folder: &Path) -> Result<Vec<Experiment>> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("cannot list the specs in `{}`", folder.display()))?;
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Experiment::load(path)).collect()
}

impl Experiment {
    /// Reads and validates one spec.
    pub fn load(path: &Path) -> Result<Experiment> {
        let text = yaml::read(path)?;
        let digest = sha256(&text);
        let spec = yaml::parse(path, &text)?;
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
