//! Tables as a terminal shows them; the only home of comfy-table. Must not depend on what their rows are of.

use std::io::IsTerminal;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Width,
};

use crate::report::escape::printable;
use crate::report::fit::{Fit, fit, wrap};
use crate::report::{Grid, Heading, Tone};

/// Where a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// So many columns: what does not fit is left out.
    Wide(usize),
    /// A file or a pipe: as wide as it must be, and where it can be not wider than a page.
    Endless,
}

/// Width of a table that goes to a file or a pipe.
const PAGE: usize = 200;

impl Screen {
    /// Returns the terminal that this process writes to; for a pipe `COLUMNS`, if it is set.
    pub fn look() -> Screen {
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let width = match std::io::stdout().is_terminal() {
            true => comfy_table::Table::new().width().map(usize::from).or(columns),
            false => columns,
        };
        width.filter(|width| *width > 0).map_or(Screen::Endless, Screen::Wide)
    }

    fn wrap(self, text: &str) -> String {
        match self {
            Screen::Wide(width) => wrap(text, width),
            Screen::Endless => text.to_owned(),
        }
    }
}

/// Returns tables with their titles and the lines below.
pub fn write(grids: &[Grid], screen: Screen) -> String {
    let mut out = String::new();
    for grid in grids {
        let aside = grid.aside.iter().map(|aside| format!(" ({})", printable(aside)));
        let aside = aside.collect::<String>();
        out += &format!("\n\x1b[1m{}\x1b[0m{aside}\n", printable(&grid.title));
        out += &table(grid, screen);
        for line in grid.lines_below() {
            out += &dim(&printable(&line.plain()), screen);
        }
    }
    out
}

/// Returns the rows of a table under its headings, and what was left out for want of width.
pub fn table(grid: &Grid, screen: Screen) -> String {
    let fit = match screen {
        Screen::Wide(width) => fit(grid, width),
        Screen::Endless => whole(grid),
    };
    let mut table = comfy_table::Table::new();
    let style = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    // Who asks for colours in a pipe gets those of cells too; where there are none they are taken away at the end.
    if anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never {
        table.enforce_styling();
    }
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    let headings = fit.columns.iter().map(|index| &grid.headings[*index]).collect::<Vec<_>>();
    let bold = |heading: &&Heading| Cell::new(heading.text).add_attribute(Attribute::Bold);
    table.set_header(headings.iter().map(bold).collect::<Vec<_>>());
    for row in &grid.rows {
        let cells = fit.columns.iter().map(|index| (&row[*index], grid.headings[*index].kind));
        let cells = cells.map(|(cell, kind)| coloured(printable(&cell.shown(kind)), cell.tone));
        table.add_row(cells.collect::<Vec<_>>());
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        if headings[place].kind.is_number() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if let Some(width) = fit.widths.as_ref().map(|widths| widths[place]) {
            let width = u16::try_from(width + 2).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
    }
    if fit.widths.is_some() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    }
    let mut out = format!("{table}\n");
    if !fit.constant.is_empty() {
        out += &dim(&format!("the same in every row: {}", fit.constant.join(" · ")), screen);
    }
    if !fit.left_out.is_empty() {
        let (left_out, more) =
            (fit.left_out.join(", "), grid.more.unwrap_or("use a wider terminal"));
        out +=
            &dim(&format!("left out, for want of width: {left_out}; to see them, {more}"), screen);
    }
    out
}

/// Returns all columns, wrapped to a page where they can be.
fn whole(grid: &Grid) -> Fit {
    let fitted = fit(grid, PAGE);
    let is_whole = fitted.columns.len() == grid.headings.len();
    let all = Fit { columns: (0..grid.headings.len()).collect(), ..Fit::default() };
    if is_whole { fitted } else { all }
}

fn coloured(text: String, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Doubtful => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

fn dim(text: &str, screen: Screen) -> String {
    format!("\x1b[2m{}\x1b[0m\n", screen.wrap(text))
}
