//! Which columns of a table fit a width, and how wide each is: no word, name or number is ever broken.
//!
//! Must not depend on how a table is drawn.

use unicode_width::UnicodeWidthStr;

use crate::report::escape::printable;
use crate::report::{Grid, Kind};

/// What is shown of a table.
#[derive(Debug, Default, PartialEq)]
pub struct Fit {
    /// The columns that are shown, in their order.
    pub columns: Vec<usize>,
    /// The width of each of them, if their contents have to be wrapped.
    pub widths: Option<Vec<usize>>,
    /// Columns that say the same in every row, as `Device cpu`.
    pub constant: Vec<String>,
    /// Headings of the other columns that do not fit.
    pub left_out: Vec<&'static str>,
}

/// What stands beside the text of a cell: a space on either side, and one between columns.
const BESIDE: usize = 3;

/// The widest name of a row that is kept on one line.
const LONGEST_NAME: usize = 26;

/// Returns what of a table fits `width`: what is the same in every row is left out as long as a cell would be wrapped, then
/// what matters least as long as a word would be broken. The first column, and those of rank 0, always stay.
pub fn fit(grid: &Grid, width: usize) -> Fit {
    let columns = measure(grid);
    let mut fit = Fit { columns: (0..columns.len()).collect(), ..Fit::default() };
    let total = |fit: &Fit, of: fn(&ColumnWidths) -> usize| {
        let sum = fit.columns.iter().map(|index| of(&columns[*index]) + BESIDE).sum::<usize>();
        // There is nothing between the last column and the edge.
        sum.saturating_sub(1)
    };
    for is_constant in [true, false] {
        let of: fn(&ColumnWidths) -> usize =
            if is_constant { |column| column.unwrapped } else { |column| column.least };
        for index in in_order_of_leaving(grid) {
            if total(&fit, of) <= width {
                break;
            }
            let heading = grid.headings[index].text;
            match (&columns[index].constant, is_constant) {
                (Some(text), true) => fit.constant.push(format!("{heading} {text}")),
                (None, false) => fit.left_out.push(heading),
                _ => continue,
            }
            fit.columns.retain(|one| *one != index);
        }
    }
    if total(&fit, |column| column.most) > width {
        let shown = fit.columns.iter().map(|index| &columns[*index]).collect::<Vec<_>>();
        fit.widths = Some(share(&shown, width));
    }
    fit
}

/// The widths that a column can have.
struct ColumnWidths {
    /// That of its longest word, and of its longest number.
    least: usize,
    /// That of its longest cell, under a heading that may be wrapped.
    unwrapped: usize,
    /// That of its longest cell and of its heading.
    most: usize,
    /// What stands in every row, if there are several.
    constant: Option<String>,
}

fn measure(grid: &Grid) -> Vec<ColumnWidths> {
    (0..grid.headings.len()).map(|index| column(grid, index)).collect()
}

/// Returns how wide a column is.
fn column(grid: &Grid, index: usize) -> ColumnWidths {
    let heading = &grid.headings[index];
    let cells = grid.rows.iter().map(|row| printable(&row[index].shown(heading.kind)));
    let cells = cells.collect::<Vec<_>>();
    let head = widest(heading.text.split_whitespace());
    let whole = widest(cells.iter().map(String::as_str));
    let words = widest(cells.iter().flat_map(|cell| cell.split_whitespace()));
    // The name of a row is one, unless it is very long.
    let is_name = index == 0 && whole <= LONGEST_NAME;
    let least = if heading.kind == Kind::Text && !is_name { words } else { whole };
    let is_constant = cells.len() > 1 && cells.iter().all(|cell| *cell == cells[0]);
    ColumnWidths {
        least: least.max(head),
        unwrapped: whole.max(head),
        most: whole.max(heading.text.width()),
        constant: is_constant.then(|| cells[0].clone()),
    }
}

/// Returns the width of the widest text, 0 where there is none.
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// Returns the columns that may be left out, the least important first; of equals the rightmost.
fn in_order_of_leaving(grid: &Grid) -> Vec<usize> {
    let may_leave = |index: &usize| *index > 0 && grid.headings[*index].rank > 0;
    let mut order = (0..grid.headings.len()).filter(may_leave).rev().collect::<Vec<_>>();
    order.sort_by_key(|index| std::cmp::Reverse(grid.headings[*index].rank));
    order
}

/// Shares a width: each column has what it needs at least, and those that want little more get it first.
fn share(columns: &[&ColumnWidths], width: usize) -> Vec<usize> {
    let mut widths = columns.iter().map(|column| column.least).collect::<Vec<_>>();
    let used = widths.iter().map(|one| one + BESIDE).sum::<usize>();
    let mut spare = (width + 1).saturating_sub(used);
    let mut order = (0..columns.len()).collect::<Vec<_>>();
    order.sort_by_key(|index| columns[*index].most - columns[*index].least);
    for (place, index) in order.iter().enumerate() {
        let wanted = columns[*index].most - columns[*index].least;
        let given = wanted.min(spare / (order.len() - place));
        widths[*index] += given;
        spare -= given;
    }
    widths
}

/// Returns a text in lines of at most `width`, broken between words; further lines are indented.
pub fn wrap(text: &str, width: usize) -> String {
    const INDENT: &str = "    ";
    let mut out = String::new();
    let mut used = 0;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && used + 1 + word.width() > width {
            out += &format!("\n{INDENT}");
            used = INDENT.len();
        } else if index > 0 {
            out.push(' ');
            used += 1;
        }
        out += word;
        used += word.width();
    }
    out
}
