//! Tables as a terminal shows them; the only home of comfy-table. Must not depend on what their rows are of.

use std::io::IsTerminal;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, LineStyle};

use crate::report::escape::printable;
use crate::report::{Grid, Heading};

/// Width of a table that goes to a file or a pipe.
const PIPE_WIDTH: u16 = 200;

/// Returns tables with their titles and the lines below.
pub fn write(grids: &[Grid]) -> String {
    let mut out = String::new();
    for grid in grids {
        let aside =
            grid.aside.iter().map(|aside| format!(" ({})", printable(aside))).collect::<String>();
        out += &format!("\n\x1b[1m{}\x1b[0m{aside}\n", printable(&grid.title));
        out += &table(grid);
        for line in grid.lines_below() {
            out += &format!("\x1b[2m{}\x1b[0m\n", printable(&line.plain()));
        }
    }
    out
}

/// Returns the rows of a table under its headings.
pub fn table(grid: &Grid) -> String {
    let mut table = comfy_table::Table::new();
    let style = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(PIPE_WIDTH);
    }
    let bold = |heading: &Heading| Cell::new(heading.text).add_attribute(Attribute::Bold);
    table.set_header(grid.headings.iter().map(bold).collect::<Vec<_>>());
    for row in &grid.rows {
        let cells = row.iter().zip(&grid.headings);
        table.add_row(
            cells.map(|(cell, heading)| printable(&cell.shown(heading.kind))).collect::<Vec<_>>(),
        );
    }
    for (column, heading) in table.column_iter_mut().zip(&grid.headings) {
        if heading.kind.is_number() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}
