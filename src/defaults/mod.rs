//! What frameworks do unless told otherwise: facts of their `defaults.*` → comparison as data.
//!
//! Pure: must not depend on processes, files or the terminal.
//!
//! [`PROPERTIES`] is the one place that knows what a property is called and what the experiments
//! want of it. Where a default is something else, the harness overrides it: the framework's
//! program names the text by which it does, and that text must stand in the harness today.

mod export;
mod property;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::property::{PROPERTIES, Property, Wants};
use crate::report::{Cell, Grid, Heading, NoteLine};

/// What the program of one target said.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    pub target: String,
    pub title: String,
    pub version: String,
    /// The day on which it was measured, where that is not today.
    pub date: Option<String>,
    /// Names and values of its facts.
    pub facts: Vec<(String, Value)>,
    /// The files in which defaults are overridden.
    pub sources: Vec<SourceFile>,
}

/// A file of a framework.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// An experiment's name, or the file's where it is not a harness.
    pub name: String,
    /// As it is printed: relative to the project.
    pub path: String,
    pub text: String,
}

/// The value of a fact.
#[derive(Debug, Deserialize)]
struct Said {
    value: String,
    how: How,
    /// A harness and a text in it.
    #[serde(rename = "override")]
    overridden: Option<(String, String)>,
    not_needed: Option<String>,
}

/// How a default was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By running the layer.
    Run,
    /// From a signature: it could not be run.
    Read,
}

/// The comparison of frameworks, property by property.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    pub rows: Vec<TargetRow>,
    /// Lines below all: when and on what it was measured.
    pub notes: Vec<String>,
    /// What makes it untrue: a text that is not found, a conflict that nobody explains.
    pub faults: Vec<String>,
}

/// One target.
#[derive(Debug, Clone)]
pub struct TargetRow {
    pub target: String,
    pub title: String,
    pub version: String,
    /// The day on which it was measured, where that is not today.
    pub date: Option<String>,
    pub found: Vec<FoundDefault>,
}

/// One default of one target.
#[derive(Debug, Clone)]
pub struct FoundDefault {
    pub property: &'static Property,
    pub value: String,
    pub how: How,
    /// Whether the experiments want something else.
    pub is_conflict: bool,
    pub answer: Option<DefaultAnswer>,
}

/// What is done about a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAnswer {
    /// A harness overrides it.
    Overridden { path: String, line: usize, text: String },
    /// It makes no difference, for a reason.
    NotNeeded(String),
}

impl Sheet {
    pub fn build(measured: &[Measurement]) -> Sheet {
        let mut sheet = Sheet::default();
        for one in measured {
            let mut found = Vec::new();
            for (name, value) in &one.facts {
                match find(one, name, value) {
                    Ok(default) => found.push(default),
                    Err(fault) => sheet.faults.push(format!("{}: `{name}`: {fault}", one.target)),
                }
            }
            let (target, title) = (one.target.clone(), one.title.clone());
            let (version, date) = (one.version.clone(), one.date.clone());
            sheet.rows.push(TargetRow { target, title, version, date, found });
        }
        sheet
    }

    /// Keeps the properties of some groups, by what their names begin with: `gru`, `adam`.
    pub fn keep_groups(&mut self, groups: &[String]) {
        let is_kept =
            |found: &FoundDefault| groups.iter().any(|group| group == found.property.short());
        self.rows.iter_mut().for_each(|row| row.found.retain(is_kept));
    }

    /// Keeps the properties in which targets differ.
    pub fn keep_differences(&mut self) {
        let mut values =
            std::collections::BTreeMap::<&str, std::collections::BTreeSet<String>>::new();
        for found in self.rows.iter().flat_map(|row| &row.found) {
            values.entry(found.property.name).or_default().insert(found.value.clone());
        }
        let differs =
            |found: &FoundDefault| values.get(found.property.name).is_some_and(|all| all.len() > 1);
        self.rows.iter_mut().for_each(|row| row.found.retain(differs));
    }

    /// Returns the versions that were measured, then the notes.
    pub fn lines_below(&self) -> Vec<String> {
        let version = |row: &TargetRow| match &row.date {
            Some(date) => format!("{} {} (measured on {date})", row.title, row.version),
            None => format!("{} {}", row.title, row.version),
        };
        let versions = self.rows.iter().map(version);
        let versions = versions.collect::<Vec<_>>().join(", ");
        std::iter::once(versions).chain(self.notes.iter().cloned()).collect()
    }

    /// Returns a table for each group of properties that any target has.
    pub fn grids(&self) -> Vec<Grid> {
        let mut grids = Vec::<Grid>::new();
        for title in PROPERTIES.iter().map(|property| property.group) {
            if grids.last().is_none_or(|last| last.title != title) {
                grids.push(self.grid(title));
            }
        }
        grids.retain(|grid| grid.headings.len() > 1);
        grids
    }

    /// Returns the table of a group: what is wanted on top, then a row for each target.
    fn grid(&self, title: &'static str) -> Grid {
        let all_found = self.rows.iter().flat_map(|row| &row.found);
        let found = all_found.filter(|found| found.property.group == title).collect::<Vec<_>>();
        let mut properties = PROPERTIES.iter().collect::<Vec<_>>();
        properties.retain(|property| found.iter().any(|found| found.property == *property));
        let headings = properties.iter().map(|property| Heading::words(property.heading));
        let headings = std::iter::once(Heading::words("Framework")).chain(headings);
        let wanted = properties.iter().map(|property| property.wants.words().to_owned());
        let wanted = std::iter::once("the experiments want".to_owned()).chain(wanted);
        let wanted = vec![wanted.collect::<Vec<_>>()];
        let mut grid = Grid { title: title.to_owned(), ..Grid::of_texts(headings, wanted) };
        for row in &self.rows {
            let mut cells = vec![Cell::text(&row.title)];
            for property in &properties {
                let found = row.found.iter().find(|found| found.property == *property);
                cells.push(found.map_or(Cell::text("–"), |found| cell(&mut grid, found)));
            }
            grid.rows.push(cells);
        }
        if found.iter().any(|found| found.how == How::Read) {
            grid.notes.push("* read from the signature, not run".into());
        }
        grid
    }
}

/// Returns the cell of a default; the same footnotes share a number.
fn cell(grid: &mut Grid, found: &FoundDefault) -> Cell {
    let mut text = found.value.clone();
    if found.how == How::Read {
        text.push('*');
    }
    let footnote = found.answer.as_ref().map(|answer| grid.footnote(answer.line()));
    Cell { footnote, ..Cell::text(text) }
}

/// Returns a default with what is done about it, or what is wrong with the fact.
fn find(measured: &Measurement, name: &str, value: &Value) -> Result<FoundDefault, String> {
    let property = PROPERTIES.iter().find(|property| property.name == name);
    let property =
        property.ok_or("unknown property; src/defaults/property.rs lists those known")?;
    let said = Said::deserialize(value).map_err(|error| error.to_string())?;
    let is_conflict = !property.wants.is_met_by(&said.value);
    let overridden = said.overridden.map(|(harness, text)| locate(measured, &harness, text));
    // A text that is gone is a fault even where the default of today needs no overriding.
    let answer = overridden.transpose()?.or(said.not_needed.map(DefaultAnswer::NotNeeded));
    if is_conflict && answer.is_none() {
        let (value, wants) = (&said.value, property.wants.words());
        return Err(format!("is `{value}`, not `{wants}`, and no harness is said to override it"));
    }
    // Of a default that is as wanted there is nothing to say.
    let answer = answer.filter(|_| is_conflict || property.wants == Wants::Nothing);
    Ok(FoundDefault { property, value: said.value, how: said.how, is_conflict, answer })
}

/// Returns where a text stands in a harness.
fn locate(measured: &Measurement, harness: &str, text: String) -> Result<DefaultAnswer, String> {
    let source = measured.sources.iter().find(|source| source.name == harness);
    let source = source.ok_or_else(|| format!("there is not a harness `{harness}`"))?;
    let path = source.path.clone();
    match source.text.lines().position(|line| line.contains(&text)) {
        Some(index) => Ok(DefaultAnswer::Overridden { path, line: index + 1, text }),
        None => Err(format!("`{text}` does not stand in {path}")),
    }
}

impl DefaultAnswer {
    fn line(&self) -> NoteLine {
        match self {
            DefaultAnswer::Overridden { path, line, text } => {
                NoteLine { words: format!("{path}:{line}"), code: Some(text.clone()) }
            }
            DefaultAnswer::NotNeeded(why) => format!("not needed: {why}").into(),
        }
    }
}

#[cfg(test)]
mod tests;
