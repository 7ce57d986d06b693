//! An experiment: its tables, the charts of their numbers, and where each row comes from.

use maud::{Markup, html};

use super::document::scrolled;
use super::rows::{RowRecords, name};
use super::{Content, PagePart, epochs, history, tags, word};
use crate::chart::{Bar, Bars, Chart};
use crate::report::html::{TableContext, below, table};
use crate::report::{Grid, Value, three_digits};

/// The columns that are drawn as bars where a table has them.
const DRAWN: [&str; 6] = [
    "training_time_s",
    "images_per_s_gpu",
    "images_per_s_cpu",
    "test_accuracy_percent",
    "peak_memory_gib",
    "peak_gpu_memory_gib",
];

/// Returns the part of an experiment.
pub(super) fn part(part: &PagePart, content: &Content, records: &RowRecords) -> Markup {
    html! {
        h2 { (part.title) }
        @for (index, (profile, grid)) in part.tables.iter().enumerate() {
            (one(index, grid, part, content))
            (charts(grid))
            (epochs::part(&id(part, index, "training"), profile, grid, records))
            (history::part(&id(part, index, "history"), profile, grid, records, &content.nights))
        }
    }
}

fn id(part: &PagePart, index: usize, what: &str) -> String {
    format!("{}-{what}-{index}", word(&part.experiment))
}

/// Returns the id of what says where a row comes from.
fn origin(part: &PagePart, index: usize, row: usize) -> String {
    id(part, index, &format!("origin-{row}"))
}

/// Returns a table with its lines below and what its rows say of themselves.
fn one(index: usize, grid: &Grid, part: &PagePart, content: &Content) -> Markup {
    let harnesses = content.harnesses.iter().find(|one| one.experiment == part.experiment);
    let sources = harnesses.map(|one| one.sources.as_slice()).unwrap_or_default();
    let behind = |row: usize| {
        let (library, framework) = (name(grid, row), grid.beside("framework", row));
        html! {
            " " button.how popovertarget=(origin(part, index, row)) aria-label={ "how " (library) " was measured" } { "how" }
            @if sources.iter().any(|(name, _)| name == framework) {
                " " a.code href={ "#code-" (word(&part.experiment)) "-" (word(framework)) } aria-label={ "code of " (library) } { "code" }
            }
        }
    };
    let place = TableContext {
        id: id(part, index, "table"),
        caption: caption(grid, part),
        tags: &|row| tags(grid, row),
        behind: &behind,
    };
    html! {
        (scrolled(&grid.title, table(grid, &place)))
        (below(grid, &place.id))
        @for row in 0..grid.rows.len() { (whence(grid, row, &origin(part, index, row))) }
    }
}

/// Returns what a table's title says beyond that of its part: its lane and profile.
fn caption(grid: &Grid, part: &PagePart) -> String {
    let rest = grid.title.strip_prefix(&part.title).unwrap_or(&grid.title);
    rest.trim_start_matches([' ', ',', '–', ':']).to_owned()
}

/// Returns the first digits of each digest of a list.
fn short(digests: &str) -> String {
    let each = digests.split(", ").map(|digest| digest.get(..12).unwrap_or(digest));
    each.collect::<Vec<_>>().join(", ")
}

/// Returns where a row comes from, and the command that measures it again.
fn whence(grid: &Grid, row: usize, id: &str) -> Markup {
    let of = |key| grid.beside(key, row).to_owned();
    let lines = [
        ("Target", format!("{} ({} lane, {} era)", of("target"), of("lane"), of("era"))),
        ("Device", of("devices")),
        ("Repeats", of("n")),
        ("Measured", format!("{} on {}", of("date"), of("host"))),
        ("Run", of("run")),
        ("Environment", format!("{} by {}", of("environment"), of("provider"))),
        ("Lock (SHA-256)", short(&of("lock"))),
        ("Harness (SHA-256)", short(&of("harness"))),
        ("Revision", of("revision")),
        ("Marks", of("marks")),
    ];
    let title = name(grid, row);
    html! {
        div.origin popover id=(id) role="dialog" aria-label={ "Where the row " (title) " comes from" } {
            h3 { (title) }
            dl {
                @for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) { dt { (name) } dd { (text) } }
            }
            p { "What measures it again:" }
            pre tabindex="0" { code { (of("command")) } }
        }
    }
}

fn charts(grid: &Grid) -> Markup {
    let bars = DRAWN.iter().filter_map(|key| bars(grid, key));
    html! {
        div.charts {
            @for bars in bars { figure { figcaption { (bars.title) } (bars.svg()) } }
        }
    }
}

/// Returns the bars of a column, in the order of the table, if two rows have a number in it.
pub fn bars(grid: &Grid, key: &str) -> Option<Bars> {
    let column = grid.column(key)?;
    let mut bars = Vec::new();
    for (row, cells) in grid.rows.iter().enumerate() {
        let (value, interval) = match cells[column].value {
            Value::Number(value) => (value, None),
            Value::Interval(value, low, high) => (value, Some((low, high))),
            Value::Text(_) | Value::Missing => continue,
        };
        // What looks like one number has no interval that could be seen.
        let interval = interval.filter(|(low, high)| three_digits(*low) != three_digits(*high));
        bars.push(Bar { label: name(grid, row), value, interval, tags: tags(grid, row) });
    }
    let title = grid.headings[column].text.to_owned();
    (bars.len() > 1).then_some(Bars { title, bars })
}
