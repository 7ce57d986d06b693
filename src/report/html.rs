//! Tables as HTML: rows with what a page sorts and filters by. Must not depend on what their rows are of.

use maud::{Markup, html};

use crate::report::escape::visible;
use crate::report::number::nine_digits;
use crate::report::{Cell, Grid, Heading, NoteLine, Tone, Value};

/// What a page knows of a table beside the table itself.
pub struct TableContext<'a> {
    /// Is not used twice on a page.
    pub id: String,
    pub caption: String,
    /// What rows are filtered by, as `era:current device:cpu`.
    pub tags: &'a dyn Fn(usize) -> String,
    /// What stands behind the first cell of a row.
    pub behind: &'a dyn Fn(usize) -> Markup,
}

/// Returns the tables, each with its title and the lines below.
pub fn write(grids: &[Grid]) -> String {
    let part = |(index, grid): (usize, &Grid)| {
        let id = format!("table-{}", index + 1);
        let place = TableContext {
            id,
            caption: grid.title.clone(),
            tags: &|_| String::new(),
            behind: &|_| html! {},
        };
        html! {
            section {
                h2 { (grid.title) @if let Some(aside) = &grid.aside { " (" (aside) ")" } }
                (table(grid, &place))
                (below(grid, &place.id))
            }
            "\n"
        }
    };
    let parts = grids.iter().enumerate().map(part);
    visible(&html! { @for part in parts { (part) } }.into_string())
}

/// Returns the rows under their headings.
pub fn table(grid: &Grid, place: &TableContext) -> Markup {
    html! {
        table id=(place.id) {
            caption { (place.caption) }
            thead { tr {
                @for heading in &grid.headings {
                    th scope="col" data-key=(heading.key) class=[number(heading)] { (heading.text) }
                }
            } }
            tbody {
                @for (index, row) in grid.rows.iter().enumerate() {
                    @let tags = (place.tags)(index);
                    tr data-tags=[(!tags.is_empty()).then_some(tags)] {
                        @for (column, (cell, heading)) in row.iter().zip(&grid.headings).enumerate() {
                            @if column == 0 {
                                @let behind = (place.behind)(index);
                                th scope="row" class=[tone(cell.tone)] { (shown(cell, heading, &place.id, behind.0.is_empty())) (behind) }
                            } @else {
                                td class=[number(heading).or(tone(cell.tone))] data-value=[value(cell)] data-low=[end(cell, false)] data-high=[end(cell, true)] {
                                    (shown(cell, heading, &place.id, true))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the footnotes of a table and its notes.
pub fn below(grid: &Grid, id: &str) -> Markup {
    html! {
        @if !grid.footnotes.is_empty() {
            ol.footnotes {
                @for (index, line) in grid.footnotes.iter().enumerate() {
                    li id={ (id) "-note-" (index + 1) } { (words(line)) }
                }
            }
        }
        @for line in &grid.notes { p.note { (words(line)) } }
    }
}

fn words(line: &NoteLine) -> Markup {
    html! { (line.words) @if let Some(code) = &line.code { " " code { (code) } } }
}

/// Returns a cell as a person reads it; its footnote is a link. Where something stands beside the text, the text has an
/// element of its own, for those who sort and search; thousands of cells do without.
fn shown(cell: &Cell, heading: &Heading, id: &str, is_alone: bool) -> Markup {
    let text = Cell { footnote: None, ..cell.clone() }.shown(heading.kind);
    html! {
        @if is_alone && cell.footnote.is_none() { (text) } @else { span.cell { (text) } }
        @if let Some(number) = cell.footnote {
            " " a.mark href={ "#" (id) "-note-" (number) } aria-label={ "footnote (" (number) ")" } { "(" (number) ")" }
        }
    }
}

fn number(heading: &Heading) -> Option<&'static str> {
    heading.kind.is_number().then_some("number")
}

fn tone(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Doubtful => Some("doubtful"),
        Tone::Bad => Some("bad"),
    }
}

/// Returns what a page sorts by, where a cell is a number: what JSON has.
fn value(cell: &Cell) -> Option<f64> {
    match cell.value {
        Value::Number(number) | Value::Interval(number, ..) => Some(nine_digits(number)),
        Value::Text(_) | Value::Missing => None,
    }
}

fn end(cell: &Cell, is_high: bool) -> Option<f64> {
    match cell.value {
        Value::Interval(_, low, high) => Some(nine_digits(if is_high { high } else { low })),
        _ => None,
    }
}
