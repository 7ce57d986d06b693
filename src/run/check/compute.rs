//! A list of parts → their numbers, target and reference alike. Must not depend on what the numbers
//! are compared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::imports::Imports;
use crate::catalog::Language;
use crate::env::Built;
use crate::event::Event;
use crate::home::Home;
use crate::jobfile::{self, Check, JobFile, JobPlace, Series};
use crate::material::{Material, dropout_probe};
use crate::plan::Job;
use crate::process::Cancel;
use crate::progress::Progress;
use crate::proof::Trace;
use crate::proof::part::{Input, Outcomes, Part};
use crate::run::attempt::{Asked, Attempt, Ending, Program, TIMEOUT};
use crate::run::conditions::Conditions;
use crate::run::notice::{Notice, Notify};
use crate::run::outcome::{ended_early, last_words};

/// Threads of OpenMP spin while they wait for each other, unless told not to. Of two threads on two CPUs that have other
/// work too, one is always waited for: three quarters of a check of PyTorch's rnn were that.
const PATIENT: [&str; 2] = ["OMP_WAIT_POLICY", "PASSIVE"];

/// A harness of a target, in its environment.
#[derive(Clone, Copy)]
pub(super) struct Entrant<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) built: &'a Built,
    pub(super) harness: &'a Path,
}

/// What parts are computed with.
pub(super) struct PartInputs<'a> {
    experiment: &'a Material,
    /// None where no number can go through the network of the experiment.
    probe: Option<Material>,
}

impl<'a> PartInputs<'a> {
    pub(super) fn of(experiment: &'a Material) -> PartInputs<'a> {
        PartInputs { experiment, probe: None }
    }

    /// Makes the dropout probe of a job's experiment below `folder`, if there can be one.
    pub(super) fn make_probe(&mut self, job: &Job, folder: &Path) -> Result<bool> {
        fs::create_dir_all(folder)?;
        let tensors = &job.experiment.spec.initial_weights.tensors;
        let shapes = tensors.iter().map(|t| (t.name.value.clone(), t.shape.clone()));
        let shapes = shapes.collect::<Vec<_>>();
        self.probe = dropout_probe::material(folder, self.experiment, &shapes)?;
        Ok(self.probe.is_some())
    }

    /// Returns what a part is given.
    pub(super) fn material(&self, part: &Part) -> &Material {
        match (&self.probe, part.input) {
            (Some(probe), Input::DropoutProbe) => probe,
            _ => self.experiment,
        }
    }
}

/// Computes parts, one process after the other.
pub(super) struct Computer<'a> {
    pub(super) conditions: &'a Conditions,
    pub(super) home: &'a Home,
    pub(super) cancel: &'a watch::Receiver<Cancel>,
    pub(super) notify: Notify<'a>,
    /// The name under which the check is shown.
    pub(super) step: &'a str,
    pub(super) runtime: &'a Runtime,
}

impl Computer<'_> {
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow() != Cancel::No
    }

    /// Computes parts in folders below `folder`: scripts in one process, programs each in its own.
    pub(super) fn compute(
        &self,
        entrant: &Entrant,
        parts: &[&Part],
        inputs: &PartInputs,
        folder: &Path,
    ) -> Result<Outcomes> {
        let mut files = Vec::new();
        for part in parts {
            files.push(self.write(
                entrant,
                part,
                inputs.material(part),
                &folder.join(&part.name),
            )?);
        }
        let mut words = BTreeMap::new();
        if entrant.job.framework.spec.language != Language::Rust {
            let series = folder.join("series");
            fs::create_dir_all(&series)?;
            let imports = Imports::of(self.home, entrant.harness, entrant.built);
            let noted = imports.lend(&series);
            let file = jobfile::write(&series, &Series::of(&files, &noted))?;
            let said = self.run(entrant, &file, folder, parts.len())?;
            imports.keep(&noted);
            words.extend(parts.iter().map(|part| (part.name.as_str(), said.clone())));
        } else {
            for (part, file) in parts.iter().zip(&files) {
                words.insert(part.name.as_str(), self.run(entrant, file, folder, 1)?);
            }
        }
        let mut outcomes = Outcomes::new();
        for part in parts {
            let trace = Trace::read(&folder.join(&part.name), part.compares_weights);
            let trace = trace.map_err(|error| match words[part.name.as_str()].as_str() {
                "" => format!("{error:#}"),
                words => words.to_owned(),
            });
            outcomes.insert(part.name.clone(), trace.map(Arc::new));
        }
        Ok(outcomes)
    }

    /// Writes the job file of a part.
    fn write(
        &self,
        entrant: &Entrant,
        part: &Part,
        material: &Material,
        outputs: &Path,
    ) -> Result<PathBuf> {
        fs::create_dir_all(outputs)
            .with_context(|| format!("cannot make `{}`", outputs.display()))?;
        let job = entrant.job;
        let place = JobPlace {
            job: format!("{}.{}", job.name(), part.name),
            target: &job.target.name,
            device: job.device,
            threads: self.conditions.threads,
            outputs,
        };
        let Part { steps, dtype, settings, seed, .. } = part.clone();
        let check = Check { steps, dtype, settings, seed };
        let file = JobFile::of_check(job.experiment, material, &place, &check);
        jobfile::write(outputs, &file)
    }

    /// Returns what hears how far the work is.
    pub(super) fn report(&self) -> impl Fn(Progress) + Sync {
        |progress| (self.notify)(Notice::StepProgress { name: self.step, progress })
    }

    /// Runs a job file to its end and returns what was said at it; a series says when each of its
    /// `jobs` is done.
    fn run(&self, entrant: &Entrant, file: &Path, folder: &Path, jobs: usize) -> Result<String> {
        let cache = self.cache(entrant.job);
        let mut writes = vec![folder.to_owned()];
        if entrant.built.image().is_some() && !entrant.job.target.check_environment.is_empty() {
            fs::create_dir_all(&cache)
                .with_context(|| format!("cannot make `{}`", cache.display()))?;
            writes.push(cache);
        }
        let attempt = Attempt {
            program: Program::of(entrant.job, entrant.harness),
            built: entrant.built,
            job_file: file,
            writes,
            conditions: self.conditions,
            timeout: TIMEOUT,
            left: None,
            asked: Asked::default(),
            // Several checks share the CPUs.
            is_timed: false,
            environment: self.environment(entrant.job),
        };
        let mut done = 0;
        let count = |event: &Event| {
            if matches!(event, Event::Part { .. }) {
                done += 1;
                let progress = Progress::Doing(format!("{done} of {jobs} jobs done"));
                (self.notify)(Notice::StepProgress { name: self.step, progress });
            }
        };
        let mut cancel = self.cancel.clone();
        let ending = self.runtime.block_on(attempt.run(&mut cancel, count))?;
        Ok(how_it_ended(&ending))
    }

    /// Returns the folder in which a target's checks may leave what the next ones use.
    fn cache(&self, job: &Job) -> PathBuf {
        self.home.scratch().join("cache").join(&job.target.name)
    }

    /// Returns the variables that a target has for checks only.
    fn environment(&self, job: &Job) -> BTreeMap<String, String> {
        let cache = self.cache(job);
        let cache = cache.to_string_lossy();
        let [name, value] = PATIENT.map(str::to_owned);
        let mut variables = BTreeMap::from([(name, value)]);
        for (name, value) in &job.target.check_environment {
            variables.insert(name.clone(), value.replace("{cache}", &cache));
        }
        variables
    }
}

/// Returns why a process may not have done all of its work; empty where it told nothing.
fn how_it_ended(ending: &Ending) -> String {
    match ended_early(ending) {
        Some(outcome) => outcome.reason.unwrap_or_default(),
        // A series goes on after a job that fails; the log has why.
        None => last_words(&ending.finished).unwrap_or_default().to_owned(),
    }
}
