//! Records → one side of a comparison: of each row the newest good run. Must not depend on the other side.

use std::collections::BTreeMap;

use crate::catalog::Device;
use crate::machine::Machine;
use crate::record::{Record, Status};
use crate::spec::Task;
use crate::stats::median;
use crate::table;

/// What makes two rows the same row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) experiment: String,
    pub(super) profile: String,
    pub(super) target: String,
    pub(super) device: Device,
    /// Who made the environment: the pinned one and one of the user's own are two rows.
    pub(super) provider: String,
}

/// The records that a row is judged by: of one run, all repeats of a job.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: RowKey,
    pub(super) records: Vec<Record>,
}

/// One side of a comparison.
#[derive(Debug)]
pub struct Side {
    /// What it is called where it is shown: a run's id, a folder.
    pub name: String,
    pub(super) rows: Vec<Row>,
}

impl Side {
    /// Returns a side of records in the order in which they were made.
    pub fn new(name: impl Into<String>, records: Vec<Record>) -> Side {
        let mut runs = BTreeMap::<RowKey, Vec<(String, Vec<Record>)>>::new();
        for record in records {
            if record.outcome.status == Status::Skipped {
                continue;
            }
            let of_key = runs.entry(key(&record)).or_default();
            match of_key.last_mut().filter(|(run, _)| *run == record.run) {
                Some((_, records)) => records.push(record),
                None => of_key.push((record.run.clone(), vec![record])),
            }
        }
        let rows = runs.into_iter().filter_map(|(key, runs)| {
            // Of runs of one worth the last one is the newest.
            let records = runs.into_iter().map(|(_, records)| records);
            let best = records.max_by_key(|records| records.iter().map(table::worth).max());
            best.map(|records| Row { key, records })
        });
        Side { name: name.into(), rows: rows.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns whether its records are of this machine.
    pub fn is_of_machine(&self, machine: &Machine) -> bool {
        self.rows.iter().any(|row| row.first().machine.is_same(machine))
    }

    pub(super) fn row(&self, key: &RowKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == *key)
    }
}

pub(super) fn key(record: &Record) -> RowKey {
    RowKey {
        experiment: record.experiment.clone(),
        profile: record.profile.clone(),
        target: record.target.clone(),
        device: record.device,
        provider: record.env.as_ref().map(|env| env.provider.clone()).unwrap_or_default(),
    }
}

/// Returns the name of a row: the target's, with its provider where that is not the pinned one.
pub(super) fn title(record: &Record) -> String {
    match record.chosen_provider() {
        Some(provider) => format!("{} ({provider})", record.title),
        None => record.title.clone(),
    }
}

impl Row {
    pub(super) fn first(&self) -> &Record {
        &self.records[0]
    }

    /// Returns the records that numbers are taken from, as a table does.
    pub(super) fn counted(&self) -> Vec<&Record> {
        table::counted(self.records.iter())
    }

    /// Returns a record that was counted, else any.
    pub(super) fn told(&self) -> &Record {
        self.counted().last().copied().unwrap_or(self.first())
    }

    /// Returns what each repeat took: seconds of the training, or of an image.
    pub(super) fn seconds(&self) -> Vec<f64> {
        self.counted().into_iter().filter_map(Record::seconds).collect()
    }

    /// Returns the number that a table shows: seconds of the training, or images a second.
    pub(super) fn median(&self) -> Option<f64> {
        shown(self.first().task, self.seconds())
    }

    /// Returns the median of something else that its records say.
    pub(super) fn median_of(&self, of: impl Fn(&Record) -> Option<f64>) -> Option<f64> {
        median(&mut self.counted().into_iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// Returns the number that a table shows of what repeats took: seconds of the training, or images a second.
pub(super) fn shown(task: Task, mut seconds: Vec<f64>) -> Option<f64> {
    let seconds = median(&mut seconds)?;
    Some(match task {
        Task::Classification => seconds,
        Task::Features => 1.0 / seconds,
    })
}
