//! Records of many runs → each row night by night, where its level changed, and what differed then.

use std::collections::BTreeMap;

use super::cause;
use super::side::{Row, RowKey, key, title};
use crate::machine::Machine;
use crate::record::{Record, Status};
use crate::report::{Beside, Cell, Grid, Heading, Kind, NoteLine, Tone, Value, three_digits};
use crate::spec::Task;
use crate::trend::{self, LevelChange};

/// A row over all runs in which it had numbers.
#[derive(Debug)]
pub struct RowHistory {
    pub experiment: String,
    /// The target's name in a table, its device, its profile.
    pub title: String,
    pub task: Task,
    pub machine: Machine,
    pub nights: Vec<RowNight>,
    /// How many runs gave it no number.
    pub without: usize,
    pub changes: Vec<Changed>,
}

/// A row in one run.
#[derive(Debug)]
pub struct RowNight {
    pub run: String,
    pub started: String,
    /// Seconds of the training, or images a second: the median of the repeats.
    pub value: f64,
    pub repeats: usize,
    pub is_tainted: bool,
    pub version: Option<String>,
}

/// A change of level, and what was another than the night before.
#[derive(Debug)]
pub struct Changed {
    pub level: LevelChange,
    pub causes: Vec<String>,
}

impl Changed {
    /// Returns how many times as long it takes since.
    pub fn times_as_long(&self, task: Task) -> f64 {
        let ratio = self.level.after / self.level.before;
        match task {
            Task::Classification => ratio,
            Task::Features => 1.0 / ratio,
        }
    }
}

/// Returns the history of each row, of records in the order in which they were made.
pub fn histories(records: Vec<Record>, tolerance: f64) -> Vec<RowHistory> {
    let mut rows = BTreeMap::<(RowKey, String), Vec<Row>>::new();
    for record in records.into_iter().filter(|r| r.outcome.status != Status::Skipped) {
        let key = (key(&record), record.machine.identity());
        let of_key = rows.entry(key.clone()).or_default();
        match of_key.last_mut().filter(|row| row.first().run == record.run) {
            Some(row) => row.records.push(record),
            None => of_key.push(Row { key: key.0, records: vec![record] }),
        }
    }
    rows.into_values().filter_map(|rows| history(rows, tolerance)).collect()
}

fn history(rows: Vec<Row>, tolerance: f64) -> Option<RowHistory> {
    let all = rows.len();
    let rows = rows.into_iter().filter(|row| row.median().is_some()).collect::<Vec<_>>();
    let last = rows.last()?.told().clone();
    let nights = rows.iter().filter_map(night).collect::<Vec<_>>();
    let values = nights.iter().map(|night| night.value).collect::<Vec<_>>();
    let changed = |level: LevelChange| Changed {
        level,
        causes: cause::causes(&rows[level.at - 1], &rows[level.at]),
    };
    Some(RowHistory {
        experiment: last.experiment.clone(),
        title: format!("{} · {} · {}", title(&last), last.device, last.profile),
        task: last.task,
        machine: last.machine,
        without: all - nights.len(),
        changes: trend::changes(&values, tolerance).into_iter().map(changed).collect(),
        nights,
    })
}

fn night(row: &Row) -> Option<RowNight> {
    let told = row.told();
    Some(RowNight {
        run: told.run.clone(),
        started: told.started.clone(),
        value: row.median()?,
        repeats: row.seconds().len(),
        is_tainted: row.counted().iter().all(|record| record.is_tainted()),
        version: told.framework_version.clone(),
    })
}

const fn heading(text: &'static str, key: &'static str, kind: Kind) -> Heading {
    Heading { text, key, kind, rank: 0 }
}

impl RowHistory {
    /// Returns what its numbers are.
    pub fn unit(&self) -> &'static str {
        match self.task {
            Task::Classification => "seconds of the training",
            Task::Features => "images/s",
        }
    }

    /// Returns a change in words: `2026-11-12: 8.20 → 9.70, 1.18 times as long; PyTorch 2.14 → 2.15`.
    pub fn words(&self, changed: &Changed) -> String {
        let LevelChange { at, before, after } = changed.level;
        let night = &self.nights[at];
        let (before, after) = (three_digits(before), three_digits(after));
        let times = three_digits(changed.times_as_long(self.task));
        let causes = match changed.causes.as_slice() {
            [] => "nothing that is recorded was another".to_owned(),
            causes => causes.join("; "),
        };
        let day = night.started.get(..10).unwrap_or(&night.started);
        format!("{day}: {before} → {after}, {times} times as long; {causes}; run {}", night.run)
    }

    /// Returns the cells of a night.
    fn cells(&self, index: usize) -> Vec<Cell> {
        let night = &self.nights[index];
        let change = self.changes.iter().find(|one| one.level.at == index);
        let times = change.map(|one| one.times_as_long(self.task));
        let tone = match times {
            Some(times) if times > 1.0 => Tone::Bad,
            Some(_) => Tone::Good,
            None => Tone::Plain,
        };
        let causes = change.map(|one| Cell::text(one.causes.join("; ")));
        let missing = || Cell::of(Value::Missing);
        vec![
            Cell::text(&night.run),
            Cell::text(&night.started),
            Cell { tone, ..Cell::of(Value::Number(night.value)) },
            Cell::of(Value::Number(night.repeats as f64)),
            night.version.as_ref().map_or_else(missing, Cell::text),
            times.map_or_else(missing, |times| Cell::of(Value::Number(times))),
            causes.unwrap_or_else(missing),
        ]
    }

    /// Returns the nights as a table.
    pub fn grid(&self) -> Grid {
        let (value, value_key) = match self.task {
            Task::Classification => ("Training Time (s)", "training_time_s"),
            Task::Features => ("Images/s", "images_per_s"),
        };
        Grid {
            experiment: self.experiment.clone(),
            title: format!("{}: {}", self.experiment, self.title),
            headings: vec![
                heading("Run", "run", Kind::Text),
                heading("Started", "started", Kind::Text),
                heading(value, value_key, Kind::Measured),
                heading("Repeats", "repeats", Kind::Count),
                heading("Version", "version", Kind::Text),
                heading("Times as Long", "times_as_long", Kind::Number),
                heading("What Differs", "differs", Kind::Text),
            ],
            rows: (0..self.nights.len()).map(|index| self.cells(index)).collect(),
            beside: vec![
                self.beside("target", |_| self.title.clone()),
                self.beside("tainted", |night| night.is_tainted.to_string()),
            ],
            notes: vec![NoteLine::from(NOTE)],
            ..Grid::default()
        }
    }

    fn beside(&self, key: &'static str, of: impl Fn(&RowNight) -> String) -> Beside {
        Beside { key, texts: self.nights.iter().map(of).collect() }
    }
}

const NOTE: &str =
    "times as long: against the nights before, where the level changed for at least three nights";
