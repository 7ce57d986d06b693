//! A run as a person asks for it: checked first, then run.
//!
//! Must not depend on how a check or a job goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::budget::TimeBudget;
use super::check::{CheckSettings, Checked, at_once, check, threads};
use super::conditions::Conditions;
use super::jobs::{EndedRun, run};
use super::notice::{Notice, Notify};
use super::prepare::{DATA_OF, lock};
use super::resume::Resumed;
use super::session::Session;
use super::signals;
use crate::container::{left_containers, remove_containers};
use crate::hint::hinted;
use crate::lock::{Lock, holders};
use crate::plan::{Job, Plan};
use crate::process::{end_leftovers, is_of_a_dead_rosetta};
use crate::proof::Verdict;
use crate::request::{Limits, Request};

impl Session {
    /// Checks what has no verdict yet, if the request says so, then runs the plan. Returns nothing
    /// if the check was interrupted.
    pub fn check_then_run(
        &self,
        plan: &Plan,
        resumed: Option<Resumed>,
        request: &Request,
        notify: Notify,
    ) -> Result<Option<EndedRun>> {
        let budget = TimeBudget::begin(request.budget);
        let _machine = self.machine(request.no_wait, notify)?;
        let containers = self.end_left_containers();
        match end_leftovers() + containers {
            0 => {}
            processes => notify(Notice::Swept { processes }),
        }
        let (checked, said) = self.check_and_remember(plan, request, notify)?;
        let (checked, why_not) = match checked {
            Ok(checked) => (checked, None),
            Err(error) => (Checked::default(), Some(error)),
        };
        if checked.is_interrupted {
            return Ok(None);
        }
        // What is in the way of both is said once, by the run.
        let why_not = Mutex::new(why_not);
        let notify_once = |notice: Notice| {
            if matches!(notice, Notice::JobStarted { .. }) {
                lock(&why_not).take().iter().for_each(|error| notify(Notice::NotChecked(error)));
            }
            if !is_known_from_check(&notice, &said) {
                notify(notice);
            }
        };
        let going = run(plan, resumed, checked, request, budget, self, &notify_once);
        signals::runtime()?.block_on(going).map(Some)
    }

    /// Removes containers of jobs whose rosetta is gone, and returns how many they were. An engine that does not answer is
    /// told of where it is needed.
    fn end_left_containers(&self) -> usize {
        let Some(engine) = self.engine() else { return 0 };
        let left = left_containers(&engine, is_of_a_dead_rosetta);
        remove_containers(&engine, &left).map_or(0, |()| left.len())
    }

    /// Waits until no other run of this home uses the machine. A home that cannot be written to has no lock; its runs
    /// are told apart by their marks.
    pub(super) fn machine(&self, no_wait: bool, notify: Notify) -> Result<Option<Lock>> {
        let path = self.home.run_lock();
        if std::fs::create_dir_all(self.home.root()).is_err() {
            return Ok(None);
        }
        if let Some(lock) = Lock::try_take(&path) {
            return Ok(Some(lock));
        }
        let process = holders(&path).first().copied();
        if no_wait && process.is_some() {
            let process = process.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            let message = format!("another run uses this machine{process}");
            return Err(hinted(message, "leave `--no-wait` out to wait for its end"));
        }
        if process.is_some() {
            notify(Notice::Waiting { process });
        }
        Ok(Lock::wait(&path, "another run", &|_| ()).ok())
    }

    /// Checks first, if the request says so, and returns the steps that were told of meanwhile too.
    fn check_and_remember(
        &self,
        plan: &Plan,
        request: &Request,
        notify: Notify,
    ) -> Result<(Result<Checked>, BTreeSet<String>)> {
        let said = Mutex::new(BTreeSet::new());
        let remember = |notice: Notice| {
            if let Notice::StepStarted { name } = notice {
                lock(&said).insert(name.to_owned());
            }
            notify(notice);
        };
        let checked = match request.check {
            true => {
                // The first table need not wait for the checks of other experiments. Where time is limited, all are checked
                // first: what they take is known then.
                let first = plan.jobs.first().map(|job| job.experiment.name());
                let urgent = first.filter(|_| request.budget.is_none());
                self.check_first(plan, request, urgent, &remember)?
            }
            false => Ok(Checked::default()),
        };
        Ok((checked, said.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Checks what has no verdict yet, before it is timed; of experiments other than an urgent one what there is time for.
    /// That it cannot be checked, the inner error, is no reason not to run it: its records say so.
    pub(super) fn check_first(
        &self,
        plan: &Plan,
        request: &Request,
        urgent: Option<&str>,
        notify: Notify,
    ) -> Result<Result<Checked>> {
        let mut jobs = Vec::<Job>::new();
        for job in plan.jobs.iter().filter(|job| job.repeat == 1) {
            let experiment = job.experiment;
            if self.catalog.find(experiment.reference(), experiment.name()).is_some() {
                jobs.push(job.clone());
            }
        }
        if jobs.is_empty() {
            return Ok(Ok(Checked::default()));
        }
        let known = self.store.verdicts()?;
        Ok(self.check(&jobs, &known, request, urgent, notify))
    }

    /// Checks jobs whose verdict is not `known`, each where the request takes its framework from; of experiments other than
    /// an urgent one what there is time for. Limits of a run are not those of a check.
    pub fn check(
        &self,
        jobs: &[Job],
        known: &BTreeMap<String, Verdict>,
        request: &Request,
        urgent: Option<&str>,
        notify: Notify,
    ) -> Result<Checked> {
        let at_once = at_once();
        let limits = Limits { timeout: None, stall_timeout: None, ..request.limits };
        let conditions =
            Conditions { threads: threads(at_once), limits, ..Conditions::of(request) };
        let settings = CheckSettings { conditions: &conditions, reference: None, at_once, urgent };
        check(jobs, &settings, self, known, notify)
    }
}

/// Whether a notice is of a step that the check, which has said these, went through as well: data that were made ready.
fn is_known_from_check(notice: &Notice, said: &BTreeSet<String>) -> bool {
    match notice {
        Notice::StepStarted { name }
        | Notice::StepDone { name, .. }
        | Notice::StepFailed { name, .. } => name.starts_with(DATA_OF) && said.contains(*name),
        _ => false,
    }
}
