//! The report: what was measured, proved and written, as one page that needs nothing else.
//!
//! ```text
//! document   the page around its parts
//! results    an experiment: its tables and the charts of their numbers
//! rows       the records that a table's rows were made of
//! epochs     how the training of each row went: loss, time, accuracy
//! history    the number of each row over the nights, and where its level changed
//! past       old versions beside new ones, and the order of 2017 beside today's
//! proved     targets × quantities
//! code       the harnesses, section by section
//! ```
//!
//! Everything is there without the script; that only sorts, filters and picks. Must not depend on where its content comes
//! from, nor on a terminal. Texts are escaped by their type (maud), and what is hidden in them is made visible at the end.

mod code;
mod document;
mod epochs;
mod history;
mod past;
mod proved;
mod results;
mod rows;

pub use self::epochs::{Across, accuracy_by_time, losses};
pub use self::past::slopes;
pub use self::results::bars;
use crate::compare::Nights;
use crate::proof::Verdict;
use crate::reading::HarnessText;
use crate::record::Record;
use crate::report::{Grid, visible};
use crate::table::Published;

/// What a report is made of.
#[derive(Default)]
pub struct Content<'a> {
    /// When it was made, and by which rosetta.
    pub made: String,
    pub experiments: Vec<PagePart>,
    /// Old versions beside new ones.
    pub then_and_now: Vec<Grid>,
    pub published: Published,
    /// The records that tables show, and perhaps more, oldest first.
    pub records: &'a [Record],
    /// What every row took, night by night.
    pub nights: Nights,
    pub verdicts: Vec<Verdict>,
    /// What frameworks do unless told otherwise.
    pub defaults: Vec<Grid>,
    /// How each framework says a thing.
    pub words: Vec<Grid>,
    pub harnesses: Vec<Harnesses>,
    /// What could not be read, for whoever looks at the page.
    pub troubles: Vec<String>,
}

/// The results of one experiment.
pub struct PagePart {
    pub experiment: String,
    pub title: String,
    /// Each table with the profile that it is of.
    pub tables: Vec<(String, Grid)>,
}

/// The harnesses of one experiment.
pub struct Harnesses {
    pub experiment: String,
    pub title: String,
    /// Framework and harness.
    pub sources: Vec<(String, HarnessText)>,
}

/// Returns the report as HTML.
pub fn write(content: &Content) -> String {
    visible(&without_optional_ends(&document::document(content).into_string()))
}

/// End tags that HTML lets be left out where what follows is another such element or the end of what they are in: here all
/// of them are. They are a twentieth of a page.
const OPTIONAL_ENDS: [&str; 6] = ["</td>", "</th>", "</tr>", "</li>", "</dt>", "</dd>"];

/// Returns a page without the end tags that it can do without; in its texts `<` is escaped.
fn without_optional_ends(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for (index, part) in page.split("</").enumerate() {
        let end = OPTIONAL_ENDS.iter().find(|end| part.starts_with(&end[2..]));
        match end {
            Some(end) if index > 0 => out += &part[end.len() - 2..],
            _ => {
                out += if index > 0 { "</" } else { "" };
                out += part;
            }
        }
    }
    out
}

/// Returns a text as the part of an `id`, or as a tag: letters, digits and hyphens.
fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().take(60).map(plain).collect()
}

/// Returns what a row is filtered by: `era:current device:cpu …`.
fn tags(grid: &Grid, row: usize) -> String {
    let mut tags = Vec::new();
    for (name, key) in
        [("era", "era"), ("device", "devices"), ("lane", "lane"), ("provider", "provider")]
    {
        let words = grid.beside(key, row).split(", ").filter(|value| !value.is_empty());
        tags.extend(words.map(|value| format!("{name}:{}", word(value))));
    }
    tags.join(" ")
}

#[cfg(test)]
mod tests;
