//! One row on both sides → slower, faster, the same, or why that cannot be said.

use super::side::Row;
use crate::record::{Record, Status};
use crate::stats::{self, RatioOfMedians};

/// A change of time by less than this share is none, unless told otherwise.
pub const TOLERANCE: f64 = 0.05;
/// Without an interval, a change must be this many times the tolerance.
const DOUBT: f64 = 2.0;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowChange {
    /// It had numbers and has none now, or is not the same experiment any more.
    Broken,
    Slower,
    NotComparable,
    Gone,
    Faster,
    Mended,
    New,
    /// It failed on both sides.
    StillBroken,
    Same,
}

impl RowChange {
    /// What a reader must look at first comes first.
    pub const ALL: [RowChange; 9] = [
        RowChange::Broken,
        RowChange::Slower,
        RowChange::NotComparable,
        RowChange::Gone,
        RowChange::Faster,
        RowChange::Mended,
        RowChange::New,
        RowChange::StillBroken,
        RowChange::Same,
    ];

    /// Returns where it stands among all, from 0.
    pub(super) fn place(self) -> usize {
        RowChange::ALL.iter().position(|one| *one == self).unwrap_or(RowChange::ALL.len())
    }

    pub fn words(self) -> &'static str {
        match self {
            RowChange::Broken => "broken",
            RowChange::Slower => "slower",
            RowChange::NotComparable => "not comparable",
            RowChange::Gone => "gone",
            RowChange::Faster => "faster",
            RowChange::Mended => "mended",
            RowChange::New => "new",
            RowChange::StillBroken => "still broken",
            RowChange::Same => "the same",
        }
    }
}

/// What became of a row, and what that rests on.
#[derive(Debug)]
pub struct RowVerdict {
    pub change: RowChange,
    /// Time after / time before.
    pub ratio: Option<RatioOfMedians>,
    /// Why nothing can be said of the time, or how the row is broken.
    pub reason: Option<String>,
}

pub(super) fn of(before: Option<&Row>, after: Option<&Row>, tolerance: f64) -> RowVerdict {
    let plain = |change| RowVerdict { change, ratio: None, reason: None };
    let because = |change, reason| RowVerdict { reason: Some(reason), ..plain(change) };
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return plain(RowChange::New),
        (_, None) => return plain(RowChange::Gone),
    };
    let failure = |row: &Row| row.counted().is_empty().then(|| how_it_failed(row.told()));
    match (failure(before), failure(after)) {
        (Some(_), Some(why)) => return because(RowChange::StillBroken, why),
        (None, Some(why)) => return because(RowChange::Broken, why),
        (Some(_), None) => return plain(RowChange::Mended),
        (None, None) => {}
    }
    if let Some(why) = not_comparable(before.told(), after.told()) {
        return because(RowChange::NotComparable, why);
    }
    let grade = |row: &Row| row.told().equivalence.as_ref().map(|found| found.grade);
    let is_same = |row: &Row| grade(row).is_some_and(|grade| grade.is_same());
    if is_same(before) && grade(after).is_some_and(|grade| grade == crate::proof::Grade::Different)
    {
        return because(RowChange::Broken, "it is not the same experiment any more".to_owned());
    }
    let (then, now) = (before.seconds(), after.seconds());
    let Some(ratio) = stats::ratio_of_medians(&now, &then) else {
        return because(RowChange::NotComparable, "one of the two has no time".to_owned());
    };
    // Where every repeat was disturbed, another time means nothing; the same time still says that it is no slower.
    let disturbed = [(before, "before"), (after, "now")].into_iter().find_map(|(row, when)| {
        let marks = row.counted().into_iter().flat_map(|record| &record.marks);
        let mark = marks.into_iter().find(|mark| mark.starts_with("tainted"))?;
        Some(format!("{when} it was disturbed: {}", mark.trim_start_matches("tainted: ")))
    });
    let is_enough = ratio.count >= stats::ENOUGH_FOR_INTERVAL;
    let tolerance = if is_enough { tolerance } else { tolerance * DOUBT };
    // With an interval it must leave 1 out; without, so must every ratio of single times.
    let change = if ratio.median > 1.0 + tolerance && ratio.low > 1.0 {
        RowChange::Slower
    } else if ratio.median < 1.0 / (1.0 + tolerance) && ratio.high < 1.0 {
        RowChange::Faster
    } else {
        RowChange::Same
    };
    match disturbed.filter(|_| change != RowChange::Same) {
        Some(why) => RowVerdict { ratio: Some(ratio), ..because(RowChange::NotComparable, why) },
        None => RowVerdict { ratio: Some(ratio), ..plain(change) },
    }
}

fn how_it_failed(record: &Record) -> String {
    let status = record.outcome.status;
    match &record.outcome.reason {
        Some(reason) if status != Status::Ok => format!("{}: {reason}", status.as_str()),
        _ => status.as_str().to_owned(),
    }
}

/// Returns why the times of two records say nothing about each other.
fn not_comparable(before: &Record, after: &Record) -> Option<String> {
    let (then, now) = (&before.machine, &after.machine);
    let gpus = |record: &Record| {
        let gpus = &record.machine.gpus;
        match record.device {
            crate::catalog::Device::Cuda => gpus.iter().map(|gpu| gpu.name.clone()).collect(),
            crate::catalog::Device::Cpu => Vec::new(),
        }
    };
    if then.cpu != now.cpu || then.cores != now.cores || gpus(before) != gpus(after) {
        return Some(format!("another machine: {} before, {} now", then.words(), now.words()));
    }
    let (then, now) = (&before.inputs, &after.inputs);
    let differs = |one: &Option<String>, other: &Option<String>| {
        one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
    };
    if then.source != now.source || differs(&then.data_digest, &now.data_digest) {
        return Some("other data".to_owned());
    }
    if differs(&then.order_digest, &now.order_digest) {
        return Some(
            "other batches: the number of rows, epochs or the batch size has changed".to_owned(),
        );
    }
    None
}
