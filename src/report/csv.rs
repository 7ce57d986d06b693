//! Tables as CSV: one heading for all, the columns that are shown first, then what a program needs beside them.
//!
//! Must not depend on how a table is drawn for people.

use crate::report::escape::printable;
use crate::report::number::nine_digits;
use crate::report::{Grid, Heading, Kind, Value};

/// Returns the tables as CSV: shown columns, lower and upper ends of intervals, and what stands beside each row.
pub fn write(grids: &[Grid]) -> String {
    let shown = shown(grids);
    let measured = shown.iter().copied().filter(|heading| heading.kind == Kind::Measured);
    let measured = measured.collect::<Vec<_>>();
    let beside = beside(grids, &shown);
    let mut lines = vec![headings(&shown, &measured, &beside)];
    for grid in grids {
        for (index, row) in grid.rows.iter().enumerate() {
            let value = |heading: &Heading| {
                let at = grid.headings.iter().position(|one| one.key == heading.key);
                at.map_or(&Value::Missing, |at| &row[at].value)
            };
            let mut line = vec![harmless(&grid.experiment)];
            line.extend(shown.iter().map(|heading| text(value(heading))));
            line.extend(measured.iter().flat_map(|heading| interval(value(heading))));
            line.extend(beside.iter().map(|key| text_beside(grid, key, index)));
            lines.push(line);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).expect("lines of one length go into memory");
    }
    let bytes = writer.into_inner().expect("memory is always flushed");
    String::from_utf8(bytes).expect("texts in, texts out")
}

/// Returns the headings of all tables, each once.
fn shown(grids: &[Grid]) -> Vec<Heading> {
    let mut shown = Vec::<Heading>::new();
    for heading in grids.iter().flat_map(|grid| &grid.headings) {
        if !shown.iter().any(|one| one.key == heading.key) {
            shown.push(*heading);
        }
    }
    shown
}

/// Returns the keys of what stands beside the rows, but for those that are shown anyway.
fn beside(grids: &[Grid], shown: &[Heading]) -> Vec<&'static str> {
    let mut keys = Vec::new();
    for beside in grids.iter().flat_map(|grid| &grid.beside) {
        let is_shown = shown.iter().any(|heading| heading.key == beside.key);
        if !is_shown && !keys.contains(&beside.key) {
            keys.push(beside.key);
        }
    }
    keys
}

fn headings(shown: &[Heading], measured: &[Heading], beside: &[&str]) -> Vec<String> {
    let mut headings = vec!["experiment".to_owned()];
    headings.extend(shown.iter().map(|heading| heading.key.to_owned()));
    for heading in measured {
        headings.extend(["low", "high"].map(|end| format!("{}_{end}", heading.key)));
    }
    headings.extend(beside.iter().map(|key| (*key).to_owned()));
    headings
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => harmless(text),
        Value::Number(number) | Value::Interval(number, ..) => nine_digits(*number).to_string(),
        Value::Missing => String::new(),
    }
}

fn interval(value: &Value) -> [String; 2] {
    match value {
        Value::Interval(_, low, high) => [low, high].map(|end| nine_digits(*end).to_string()),
        _ => [String::new(), String::new()],
    }
}

fn text_beside(grid: &Grid, key: &str, row: usize) -> String {
    let beside = grid.beside.iter().find(|beside| beside.key == key);
    let text = beside.and_then(|beside| beside.texts.get(row));
    text.map(|text| harmless(text)).unwrap_or_default()
}

/// Returns a text that a spreadsheet does not take for a formula: such a one begins with an apostrophe.
fn harmless(text: &str) -> String {
    let text = printable(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}
