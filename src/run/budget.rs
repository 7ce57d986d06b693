//! How long a run may take, and what is dropped where that is not enough. Pure but for the clock.
//!
//! With a budget the first repeat of everything comes first: what is left over at the end are repeats, which make a number
//! surer, and of one round the targets of the tuned lane and of the frameworks of 2017, which fewer people ask for.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::expected::Expected;
use crate::catalog::{Era, Lane};
use crate::plan::Job;
use crate::quantity::duration_words;

/// The time of a run.
pub(super) struct TimeBudget {
    limit: Option<Duration>,
    begun: Instant,
    /// The longest that each job took, whatever its repeat.
    took: BTreeMap<String, Duration>,
}

impl TimeBudget {
    /// Begins to count.
    pub(super) fn begin(limit: Option<Duration>) -> TimeBudget {
        TimeBudget { limit, begun: Instant::now(), took: BTreeMap::new() }
    }

    /// Sorts jobs such that what matters least comes last; without a limit they stay as they are.
    pub(super) fn order<'a>(&self, jobs: &[Job<'a>]) -> Vec<Job<'a>> {
        let mut jobs = jobs.to_vec();
        if self.limit.is_some() {
            jobs.sort_by_key(|job| Reverse(importance(job)));
        }
        jobs
    }

    /// Returns how much is left; nothing where there is no limit.
    pub(super) fn left(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.begun.elapsed()))
    }

    /// Returns why a job is not begun any more, if so; of those that this run has not had, `expected` says how long they took.
    pub(super) fn why_dropped(&self, job: &Job, expected: &Expected) -> Option<String> {
        let (limit, left) = (duration_words(self.limit?), self.left()?);
        if left.is_zero() {
            return Some(format!("dropped: the budget of {limit} was used up"));
        }
        let took = self.took.get(&without_repeat(job)).copied().or_else(|| expected.time(job))?;
        if took <= left {
            return None;
        }
        let (took, left) = (duration_words(took), duration_words(left));
        Some(format!(
            "dropped: it took {took} before, and of the budget of {limit} {left} were left"
        ))
    }

    /// Returns why a job was ended that had begun.
    pub(super) fn why_ended(&self) -> String {
        let limit = duration_words(self.limit.unwrap_or_default());
        format!("dropped: the budget of {limit} was used up while it ran")
    }

    pub(super) fn note(&mut self, job: &Job, took: Duration) {
        let longest = self.took.entry(without_repeat(job)).or_default();
        *longest = took.max(*longest);
    }
}

fn importance(job: &Job) -> (Reverse<u32>, bool, bool) {
    let is_current = job.framework.spec.era == Era::Current;
    (Reverse(job.repeat), job.target.lane == Lane::Idiomatic, is_current)
}

fn without_repeat(job: &Job) -> String {
    format!("{}.{}.{}", job.experiment.name(), job.target.name, job.device)
}
