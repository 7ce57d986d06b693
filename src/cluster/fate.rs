//! What is seen of a job's task → what is to be done about the job. Pure: must not depend on files, processes or the clock.
//!
//! A task that is in the queue may still come. One that is not, and has left no result for longer than a grace, will not: how
//! Slurm ended it, where that is known, tells whether another attempt makes sense.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::slurm::{ArrayTask, TaskState};

/// What is remembered between two looks, by the job's place in the plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub jobs: BTreeMap<usize, SeenJob>,
    /// Nodes on which a task could not even begin: no further one is sent there.
    #[serde(default)]
    pub unfit_nodes: BTreeSet<String>,
}

/// What is remembered of a job without a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenJob {
    /// The submission that the rest is of.
    pub submission: u32,
    /// Since when the task is not in the queue, in seconds since 1970 on the clock of whoever looked.
    pub absent_since: Option<f64>,
    /// How Slurm ended it, if it said so.
    pub end: Option<ArrayTask>,
    /// How earlier attempts ended, in words.
    pub earlier: Vec<String>,
}

/// One look at a job that has no result.
#[derive(Debug)]
pub struct Look<'a> {
    /// The newest submission that Slurm may have taken; none if there is none.
    pub submission: Option<u32>,
    /// The task as the queue has it; none if it is not there.
    pub task: Option<&'a ArrayTask>,
    /// Whether Slurm has answered.
    pub is_answered: bool,
    /// How often the job was started.
    pub starts: u32,
    /// How often it may be.
    pub attempts: u32,
    pub is_cancelled: bool,
    pub now: f64,
    pub grace: f64,
}

/// What is to be done about a job that has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Its task may still come.
    Waits,
    /// Its task is not in the queue; its result may be late.
    Late,
    /// It is to be submitted: never was, or its task is lost.
    Submit,
    /// Nothing more is to be done.
    Ends(TaskEnd),
}

/// How a job ends that has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEnd {
    TimedOut(ArrayTask),
    OutOfMemory(ArrayTask),
    /// Somebody cancelled it.
    Cancelled(Option<ArrayTask>),
    /// It was started as often as it may be; how each ended.
    GivenUp(Vec<String>),
}

/// Returns what is to be done about a job, and brings up to date what is remembered of it.
pub fn fate(look: &Look, seen: &mut SeenJob) -> Fate {
    let Some(submission) = look.submission else {
        return match look.is_cancelled {
            true => Fate::Ends(TaskEnd::Cancelled(None)),
            false => Fate::Submit,
        };
    };
    if seen.submission != submission {
        let earlier = std::mem::take(&mut seen.earlier);
        *seen = SeenJob { submission, earlier, ..SeenJob::default() };
    }
    match look.task {
        Some(task) if task.state.may_come() => {
            (seen.absent_since, seen.end) = (None, None);
            return Fate::Waits;
        }
        Some(task) => seen.end = Some(task.clone()),
        None => {}
    }
    if !look.is_answered && seen.end.is_none() {
        return Fate::Waits;
    }
    let since = *seen.absent_since.get_or_insert(look.now);
    if look.now < since {
        // The clock was set back, or is another host's.
        seen.absent_since = Some(look.now);
    }
    if look.now - since < look.grace {
        return Fate::Late;
    }
    let end = seen.end.clone();
    match end.as_ref().map(|task| task.state.clone()) {
        Some(TaskState::TimedOut) => return Fate::Ends(TaskEnd::TimedOut(end.unwrap_or_default())),
        Some(TaskState::OutOfMemory) => {
            return Fate::Ends(TaskEnd::OutOfMemory(end.unwrap_or_default()));
        }
        Some(TaskState::Cancelled) => return Fate::Ends(TaskEnd::Cancelled(end)),
        _ if look.is_cancelled => return Fate::Ends(TaskEnd::Cancelled(end)),
        _ => {}
    }
    let words = end.as_ref().map_or_else(|| "Slurm knows it no more".to_owned(), ArrayTask::words);
    seen.earlier.push(words);
    (seen.absent_since, seen.end, seen.submission) = (None, None, 0);
    match look.starts >= look.attempts {
        true => Fate::Ends(TaskEnd::GivenUp(std::mem::take(&mut seen.earlier))),
        false => Fate::Submit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: TaskState) -> ArrayTask {
        ArrayTask {
            state,
            node: "n3".to_owned(),
            why: "NonZeroExitCode".to_owned(),
            ..ArrayTask::default()
        }
    }

    fn look(task: Option<&ArrayTask>, now: f64) -> Look<'_> {
        Look {
            submission: Some(1),
            task,
            is_answered: true,
            starts: 1,
            attempts: 2,
            is_cancelled: false,
            now,
            grace: 60.0,
        }
    }

    #[test]
    fn what_may_come_is_waited_for_and_what_may_be_late_is_too() {
        let (running, failed) =
            (task(TaskState::Running), task(TaskState::Ended("FAILED".to_owned())));
        let mut seen = SeenJob::default();
        assert_eq!(fate(&look(Some(&running), 0.0), &mut seen), Fate::Waits);
        assert_eq!(fate(&look(None, 100.0), &mut seen), Fate::Late);
        // It was in the queue after all.
        assert_eq!(fate(&look(Some(&running), 110.0), &mut seen), Fate::Waits);
        assert_eq!(fate(&look(Some(&failed), 120.0), &mut seen), Fate::Late);
        // Slurm forgets a task, rosetta does not forget how it ended.
        assert_eq!(fate(&look(None, 179.0), &mut seen), Fate::Late);
        assert_eq!(fate(&look(None, 180.0), &mut seen), Fate::Submit);
        assert_eq!(seen.earlier, ["FAILED (NonZeroExitCode) on n3"]);
    }

    #[test]
    fn a_job_is_started_so_often_and_no_more() {
        let mut seen =
            SeenJob { earlier: vec!["NODE_FAIL on n1".to_owned()], ..SeenJob::default() };
        let last = |now| Look { starts: 2, submission: Some(2), ..look(None, now) };
        assert_eq!(fate(&last(0.0), &mut seen), Fate::Late);
        let ways = vec!["NODE_FAIL on n1".to_owned(), "Slurm knows it no more".to_owned()];
        assert_eq!(fate(&last(60.0), &mut seen), Fate::Ends(TaskEnd::GivenUp(ways)));
    }

    #[test]
    fn a_slurm_that_does_not_answer_loses_nothing() {
        let mut seen = SeenJob::default();
        let silent = |now| Look { is_answered: false, ..look(None, now) };
        for now in [0.0, 1e6] {
            assert_eq!(fate(&silent(now), &mut seen), Fate::Waits);
        }
        assert_eq!(seen.absent_since, None);
    }

    #[test]
    fn what_somebody_or_a_limit_ended_is_not_started_again() {
        let ends = |state: TaskState| {
            let (task, mut seen) = (task(state), SeenJob::default());
            assert_eq!(fate(&look(Some(&task), 0.0), &mut seen), Fate::Late);
            fate(&look(None, 60.0), &mut seen)
        };
        assert!(matches!(ends(TaskState::TimedOut), Fate::Ends(TaskEnd::TimedOut(_))));
        assert!(matches!(ends(TaskState::OutOfMemory), Fate::Ends(TaskEnd::OutOfMemory(_))));
        assert!(matches!(ends(TaskState::Cancelled), Fate::Ends(TaskEnd::Cancelled(Some(_)))));
        assert_eq!(ends(TaskState::Ended("PREEMPTED".to_owned())), Fate::Submit);
        assert_eq!(ends(TaskState::Ended("COMPLETED".to_owned())), Fate::Submit);
        let mut seen = SeenJob::default();
        let cancelled = Look { is_cancelled: true, submission: None, ..look(None, 0.0) };
        assert_eq!(fate(&cancelled, &mut seen), Fate::Ends(TaskEnd::Cancelled(None)));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_the_grace_anew() {
        let mut seen = SeenJob::default();
        assert_eq!(fate(&look(None, 1000.0), &mut seen), Fate::Late);
        assert_eq!(fate(&look(None, 10.0), &mut seen), Fate::Late);
        assert_eq!(fate(&look(None, 69.0), &mut seen), Fate::Late);
        assert_eq!(fate(&look(None, 70.0), &mut seen), Fate::Submit);
    }
}
