//! One target on its way to a verdict.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::kept;
use super::part::{Depth, FLOAT64, Outcomes, Part, failure, traces};
use crate::catalog::Language;
use crate::check::{
    Cause, Compared, Equivalence, Grade, Trace, Verdict, compare, float64_tolerance, given,
    rounding, sentence,
};
use crate::env::Built;
use crate::event::{Event, Line, Stamped};
use crate::home::Home;
use crate::jobfile::{self, Material, Place};
use crate::launch::{Finished, Launcher, Local};
use crate::plan::Job;
use crate::process::Cancel;
use crate::progress::Progress;
use crate::run::{Notice, Start, ended_early, launch};
use crate::spec::{Task, Tolerance};

/// A program that computes parts: a harness of a target in its environment.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) built: &'a Built,
    pub(super) harness: &'a Path,
}

/// One target on its way to a verdict.
pub(super) struct Case<'a> {
    pub(super) bench: &'a Bench<'a>,
    /// The name under which it is shown.
    pub(super) step: &'a str,
    pub(super) ours: Program<'a>,
    pub(super) theirs: Program<'a>,
    pub(super) material: &'a Material,
    pub(super) runtime: &'a tokio::runtime::Runtime,
}

impl Case<'_> {
    pub(super) fn verdict(&self, key: String) -> Result<Option<Verdict>> {
        let (experiment, target) = (self.ours.job.experiment, self.ours.job.target);
        let reference = self.theirs.job.target.name.as_str();
        let mut verdict =
            self.bench.blank(self.ours.job, key, reference, Equivalence::unchecked(""));
        let declared = target.variants.get(experiment.name()).cloned().unwrap_or_default();
        let variants = declared
            .iter()
            .map(|name| self.theirs.job.framework.variants.declared(experiment.name(), name))
            .collect::<Result<Vec<_>>>();
        let variants = match variants {
            Ok(variants) => variants,
            Err(error) => {
                let file = self.ours.job.framework.folder.join("framework.yaml");
                return Err(
                    error.context(format!("cannot use the variants of `{}`", file.display()))
                );
            }
        };
        let work = Work::begin(self.bench.places.home, self.ours.job)?;
        let parts = self.parts(work.path())?;
        let all = parts.iter().collect::<Vec<_>>();
        let outcomes = self.compute(&self.ours, &all, work.path(), self.ours.harness)?;
        if *self.bench.cancel.borrow() != Cancel::No {
            return Ok(None);
        }
        if let Some((name, why)) = failure(&parts, &outcomes) {
            verdict.cause = self.shape(work.path());
            let grade = if verdict.cause.is_some() { Grade::Different } else { Grade::Unchecked };
            let says = verdict.cause.as_ref().map(|cause| format!("{}; ", cause.says));
            let reason = format!("{}its job `{name}` failed: {why}", says.unwrap_or_default());
            verdict.equivalence = Equivalence { grade, ..Equivalence::unchecked(reason) };
            return Ok(Some(verdict));
        }
        let given = given(&self.material.weights.folder, &self.material.weights.names)?;
        let version = outcomes.values().flatten().find_map(|trace| trace.version.clone());
        verdict.framework_version = version;
        let theirs = self.reference(&variants, Depth::Trained)?;
        let mut cause = None;
        for dtype in self.dtypes() {
            let tolerance = self.tolerance(dtype);
            let ours = traces(dtype, &outcomes);
            let differences = compare(&ours, &theirs, &given, &tolerance);
            let compared = Compared { dtype: (*dtype).to_owned(), differences };
            if let (None, Some(first)) = (&cause, compared.first()) {
                // Wrong mathematics would have been seen in float64.
                let float64_agrees = !verdict.compared.is_empty() && verdict.first().is_none();
                cause = match float64_agrees {
                    true => rounding(first),
                    false => self.batch_statistics(&outcomes)?,
                };
                if cause.is_none() {
                    cause = self.cause(first, &ours, &theirs, &given, &variants, &tolerance)?;
                }
            }
            verdict.compared.push(compared);
        }
        if let Some((dtype, first)) = verdict.first() {
            let mut reason = sentence(dtype, first);
            if let Some(cause) = &cause {
                reason = format!("{}; {reason}", cause.says);
            }
            verdict.cause = cause;
            verdict.equivalence = self.different(reason);
            return Ok(Some(verdict));
        }
        verdict.semantics = self.semantics(&outcomes, &parts)?;
        if let Some(wrong) = verdict.semantics.iter().find(|semantic| !semantic.is_so) {
            verdict.equivalence = self.different(wrong.sentence());
            return Ok(Some(verdict));
        }
        let precision = target.precision;
        let grade = match (declared.is_empty(), self.dtypes().contains(&FLOAT64)) {
            (false, _) => Grade::Variant,
            (true, true) => Grade::Exact,
            (true, false) => Grade::Close,
        };
        verdict.equivalence =
            Equivalence { grade, variants: declared, reason: None, is_declared: false, precision };
        Ok(Some(verdict))
    }

    fn different(&self, reason: String) -> Equivalence {
        let (target, name) = (self.ours.job.target, self.ours.job.experiment.name());
        let declared = target.differences.get(name);
        Equivalence {
            grade: Grade::Different,
            variants: Vec::new(),
            reason: Some(declared.cloned().unwrap_or(reason)),
            is_declared: declared.is_some(),
            precision: target.precision,
        }
    }

    pub(super) fn tolerance(&self, dtype: &str) -> Tolerance {
        match dtype {
            FLOAT64 => float64_tolerance(),
            _ => {
                let stated = self.ours.job.experiment.spec.tolerance;
                self.ours.job.target.precision.map_or(stated, |precision| stated.of(precision))
            }
        }
    }

    /// Computes parts with a program, in folders below `folder`.
    pub(super) fn compute(
        &self,
        program: &Program,
        parts: &[&Part],
        folder: &Path,
        harness: &Path,
    ) -> Result<Outcomes> {
        let mut files = Vec::new();
        for part in parts {
            let outputs = folder.join(&part.name);
            fs::create_dir_all(&outputs)
                .with_context(|| format!("cannot make `{}`", outputs.display()))?;
            let job = program.job;
            let place = Place {
                job: format!("{}.{}", job.name(), part.name),
                target: &job.target.name,
                device: job.device,
                threads: self.bench.settings.run.threads,
                outputs: &outputs,
            };
            let material = part.material.as_ref().unwrap_or(self.material);
            let file = jobfile::job_file(job.experiment, material, &place, Some(&part.check));
            files.push(jobfile::write(&outputs, &file)?);
        }
        let mut why = BTreeMap::new();
        if program.job.framework.spec.language == Language::Python {
            let series = folder.join("series");
            fs::create_dir_all(&series)?;
            let file = jobfile::write(&series, &jobfile::series(&files))?;
            let words = self.run(program, harness, &file, parts.len())?;
            why.extend(parts.iter().map(|part| (part.name.clone(), words.clone())));
        } else {
            for (part, file) in parts.iter().zip(&files) {
                why.insert(part.name.clone(), self.run(program, harness, file, 1)?);
            }
        }
        let read = |part: &&Part| {
            let trace = Trace::read(&folder.join(&part.name));
            let trace = trace.map_err(|error| match why[&part.name].as_str() {
                "" => format!("{error:#}"),
                words => words.to_owned(),
            });
            (part.name.clone(), trace)
        };
        Ok(parts.iter().map(read).collect())
    }

    /// Runs a job file to its end and returns how that was; a series says when each of its `jobs`
    /// is done.
    fn run(&self, program: &Program, harness: &Path, file: &Path, jobs: usize) -> Result<String> {
        let mut launch =
            launch(&Start::of(program.job, harness), program.built, file, self.bench.settings.run)?;
        // Nothing is timed: several checks share the CPUs.
        launch.cpus = None;
        launch.is_measured = false;
        let cache = self.bench.places.home.checks().join("cache").join(&program.job.target.name);
        let cache = cache.to_string_lossy();
        let variables = program.job.target.check_environment.iter();
        launch.environment.extend(
            variables.map(|(name, value)| (name.clone(), value.replace("{cache}", &cache))),
        );
        let mut cancel = self.bench.cancel.clone();
        let mut done = 0;
        let mut on_line = |line| {
            if let Line::Event(Stamped { event: Event::Part { .. }, .. }) = line {
                done += 1;
                let progress = Progress::Doing(format!("{done} of {jobs} jobs done"));
                (self.bench.notify)(Notice::StepProgress { name: self.step, progress });
            }
        };
        let place = Local::new();
        let job = place.run(&launch, &mut cancel, &mut on_line);
        let finished = self.runtime.block_on(job)?;
        Ok(how_it_ended(&finished, &launch.timeout))
    }

    /// Returns the cause of features that change with the batch they are computed in.
    fn batch_statistics(&self, outcomes: &Outcomes) -> Result<Option<Cause>> {
        if self.ours.job.experiment.spec.task != Task::Features {
            return Ok(None);
        }
        let wrong = self.semantics(outcomes, &[])?.into_iter().find(|semantic| !semantic.is_so);
        Ok(wrong.map(|semantic| Cause {
            name: "batch_statistics".to_owned(),
            says: format!(
                "features depend on their batch ({}): batch normalisation is in training mode",
                semantic.seen
            ),
            lines: Vec::new(),
        }))
    }

    /// Returns the cause of a job that failed over a shape, if its log shows a known number.
    fn shape(&self, work: &Path) -> Option<Cause> {
        let experiment = self.ours.job.experiment.name();
        let logs = fs::read_dir(work).ok()?.flatten();
        let text = logs
            .filter_map(|entry| fs::read(entry.path().join("stderr.log")).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect::<String>();
        let numbers = text.split(|c: char| !c.is_ascii_digit()).collect::<Vec<_>>();
        let variants = &self.theirs.job.framework.variants.variants;
        let found = variants.iter().find(|variant| {
            let number = variant.shows.get(experiment).map(u64::to_string);
            number.is_some_and(|number| numbers.contains(&number.as_str()))
        })?;
        let (name, says) = (found.name.value.clone(), found.says.clone());
        Some(Cause { name, says, lines: Vec::new() })
    }
}

/// Returns why a process may not have done all of its work; empty where it told nothing.
fn how_it_ended(finished: &Finished, timeout: &Duration) -> String {
    match ended_early(finished, timeout) {
        Some(outcome) => outcome.reason.unwrap_or_default(),
        // A series goes on after a job that fails; the log has why.
        None => {
            let last = finished.last_words.iter().rfind(|line| !line.trim().is_empty());
            last.map(|line| line.trim().to_owned()).unwrap_or_default()
        }
    }
}

/// A folder for the jobs of one check, removed at its end.
pub(super) struct Work {
    folder: PathBuf,
}

impl Work {
    pub(super) fn begin(home: &Home, job: &Job) -> Result<Work> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", job.name(), std::process::id());
        let folder = kept::work(home).join(name);
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
