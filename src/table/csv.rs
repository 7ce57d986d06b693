//! Tables as CSV: one heading for all, the columns that are shown first, then what a program needs beside them.
//!
//! Must not depend on how a table is drawn for people.

use crate::table::{Column, Provenance, Table, Value};

/// Returns the tables as CSV: shown columns, lower and upper ends of intervals, and where each row comes from.
pub fn write(tables: &[Table]) -> String {
    let columns = columns_of(tables);
    let measured = columns.iter().copied().filter(|column| column.is_measured());
    let measured = measured.collect::<Vec<_>>();
    let with_run = !columns.contains(&Column::Run);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut lines = vec![headings(&columns, &measured, with_run)];
    for table in tables {
        for (row, provenance) in table.rows.iter().zip(&table.provenance) {
            let value = |column: &Column| {
                let index = table.columns.iter().position(|one| one == column);
                index.map_or(&Value::Missing, |index| &row[index].value)
            };
            let mut line = vec![table.experiment.clone()];
            line.extend(columns.iter().map(|column| text(value(column))));
            line.extend(measured.iter().flat_map(|column| interval(value(column))));
            line.extend(about(provenance, with_run));
            lines.push(line);
        }
    }
    for line in lines {
        writer.write_record(line).expect("lines of one length go into memory");
    }
    let bytes = writer.into_inner().expect("memory is always flushed");
    String::from_utf8(bytes).expect("texts in, texts out")
}

/// Returns the columns of all tables, each once.
fn columns_of(tables: &[Table]) -> Vec<Column> {
    let mut columns = Vec::new();
    for column in tables.iter().flat_map(|table| &table.columns) {
        if !columns.contains(column) {
            columns.push(*column);
        }
    }
    columns
}

fn headings(columns: &[Column], measured: &[Column], with_run: bool) -> Vec<String> {
    let mut headings = vec!["experiment".to_owned()];
    headings.extend(columns.iter().map(|column| column.key().to_owned()));
    for column in measured {
        headings.extend(["low", "high"].map(|end| format!("{}_{end}", column.key())));
    }
    headings.push("marks".to_owned());
    headings.extend(with_run.then(|| "run".to_owned()));
    headings.extend(["date", "host", "n"].map(str::to_owned));
    headings
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) | Value::Interval(number, ..) => number.to_string(),
        Value::Missing => String::new(),
    }
}

fn interval(value: &Value) -> [String; 2] {
    match value {
        Value::Interval(_, low, high) => [low.to_string(), high.to_string()],
        _ => [String::new(), String::new()],
    }
}

fn about(provenance: &Provenance, with_run: bool) -> Vec<String> {
    let Provenance { marks, runs, dates, hosts, repeats } = provenance;
    let mut about = vec![marks.join("; ")];
    about.extend(with_run.then(|| runs.join(", ")));
    about.extend([dates.join(", "), hosts.join(", ")]);
    about.push(repeats.map(|n| n.to_string()).unwrap_or_default());
    about
}
