//! Gives Slurm arrays of jobs, and takes back tasks that nobody needs any more.
//!
//! Must not depend on why a job is submitted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::collect::{Collector, Pass};
use super::task::TASK;
use crate::catalog::Device;
use crate::cluster::{Queue, Submission, TaskAttempt, script, submit_words};
use crate::hint::hinted;
use crate::publish::publish;

impl Collector<'_> {
    /// Submits jobs, one array for each device, split where Slurm's arrays end.
    pub(super) fn submit(
        &self,
        due: &[usize],
        starts: &[u32],
        known: usize,
        pass: &mut Pass,
    ) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let size = self.slurm.max_array_size();
        let mut by_device = BTreeMap::<Device, Vec<usize>>::new();
        for index in due {
            by_device.entry(self.plan.jobs[*index].1).or_default().push(*index);
        }
        let mut number = u32::try_from(known)?;
        for (device, jobs) in by_device {
            let arrays = jobs.len().div_ceil(size);
            for jobs in jobs.chunks(size) {
                number += 1;
                let submission =
                    Submission { number, device, jobs: jobs.to_vec(), array: None, refused: None };
                match self.submit_one(submission, arrays) {
                    Ok(array) => pass.arrays.push(array),
                    Err(error) => {
                        pass.trouble = Some(error);
                        return Ok(());
                    }
                }
                pass.submitted += jobs.len();
                pass.again += jobs.iter().filter(|index| starts[**index] > 0).count();
            }
        }
        pass.waiting += pass.submitted;
        Ok(())
    }

    /// Submits one array. What is to be submitted is written down before: a rosetta that is killed between finds its array again.
    fn submit_one(&self, mut submission: Submission, arrays: usize) -> Result<String> {
        let device = submission.device;
        let Some(resources) = self.launcher.resources.get(&device) else {
            let message =
                format!("{} has no `resources` for {device}", self.launcher.path.display());
            return Err(hinted(
                message,
                format!("write `{device}:` below `resources`, with a `time`"),
            ));
        };
        let (ledger, launcher) = (&self.ledger, &self.launcher);
        let text = script(&self.plan, launcher, ledger, &submission, TASK);
        let path = ledger.path(&format!("submissions/{}.sh", submission.number));
        publish(&path, text.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        ledger.write_submission(&submission)?;
        let none = BTreeSet::new();
        let words = |unfit| {
            submit_words(&self.plan, launcher, ledger, &submission, resources, arrays, unfit)
        };
        let unfit = &self.seen.unfit_nodes;
        let mut submitted = self.slurm.submit(&words(unfit));
        if submitted.is_err() && !unfit.is_empty() {
            // Without those nodes there may be none.
            submitted = self.slurm.submit(&words(&none));
        }
        match &submitted {
            Ok(array) => submission.array = Some(array.clone()),
            Err(error) => submission.refused = Some(format!("{error:#}")),
        }
        ledger.write_submission(&submission)?;
        submitted
    }

    /// Cancels tasks that may still come of jobs whose record another attempt has left.
    pub(super) fn cancel_twins(
        &self,
        queue: &Queue,
        submissions: &[Submission],
        pass: &mut Pass,
    ) -> Result<()> {
        let by_array = submissions.iter().filter_map(|one| Some((one.array.as_deref()?, one)));
        let by_array = by_array.collect::<BTreeMap<_, _>>();
        let mut twins = Vec::new();
        for (array, task, _) in queue.tasks().filter(|(_, _, task)| task.state.may_come()) {
            let Some(one) = by_array.get(array) else { continue };
            let Some(index) =
                one.jobs.get(task as usize).filter(|index| self.ended.contains_key(index))
            else {
                continue;
            };
            let is_only = submissions.iter().filter(|one| one.jobs.contains(index)).count() < 2;
            let folder = self.folder.path().join(&self.plan.jobs[*index].0);
            let winner = TaskAttempt { submission: 0, restart: 0, folder }.started();
            if !is_only && winner.is_none_or(|winner| winner.submission != one.number) {
                twins.push(format!("{array}_{task}"));
            }
        }
        for some in twins.chunks(500) {
            if let Err(error) = self.slurm.cancel("", some) {
                pass.trouble.get_or_insert(error);
            }
        }
        Ok(())
    }
}
