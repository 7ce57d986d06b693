//! One target on its way to a verdict: parts → computed → judged.
//!
//! Must not depend on the other targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::cache;
use super::compute::{Computer, Entrant, PartInputs};
use super::reference::{NoReference, Reference};
use super::search::Search;
use crate::home::Home;
use crate::material::Material;
use crate::plan::Job;
use crate::proof::judge::{Evidence, declared, failed, framework_version, judge};
use crate::proof::part::{Depth, Outcomes, Part, dropout_parts, dtypes, failure, numbers, parts};
use crate::proof::{Verdict, given, predicts_whole};
use crate::variant::Variant;

/// One target that is to be checked.
pub(super) struct Case<'a> {
    pub(super) computer: &'a Computer<'a>,
    pub(super) ours: Entrant<'a>,
    pub(super) theirs: Entrant<'a>,
    pub(super) material: &'a Material,
}

impl Case<'_> {
    /// Fills in a verdict that says who was checked; returns nothing if it was interrupted.
    pub(super) fn verdict(&self, blank: Verdict) -> Result<Option<Verdict>> {
        let (job, material) = (self.ours.job, self.material);
        let variants = self.variants()?;
        let work = Work::begin(self.computer.home, job)?;
        let mut inputs = PartInputs::of(material);
        let (probes, probed) = self.probes(&mut inputs, work.path())?;
        let dtypes = dtypes(job.has_float64() && self.theirs.job.has_float64());
        let mut parts = parts(job.experiment, dtypes, material.batch_size);
        parts.extend(probes);
        let all = parts.iter().collect::<Vec<_>>();
        let ours = self.computer.compute(&self.ours, &all, &inputs, work.path())?;
        if self.computer.is_cancelled() {
            return Ok(None);
        }
        let known = &self.theirs.job.framework.variants;
        if let Some(failure) = failure(&parts, &ours) {
            return Ok(Some(failed(job, failure, &logs(work.path()), known, blank)));
        }
        self.ours.built.note_check(job.device, self.ours.harness);
        let given = given(&material.weights.folder, &material.weights.names)?;
        let reference = self.reference(&inputs);
        let theirs = reference.traces(&variants, Depth::Trained)?;
        let mut judged = judge(&Evidence {
            job,
            dtypes,
            ours: &ours,
            theirs: &theirs,
            probed: &probed,
            given: &given,
            batch_size: material.batch_size,
        })?;
        let search =
            Search { reference: &reference, job, declared: &variants, ours: &ours, given: &given };
        let cause = search.cause(std::mem::take(&mut judged.clues))?;
        let blank = Verdict { framework_version: framework_version(&ours), ..blank };
        Ok(Some(judged.verdict(job, cause, blank)))
    }

    fn reference<'a>(&'a self, inputs: &'a PartInputs) -> Reference<'a> {
        Reference { computer: self.computer, entrant: self.theirs, inputs }
    }

    /// Returns the variants of the reference that the target declares.
    fn variants(&self) -> Result<Vec<&Variant>> {
        let experiment = self.ours.job.experiment.name();
        let known = &self.theirs.job.framework.variants;
        let mut variants = Vec::new();
        for name in declared(self.ours.job) {
            variants.push(known.declared(experiment, &name).with_context(|| {
                let file = self.ours.job.framework.folder.join("framework.yaml");
                format!("cannot use the variants of `{}`", file.display())
            })?);
        }
        Ok(variants)
    }

    /// Returns the parts that probe dropout, and what the reference computes of them; none where no
    /// number of the probe comes through the reference, as in a network that normalises or embeds.
    fn probes(&self, inputs: &mut PartInputs, work: &Path) -> Result<(Vec<Part>, Outcomes)> {
        let none = (Vec::new(), Outcomes::new());
        let parts = dropout_parts(self.ours.job.experiment);
        if parts.is_empty() || !inputs.make_probe(self.ours.job, &work.join("probe"))? {
            return Ok(none);
        }
        let all = parts.iter().collect::<Vec<_>>();
        let theirs = match self.reference(inputs).outcomes(&[], &all) {
            // It cannot take the probe's inputs.
            Err(error) if matches!(error.downcast_ref(), Some(NoReference::Failed(_))) => {
                return Ok(none);
            }
            theirs => theirs?,
        };
        let is_whole =
            |part: &Part| numbers(&theirs, &part.name).is_some_and(|trace| predicts_whole(trace));
        Ok(if parts.iter().all(is_whole) { (parts, theirs) } else { none })
    }
}

/// Returns the logs of all jobs of a check.
fn logs(work: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(work).into_iter().flatten().flatten() {
        let log = fs::read(entry.path().join("stderr.log")).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&log));
    }
    text
}

/// A folder for the jobs of one check, removed at its end.
pub(super) struct Work {
    folder: PathBuf,
}

impl Work {
    pub(super) fn begin(home: &Home, job: &Job) -> Result<Work> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", job.name(), std::process::id());
        let folder = cache::work(home).join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Work { folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays is found under the name of a process that has ended; the numbers are read.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
