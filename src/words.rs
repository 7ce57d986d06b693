//! The dictionary: one idea, the call in each framework. Pure; must not depend on where harnesses lie, nor on a terminal.
//!
//! `harnesses/words.yaml` has for each word the texts by which its line is found in a harness, so that what is shown is
//! always the line that is run. A word that is in neither the harness nor the gaps is a fault, which a test finds.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::catalog::Language;
use crate::highlight::{CodePiece, pieces};
use crate::sections::split;
use crate::yaml;

/// `harnesses/words.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dictionary {
    /// Version of this format.
    pub version: u32,
    pub words: Vec<Word>,
}

/// One idea.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// As it is typed.
    pub word: String,
    /// What it means, in the words of the field.
    pub title: String,
    /// The experiment whose harnesses have it.
    pub experiment: String,
    /// The section that it stands in; none means anywhere.
    pub section: Option<String>,
    /// Texts by which its line is found: the first that a harness has.
    pub lines: Vec<String>,
    /// Framework → why it has none.
    #[serde(default)]
    pub gaps: BTreeMap<String, String>,
}

/// A word in one harness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// Its lines as they stand there, without their common indent.
    pub lines: Vec<String>,
    /// The same as one line without comments.
    pub code: String,
    /// What the comments beside it say.
    pub note: String,
}

/// The most lines of a statement that are shown.
const LONGEST: usize = 12;

impl Dictionary {
    /// Reads the file; a project without one has no words.
    pub fn load(path: &Path) -> Result<Dictionary> {
        if path.is_file() { yaml::load(path) } else { Ok(Dictionary::default()) }
    }
}

impl Word {
    /// Returns the word in a harness, and by which of its texts it was found.
    pub fn find(&self, text: &str, language: Language) -> Option<(Call, &str)> {
        let sections = split(text, language);
        let sections = sections
            .iter()
            .filter(|section| self.section.as_deref().is_none_or(|wanted| wanted == section.title));
        let sections = sections.collect::<Vec<_>>();
        for wanted in &self.lines {
            for section in &sections {
                let lines = section.text.lines().collect::<Vec<_>>();
                let is_it =
                    |line: &&str| without_comment(line, language).0.contains(wanted.as_str());
                if let Some(at) = lines.iter().position(is_it) {
                    return Some((call(&lines[at..], section.line + 1 + at, language), wanted));
                }
            }
        }
        None
    }
}

/// Returns the statement that lines begin with.
fn call(lines: &[&str], line: usize, language: Language) -> Call {
    let (mut depth, mut end) = (0, 0);
    while end < lines.len().min(LONGEST) {
        depth += opened(lines[end], language);
        end += 1;
        if depth <= 0 {
            break;
        }
    }
    let lines = &lines[..end];
    let indent = lines[0].len() - lines[0].trim_start().len();
    let shown =
        lines.iter().map(|line| line.get(indent..).unwrap_or_default().trim_end().to_owned());
    let (mut code, mut notes) = (String::new(), Vec::new());
    for line in lines {
        let (part, comment) = without_comment(line, language);
        let part = part.trim();
        let is_tight = code.is_empty() || code.ends_with(['(', '[', '{']);
        if part.starts_with([')', ']', '}']) {
            code = code.trim_end_matches(',').to_owned();
        } else if !is_tight && !part.is_empty() {
            code.push(' ');
        }
        code += part;
        notes.extend((!comment.is_empty()).then_some(comment));
    }
    Call { line, lines: shown.collect(), code, note: notes.join("; ") }
}

/// Returns how many brackets a line opens and does not close.
fn opened(line: &str, language: Language) -> i32 {
    let plain = pieces(line, language).into_iter().filter(|(piece, _)| *piece == CodePiece::Plain);
    let of = |c: char| match c {
        '(' | '[' | '{' => 1,
        ')' | ']' | '}' => -1,
        _ => 0,
    };
    plain.flat_map(|(_, text)| text.chars()).map(of).sum()
}

/// Returns a line without its comment, and what that says.
fn without_comment(line: &str, language: Language) -> (String, String) {
    let (mut code, mut comment) = (String::new(), String::new());
    for (piece, text) in pieces(line, language) {
        match piece {
            CodePiece::Comment => comment += text.trim_start_matches(['#', '/', ' ']),
            _ => code += text,
        }
    }
    (code, comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(section: Option<&str>, lines: &[&str]) -> Word {
        Word {
            word: "adam".to_owned(),
            title: "Adam".to_owned(),
            experiment: "rnn".to_owned(),
            section: section.map(str::to_owned),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            gaps: BTreeMap::new(),
        }
    }

    const HARNESS: &str = "\"\"\"Doc of Adam(.\"\"\"\n# %% Setup\n# Adam( of old\nx = 1\n# %% Loss\n\
                           if x:\n    optimizer = Adam(  # no decay\n        lr=0.1,  # of all\n        eps=\"#(\",\n    )\n    y = 2\n";

    #[test]
    fn a_call_is_its_whole_statement() {
        let adam = word(Some("Loss"), &["Adagrad(", "Adam("]);
        let (call, by) = adam.find(HARNESS, Language::Python).unwrap();
        assert_eq!(by, "Adam(");
        assert_eq!(call.line, 7);
        assert_eq!(
            call.lines,
            ["optimizer = Adam(  # no decay", "    lr=0.1,  # of all", "    eps=\"#(\",", ")"]
        );
        assert_eq!(call.code, "optimizer = Adam(lr=0.1, eps=\"#(\")");
        assert_eq!(call.note, "no decay; of all");
    }

    #[test]
    fn comments_and_other_sections_do_not_count() {
        assert_eq!(word(Some("Setup"), &["Adam("]).find(HARNESS, Language::Python), None);
        let anywhere = word(None, &["Adam("]);
        let (call, _) = anywhere.find(HARNESS, Language::Python).unwrap();
        assert_eq!(call.line, 7);
    }
}
