//! Tables as text for other programs: Markdown, JSON, LaTeX; CSV has a file of its own.

use std::fmt::Write;

use serde_json::{Map, json};

use crate::markdown;
use crate::table::{Cell, Column, Table, Value, csv};

/// A text form of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Csv,
    Json,
    Latex,
}

impl Format {
    /// Returns the tables as text that ends with a newline.
    pub fn write(self, tables: &[Table]) -> String {
        match self {
            Format::Markdown => tables.iter().map(markdown).collect::<Vec<_>>().join("\n"),
            Format::Csv => csv::write(tables),
            Format::Json => json_text(tables),
            Format::Latex => tables.iter().map(latex).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// Returns a number with three significant digits, in plain notation; a whole number as it is.
pub fn three_digits(number: f64) -> String {
    if !number.is_finite() || (number.fract() == 0.0 && number.abs() < 1000.0) {
        return format!("{number}");
    }
    // Rounding may carry into the next power of ten: 99.96 has one decimal less than it seems.
    let rounded = format!("{number:.2e}").parse::<f64>().unwrap_or(number);
    let magnitude = rounded.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0).min(12);
    format!("{rounded:.decimals$}")
}

impl Cell {
    /// Returns the cell as a person reads it: three digits, `–` for missing, `[1]` for a footnote.
    pub fn text(&self, column: Column) -> String {
        let number = |value: f64| match column {
            Column::Year => format!("{value:.0}"),
            _ => three_digits(value),
        };
        let mut text = match &self.value {
            Value::Text(text) => text.clone(),
            Value::Number(value) => number(*value),
            Value::Interval(middle, low, high) => {
                format!("{} [{}, {}]", number(*middle), number(*low), number(*high))
            }
            Value::Missing => "–".to_owned(),
        };
        if let Some(footnote) = self.footnote {
            let _ = write!(text, " ({footnote})");
        }
        text
    }
}

impl Table {
    /// Returns the footnotes with their numbers, then the notes.
    pub fn lines_below(&self) -> Vec<String> {
        let footnotes = self.footnotes.iter().enumerate();
        let footnotes = footnotes.map(|(index, words)| format!("({}) {words}", index + 1));
        footnotes.chain(self.notes.iter().cloned()).collect()
    }
}

fn markdown(table: &Table) -> String {
    let headings = table.columns.iter().map(|column| (column.heading(), column.is_number()));
    let cells = |row: &Vec<Cell>| {
        let pairs = row.iter().zip(&table.columns);
        pairs.map(|(cell, column)| cell.text(*column)).collect()
    };
    let rows = table.rows.iter().map(cells).collect::<Vec<_>>();
    let rows = markdown::rows(&headings.collect::<Vec<_>>(), &rows);
    let mut out = format!("### {}\n\n{rows}\n", table.title);
    for line in table.lines_below() {
        let _ = writeln!(out, "{}  ", markdown::escape(&line));
    }
    out
}

fn json_text(tables: &[Table]) -> String {
    let tables = tables.iter().map(|table| {
        let rows = table.rows.iter().map(|row| {
            let mut object = Map::new();
            for (cell, column) in row.iter().zip(&table.columns) {
                let value = match &cell.value {
                    Value::Text(text) => json!(text),
                    Value::Number(number) => json!(number),
                    Value::Interval(middle, low, high) => {
                        object.insert(format!("{}_interval", column.key()), json!([low, high]));
                        json!(middle)
                    }
                    Value::Missing => json!(null),
                };
                object.insert(column.key().to_owned(), value);
                if let Some(number) = cell.footnote {
                    let words = &table.footnotes[number - 1];
                    object.insert(format!("{}_note", column.key()), json!(words));
                }
            }
            object
        });
        json!({
            "experiment": table.experiment,
            "title": table.title,
            "rows": rows.collect::<Vec<_>>(),
            "notes": table.notes,
        })
    });
    let tables = tables.collect::<Vec<_>>();
    serde_json::to_string_pretty(&tables).expect("a table is plain JSON") + "\n"
}

fn latex(table: &Table) -> String {
    let escape = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                    out.push('\\');
                    out.push(c);
                }
                '\\' => out.push_str("\\textbackslash{}"),
                '~' => out.push_str("\\textasciitilde{}"),
                '^' => out.push_str("\\textasciicircum{}"),
                '–' => out.push_str("--"),
                c => out.push(c),
            }
        }
        out
    };
    let align = |column: &Column| if column.is_number() { 'r' } else { 'l' };
    let alignment = table.columns.iter().map(align).collect::<String>();
    let headings = table.columns.iter().map(|column| escape(column.heading()));
    let mut out = String::from("% \\usepackage{booktabs}\n\\begin{table}\n");
    let _ = writeln!(out, "\\caption{{{}}}", escape(&table.title));
    let _ = writeln!(out, "\\begin{{tabular}}{{{alignment}}}\n\\toprule");
    let _ = writeln!(out, "{} \\\\\n\\midrule", headings.collect::<Vec<_>>().join(" & "));
    for row in &table.rows {
        let cells = row.iter().zip(&table.columns).map(|(cell, c)| escape(&cell.text(*c)));
        let _ = writeln!(out, "{} \\\\", cells.collect::<Vec<_>>().join(" & "));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n\n");
    for line in table.lines_below() {
        let _ = writeln!(out, "{}\\\\", escape(&line));
    }
    out.push_str("\\end{table}\n");
    out
}
