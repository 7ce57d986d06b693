//! How far a run on a cluster is, without a hold on it: records, events that tasks have written, and the queue.
//!
//! Must not depend on how it is drawn.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::collect::places;
use super::statuses;
use crate::cluster::{Ledger, Queue, Slurm, TaskState, name};
use crate::record::Status;

/// How much of the end of a job's events is read.
const TAIL: u64 = 4 << 10;

/// A run on a cluster.
#[derive(Debug, Default)]
pub struct RunView {
    pub jobs: usize,
    /// How the jobs ended that have a record.
    pub ended: BTreeMap<&'static str, usize>,
    /// Tasks under way.
    pub running: Vec<TaskView>,
    /// How many tasks wait, by Slurm's reason.
    pub waiting: BTreeMap<String, usize>,
    /// Jobs with a result that is not taken in yet.
    pub to_collect: usize,
    /// Jobs that are neither in the queue nor have a result.
    pub absent: usize,
    pub is_cancelled: bool,
    /// Why an array was not taken, the newest.
    pub refused: Option<String>,
    /// Why Slurm does not say what is in the queue.
    pub trouble: Option<anyhow::Error>,
}

/// A task under way.
#[derive(Debug)]
pub struct TaskView {
    pub job: String,
    pub task: String,
    pub node: String,
    pub state: String,
    /// The attempt, from 1.
    pub attempt: usize,
    /// What its newest event says.
    pub progress: Option<String>,
}

/// Looks at the run in a folder. Slurm is asked once.
pub fn view(run: &Path) -> Result<RunView> {
    let ledger = Ledger::of(run);
    let plan = ledger.plan()?;
    let statuses = statuses(run);
    let mut view = RunView {
        jobs: plan.jobs.len(),
        is_cancelled: ledger.is_cancelled(),
        ..RunView::default()
    };
    let submissions = ledger.submissions()?;
    let is_left = plan.jobs.iter().any(|(job, _)| !statuses.contains_key(job));
    let queue = match is_left {
        true => Slurm.queue(&name(&plan.run)).unwrap_or_else(|error| {
            view.trouble = Some(error);
            Queue::default()
        }),
        false => Queue::default(),
    };
    let (attempts, places) = (ledger.attempts()?, places(&submissions, plan.jobs.len()));
    view.refused = submissions.last().and_then(|one| one.refused.clone());
    for ((job, _), place) in plan.jobs.iter().zip(&places) {
        if let Some(status) = statuses.get(job) {
            *view.ended.entry(Status::as_str(*status)).or_default() += 1;
            continue;
        }
        let attempts = attempts.get(job).map(Vec::as_slice).unwrap_or_default();
        if attempts.iter().any(crate::cluster::TaskAttempt::has_record) {
            view.to_collect += 1;
            continue;
        }
        let place =
            place.as_ref().and_then(|(at, task)| Some((submissions[*at].array.as_deref()?, *task)));
        let found = place.and_then(|(array, task)| Some((array, task, queue.task(array, task)?)));
        match found {
            Some((_, _, task)) if task.state == TaskState::Pending => {
                *view.waiting.entry(task.why.clone()).or_default() += 1;
            }
            Some((array, index, task)) if task.state.may_come() => view.running.push(TaskView {
                job: job.clone(),
                task: format!("{array}_{index}"),
                node: task.node.clone(),
                state: task.state.as_str().to_lowercase(),
                attempt: attempts.len().max(1),
                progress: attempts.last().and_then(|attempt| progress(&attempt.folder)),
            }),
            _ => view.absent += 1,
        }
    }
    Ok(view)
}

/// Returns what the newest event of a job says: `epoch 3, loss 0.21`.
fn progress(folder: &Path) -> Option<String> {
    let mut file = File::open(folder.join("events.jsonl")).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let events = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.into_iter().find_map(|event| {
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        match event["ev"].as_str()? {
            "epoch" => Some(format!("epoch {} done", event["epoch"].as_u64()? + 1)),
            "phase" => text("name"),
            "hello" => Some("imported".to_owned()),
            "start" => Some("started".to_owned()),
            "end" => Some("ended".to_owned()),
            _ => None,
        }
    })
}
