//! Tables as JSON. Must not depend on how a table is drawn for people.

use serde_json::{Map, Value as Json, json};

use crate::report::escape::is_unprintable;
use crate::report::number::nine_digits;
use crate::report::{Cell, Grid, Value};

/// Returns the tables as one JSON list.
pub fn write(grids: &[Grid]) -> String {
    let tables = grids.iter().map(table).collect::<Vec<_>>();
    let text = serde_json::to_string_pretty(&tables).expect("a table is plain JSON");
    escape(&text) + "\n"
}

/// Returns JSON in which what a terminal would act on is escaped too, not only what JSON forbids.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => out.push('\n'),
            c if is_unprintable(c) => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

fn table(grid: &Grid) -> Json {
    json!({
        "experiment": grid.experiment,
        "title": grid.title,
        "rows": grid.rows.iter().map(|cells| row(grid, cells)).collect::<Vec<_>>(),
        "notes": grid.notes.iter().map(|note| note.plain()).collect::<Vec<_>>(),
    })
}

/// Returns a row: each value under its key, `KEY_interval` before and `KEY_note` after it.
fn row(grid: &Grid, cells: &[Cell]) -> Map<String, Json> {
    let mut object = Map::new();
    for (cell, heading) in cells.iter().zip(&grid.headings) {
        let key = heading.key;
        let value = match &cell.value {
            Value::Text(text) => json!(text),
            Value::Number(number) => json!(nine_digits(*number)),
            Value::Interval(middle, low, high) => {
                object.insert(
                    format!("{key}_interval"),
                    json!([low, high].map(|end| nine_digits(*end))),
                );
                json!(nine_digits(*middle))
            }
            Value::Missing => json!(null),
        };
        object.insert(key.to_owned(), value);
        if let Some(number) = cell.footnote {
            let words = grid.footnotes[number - 1].plain();
            object.insert(format!("{key}_note"), json!(words));
        }
    }
    object
}
