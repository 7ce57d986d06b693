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
    (!words.is_empty()).then(|| words.join("; "))
}
