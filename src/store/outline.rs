//! What a run is in a list of runs: how it ended, and what its jobs were. Must not depend on what records measure.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::{Record, Status};
use crate::store::Stored;

/// A run without its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    pub id: String,
    /// When it began, in UTC (RFC 3339), as its own clock said.
    pub started: String,
    /// Whether that is in the future; it depends on when one looks.
    #[serde(skip)]
    pub is_ahead: bool,
    /// Whether a rosetta holds it just now.
    #[serde(skip)]
    pub is_running: bool,
    pub profile: Option<String>,
    /// The command line; empty where run.json cannot be read.
    pub command: Vec<String>,
    /// How many jobs were planned; absent where run.json cannot be read.
    pub planned: Option<usize>,
    pub ok: usize,
    pub not_ok: usize,
    pub skipped: usize,
    /// Of those, how many had been planned.
    pub dropped: usize,
    /// Whether a job was cancelled.
    pub is_cancelled: bool,
    pub experiments: Vec<String>,
    pub targets: Vec<String>,
    /// From its start to the end of its last job.
    pub seconds: Option<f64>,
}

impl Outline {
    /// Returns how many jobs have ended, and how many were planned: where run.json cannot be read, as many.
    pub fn jobs(&self) -> (usize, usize) {
        let ended = self.ok + self.not_ok;
        (ended, self.planned.unwrap_or(ended))
    }

    /// Returns whether jobs are left to do, and nobody does them.
    pub fn is_interrupted(&self) -> bool {
        let (ended, planned) = self.jobs();
        !self.is_running
            && self.planned.is_some()
            && (ended + self.dropped < planned || self.is_cancelled)
    }

    /// What runs are sorted by: oldest first, those whose clock was ahead of today's before all others.
    pub(super) fn order(&self) -> (bool, String, String) {
        (!self.is_ahead, self.started.clone(), self.id.clone())
    }

    /// Returns what a list says of a run.
    pub fn of(stored: &Stored) -> Outline {
        let records = &stored.records;
        let count = |is: &dyn Fn(&Record) -> bool| records.iter().filter(|r| is(r)).count();
        let ok = count(&Record::is_ok);
        let skipped = count(&|r| r.outcome.status == Status::Skipped);
        let planned = stored.run.as_ref().map(|run| run.jobs.iter().collect::<HashSet<_>>());
        let dropped = count(&|r| {
            r.outcome.status == Status::Skipped
                && planned.as_ref().is_some_and(|planned| planned.contains(&r.job))
        });
        let profile = stored.run.as_ref().map(|run| &run.profile);
        Outline {
            id: stored.id.clone(),
            started: stored.started.clone(),
            is_ahead: stored.is_ahead,
            is_running: stored.is_running,
            profile: profile.or(records.first().map(|record| &record.profile)).cloned(),
            command: stored.run.as_ref().map(|run| run.command.clone()).unwrap_or_default(),
            planned: stored.run.as_ref().map(|run| run.jobs.len()),
            ok,
            not_ok: records.len() - ok - skipped,
            skipped,
            dropped,
            is_cancelled: count(&|r| r.outcome.status == Status::Cancelled) > 0,
            experiments: each_once(records.iter().map(|record| record.experiment.as_str())),
            targets: each_once(records.iter().map(|record| record.target.as_str())),
            seconds: seconds(stored),
        }
    }
}

/// Returns the time from a run's start to the end of its last job.
fn seconds(stored: &Stored) -> Option<f64> {
    let start = stored.started.parse::<Timestamp>().ok()?;
    let end = |record: &Record| {
        let began = record.started.parse::<Timestamp>().ok()?;
        Some(began.duration_since(start).as_secs_f64() + record.times.wall.unwrap_or(0.0))
    };
    let last = stored.records.iter().filter_map(end).max_by(f64::total_cmp)?;
    (last.is_finite() && (0.0..1e9).contains(&last)).then_some(last)
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}
