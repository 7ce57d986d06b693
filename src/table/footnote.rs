//! Why a cell is missing or to be doubted. Must not depend on how a footnote is drawn.

use crate::catalog::Device;
use crate::proof::{Equivalence, Grade};
use crate::record::Record;
use crate::report::Value;
use crate::table::column::{Column, equivalence};
use crate::table::group::Group;

/// What the footnotes of a column's cells are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Footnote {
    Nothing,
    /// The column is what the table is about: why a number is missing, or to be doubted.
    Result,
    /// What a check found.
    Grade,
    /// Why there is no newest version to compare with.
    Now,
}

/// Returns the words of a cell's footnote.
pub(super) fn of(column: Column, group: &Group, value: &Value) -> Option<String> {
    let device = column.device();
    let told = column.told_wrong(group);
    if let (Value::Missing, Some(number)) = (value, told.first()) {
        return Some(format!("what was stored is not a valid number: {number}"));
    }
    match (column.entry().footnote, value) {
        (Footnote::Grade, _) => group.counted(None).into_iter().find_map(why_graded),
        (Footnote::Result, Value::Missing) => why_missing(group, device),
        (Footnote::Result, _) => why_doubtful(group, device, column),
        (Footnote::Now, Value::Missing) => why_not_now(group),
        (Footnote::Now | Footnote::Nothing, _) => None,
    }
}

fn why_graded(record: &Record) -> Option<String> {
    let Equivalence { grade, variants, reason, .. } = equivalence(record);
    match grade {
        Grade::Variant => {
            let names = variants.join(", ");
            Some(format!("proved against the reference's variant {names}"))
        }
        grade => reason.map(|reason| format!("{}: {reason}", grade.as_str())),
    }
}

fn why_not_now(group: &Group) -> Option<String> {
    let successor = group.first().successor.as_ref()?;
    Some(format!("no result of `{successor}` on this machine and device, with the same data"))
}

fn why_missing(group: &Group, device: Option<Device>) -> Option<String> {
    let of_device = |r: &&&Record| device.is_none_or(|device| r.device == device);
    let last = group.records.iter().rfind(of_device);
    match (last, device) {
        (Some(record), _) => {
            let outcome = &record.outcome;
            let mut words = format!("{} on {}: ", record.title, record.device);
            words.push_str(outcome.status.as_str());
            for more in [&outcome.reason, &outcome.hint].into_iter().flatten() {
                words.push_str("; ");
                words.push_str(more);
            }
            Some(words)
        }
        (None, Some(device)) => Some(format!("not run on {device}")),
        (None, None) => None,
    }
}

fn why_doubtful(group: &Group, device: Option<Device>, column: Column) -> Option<String> {
    let counted = group.counted(device);
    let mut words = Vec::new();
    let wrong = column.told_wrong(group).len();
    if wrong > 0 {
        words.push(format!("{wrong} of {} repeats have no valid number", counted.len()));
    }
    for record in &counted {
        if let (Some(reason), true) = (&record.outcome.reason, column == Column::Accuracy) {
            words.push(format!("{}: {reason}", record.outcome.status.as_str()));
        }
        if column != Column::Accuracy {
            words.extend(record.marks.iter().cloned());
        }
    }
    words.sort();
    words.dedup();
    words = tainted_once(words);
    if column != Column::Accuracy {
        words.extend(newer(group, device).map(why_not_shown));
    }
    (!words.is_empty()).then(|| words.join("; "))
}

/// Returns marks in which the word `tainted` stands once, before all its reasons.
fn tainted_once(words: Vec<String>) -> Vec<String> {
    let mut is_first = true;
    let once = |word: String| match word.strip_prefix("tainted: ") {
        Some(reason) if !std::mem::take(&mut is_first) => reason.to_owned(),
        _ => word,
    };
    let (tainted, mut others) =
        words.into_iter().partition::<Vec<_>, _>(|word| word.starts_with("tainted: "));
    others.extend(tainted.into_iter().map(once));
    others
}

/// Returns the newest records that are not shown, those of a device if it is named.
fn newer<'a>(group: &Group<'a>, device: Option<Device>) -> impl Iterator<Item = &'a Record> {
    let fits = move |record: &&Record| device.is_none_or(|device| record.device == device);
    group.newer.clone().into_iter().filter(fits)
}

/// Returns why the newest attempt is not what is shown.
fn why_not_shown(record: &Record) -> String {
    let date = record.started.get(..10).unwrap_or(&record.started);
    let mut words = format!("the newest attempt, of {date}, is not shown: ");
    match record.marks.iter().find(|mark| mark.starts_with("tainted")) {
        Some(mark) if record.is_ok() => words += mark,
        _ => words += record.outcome.status.as_str(),
    }
    if let Some(reason) = &record.outcome.reason {
        words += &format!("; {reason}");
    }
    words
}
