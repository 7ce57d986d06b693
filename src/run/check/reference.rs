//! What the reference computes, and what it would compute with a change: each once, cached by the
//! digest of all that it follows from.
//!
//! Must not depend on what it is compared with.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::bench::env_digest;
use super::cache::{self, is_cached};
use super::case::Work;
use super::compute::{Computer, Entrant, PartInputs};
use crate::catalog::Language;
use crate::lock::{Lock, holders};
use crate::proof::key::reference_key;
use crate::proof::part::{Depth, Outcomes, Part, numeric_parts, reference_dtype, traces};
use crate::proof::{Trace, Traces};
use crate::variant::Variant;

/// Why there are no numbers to compare with.
#[derive(Debug)]
pub(super) enum NoReference {
    Interrupted,
    /// The reference failed: a fact about the target's check, not the end of all others.
    Failed(String),
}

impl fmt::Display for NoReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReference::Interrupted => f.write_str("interrupted"),
            NoReference::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NoReference {}

/// What a target is compared with.
pub(super) struct Reference<'a> {
    pub(super) computer: &'a Computer<'a>,
    pub(super) entrant: Entrant<'a>,
    pub(super) inputs: &'a PartInputs<'a>,
}

/// Parts of the reference, with changes, and where each is cached.
struct WantedParts<'a> {
    parts: &'a [&'a Part],
    /// One for each part.
    folders: Vec<PathBuf>,
    /// The changed source of the harness.
    changed: Option<String>,
}

impl Reference<'_> {
    /// Returns the numbers of the reference with `variants`, in the best type that it has.
    pub(super) fn traces(&self, variants: &[&Variant], depth: Depth) -> Result<Traces> {
        let dtype = reference_dtype(self.entrant.job.has_float64());
        let parts = numeric_parts(self.entrant.job.experiment, dtype, depth);
        let outcomes = self.outcomes(variants, &parts.iter().collect::<Vec<_>>())?;
        Ok(traces(dtype, &outcomes))
    }

    /// Returns parts of the reference with `variants`, computed once for all checks to come.
    pub(super) fn outcomes(&self, variants: &[&Variant], parts: &[&Part]) -> Result<Outcomes> {
        let wanted = self.wanted(variants, parts)?;
        if !wanted.folders.iter().all(|folder| is_cached(folder)) {
            let lock_file = wanted.folders[0].with_extension("lock");
            let report = self.computer.report();
            // That two checks of this process wait for each other is nothing to tell.
            let report_others = |progress| {
                if holders(&lock_file).iter().any(|process| *process != std::process::id()) {
                    report(progress);
                }
            };
            let others = "another check of the reference";
            let _lock = Lock::wait(&lock_file, others, &report_others)?;
            self.compute(&wanted).map_err(|error| with_variants(error, variants))?;
        }
        let mut outcomes = Outcomes::new();
        for (part, folder) in parts.iter().zip(&wanted.folders) {
            // A home that cannot be written to only forgets sooner.
            let _ = cache::used(folder);
            let trace = Trace::read(folder, part.compares_weights);
            let trace = trace.map(Arc::new).map_err(|error| format!("{error:#}"));
            outcomes.insert(part.name.clone(), trace);
        }
        Ok(outcomes)
    }

    /// Returns the source of the harness.
    pub(super) fn source(&self) -> Result<String> {
        let harness = self.entrant.harness;
        fs::read_to_string(harness).with_context(|| format!("cannot read `{}`", harness.display()))
    }

    fn wanted<'a>(&self, variants: &[&Variant], parts: &'a [&'a Part]) -> Result<WantedParts<'a>> {
        let Entrant { job, built, .. } = self.entrant;
        let original = self.source()?;
        let mut source = original.clone();
        for variant in variants {
            source = variant.apply(job.experiment.name(), &source);
        }
        let store = cache::folder(self.computer.home);
        fs::create_dir_all(&store).with_context(|| format!("cannot make `{}`", store.display()))?;
        let (env, mut folders) = (env_digest(built), Vec::new());
        for part in parts {
            let key = reference_key(job, &env, self.inputs.material(part), &source, part);
            folders.push(store.join(key));
        }
        Ok(WantedParts { parts, folders, changed: (source != original).then_some(source) })
    }

    /// Computes what is not cached yet and puts it in place, whole.
    fn compute(&self, wanted: &WantedParts) -> Result<()> {
        let mut missing = Vec::new();
        let mut places = Vec::new();
        for (part, folder) in wanted.parts.iter().zip(&wanted.folders) {
            if !is_cached(folder) {
                missing.push(*part);
                places.push(folder);
            }
        }
        if missing.is_empty() {
            return Ok(()); // Another check computed it while this one waited.
        }
        ensure!(!self.computer.is_cancelled(), NoReference::Interrupted);
        let work = Work::begin(self.computer.home, self.entrant.job)?;
        let harness = self.harness(wanted.changed.as_deref(), work.path())?;
        let entrant = Entrant { harness: &harness, ..self.entrant };
        let outcomes = self.computer.compute(&entrant, &missing, self.inputs, work.path())?;
        ensure!(!self.computer.is_cancelled(), NoReference::Interrupted);
        for (part, place) in missing.into_iter().zip(places) {
            if let Some(Err(why)) = outcomes.get(&part.name) {
                let (name, part) = (&self.entrant.job.target.name, &part.name);
                let message = format!("the reference `{name}` failed in `{part}`: {why}");
                return Err(NoReference::Failed(message).into());
            }
            cache::put(&work.path().join(&part.name), place)?;
        }
        Ok(())
    }

    /// Returns the harness, or a copy in `folder` that has the `changed` source.
    fn harness(&self, changed: Option<&str>, folder: &Path) -> Result<PathBuf> {
        let harness = self.entrant.harness;
        let Some(source) = changed else { return Ok(harness.to_owned()) };
        ensure!(
            self.entrant.job.framework.spec.language == Language::Python,
            "variants of a harness that is compiled cannot be computed"
        );
        // It takes the harness' name: it is the experiment's.
        let harness = folder.join(harness.file_name().unwrap_or_default());
        fs::write(&harness, source)?;
        Ok(harness)
    }
}

/// Says which changes a reference that failed had.
fn with_variants(error: anyhow::Error, variants: &[&Variant]) -> anyhow::Error {
    match error.downcast::<NoReference>() {
        Ok(NoReference::Failed(why)) if !variants.is_empty() => {
            let names = variants.iter().map(|variant| variant.name.value.as_str());
            let names = names.collect::<Vec<_>>().join("`, `");
            NoReference::Failed(format!("with the changes of `{names}`, {why}")).into()
        }
        Ok(stop) => stop.into(),
        Err(error) => error,
    }
}
