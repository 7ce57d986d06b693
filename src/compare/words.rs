//! A comparison in plain text, for a mail or a chat. Must not depend on how rows were judged.

use std::fmt::Write;

use super::{ComparedRow, Comparison};
use crate::report::three_digits;

/// Returns the rows that a reader should look at, a line each.
pub(super) fn lines(comparison: &Comparison) -> Vec<String> {
    let mut rows = comparison.rows.iter().filter(|row| !row.is_same()).collect::<Vec<_>>();
    rows.sort_by_key(|row| (row.verdict.change.place(), row.experiment.clone(), row.title.clone()));
    rows.into_iter().map(line).collect()
}

/// Returns `cnn · JAX (Flax) · cpu: slower, 1.21 times as long [1.18, 1.24], 6.34 → 7.67; jax 0.11 → 0.12`.
fn line(row: &ComparedRow) -> String {
    let mut text = format!("{} · {}: {}", row.experiment, row.title, row.verdict.change.words());
    if let Some(reason) = &row.verdict.reason {
        let _ = write!(text, ", {reason}");
    }
    if let Some(ratio) = row.verdict.ratio {
        let _ = write!(text, ", {} times as long", three_digits(ratio.median));
        if ratio.count > 1 {
            let _ = write!(text, " [{}, {}]", three_digits(ratio.low), three_digits(ratio.high));
        }
    }
    if let (Some(before), Some(after)) = row.values {
        let _ = write!(text, ", {} → {}", three_digits(before), three_digits(after));
    }
    for what in row.besides.iter().chain(&row.causes) {
        let _ = write!(text, "; {what}");
    }
    text
}
