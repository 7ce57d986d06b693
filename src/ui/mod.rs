//! Everything a person sees in a terminal; the only home of indicatif and comfy-table. May not
//! know how values were obtained.

mod live;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, LineStyle};

pub use self::live::Live;
use crate::defaults::Sheet;
use crate::proof::{Verdict, report};
use crate::table::Table;

/// Width of a table that goes to a file or a pipe.
const PIPE_WIDTH: u16 = 200;

/// Prints text on standard output; a reader that went away is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Returns comparison tables as a terminal shows them.
pub fn tables(tables: &[Table]) -> String {
    let mut out = String::new();
    for table in tables {
        let columns = &table.columns;
        let headings = columns.iter().map(|column| (column.heading(), column.is_number()));
        let rows = table.rows.iter().map(|row| {
            let cells = row.iter().zip(columns);
            cells.map(|(cell, column)| cell.text(*column)).collect()
        });
        out.push_str(&format!("\n\x1b[1m{}\x1b[0m\n", table.title));
        out.push_str(&grid(&headings.collect::<Vec<_>>(), rows.collect()));
        for line in table.lines_below() {
            out.push_str(&format!("\x1b[2m{line}\x1b[0m\n"));
        }
    }
    out
}

/// Returns what checks found as a terminal shows it.
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    for experiment in report::experiments(verdicts) {
        let of = verdicts.iter().filter(|verdict| verdict.experiment == experiment);
        let of = of.collect::<Vec<_>>();
        out += &format!("\n\x1b[1m{experiment}\x1b[0m ({})\n", report::parameters(&of));
        out += &grid(&report::HEADINGS, report::rows(&of));
    }
    out += &format!("\x1b[2m{}\x1b[0m\n", report::NOTE);
    for text in verdicts.iter().filter_map(report::explanation) {
        out += &format!("\n{text}\n");
    }
    out
}

/// Returns a comparison of defaults as a terminal shows it.
pub fn defaults(sheet: &Sheet) -> String {
    let mut out = String::new();
    for group in sheet.groups() {
        let headings = group.headings.iter().map(|heading| (*heading, false));
        out.push_str(&format!("\n\x1b[1m{}\x1b[0m\n", group.title));
        out.push_str(&grid(&headings.collect::<Vec<_>>(), group.rows));
        for line in group.lines_below {
            out.push_str(&format!("\x1b[2m{line}\x1b[0m\n"));
        }
    }
    for line in sheet.lines_below() {
        out.push_str(&format!("\n\x1b[2m{line}\x1b[0m"));
    }
    out + "\n"
}

/// Returns rows under headings; `true` beside a heading aligns its column on the right.
pub fn grid(headings: &[(&str, bool)], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    let style = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(PIPE_WIDTH);
    }
    let bold = |(heading, _): &(&str, bool)| Cell::new(heading).add_attribute(Attribute::Bold);
    table.set_header(headings.iter().map(bold).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    for (column, (_, is_number)) in table.column_iter_mut().zip(headings) {
        if *is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// Returns a duration in a few words: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`.
pub fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns a size in a few words: `512 B`, `1.2 MiB`, `3.4 GiB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{size, words};

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(words(Duration::from_millis(420)), "0.4 s");
        assert_eq!(words(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(words(Duration::from_secs(7_800)), "2 h 10 min");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
