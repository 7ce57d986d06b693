//! A run as a person asks for it: checked first, then run.
//!
//! Must not depend on how a check or a job goes.

use anyhow::Result;

use super::check::{CheckSettings, Checked, at_once, check, threads};
use super::conditions::Conditions;
use super::jobs::{Ended, run};
use super::notice::{Notice, Notify};
use super::prepare::DATA_OF;
use super::resume::Resumed;
use super::session::Session;
use super::signals;
use crate::container::{containers, remove_containers};
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
    ) -> Result<Option<Ended>> {
        let _machine = self.machine(notify);
        let containers = self.end_left_containers();
        match end_leftovers() + containers {
            0 => {}
            processes => notify(Notice::Swept { processes }),
        }
        let checked = match request.check {
            true => self.check_first(plan, request, notify)?,
            false => Checked::default(),
        };
        if checked.is_interrupted {
            return Ok(None);
        }
        let verdicts = checked.verdicts.as_slice();
        let notify_once = |notice: Notice| {
            if verdicts.is_empty() || !is_known_from_check(&notice) {
                notify(notice);
            }
        };
        let runtime = signals::runtime()?;
        runtime.block_on(run(plan, resumed, verdicts, request, self, &notify_once)).map(Some)
    }

    /// Removes containers of jobs whose rosetta is gone, and returns how many they were. An engine that does not answer is
    /// told of where it is needed.
    fn end_left_containers(&self) -> usize {
        let Some(engine) = self.engine() else { return 0 };
        let all = containers(&engine).unwrap_or_default().into_iter();
        let is_left =
            |owner: &Option<String>| owner.as_ref().is_none_or(|tag| is_of_a_dead_rosetta(tag));
        let left = all.filter(|(_, owner)| is_left(owner)).map(|(id, _)| id).collect::<Vec<_>>();
        remove_containers(&engine, &left).map_or(0, |()| left.len())
    }

    /// Waits until no other run of this home uses the machine. A home that cannot be written to has no lock; its runs
    /// are told apart by their marks.
    fn machine(&self, notify: Notify) -> Option<Lock> {
        let path = self.home.run_lock();
        std::fs::create_dir_all(self.home.root()).ok()?;
        Lock::try_take(&path).or_else(|| {
            let others = holders(&path);
            if !others.is_empty() {
                notify(Notice::Waiting { process: others.first().copied() });
            }
            Lock::wait(&path, "another run", &|_| ()).ok()
        })
    }

    /// Checks what has no verdict yet, before anything is timed. That it cannot be checked is no
    /// reason not to run it: its records say so.
    pub(super) fn check_first(
        &self,
        plan: &Plan,
        request: &Request,
        notify: Notify,
    ) -> Result<Checked> {
        let mut jobs = Vec::<Job>::new();
        for job in plan.jobs.iter().filter(|job| job.repeat == 1) {
            let experiment = job.experiment;
            if self.catalog.find(experiment.reference(), experiment.name()).is_some() {
                jobs.push(job.clone());
            }
        }
        if jobs.is_empty() {
            return Ok(Checked::default());
        }
        let at_once = at_once();
        let limits = Limits { timeout: None, stall_timeout: None, ..request.limits };
        let conditions =
            Conditions { threads: threads(at_once), limits, ..Conditions::of(request) };
        let settings = CheckSettings { conditions: &conditions, reference: None, at_once };
        let known = self.store.verdicts()?;
        match check(&jobs, &settings, self, &known, notify) {
            Ok(checked) => Ok(checked),
            Err(error) => {
                notify(Notice::NotChecked(&error));
                Ok(Checked { verdicts: Vec::<Verdict>::new(), is_interrupted: false })
            }
        }
    }
}

/// Whether a notice says what the check has just said: that data are ready.
fn is_known_from_check(notice: &Notice) -> bool {
    match notice {
        Notice::StepStarted { name } | Notice::StepDone { name, .. } => name.starts_with(DATA_OF),
        _ => false,
    }
}
