//! What the reference computes, and what it would compute with a change: each once, kept by the
//! digest of all that it follows from.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::case::{Case, Program, Work};
use super::env_digest;
use super::kept::{self, is_kept};
use super::part::{Depth, FLOAT32, FLOAT64, Outcomes, Part, numeric_parts, traces};
use crate::catalog::Language;
use crate::check::{
    Cause, Difference, Given, NOT_TRAINED, Quantity, Trace, Traces, compare, recognise,
};
use crate::digest::sha256;
use crate::jobfile::Material;
use crate::lock::Lock;
use crate::process::Cancel;
use crate::spec::Tolerance;
use crate::variant::{Kind, Stage, Variant};

/// Why there are no numbers to compare with.
#[derive(Debug)]
pub(super) enum Stop {
    Interrupted,
    /// The reference failed: a fact about the target's check, not the end of all others.
    Failed(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Interrupted => f.write_str("interrupted"),
            Stop::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Stop {}

impl Case<'_> {
    /// Returns what the reference computes with `variants`, from what is kept of it.
    pub(super) fn reference(&self, variants: &[&Variant], depth: Depth) -> Result<Traces> {
        let experiment = self.theirs.job.experiment;
        let dtype = match self.theirs.job.has_float64() {
            true => FLOAT64,
            false => FLOAT32,
        };
        let parts = numeric_parts(experiment, dtype, depth);
        let kept = self.kept(variants, &parts.iter().collect::<Vec<_>>())?;
        Ok(traces(dtype, &kept))
    }

    /// Returns parts of the reference, computed once for all checks to come.
    pub(super) fn kept(&self, variants: &[&Variant], parts: &[&Part]) -> Result<Outcomes> {
        let (experiment, harness) = (self.theirs.job.experiment.name(), self.theirs.harness);
        let original = fs::read_to_string(harness)
            .with_context(|| format!("cannot read `{}`", harness.display()))?;
        let apply = |source: String, variant: &&Variant| variant.apply(experiment, &source);
        let source = variants.iter().fold(original.clone(), apply);
        let changed = (source != original).then_some(source.as_str());
        let store = kept::folder(self.bench.places.home);
        let folder_of =
            |part: &Part| store.join(reference_key(&self.theirs, self.material, &source, part));
        fs::create_dir_all(&store).with_context(|| format!("cannot make `{}`", store.display()))?;
        let all = parts.iter().map(|part| folder_of(part)).collect::<Vec<_>>();
        if !all.iter().all(|folder| is_kept(folder)) {
            let lock_file = all[0].with_extension("lock");
            let _lock = Lock::wait(&lock_file, "another check of the reference", &|_| ())?;
            let missing = parts.iter().zip(&all).filter(|(_, folder)| !is_kept(folder));
            let missing = missing.map(|(part, _)| *part).collect::<Vec<_>>();
            if !missing.is_empty() {
                ensure!(*self.bench.cancel.borrow() == Cancel::No, Stop::Interrupted);
                let kept = self.keep(changed, &missing, &folder_of);
                kept.map_err(|error| with_variants(error, variants))?;
            }
        }
        let read = |(part, folder): (&&Part, &PathBuf)| {
            // A home that cannot be written to only forgets sooner.
            let _ = kept::used(folder);
            let trace = Trace::read(folder).map_err(|error| format!("{error:#}"));
            (part.name.clone(), trace)
        };
        Ok(parts.iter().zip(&all).map(read).collect())
    }

    /// Computes parts of the reference, with its source `changed`, and puts them in place, whole.
    fn keep(
        &self,
        changed: Option<&str>,
        parts: &[&Part],
        folder_of: &dyn Fn(&Part) -> PathBuf,
    ) -> Result<()> {
        let Program { job, harness, .. } = self.theirs;
        let work = Work::begin(self.bench.places.home, job)?;
        let harness = match changed {
            None => harness.to_owned(),
            Some(source) => {
                ensure!(
                    job.framework.spec.language == Language::Python,
                    "variants of a harness that is compiled cannot be computed"
                );
                // It takes the harness' name: it is the experiment's.
                let harness = work.path().join(harness.file_name().unwrap_or_default());
                fs::write(&harness, source)?;
                harness
            }
        };
        let outcomes = self.compute(&self.theirs, parts, work.path(), &harness)?;
        ensure!(*self.bench.cancel.borrow() == Cancel::No, Stop::Interrupted);
        for part in parts {
            if let Some(Err(why)) = outcomes.get(&part.name) {
                let name = &job.target.name;
                let part = &part.name;
                let message = format!("the reference `{name}` failed in `{part}`: {why}");
                return Err(Stop::Failed(message).into());
            }
            let place = folder_of(part);
            let folder = work.path().join(&part.name);
            match fs::rename(&folder, &place) {
                // Another check was here first with the same numbers.
                Err(_) if is_kept(&place) => {}
                result => {
                    result.with_context(|| format!("cannot put `{}` in place", place.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the cause of a difference: what the numbers tell, or the variant that fits them.
    pub(super) fn cause(
        &self,
        first: &Difference,
        ours: &Traces,
        theirs: &Traces,
        given: &Given,
        declared: &[&Variant],
        tolerance: &Tolerance,
    ) -> Result<Option<Cause>> {
        let told = recognise(first, ours, theirs, given);
        if told.as_ref().is_some_and(|cause| cause.name != NOT_TRAINED) {
            return Ok(told);
        }
        let stages: &[Stage] = match (first.quantity, first.of.as_deref()) {
            (Quantity::Parameters | Quantity::InitialWeights, _) => return Ok(None),
            (Quantity::Outputs, _) => &[Stage::Forward],
            (Quantity::Loss, Some("step 1")) => &[Stage::Loss],
            _ => &[Stage::Update, Stage::Loss],
        };
        let experiment = self.ours.job.experiment.name();
        let source = fs::read_to_string(self.theirs.harness)?;
        for stage in stages {
            let all = self.theirs.job.framework.variants.of(experiment);
            let candidates = all.filter(|variant| {
                variant.stage == *stage
                    && declared.iter().all(|one| one.name.value != variant.name.value)
            });
            for candidate in candidates {
                if *self.bench.cancel.borrow() != Cancel::No {
                    return Ok(None);
                }
                if self.fits(candidate, declared, ours, given, tolerance)? {
                    let mut says = candidate.says.clone();
                    if candidate.is == Kind::Variant {
                        says += &format!(
                            " (a variant that can be declared: `{}`)",
                            candidate.name.value
                        );
                    }
                    let lines = candidate.lines(experiment, &source);
                    let name = candidate.name.value.clone();
                    return Ok(Some(Cause { name, says, lines }));
                }
            }
        }
        Ok(told)
    }

    /// Whether the target agrees with the reference once it is changed; the cheap parts first.
    fn fits(
        &self,
        candidate: &Variant,
        declared: &[&Variant],
        ours: &Traces,
        given: &Given,
        tolerance: &Tolerance,
    ) -> Result<bool> {
        let variants = declared.iter().copied().chain([candidate]).collect::<Vec<_>>();
        for depth in [Depth::Initial, Depth::Gradient, Depth::Trained] {
            let theirs = self.reference(&variants, depth)?;
            let differences = compare(ours, &theirs, given, tolerance);
            if differences.iter().any(|difference| !difference.is_within()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the digest of all that a part of the reference follows from.
pub(super) fn reference_key(
    theirs: &Program,
    material: &Material,
    source: &str,
    part: &Part,
) -> String {
    let Program { job, built, .. } = theirs;
    let material = part.material.as_ref().unwrap_or(material);
    let order = material.order.as_ref().map(|order| order.digest.as_str());
    let mut settings = material.settings.clone();
    settings.extend(part.check.settings.clone());
    let from = json!({
        "source": sha256(source),
        // Backends of one framework may differ by no more than a variable.
        "target": [json!(job.target.name), json!(job.target.environment)],
        "env": env_digest(built),
        "settings": settings,
        "seed": part.check.seed.unwrap_or(job.experiment.spec.seed),
        "part": [json!(part.name), json!(part.check.dtype), json!(part.check.steps)],
        "rows": [material.train_rows, material.test_rows],
        "digests": [Some(material.dataset.digest.as_str()), Some(&material.weights.digest), order],
    });
    sha256(from.to_string())[..24].to_owned()
}

/// Says which changes a reference that failed had.
fn with_variants(error: anyhow::Error, variants: &[&Variant]) -> anyhow::Error {
    match error.downcast::<Stop>() {
        Ok(Stop::Failed(why)) if !variants.is_empty() => {
            let names = variants.iter().map(|variant| variant.name.value.as_str());
            let names = names.collect::<Vec<_>>().join("`, `");
            Stop::Failed(format!("with the changes of `{names}`, {why}")).into()
        }
        Ok(stop) => stop.into(),
        Err(error) => error,
    }
}
