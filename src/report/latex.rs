//! Tables as LaTeX, for the package booktabs. Must not depend on what their rows are of.

use std::fmt::Write;

use crate::report::escape::printable;
use crate::report::{Grid, Heading};

/// Returns each table as one floating table.
pub fn write(grids: &[Grid]) -> String {
    grids.iter().map(table).collect::<Vec<_>>().join("\n")
}

fn table(grid: &Grid) -> String {
    let align = |heading: &Heading| if heading.kind.is_number() { 'r' } else { 'l' };
    let alignment = grid.headings.iter().map(align).collect::<String>();
    let headings = grid.headings.iter().map(|heading| escape(heading.text));
    let mut out = String::from("% \\usepackage{booktabs}\n\\begin{table}\n");
    let _ = writeln!(out, "\\caption{{{}}}", escape(&grid.title));
    let _ = writeln!(out, "\\begin{{tabular}}{{{alignment}}}\n\\toprule");
    let _ = writeln!(out, "{} \\\\\n\\midrule", headings.collect::<Vec<_>>().join(" & "));
    for row in &grid.rows {
        let cells = row.iter().zip(&grid.headings);
        let cells = cells.map(|(cell, heading)| escape(&cell.shown(heading.kind)));
        let _ = writeln!(out, "{} \\\\", cells.collect::<Vec<_>>().join(" & "));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n\n");
    for line in grid.lines_below() {
        let _ = writeln!(out, "{}\\\\", escape(&line.plain()));
    }
    out.push_str("\\end{table}\n");
    out
}

/// Returns a text that LaTeX sets as it is.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '–' => out.push_str("--"),
            c => out.push(c),
        }
    }
    out
}
