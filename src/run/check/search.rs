//! Looks for the cause of a difference: the variant of the reference that fits the numbers.
//!
//! Must not depend on how the reference is computed or cached.

use anyhow::{Result, ensure};

use super::reference::{NoReference, Reference};
use crate::catalog::Language;
use crate::plan::Job;
use crate::proof::judge::{Clue, fits, tolerance};
use crate::proof::part::{Depth, Outcomes, traces};
use crate::proof::{Cause, Given, Traces, suspects};
use crate::spec::Tolerance;
use crate::variant::{Stage, Variant, VariantKind};

/// What a variant has to fit.
pub(super) struct Search<'a> {
    pub(super) reference: &'a Reference<'a>,
    /// The job of the target.
    pub(super) job: &'a Job<'a>,
    /// The variants that the target declares: it is compared with them in place.
    pub(super) declared: &'a [&'a Variant],
    pub(super) ours: &'a Outcomes,
    pub(super) given: &'a Given,
}

impl Search<'_> {
    /// Returns the cause that the first of the clues leads to.
    pub(super) fn cause(&self, clues: Vec<Clue>) -> Result<Option<Cause>> {
        for clue in clues {
            let (ours, tolerance) =
                (traces(clue.dtype, self.ours), tolerance(clue.dtype, self.job));
            for stage in clue.stages {
                let found = match self.has_variants() {
                    true => self.variant(*stage, &ours, &tolerance)?,
                    false => self.suspect(*stage, &ours, &tolerance)?,
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
            if clue.told.is_some() {
                return Ok(clue.told);
            }
        }
        Ok(None)
    }

    /// Returns the variant of a stage that fits.
    fn variant(&self, stage: Stage, ours: &Traces, tolerance: &Tolerance) -> Result<Option<Cause>> {
        let job = self.reference.entrant.job;
        for candidate in job.framework.variants.of(job.experiment.name()) {
            let name = &candidate.name.value;
            let is_declared = self.declared.iter().any(|one| one.name.value == *name);
            if candidate.stage != stage || is_declared {
                continue;
            }
            ensure!(!self.reference.computer.is_cancelled(), NoReference::Interrupted);
            if self.fits(candidate, ours, tolerance)? {
                return self.found(candidate).map(Some);
            }
        }
        Ok(None)
    }

    fn has_variants(&self) -> bool {
        let job = self.reference.entrant.job;
        job.framework.variants.of(job.experiment.name()).next().is_some()
    }

    /// Returns what fits of that in which frameworks differ in silence, where the reference has no
    /// variants of its own, as that of a user has none.
    fn suspect(&self, stage: Stage, ours: &Traces, tolerance: &Tolerance) -> Result<Option<Cause>> {
        let job = self.reference.entrant.job;
        if job.framework.spec.language != Language::Python {
            return Ok(None);
        }
        for candidate in suspects(job.experiment.name(), &self.reference.source()?, stage) {
            ensure!(!self.reference.computer.is_cancelled(), NoReference::Interrupted);
            match self.fits(&candidate, ours, tolerance) {
                Ok(true) => return self.found(&candidate).map(Some),
                Ok(false) => {}
                // A change of a text that means something else there computes nothing.
                Err(error) if matches!(error.downcast_ref(), Some(NoReference::Failed(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether the target agrees with the reference once it is changed; the cheap parts first.
    fn fits(&self, candidate: &Variant, ours: &Traces, tolerance: &Tolerance) -> Result<bool> {
        let variants = self.declared.iter().copied().chain([candidate]).collect::<Vec<_>>();
        for depth in [Depth::Initial, Depth::Gradient, Depth::Trained] {
            let theirs = self.reference.traces(&variants, depth)?;
            if !fits(ours, &theirs, self.given, tolerance) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn found(&self, variant: &Variant) -> Result<Cause> {
        let name = variant.name.value.clone();
        let mut says = variant.says.clone();
        if variant.is == VariantKind::Variant {
            says += &format!(" (a variant that can be declared: `{name}`)");
        }
        let experiment = self.reference.entrant.job.experiment.name();
        let lines = variant.lines(experiment, &self.reference.source()?);
        Ok(Cause { name, says, lines })
    }
}
