//! A table as data, and one file for each text form. Must not depend on what its rows are of.

mod csv;
mod escape;
mod fit;
pub mod html;
mod json;
mod latex;
mod markdown;
mod number;
mod spark;
mod terminal;

pub use self::escape::{printable, visible};
pub use self::markdown::write as markdown;
pub use self::number::three_digits;
pub use self::spark::spark;
pub use self::terminal::{Screen, table as terminal_table, write as terminal};

/// Rows under headings, with what stands above and below them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grid {
    /// The experiment that the rows are of, where programs are told.
    pub experiment: String,
    pub title: String,
    /// What stands in brackets beside the title.
    pub aside: Option<String>,
    pub headings: Vec<Heading>,
    pub rows: Vec<Vec<Cell>>,
    /// What a program needs to know of each row beside its cells.
    pub beside: Vec<Beside>,
    /// Footnotes in the order of their numbers, from 1.
    pub footnotes: Vec<NoteLine>,
    pub notes: Vec<NoteLine>,
    /// How a person sees columns that a terminal leaves out.
    pub more: Option<&'static str>,
}

/// The heading of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// What a person reads; the unit is in it.
    pub text: &'static str,
    /// What a program reads, in CSV and JSON.
    pub key: &'static str,
    pub kind: Kind,
    /// How early it is left out where not all columns fit: the largest first, 0 never.
    pub rank: u8,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A whole number that is not rounded, as a year.
    Count,
    Number,
    /// A median of what was measured, which may have an interval.
    Measured,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub value: Value,
    /// Number of a footnote, from 1.
    pub footnote: Option<usize>,
    pub tone: Tone,
}

/// What a cell says at a glance, by its colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(f64),
    /// A median with its 95 % interval.
    Interval(f64, f64, f64),
    Missing,
}

/// A column that only programs read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub key: &'static str,
    /// One text for each row.
    pub texts: Vec<String>,
}

/// A line below the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoteLine {
    pub words: String,
    /// What is quoted after the words, letter by letter.
    pub code: Option<String>,
}

/// A text form of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Csv,
    Json,
    Latex,
    Html,
}

impl Format {
    /// Returns the tables as text that ends with a newline.
    pub fn write(self, grids: &[Grid]) -> String {
        match self {
            Format::Markdown => markdown::write(grids),
            Format::Csv => csv::write(grids),
            Format::Json => json::write(grids),
            Format::Latex => latex::write(grids),
            Format::Html => html::write(grids),
        }
    }
}

impl Grid {
    /// Returns a grid of texts alone; headings are those of [`Heading::words`].
    pub fn of_texts(headings: impl IntoIterator<Item = Heading>, rows: Vec<Vec<String>>) -> Grid {
        let cells = |row: Vec<String>| row.into_iter().map(Cell::text).collect();
        Grid {
            headings: headings.into_iter().collect(),
            rows: rows.into_iter().map(cells).collect(),
            ..Grid::default()
        }
    }

    /// Returns the number of a footnote; the same words share one.
    pub fn footnote(&mut self, line: impl Into<NoteLine>) -> usize {
        let line = line.into();
        let known = self.footnotes.iter().position(|one| *one == line);
        known.unwrap_or_else(|| {
            self.footnotes.push(line);
            self.footnotes.len() - 1
        }) + 1
    }

    /// Returns what programs are told of a row beside its cells, under a key.
    pub fn beside(&self, key: &str, row: usize) -> &str {
        let column = self.beside.iter().find(|beside| beside.key == key);
        column.and_then(|beside| beside.texts.get(row)).map_or("", String::as_str)
    }

    /// Returns the place of a column in a row.
    pub fn column(&self, key: &str) -> Option<usize> {
        self.headings.iter().position(|heading| heading.key == key)
    }

    /// Returns the footnotes with their numbers, then the notes.
    fn lines_below(&self) -> Vec<NoteLine> {
        let footnotes = self.footnotes.iter().enumerate();
        let footnotes = footnotes.map(|(index, line)| NoteLine {
            words: format!("({}) {}", index + 1, line.words),
            code: line.code.clone(),
        });
        footnotes.chain(self.notes.iter().cloned()).collect()
    }
}

impl Heading {
    /// Returns the heading of a column of words that no program reads by a key.
    pub const fn words(text: &'static str) -> Heading {
        Heading { text, key: text, kind: Kind::Text, rank: 1 }
    }

    /// Returns the heading of a column of numbers that no program reads by a key.
    pub const fn numbers(text: &'static str) -> Heading {
        Heading { text, key: text, kind: Kind::Number, rank: 1 }
    }
}

impl Kind {
    /// Returns whether cells are numbers, to be aligned on the right.
    fn is_number(self) -> bool {
        self != Kind::Text
    }
}

impl Cell {
    /// Returns a cell without a footnote or colour.
    pub fn of(value: Value) -> Cell {
        Cell { value, footnote: None, tone: Tone::Plain }
    }

    /// Returns a cell of words without a footnote.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::of(Value::Text(text.into()))
    }

    /// Returns the cell as a person reads it: three digits, `–` for missing, `(1)` for a footnote.
    pub fn shown(&self, kind: Kind) -> String {
        let number = |value: f64| match kind {
            Kind::Count => format!("{value:.0}"),
            _ => three_digits(value),
        };
        let mut text = match &self.value {
            Value::Text(text) => clipped(text),
            Value::Number(value) => number(*value),
            Value::Interval(middle, low, high) => {
                let [middle, low, high] = [middle, low, high].map(|end| number(*end));
                // Ends that look like the middle say nothing more.
                match low == middle && high == middle {
                    true => middle,
                    false => format!("{middle} [{low}, {high}]"),
                }
            }
            Value::Missing => "–".to_owned(),
        };
        if let Some(footnote) = self.footnote {
            text += &format!(" ({footnote})");
        }
        text
    }
}

/// The most characters of a text that a person is shown; programs get all of it.
const LONGEST: usize = 1_000;

/// Returns a text that a person can read: of a very long one the beginning, and how long it is.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

impl NoteLine {
    /// Returns the line where nothing can be set apart: the code after two spaces.
    fn plain(&self) -> String {
        match &self.code {
            Some(code) => format!("{}  {code}", self.words),
            None => self.words.clone(),
        }
    }
}

impl<T: Into<String>> From<T> for NoteLine {
    fn from(words: T) -> NoteLine {
        NoteLine { words: words.into(), code: None }
    }
}

#[cfg(test)]
mod tests;
