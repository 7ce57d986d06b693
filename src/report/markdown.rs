//! Tables as Markdown. Must not depend on what their rows are of.

use std::fmt::Write;

use crate::report::escape::printable;
use crate::report::{Grid, NoteLine};

/// Returns tables as Markdown: each under a heading, or under a line if something stands beside its title.
pub fn write(grids: &[Grid]) -> String {
    grids.iter().map(grid).collect::<Vec<_>>().join("\n")
}

fn grid(grid: &Grid) -> String {
    let title = escape(&grid.title);
    let head = match &grid.aside {
        Some(aside) => format!("**{title}** ({})", escape(aside)),
        None => format!("### {title}"),
    };
    let mut out = format!("{head}\n\n{}", rows(grid));
    let below = grid.lines_below();
    if !below.is_empty() {
        out.push('\n');
    }
    for below in below {
        let _ = writeln!(out, "{}  ", line(&below));
    }
    out
}

fn line(line: &NoteLine) -> String {
    let words = escape(&line.words);
    match &line.code {
        Some(code) => format!("{words} `{code}`"),
        None => words,
    }
}

/// Returns a text that Markdown shows as it is, in a cell too; what stands between backticks stays code.
fn escape(text: &str) -> String {
    let text = printable(text);
    let pieces = text.split('`').collect::<Vec<_>>();
    let is_paired = pieces.len() % 2 == 1;
    let mut out = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            out.push_str(if is_paired { "`" } else { "\\`" });
        }
        match is_paired && index % 2 == 1 {
            true => out += &piece.replace('|', "\\|"),
            false => out += &escape_words(piece),
        }
    }
    out
}

fn escape_words(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('|', "\\|");
    // One star at the end, as of a value that was read from a signature, begins no emphasis.
    let is_harmless = text.find('*').is_none_or(|at| at + 1 == text.len());
    let text = if is_harmless { text } else { text.replace('*', "\\*") };
    let text = text.replace("&#", "&amp;#").replace("&lt", "&amp;lt").replace('<', "&lt;");
    let text = text.replace("](", "]\\(");
    text.replace("__", "\\_\\_")
}

/// Returns rows under headings, in columns of one width each.
fn rows(grid: &Grid) -> String {
    let headings = &grid.headings;
    let mut lines = vec![headings.iter().map(|heading| escape(heading.text)).collect::<Vec<_>>()];
    for row in &grid.rows {
        let cells = row.iter().zip(headings);
        lines.push(cells.map(|(cell, heading)| escape(&cell.shown(heading.kind))).collect());
    }
    let width = |index: usize| {
        let lengths = lines.iter().map(|line| line[index].chars().count());
        lengths.max().unwrap_or(0).max(3)
    };
    let widths = (0..headings.len()).map(width).collect::<Vec<_>>();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        out.push('|');
        for ((text, heading), width) in line.iter().zip(headings).zip(&widths) {
            let gap = " ".repeat(width - text.chars().count());
            let _ = match heading.kind.is_number() {
                true => write!(out, " {gap}{text} |"),
                false => write!(out, " {text}{gap} |"),
            };
        }
        out.push('\n');
        if number == 0 {
            out.push('|');
            for (heading, width) in headings.iter().zip(&widths) {
                let rule = "-".repeat(width + 1);
                let _ = match heading.kind.is_number() {
                    true => write!(out, "{rule}:|"),
                    false => write!(out, ":{rule}|"),
                };
            }
            out.push('\n');
        }
    }
    out
}
