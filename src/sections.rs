//! A harness as its sections: which there are, in which order, and where each stands. Must not depend on what becomes
//! of them: they are checked, and set side by side.

use crate::catalog::Language;
use crate::spec::Task;

const TRAINING: [&str; 8] = [
    "Setup",
    "Load data",
    "Build model",
    "Initial weights",
    "Loss and optimiser",
    "Train",
    "Predict",
    "Evaluate",
];
const INFERENCE: [&str; 5] = ["Setup", "Load data", "Build model", "Initial weights", "Predict"];

/// A part of a harness, from its title to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    pub title: &'a str,
    /// The line of the title, from 1.
    pub line: usize,
    /// Whether the title does not start at column 1.
    pub is_indented: bool,
    /// The lines after the title.
    pub text: &'a str,
}

/// Returns the titles that a harness has, in their order.
pub fn titles(language: Language, task: Task) -> Vec<&'static str> {
    let mut titles = match task {
        Task::Classification => TRAINING.to_vec(),
        Task::Features => INFERENCE.to_vec(),
    };
    if language == Language::Rust {
        titles.push("Run");
    }
    titles
}

/// Returns what begins a comment.
pub fn comment(language: Language) -> &'static str {
    match language {
        Language::Python | Language::Julia => "#",
        Language::Rust => "//",
    }
}

/// Returns the sections of a harness in the order in which they stand; what is above the first is not one.
pub fn split(text: &str, language: Language) -> Vec<Section<'_>> {
    let marker = format!("{} %%", comment(language));
    let mut sections = Vec::<Section>::new();
    let (mut start, mut end) = (0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim_start();
        if let Some(title) = trimmed.strip_prefix(&marker) {
            if let Some(last) = sections.last_mut() {
                last.text = &text[start..end];
            }
            start = end + line.len();
            let is_indented = trimmed.len() != line.len();
            sections.push(Section { title: title.trim(), line: index + 1, is_indented, text: "" });
        }
        end += line.len();
    }
    if let Some(last) = sections.last_mut() {
        last.text = &text[start..];
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::{Language, Section, split};

    #[test]
    fn a_harness_is_its_sections_and_what_is_above_them() {
        let text = "\"\"\"Doc.\"\"\"\n# %% Setup\nimport a\n\n    # %% Train\nx = 1\n";
        let section = |title, line, is_indented, text| Section { title, line, is_indented, text };
        assert_eq!(
            split(text, Language::Python),
            [section("Setup", 2, false, "import a\n\n"), section("Train", 5, true, "x = 1\n")]
        );
        assert_eq!(split("// %% Run", Language::Rust), [section("Run", 1, false, "")]);
        assert_eq!(split("", Language::Julia), []);
    }
}
