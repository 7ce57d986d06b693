//! Two sets of records → what changed between them, row by row, and why. Pure: must not depend on where records are stored, nor on
//! how a comparison is drawn.

mod cause;
mod grid;
mod history;
mod nights;
mod side;
mod verdict;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use self::history::{Changed, RowHistory, RowNight, histories};
pub use self::nights::{NightValue, Nights, RowNights, RunStart};
use self::side::Row;
pub use self::side::Side;
pub use self::verdict::{RowChange, RowVerdict, TOLERANCE};
use crate::report::Grid;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Question {
    /// Experiments by name; empty means all.
    pub experiments: Vec<String>,
    /// A change of time by less than this share is none.
    pub tolerance: f64,
}

impl Default for Question {
    fn default() -> Question {
        Question { experiments: Vec::new(), tolerance: TOLERANCE }
    }
}

/// What became of every row.
#[derive(Debug)]
pub struct Comparison {
    pub before: String,
    pub after: String,
    pub rows: Vec<ComparedRow>,
}

/// What became of one row.
#[derive(Debug)]
pub struct ComparedRow {
    pub experiment: String,
    /// The target's name in a table, its device and, where it is not the pinned one, its provider.
    pub title: String,
    pub target: String,
    pub device: crate::catalog::Device,
    /// Seconds of the training, or images a second: medians of both sides.
    pub values: (Option<f64>, Option<f64>),
    pub verdict: RowVerdict,
    /// What is different about the two and may be why, the likeliest first.
    pub causes: Vec<String>,
    /// What else changed: accuracy, memory, equivalence.
    pub besides: Vec<String>,
}

/// Compares two sides.
pub fn compare(before: &Side, after: &Side, question: &Question) -> Comparison {
    let is_asked = |row: &&Row| {
        question.experiments.is_empty() || question.experiments.contains(&row.key.experiment)
    };
    let keys = before.rows.iter().chain(&after.rows).filter(is_asked).map(|row| &row.key);
    let keys = keys.collect::<BTreeSet<_>>();
    let rows = keys.into_iter().map(|key| {
        let (then, now) = (before.row(key), after.row(key));
        let any = then.or(now).expect("a key of one of them").first();
        let verdict = verdict::of(then, now, question.tolerance);
        let pair = then.zip(now);
        ComparedRow {
            experiment: key.experiment.clone(),
            title: format!("{} · {}", side::title(any), key.device),
            target: key.target.clone(),
            device: key.device,
            values: (then.and_then(Row::median), now.and_then(Row::median)),
            causes: pair.map(|(then, now)| cause::causes(then, now)).unwrap_or_default(),
            besides: pair.map(|(then, now)| cause::besides(then, now)).unwrap_or_default(),
            verdict,
        }
    });
    let rows = rows.collect();
    Comparison { before: before.name.clone(), after: after.name.clone(), rows }
}

impl ComparedRow {
    /// Returns whether a reader need not look at it.
    pub fn is_same(&self) -> bool {
        matches!(self.verdict.change, RowChange::Same) && self.besides.is_empty()
    }
}

impl Comparison {
    /// Returns the comparison as tables, one for each experiment, without the rows that are the same unless `all`.
    pub fn grids(&self, all: bool) -> Vec<Grid> {
        grid::grids(self, all)
    }

    /// Returns the rows that a reader should look at, a line of plain text each.
    pub fn lines(&self) -> Vec<String> {
        words::lines(self)
    }

    /// Returns what differs between the two sides and in how many rows, the most frequent first, whatever it did to the times.
    pub fn differences(&self) -> Vec<(&str, usize)> {
        let mut counts = BTreeMap::<&str, usize>::new();
        for cause in self.rows.iter().flat_map(|row| &row.causes) {
            *counts.entry(cause).or_default() += 1;
        }
        let mut counts = counts.into_iter().collect::<Vec<_>>();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// Returns whether there is nothing to look at.
    pub fn is_same(&self) -> bool {
        self.rows.iter().all(ComparedRow::is_same)
    }

    /// Takes out the rows that are on the first side alone: they were not run again.
    pub fn forget_what_was_not_run(&mut self) {
        self.rows.retain(|row| row.verdict.change != RowChange::Gone);
    }

    /// Returns how many rows there are of each kind, in words: `2 slower, 1 faster, 31 the same`.
    pub fn summary(&self) -> String {
        let counts = RowChange::ALL.map(|change| {
            let count = self.rows.iter().filter(|row| row.verdict.change == change).count();
            (count > 0).then(|| format!("{count} {}", change.words()))
        });
        match counts.iter().flatten().cloned().collect::<Vec<_>>() {
            words if words.is_empty() => "nothing to compare".to_owned(),
            words => words.join(", "),
        }
    }

    /// Returns whether a row got worse: it fails now, is not the same experiment any more, or takes longer by more than a share.
    pub fn is_worse_by(&self, share: f64) -> bool {
        self.rows.iter().any(|row| match row.verdict.change {
            RowChange::Broken => true,
            RowChange::Slower => row.verdict.ratio.is_some_and(|ratio| ratio.median > 1.0 + share),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
