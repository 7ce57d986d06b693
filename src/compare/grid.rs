//! A comparison as tables. Must not depend on how rows were judged.

use std::collections::BTreeSet;

use super::verdict::RowChange;
use super::{ComparedRow, Comparison};
use crate::report::{Cell, Grid, Heading, Kind, NoteLine, Tone, Value};

const fn heading(text: &'static str, key: &'static str, kind: Kind, rank: u8) -> Heading {
    Heading { text, key, kind, rank }
}

const HEADINGS: [Heading; 7] = [
    heading("Target", "target", Kind::Text, 0),
    heading("Before", "before", Kind::Measured, 2),
    heading("After", "after", Kind::Measured, 2),
    heading("Time Ratio", "time_ratio", Kind::Measured, 0),
    heading("Change", "change", Kind::Text, 0),
    heading("What Differs", "differs", Kind::Text, 1),
    heading("Also", "also", Kind::Text, 1),
];

pub(super) fn grids(comparison: &Comparison, all: bool) -> Vec<Grid> {
    let rows = &comparison.rows;
    let experiments = rows.iter().map(|row| &row.experiment).collect::<BTreeSet<_>>();
    let grid = |experiment: &String| {
        let of_experiment = rows.iter().filter(|row| row.experiment == *experiment);
        let mut shown = of_experiment.filter(|row| all || !row.is_same()).collect::<Vec<_>>();
        shown.sort_by_key(|row| (row.verdict.change.place(), row.title.clone()));
        Grid {
            experiment: experiment.clone(),
            title: format!("{experiment}: {} → {}", comparison.before, comparison.after),
            headings: HEADINGS.to_vec(),
            rows: shown.into_iter().map(cells).collect(),
            notes: vec![NoteLine::from(NOTE)],
            ..Grid::default()
        }
    };
    experiments.into_iter().map(grid).filter(|grid| !grid.rows.is_empty()).collect()
}

const NOTE: &str = "before and after: seconds of the training, or images/s; time ratio: after / before, with its 95 % interval \
    from five repeats on";

fn number(value: Option<f64>) -> Cell {
    Cell::of(value.map_or(Value::Missing, Value::Number))
}

fn list(words: &[String]) -> Cell {
    match words {
        [] => Cell::of(Value::Missing),
        words => Cell::text(words.join("; ")),
    }
}

fn cells(row: &ComparedRow) -> Vec<Cell> {
    let ratio = row.verdict.ratio.map_or(Value::Missing, |ratio| match ratio.count {
        0..=1 => Value::Number(ratio.median),
        _ => Value::Interval(ratio.median, ratio.low, ratio.high),
    });
    let tone = match row.verdict.change {
        RowChange::Broken | RowChange::Slower => Tone::Bad,
        RowChange::NotComparable | RowChange::Gone | RowChange::StillBroken => Tone::Doubtful,
        RowChange::Faster | RowChange::Mended => Tone::Good,
        RowChange::New | RowChange::Same => Tone::Plain,
    };
    let words = row.verdict.change.words();
    let change = match &row.verdict.reason {
        Some(reason) => format!("{words}: {reason}"),
        None => words.to_owned(),
    };
    vec![
        Cell::text(&row.title),
        number(row.values.0),
        number(row.values.1),
        Cell::of(ratio),
        Cell { tone, ..Cell::text(change) },
        list(&row.causes),
        list(&row.besides),
    ]
}
