//! Harnesses side by side: the same sections in one row. Pure; must not depend on files or on a terminal.

use std::borrow::Borrow;

use similar::{ChangeTag, TextDiff};

use crate::catalog::Language;
use crate::highlight::{CodePiece, pieces};
use crate::sections::{comment, split};

/// A harness to be read.
pub struct HarnessText {
    /// The framework's title.
    pub title: String,
    /// The file as a reader finds it, below the project.
    pub file: String,
    pub language: Language,
    pub text: String,
}

/// The same section of several harnesses.
#[derive(Debug, PartialEq)]
pub struct SectionRow {
    pub title: String,
    /// One for each source; none where a harness has no such section.
    pub cells: Vec<Option<HarnessSection>>,
}

/// A section of one harness.
#[derive(Debug, Clone, PartialEq)]
pub struct HarnessSection {
    /// The line of its title, from 1.
    pub line: usize,
    /// Its lines, without those that are blank at both ends and without a common indent.
    pub lines: Vec<String>,
}

/// The narrowest column that code is read in: harnesses keep to 80, most lines to 60.
const NARROWEST: usize = 60;
const GAP: &str = " │ ";
/// What a line begins with that goes on from the one above.
const GOES_ON: &str = "↪ ";

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
const KEYWORD: &str = "\x1b[34m";
const QUOTED: &str = "\x1b[32m";
const NEW: &str = "\x1b[32m";
const OLD: &str = "\x1b[31m";

/// Returns a row for each title, in the order of the first harness that has it.
pub fn rows<S: Borrow<HarnessText>>(sources: &[S]) -> Vec<SectionRow> {
    let mut rows = Vec::<SectionRow>::new();
    for (index, source) in sources.iter().enumerate() {
        let source = source.borrow();
        for section in split(&source.text, source.language) {
            let known = rows.iter().position(|row| row.title == section.title);
            let at = known.unwrap_or_else(|| {
                let cells = vec![None; sources.len()];
                rows.push(SectionRow { title: section.title.to_owned(), cells });
                rows.len() - 1
            });
            rows[at].cells[index] =
                Some(HarnessSection { line: section.line, lines: tidy(section.text) });
        }
    }
    rows
}

/// Takes away blank lines at both ends and the indent that all lines have.
fn tidy(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim_end).collect::<Vec<_>>();
    let is_blank = |line: &&str| line.is_empty();
    let first = lines.iter().position(|line| !is_blank(line)).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !is_blank(line)).map_or(first, |last| last + 1);
    let lines = &lines[first..last];
    let indents = lines.iter().filter(|line| !is_blank(line));
    let indent = indents.map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    lines.iter().map(|line| line.get(indent..).unwrap_or_default().to_owned()).collect()
}

/// Returns the rows as text for so many columns of a terminal: harnesses beside each other as far as they fit, the
/// others below.
pub fn text(sources: &[HarnessText], rows: &[SectionRow], width: usize) -> String {
    let fitting = (width + GAP.chars().count()) / (NARROWEST + GAP.chars().count());
    let beside = fitting.clamp(1, sources.len().max(1));
    let gaps = (beside - 1) * GAP.chars().count();
    let column = (width.saturating_sub(gaps) / beside).max(20);
    let mut out = String::new();
    for row in rows {
        let rule = "─".repeat(width.saturating_sub(row.title.chars().count() + 4));
        out += &format!("\n{BOLD}── {} {rule}{RESET}\n", row.title);
        let indexes = (0..sources.len()).collect::<Vec<_>>();
        for group in indexes.chunks(beside) {
            let cells = group
                .iter()
                .map(|index| cell(&sources[*index], row.cells[*index].as_ref(), column));
            let cells = cells.collect::<Vec<_>>();
            let height = cells.iter().map(Vec::len).max().unwrap_or_default();
            for line in 0..height {
                let parts = cells.iter().map(|cell| {
                    let shown = cell.get(line).map(|(shown, length)| {
                        format!("{shown}{}", " ".repeat(column.saturating_sub(*length)))
                    });
                    shown.unwrap_or_else(|| " ".repeat(column))
                });
                let line = parts.collect::<Vec<_>>().join(&format!("{DIM}{GAP}{RESET}"));
                out += line.trim_end();
                out.push('\n');
            }
            out.push('\n');
        }
    }
    out
}

/// Returns the lines of a cell as they are shown, each with its length on the screen.
fn cell(source: &HarnessText, cell: Option<&HarnessSection>, width: usize) -> Vec<(String, usize)> {
    let place = cell.map_or_else(
        || format!("{}: no such section", source.title),
        |cell| format!("{}  {}:{}", source.title, source.file, cell.line),
    );
    let mut lines = Vec::new();
    for part in wrap(&place, width) {
        lines.push((format!("{DIM}{part}{RESET}"), part.chars().count()));
    }
    let mark = comment(source.language);
    for line in cell.map(|cell| cell.lines.as_slice()).unwrap_or_default() {
        let mut is_comment = false;
        for part in wrap(line, width) {
            let length = part.chars().count();
            let (code, words) = match (is_comment, comment_at(&part, mark)) {
                (true, _) => ("", part.as_str()),
                (false, Some(at)) => part.split_at(at),
                (false, None) => (part.as_str(), ""),
            };
            is_comment |= !words.is_empty();
            let words =
                if words.is_empty() { String::new() } else { format!("{DIM}{words}{RESET}") };
            lines.push((format!("{}{words}", coloured(code, source.language)), length));
        }
    }
    lines
}

/// Returns code with its keywords and texts in colour.
fn coloured(code: &str, language: Language) -> String {
    let piece = |(piece, text): (CodePiece, &str)| match piece {
        CodePiece::Keyword => format!("{KEYWORD}{text}{RESET}"),
        CodePiece::Text => format!("{QUOTED}{text}{RESET}"),
        CodePiece::Plain | CodePiece::Number | CodePiece::Comment => text.to_owned(),
    };
    pieces(code, language).into_iter().map(piece).collect()
}

/// Returns what became of the first harness in the second, section by section: lines that went, lines that came, and
/// those that stayed, of which only the nearest are shown.
pub fn difference(old: &HarnessText, new: &HarnessText, rows: &[SectionRow]) -> String {
    let mut out = format!(
        "{OLD}--- {}  {}{RESET}\n{NEW}+++ {}  {}{RESET}\n",
        old.title, old.file, new.title, new.file
    );
    for row in rows {
        let lines = |index: usize| {
            row.cells[index].as_ref().map(|cell| cell.lines.as_slice()).unwrap_or_default()
        };
        let (before, after) = (lines(0), lines(1));
        let place = row
            .cells
            .iter()
            .flatten()
            .map(|cell| cell.line.to_string())
            .collect::<Vec<_>>()
            .join(" → ");
        out += &format!("\n{BOLD}── {} {RESET}{DIM}{place}{RESET}\n", row.title);
        if before == after {
            out += &format!("{DIM}the same{RESET}\n");
            continue;
        }
        let [before, after] =
            [before, after].map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>());
        let diff = TextDiff::from_slices(&before, &after);
        for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
            if number > 0 {
                out += &format!("{DIM}…{RESET}\n");
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let line = change.value();
                out += &match change.tag() {
                    ChangeTag::Equal => format!("  {line}\n"),
                    ChangeTag::Delete => format!("{OLD}- {line}{RESET}\n"),
                    ChangeTag::Insert => format!("{NEW}+ {line}{RESET}\n"),
                };
            }
        }
    }
    out
}

/// Lines that are shown around those that differ.
const CONTEXT: usize = 2;

/// Returns where the comment of a line begins, if it has one: not within a text.
fn comment_at(line: &str, mark: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, _) if line[at..].starts_with(mark) => return Some(at),
            _ => {}
        }
    }
    None
}

/// Cuts a line into parts of at most so many characters.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut rest = line.chars().collect::<Vec<_>>();
    let mut parts = Vec::new();
    let mut lead = "";
    loop {
        let room = width - lead.chars().count();
        if rest.len() <= room {
            parts.push(lead.to_owned() + &rest.iter().collect::<String>());
            return parts;
        }
        // At a blank where there is one in the second half: words stay whole.
        let blank = rest[..room].iter().rposition(|c| *c == ' ').filter(|at| *at > room / 2);
        let end = blank.map_or(room, |blank| blank + 1);
        let part = rest.drain(..end).collect::<String>();
        parts.push((lead.to_owned() + &part).trim_end().to_owned());
        lead = GOES_ON;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(title: &str, text: &str) -> HarnessText {
        let (title, file) = (title.to_owned(), format!("harnesses/{title}/cnn.py"));
        HarnessText { title, file, language: Language::Python, text: text.to_owned() }
    }

    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\x1b') {
            out += before;
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    #[test]
    fn sections_of_one_title_are_one_row() {
        let one =
            source("one", "\"\"\"Doc.\"\"\"\n# %% Setup\n\nimport one\n\n# %% Train\n  a\n\n  b\n");
        let two = source("two", "# %% Setup\nimport two\n# %% Run\nrun()\n");
        let rows = rows(&[one, two]);
        let cell = |line, lines: &[&str]| {
            Some(HarnessSection {
                line,
                lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            })
        };
        let row = |title: &str, cells| SectionRow { title: title.to_owned(), cells };
        let expected = [
            row("Setup", vec![cell(2, &["import one"]), cell(1, &["import two"])]),
            row("Train", vec![cell(6, &["a", "", "b"]), None]),
            row("Run", vec![None, cell(3, &["run()"])]),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn old_and_new_are_told_apart_line_by_line() {
        let old =
            source("old", "# %% Setup\nimport a\n# %% Train\n1\n2\n3\n4\nold()\n5\n# %% Gone\nx\n");
        let new = source("new", "# %% Setup\nimport a\n# %% Train\n1\n2\n3\n4\nnew()\n5\n");
        let sources = [old, new];
        let shown = plain(&difference(&sources[0], &sources[1], &rows(&sources)));
        assert!(
            shown.starts_with("--- old  harnesses/old/cnn.py\n+++ new  harnesses/new/cnn.py\n"),
            "{shown}"
        );
        assert!(shown.contains("── Setup 1 → 1\nthe same\n"), "{shown}");
        assert!(shown.contains("\n  3\n  4\n- old()\n+ new()\n  5\n"), "{shown}");
        assert!(!shown.contains("  1\n") && shown.contains("── Gone 10\n- x\n"), "{shown}");
    }

    #[test]
    fn harnesses_stand_beside_each_other_where_they_fit() {
        let sources = [
            source(
                "one",
                "# %% Setup\nx = 1  # a comment that is longer than a narrow column could ever show\ny = '# no comment'\n",
            ),
            source("two", "# %% Setup\nx = 2\n"),
        ];
        let rows = rows(&sources);
        let wide = plain(&text(&sources, &rows, 160));
        let line = wide.lines().find(|line| line.starts_with("x = 1")).unwrap();
        assert!(line.contains(" │ x = 2"), "{wide}");
        assert!(wide.contains("one  harnesses/one/cnn.py:1"), "{wide}");
        let narrow = plain(&text(&sources, &rows, 60));
        assert!(!narrow.contains('│') && narrow.contains("\n↪ "), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        let coloured = text(&sources, &rows, 160);
        assert!(coloured.contains("x = 1  \x1b[2m# a comment"), "{coloured}");
        assert!(coloured.contains("y = \x1b[32m'# no comment'\x1b[0m"), "{coloured}");
    }
}
