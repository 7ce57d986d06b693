//! One row on both sides → slower, faster, the same, or why that cannot be said.

use super::side::Row;
use crate::catalog::Device;
use crate::proof::Grade;
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

impl RowVerdict {
    fn plain(change: RowChange) -> RowVerdict {
        RowVerdict { change, ratio: None, reason: None }
    }

    fn because(change: RowChange, reason: String) -> RowVerdict {
        RowVerdict { reason: Some(reason), ..RowVerdict::plain(change) }
    }
}

pub(super) fn of(before: Option<&Row>, after: Option<&Row>, tolerance: f64) -> RowVerdict {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return RowVerdict::plain(RowChange::New),
        (_, None) => return RowVerdict::plain(RowChange::Gone),
    };
    match (failure(before), failure(after)) {
        (Some(_), Some(why)) => return RowVerdict::because(RowChange::StillBroken, why),
        (None, Some(why)) => return RowVerdict::because(RowChange::Broken, why),
        (Some(_), None) => return RowVerdict::plain(RowChange::Mended),
        (None, None) => {}
    }
    if let Some(why) = not_comparable(before.told(), after.told()) {
        return RowVerdict::because(RowChange::NotComparable, why);
    }
    if grade(before).is_some_and(Grade::is_same) && grade(after) == Some(Grade::Different) {
        let why = "it is not the same experiment any more".to_owned();
        return RowVerdict::because(RowChange::Broken, why);
    }
    let (then, now) = (before.seconds(), after.seconds());
    let Some(ratio) = stats::ratio_of_medians(&now, &then) else {
        let why = "one of the two has no time".to_owned();
        return RowVerdict::because(RowChange::NotComparable, why);
    };
    let change = change_of_time(&ratio, tolerance);
    // Where every repeat was disturbed, another time means nothing; the same time still says that it is no slower.
    let disturbed = disturbed(before, "before").or_else(|| disturbed(after, "now"));
    let verdict = match disturbed.filter(|_| change != RowChange::Same) {
        Some(why) => RowVerdict::because(RowChange::NotComparable, why),
        None => RowVerdict::plain(change),
    };
    RowVerdict { ratio: Some(ratio), ..verdict }
}

/// Returns whether a row is slower, faster or the same.
fn change_of_time(ratio: &RatioOfMedians, tolerance: f64) -> RowChange {
    let is_enough = ratio.count >= stats::ENOUGH_FOR_INTERVAL;
    let tolerance = if is_enough { tolerance } else { tolerance * DOUBT };
    // With an interval it must leave 1 out; without, so must every ratio of single times.
    if ratio.median > 1.0 + tolerance && ratio.low > 1.0 {
        RowChange::Slower
    } else if ratio.median < 1.0 / (1.0 + tolerance) && ratio.high < 1.0 {
        RowChange::Faster
    } else {
        RowChange::Same
    }
}

/// Returns how a row failed of which no record counts.
fn failure(row: &Row) -> Option<String> {
    if !row.counted().is_empty() {
        return None;
    }
    let outcome = &row.told().outcome;
    let status = outcome.status.as_str();
    Some(match &outcome.reason {
        Some(reason) if outcome.status != Status::Ok => format!("{status}: {reason}"),
        _ => status.to_owned(),
    })
}

fn grade(row: &Row) -> Option<Grade> {
    row.told().equivalence.as_ref().map(|found| found.grade)
}

/// Says that a row was disturbed, if one of the records that count was.
fn disturbed(row: &Row, when: &str) -> Option<String> {
    let mut marks = row.counted().into_iter().flat_map(|record| &record.marks);
    let mark = marks.find(|mark| mark.starts_with("tainted"))?;
    Some(format!("{when} it was disturbed: {}", mark.trim_start_matches("tainted: ")))
}

/// Returns the GPUs that a record's time depends on.
fn gpus(record: &Record) -> Vec<&str> {
    match record.device {
        Device::Cuda => record.machine.gpus.iter().map(|gpu| gpu.name.as_str()).collect(),
        Device::Cpu => Vec::new(),
    }
}

/// Returns why the times of two records say nothing about each other.
fn not_comparable(before: &Record, after: &Record) -> Option<String> {
    let (then, now) = (&before.machine, &after.machine);
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
