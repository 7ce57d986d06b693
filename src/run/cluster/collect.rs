//! Takes in what tasks have published, finds out which are lost, and submits those again.
//!
//! Must not depend on who submitted the run, nor on anything but files and what Slurm answers: any rosetta may collect, at any
//! time, as often as it likes. Two do not at once: the run's folder is held meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::statuses;
use crate::cluster::{
    ClusterLauncher, ClusterPlan, Fate, Ledger, Look, Queue, Seen, Slurm, Submission, TaskAttempt,
    TaskState, fate, name,
};
use crate::record::{Record, Status};
use crate::regular;
use crate::run::session::Session;
use crate::spec::Experiment;
use crate::store::RunFolder;

/// Bytes of records that are added to records.jsonl at once: whatever the number of jobs, no more is held.
const LINES_AT_ONCE: usize = 1 << 20;

/// A run of a cluster that this process collects.
pub struct Collector<'a> {
    pub(super) session: &'a Session,
    pub(super) ledger: Ledger,
    pub(super) plan: ClusterPlan,
    pub(super) launcher: ClusterLauncher,
    pub(super) folder: RunFolder,
    pub(super) slurm: Slurm,
    pub(super) seen: Seen,
    /// How jobs ended that have a record.
    pub(super) ended: BTreeMap<usize, Status>,
}

/// What one pass found, and did.
#[derive(Debug, Default)]
pub struct Pass {
    pub jobs: usize,
    pub ok: usize,
    pub not_ok: usize,
    /// How many records are new.
    pub new: usize,
    pub running: usize,
    pub waiting: usize,
    /// Jobs whose tasks are gone and whose results may be late.
    pub late: usize,
    /// Jobs that were submitted.
    pub submitted: usize,
    /// Of those, how many had been submitted before.
    pub again: usize,
    /// Arrays that were submitted.
    pub arrays: Vec<String>,
    /// Why Slurm did not do what it was asked; results are taken in all the same.
    pub trouble: Option<anyhow::Error>,
}

impl Pass {
    pub fn is_finished(&self) -> bool {
        self.ok + self.not_ok == self.jobs
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        session: &'a Session,
        ledger: Ledger,
        plan: ClusterPlan,
        launcher: ClusterLauncher,
        folder: RunFolder,
    ) -> Result<Collector<'a>> {
        let by_name = statuses(folder.path());
        let jobs = plan.jobs.iter().enumerate();
        let ended =
            jobs.filter_map(|(index, (job, _))| Some((index, *by_name.get(job)?))).collect();
        let seen = ledger.seen()?;
        Ok(Collector { session, ledger, plan, launcher, folder, slurm: Slurm, seen, ended })
    }

    /// Returns the collector of a stored run.
    pub fn open(session: &'a Session, id: &str, folder: &Path) -> Result<Collector<'a>> {
        let ledger = Ledger::of(folder);
        let plan = ledger.plan()?;
        let launcher = launcher(&plan)?;
        let folder = session.store.reopen(id, folder)?;
        Collector::new(session, ledger, plan, launcher, folder)
    }

    pub fn id(&self) -> &str {
        &self.plan.run
    }

    pub fn launcher(&self) -> &ClusterLauncher {
        &self.launcher
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes in what there is and does what is due. Slurm is asked once, and where `asks_accounts` once more if tasks are gone.
    pub fn pass(&mut self, experiments: &[Experiment], asks_accounts: bool) -> Result<Pass> {
        let mut pass = Pass { jobs: self.plan.jobs.len(), ..Pass::default() };
        let before = self.ended.len();
        if before < pass.jobs {
            self.look(&mut pass, experiments, asks_accounts)?;
        }
        pass.new = self.ended.len() - before;
        pass.ok = self.ended.values().filter(|status| **status == Status::Ok).count();
        pass.not_ok = self.ended.len() - pass.ok;
        Ok(pass)
    }

    fn look(
        &mut self,
        pass: &mut Pass,
        experiments: &[Experiment],
        asks_accounts: bool,
    ) -> Result<()> {
        let mut submissions = self.ledger.submissions()?;
        // The queue first: a task that was not there then has left what it leaves by the time that files are looked at.
        let mut queue = match submissions.iter().any(|one| one.refused.is_none()) {
            true => self.slurm.queue(&name(&self.plan.run)).map(Some),
            false => Ok(Some(Queue::default())),
        }
        .unwrap_or_else(|error| {
            pass.trouble = Some(error);
            None
        });
        self.adopt(&mut submissions, queue.as_ref())?;
        let attempts = self.ledger.attempts()?;
        self.take_in(&attempts)?;
        let places = places(&submissions, self.plan.jobs.len());
        if let Some(queue) = queue.as_mut().filter(|_| asks_accounts) {
            self.ask_accounts(queue, &submissions, &places);
        }
        let starts = starts(&submissions, &self.plan, &attempts);
        let (mut due, mut ends) = (Vec::new(), Vec::new());
        let before = self.seen.clone();
        for (index, place) in places.iter().enumerate() {
            if self.ended.contains_key(&index) {
                self.seen.jobs.remove(&index);
                continue;
            }
            let place = place
                .map(|(at, task)| (&submissions[at], task))
                .filter(|(one, _)| one.refused.is_none());
            let task =
                place.and_then(|(one, task)| queue.as_ref()?.task(one.array.as_deref()?, task));
            let look = Look {
                submission: place.map(|(one, _)| one.number),
                task,
                is_answered: queue.is_some(),
                starts: starts[index],
                attempts: self.launcher.attempts,
                is_cancelled: self.ledger.is_cancelled(),
                now: now(),
                grace: self.launcher.grace.as_secs_f64(),
            };
            let mut seen = self.seen.jobs.remove(&index).unwrap_or_default();
            let end = task.or(seen.end.as_ref()).filter(|task| task.state.is_failure());
            if let (Some(end), Some(one)) = (end, look.submission) {
                let job = &self.plan.jobs[index].0;
                let mut begun = attempts.get(job).into_iter().flatten();
                if !end.node.is_empty() && !begun.any(|attempt| attempt.submission == one) {
                    self.seen.unfit_nodes.insert(end.node.clone());
                }
            }
            match fate(&look, &mut seen) {
                Fate::Waits if task.is_some_and(|task| task.state != TaskState::Pending) => {
                    pass.running += 1;
                }
                Fate::Waits => pass.waiting += 1,
                Fate::Late => pass.late += 1,
                Fate::Submit => due.push(index),
                Fate::Ends(ended) => ends.push((index, ended)),
            }
            if seen != Default::default() {
                self.seen.jobs.insert(index, seen);
            }
        }
        self.end(ends, experiments, &submissions, &places)?;
        if self.seen != before {
            self.ledger.write_seen(&self.seen)?;
        }
        if queue.is_some() {
            self.submit(&due, &starts, submissions.len(), pass)?;
        }
        if let Some(queue) = &queue {
            self.cancel_twins(queue, &submissions, pass)?;
        }
        Ok(())
    }

    /// Gives submissions the array that Slurm made of them where rosetta was killed before it could write that down.
    fn adopt(&self, submissions: &mut [Submission], queue: Option<&Queue>) -> Result<()> {
        for one in submissions.iter_mut().filter(|one| one.array.is_none() && one.refused.is_none())
        {
            if let Some(array) = queue.and_then(|queue| queue.array(one.number)) {
                one.array = Some(array.to_owned());
                self.ledger.write_submission(one)?;
            }
        }
        Ok(())
    }

    /// Makes results of attempts the jobs' own.
    fn take_in(&mut self, attempts: &BTreeMap<String, Vec<TaskAttempt>>) -> Result<()> {
        let mut lines = Vec::new();
        for (index, (job, _)) in self.plan.jobs.iter().enumerate() {
            if self.ended.contains_key(&index) {
                continue;
            }
            let results = attempts.get(job).into_iter().flatten();
            let mut results = results.filter_map(|one| Some((one, self.result(one, job)?)));
            let Some((attempt, (line, status))) = results.next() else { continue };
            if self.folder.take_in(job, &attempt.folder)? {
                lines.extend(line);
                self.ended.insert(index, status);
            }
            if lines.len() > LINES_AT_ONCE {
                self.folder.add_lines(&lines)?;
                lines.clear();
            }
        }
        match lines.is_empty() {
            true => Ok(()),
            false => self.folder.add_lines(&lines),
        }
    }

    /// Returns the line of an attempt's record and how the job ended; none where there is no sound record of that job.
    fn result(&self, attempt: &TaskAttempt, job: &str) -> Option<(Vec<u8>, Status)> {
        let line = regular::read(&attempt.folder.join("record.json")).ok()?;
        let record = serde_json::from_slice::<Record>(&line).ok()?;
        let is_whole =
            line.iter().filter(|byte| **byte == b'\n').count() == 1 && line.ends_with(b"\n");
        let is_of_job = record.run == self.plan.run && record.job == job;
        (is_whole && is_of_job).then_some((line, record.outcome.status))
    }

    /// Asks how tasks ended that the queue has forgotten.
    fn ask_accounts(
        &self,
        queue: &mut Queue,
        submissions: &[Submission],
        places: &[Option<(usize, u32)>],
    ) {
        let mut arrays = BTreeSet::new();
        for (index, place) in places.iter().enumerate() {
            let Some((at, task)) = place.filter(|_| !self.ended.contains_key(&index)) else {
                continue;
            };
            let is_seen = self.seen.jobs.get(&index).is_some_and(|seen| seen.end.is_some());
            if let Some(array) =
                submissions[at].array.as_deref().filter(|array| queue.task(array, task).is_none())
                && !is_seen
            {
                arrays.insert(array.to_owned());
            }
        }
        if !arrays.is_empty() {
            self.slurm.add_ended(queue, &arrays.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Returns the launcher of a run: its file as it is now, so that what Slurm refused can be corrected, else as it was.
pub(super) fn launcher(plan: &ClusterPlan) -> Result<ClusterLauncher> {
    let text =
        regular::read_to_string(&plan.launcher).unwrap_or_else(|_| plan.launcher_text.clone());
    ClusterLauncher::parse(&plan.launcher, text)
}

/// Returns the newest submission of each job, by its place, and the job's place in it.
pub(super) fn places(submissions: &[Submission], jobs: usize) -> Vec<Option<(usize, u32)>> {
    let mut places = vec![None; jobs];
    for (at, submission) in submissions.iter().enumerate() {
        for (task, job) in (0..).zip(&submission.jobs) {
            if let Some(place) = places.get_mut(*job) {
                *place = Some((at, task));
            }
        }
    }
    places
}

/// Returns how often each job was started: by a submission that Slurm took, and by Slurm itself anew.
fn starts(
    submissions: &[Submission],
    plan: &ClusterPlan,
    attempts: &BTreeMap<String, Vec<TaskAttempt>>,
) -> Vec<u32> {
    let mut starts = vec![0; plan.jobs.len()];
    for one in submissions.iter().filter(|one| one.refused.is_none()) {
        for job in &one.jobs {
            if let Some(starts) = starts.get_mut(*job) {
                *starts += 1;
            }
        }
    }
    for (starts, (job, _)) in starts.iter_mut().zip(&plan.jobs) {
        let attempts = attempts.get(job).into_iter().flatten();
        *starts += u32::try_from(attempts.filter(|attempt| attempt.restart > 0).count())
            .unwrap_or(u32::MAX);
    }
    starts
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
