//! What records took, by their briefs → each row night by night, and where its level changed.
//!
//! The same as the histories of all records, for a page that shows many rows: of a year of nights only the records around a
//! change are read, for what differed then. Must not depend on where records are stored.

use std::collections::{BTreeMap, BTreeSet};

use super::cause;
use super::history::Changed;
use super::side::{Row, RowKey, key, shown};
use crate::brief::{Brief, Name};
use crate::record::Record;
use crate::spec::Task;
use crate::table;
use crate::trend;

/// All rows, by what tells one from another.
#[derive(Debug, Default)]
pub struct Nights {
    rows: BTreeMap<RowOfMachine, RowNights>,
}

/// A row, and the machine that it was measured on.
type RowOfMachine = (RowKey, String);

/// One row over all runs in which it had a number.
#[derive(Debug)]
pub struct RowNights {
    pub task: Task,
    pub nights: Vec<NightValue>,
    pub changes: Vec<Changed>,
}

/// The number of a row in one run: seconds of the training, or images a second.
#[derive(Debug, Clone, PartialEq)]
pub struct NightValue {
    pub run: String,
    /// When the run began, in UTC (RFC 3339).
    pub started: String,
    pub value: f64,
}

/// The briefs of a row, together those of each run.
type BriefsByRun = Vec<(usize, Vec<Brief>)>;

/// A run by its id, with when it began.
pub type RunStart = (String, String);

impl Nights {
    /// Returns the nights of all rows, of briefs in the order in which their records were made, each with the number of its run.
    pub fn of(
        briefs: &[(usize, Brief)],
        names: &[String],
        runs: &[RunStart],
        tolerance: f64,
    ) -> Nights {
        let mut rows = BTreeMap::<_, BriefsByRun>::new();
        for (run, brief) in briefs {
            let of_row = rows.entry(numbers(brief)).or_default();
            match of_row.last_mut().filter(|(last, _)| last == run) {
                Some((_, briefs)) => briefs.push(*brief),
                None => of_row.push((*run, vec![*brief])),
            }
        }
        let rows = rows.into_values().filter_map(|of_row| {
            let first = of_row.first()?.1[0];
            Some((row_of(&first, names)?, RowNights::of(first.task, &of_row, runs, tolerance)))
        });
        Nights { rows: rows.collect() }
    }

    /// Returns for each record whether the words on a change are made of it.
    pub fn needed(
        &self,
        briefs: &[(usize, Brief)],
        names: &[String],
        runs: &[RunStart],
    ) -> Vec<bool> {
        let mut around = BTreeSet::new();
        for (key, row) in &self.rows {
            around.extend(row.runs_around().map(|run| (key.clone(), run.to_owned())));
        }
        if around.is_empty() {
            return vec![false; briefs.len()];
        }
        let changing = runs.iter().map(|(id, _)| around.iter().any(|(_, run)| run == id));
        let changing = changing.collect::<Vec<_>>();
        let is_needed = |(run, brief): &(usize, Brief)| {
            changing.get(*run).is_some_and(|is_changing| *is_changing)
                && row_of(brief, names)
                    .is_some_and(|key| around.contains(&(key, runs[*run].0.clone())))
        };
        briefs.iter().map(is_needed).collect()
    }

    /// Names what differed at each change, as far as the records tell.
    pub fn explain(&mut self, records: &[Record]) {
        let mut found = BTreeMap::<(RowOfMachine, &str), Vec<Record>>::new();
        let changing = self.rows.values().filter(|row| !row.changes.is_empty());
        let runs = changing.flat_map(RowNights::runs_around).collect::<BTreeSet<_>>();
        for record in records.iter().filter(|record| runs.contains(record.run.as_str())) {
            let row = (key(record), record.machine.identity());
            found.entry((row, &record.run)).or_default().push(record.clone());
        }
        let mut causes = BTreeMap::new();
        for (key, row) in &self.rows {
            for change in &row.changes {
                let at = change.level.at;
                let side = |night: &NightValue| {
                    let records = found.get(&(key.clone(), night.run.as_str()))?.clone();
                    Some(Row { key: key.0.clone(), records })
                };
                if let (Some(then), Some(now)) = (side(&row.nights[at - 1]), side(&row.nights[at]))
                {
                    causes.insert((key.clone(), at), cause::causes(&then, &now));
                }
            }
        }
        for (key, row) in &mut self.rows {
            for change in &mut row.changes {
                let named = causes.remove(&(key.clone(), change.level.at));
                change.causes = named.unwrap_or_default();
            }
        }
    }

    /// Returns the nights of the row that a record is of.
    pub fn of_record(&self, record: &Record) -> Option<&RowNights> {
        self.rows.get(&(key(record), record.machine.identity()))
    }
}

impl RowNights {
    fn of(task: Task, briefs: &BriefsByRun, runs: &[RunStart], tolerance: f64) -> RowNights {
        let nights = briefs.iter().filter_map(|(run, briefs)| {
            let (run, started) = runs.get(*run)?.clone();
            Some(NightValue { run, started, value: value(briefs)? })
        });
        let nights = nights.collect::<Vec<_>>();
        let values = nights.iter().map(|night| night.value).collect::<Vec<_>>();
        let changes = trend::changes(&values, tolerance).into_iter();
        let changes = changes.map(|level| Changed { level, causes: Vec::new() }).collect();
        RowNights { task, nights, changes }
    }

    /// Returns the runs before and at each change.
    fn runs_around(&self) -> impl Iterator<Item = &str> {
        let at = self.changes.iter().map(|change| change.level.at);
        at.flat_map(|at| [self.nights[at - 1].run.as_str(), self.nights[at].run.as_str()])
    }
}

/// Returns what tells rows apart, by the numbers of its names.
fn numbers(brief: &Brief) -> ([Name; 5], u8) {
    let Brief { experiment, profile, target, provider, machine, device, .. } = *brief;
    ([experiment, profile, target, provider, machine], device as u8)
}

fn row_of(brief: &Brief, names: &[String]) -> Option<RowOfMachine> {
    let name = |number: Name| names.get(number as usize).cloned();
    let key = RowKey {
        experiment: name(brief.experiment)?,
        profile: name(brief.profile)?,
        target: name(brief.target)?,
        device: brief.device,
        provider: name(brief.provider)?,
    };
    Some((key, name(brief.machine)?))
}

/// Returns the number of a row in one run, as a table shows it.
fn value(briefs: &[Brief]) -> Option<f64> {
    let whole = briefs.iter().filter(|brief| brief.status.is_whole()).collect();
    let counted = table::clean(whole, |brief: &&Brief| brief.is_tainted);
    shown(briefs[0].task, counted.iter().filter_map(|brief| brief.seconds).collect())
}

#[cfg(test)]
mod tests {
    use super::Nights;
    use crate::brief::{Brief, Words};
    use crate::catalog::Device;
    use crate::compare::{TOLERANCE, histories};
    use crate::record::{Record, Status};
    use crate::table::tests::record;

    /// Returns 40 nights of a training and of features, whose level changes once each, with what makes a number doubtful.
    fn nights() -> Vec<Record> {
        let mut records = Vec::new();
        for night in 0..40 {
            for (job, experiment) in ["cnn", "resnet50", "cnn"].into_iter().enumerate() {
                let level = if night < 25 { 10.0 } else { 14.0 };
                let noise = 1.0 + 0.002 * f64::from(night * 7 % 5);
                let mut one = record(experiment, "torch", level * noise);
                one.run = format!("run-{night:02}");
                one.started = format!("2026-10-{:02}T02:00:00Z", night % 30 + 1);
                one.repeat = job as u32;
                one.framework_version = Some(if night < 25 { "1.0" } else { "2.0" }.to_owned());
                if night % 9 == 4 && job == 2 {
                    one.marks.push("tainted: in a test".to_owned());
                    one.times.training = Some(99.0);
                }
                if night == 7 {
                    one.outcome.status = Status::Crashed;
                }
                one.machine.host = if night % 13 == 5 { "there" } else { "here" }.to_owned();
                one.device = if job == 1 { Device::Cuda } else { Device::Cpu };
                records.push(one);
            }
        }
        records
    }

    #[test]
    fn nights_of_briefs_are_the_histories_of_all_records() {
        let records = nights();
        let mut names = Words::default();
        let run = |record: &Record| record.run[4..].parse::<usize>().unwrap();
        let briefs = records.iter().map(|one| (run(one), Brief::of(one, &mut names)));
        let briefs = briefs.collect::<Vec<_>>();
        let runs =
            (0..40).map(|run| (format!("run-{run:02}"), format!("{run}"))).collect::<Vec<_>>();
        let mut nights = Nights::of(&briefs, names.list(), &runs, TOLERANCE);
        let needed = nights.needed(&briefs, names.list(), &runs);
        let some = records.iter().zip(&needed).filter(|(_, needed)| **needed);
        let some = some.map(|(record, _)| record.clone()).collect::<Vec<_>>();
        // One change each of two rows: a night before it and one after, of three records each.
        assert_eq!(some.len(), 6);
        nights.explain(&some);
        let histories = histories(records.clone(), TOLERANCE);
        assert_eq!((histories.len(), nights.rows.len()), (4, 4));
        let mut changes = 0;
        for history in &histories {
            let is_of = |one: &&Record| {
                one.experiment == history.experiment && one.machine.host == history.machine.host
            };
            let row = nights.of_record(records.iter().find(is_of).unwrap()).unwrap();
            let value = |night: &super::NightValue| (night.run.clone(), night.value);
            let values = row.nights.iter().map(value).collect::<Vec<_>>();
            let all = history.nights.iter().map(|night| (night.run.clone(), night.value));
            assert_eq!(values, all.collect::<Vec<_>>());
            let words = |changes: &[super::Changed]| {
                changes.iter().map(|one| (one.level, one.causes.clone())).collect::<Vec<_>>()
            };
            assert_eq!(words(&row.changes), words(&history.changes));
            changes += row.changes.len();
            let causes = row.changes.iter().flat_map(|change| &change.causes);
            assert!(causes.into_iter().all(|cause| cause == "torch 1.0 → 2.0"));
        }
        assert_eq!(changes, 2);
    }
}
