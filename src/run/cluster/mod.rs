//! A run whose jobs a cluster carries out: submitted here, each run by a task on its node, collected here.
//!
//! Must not depend on how anything is drawn, nor on a process that lives as long as the run: whoever collects may be another
//! rosetta than submitted.

mod arrays;
mod collect;
mod ending;
mod follow;
mod show;
mod submit;
mod task;

pub use self::collect::{Collector, Pass};
pub use self::follow::Followed;
pub use self::show::{RunView, TaskView, view};
pub use self::submit::Submitted;
pub use self::task::{TASK, task_main};

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::record::Status;

/// What is read of a line of records.jsonl to know how a job ended.
#[derive(Deserialize)]
struct EndOf {
    job: String,
    outcome: StatusOf,
}

#[derive(Deserialize)]
struct StatusOf {
    status: Status,
}

/// Returns how each job of a run ended that has a record, one line at a time: of 10,000 records no more is held.
fn statuses(run: &Path) -> BTreeMap<String, Status> {
    use std::io::BufRead;
    let mut found = BTreeMap::new();
    let Ok(file) = std::fs::File::open(run.join("records.jsonl")) else { return found };
    for line in std::io::BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if let Ok(end) = serde_json::from_slice::<EndOf>(&line) {
            found.insert(end.job, end.outcome.status);
        }
    }
    found
}
