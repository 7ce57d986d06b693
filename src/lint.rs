//! Holds harness files to the section contract of harnesses/README.md. Must not depend on how they run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::catalog::{Framework, Lane, Language};
use crate::regular;
use crate::sections::{self, Section};
use crate::spec::{Spec, Task};

/// A place in a harness that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub path: PathBuf,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line.max(1), self.message)
    }
}

/// What a language's harnesses are held to.
struct Rules {
    max_lines: usize,
    max_columns: usize,
    /// Words that only the SDK may use, and the SDK's word for them.
    forbidden: &'static [(&'static str, &'static str)],
}

const PYTHON: Rules = Rules {
    max_lines: 130,
    max_columns: 80,
    forbidden: &[
        ("print(", "`run.fact` or `run.metric`"),
        ("sys.stdout", "`run.fact` or `run.metric`"),
        ("import time", "`run.phase`"),
        ("from time ", "`run.phase`"),
        ("import timeit", "`run.phase`"),
        ("perf_counter", "`run.phase`"),
        ("datetime", "`run.phase`"),
        ("import json", "`run.metric`"),
        ("argparse", "`run.config`"),
        ("sys.argv", "`run.config`"),
        (".is_check", "nothing: a check runs what is timed"),
    ],
};

const RUST: Rules = Rules {
    max_lines: 190,
    max_columns: 100,
    forbidden: &[
        ("println!", "`run.fact` or `run.metric`"),
        ("print!", "`run.fact` or `run.metric`"),
        ("std::time", "`run.phase`"),
        ("Instant", "`run.phase`"),
        ("serde_json", "`run.metric`"),
        ("env::args", "`run.config`"),
        ("is_check", "nothing: a check runs what is timed"),
    ],
};

const JULIA: Rules = Rules {
    max_lines: 130,
    max_columns: 92,
    forbidden: &[
        ("println(", "`fact` or `metric`"),
        ("@time", "`phase`"),
        ("time(", "`phase`"),
        ("JSON", "`metric`"),
        ("ARGS", "the job's settings"),
    ],
};

/// Lines more for a harness that is tuned: what it has that its sibling has not.
const TUNED_LINES: usize = 30;

/// Lines more for each array beyond those of the CNN, which the other lengths are made for.
const ARRAY_LINES: usize = 3;
const USUAL_ARRAYS: usize = 12;

/// Returns everything that a framework's harnesses break; `experiment_of` knows the experiments.
pub fn lint<'a>(
    framework: &Framework,
    experiment_of: impl Fn(&str) -> Option<&'a Spec>,
) -> Result<Vec<Breach>> {
    let mut findings = Vec::new();
    let read = |path: &Path| {
        regular::read_to_string(path)
            .with_context(|| format!("cannot read harness `{}`", path.display()))
    };
    for (experiment, path) in &framework.harnesses {
        // A file that is no experiment's harness is the framework's own business.
        let Some(spec) = experiment_of(experiment) else { continue };
        let is_tuned = framework.spec.targets.iter().all(|target| target.lane == Lane::Tuned);
        let room = if is_tuned { TUNED_LINES } else { 0 } + room_for(spec);
        findings.extend(lint_text(path, &read(path)?, framework.spec.language, spec.task, room));
    }
    if let Some(path) = &framework.defaults {
        // It is read beside no other file: it has no fixed sections and may be longer.
        findings.extend(lint_lines(path, &read(path)?, framework.spec.language));
    }
    Ok(findings)
}

/// Returns the lines more that an experiment of many arrays needs.
fn room_for(spec: &Spec) -> usize {
    ARRAY_LINES * spec.initial_weights.tensors.len().saturating_sub(USUAL_ARRAYS)
}

fn rules(language: Language) -> &'static Rules {
    match language {
        Language::Python => &PYTHON,
        Language::Rust => &RUST,
        Language::Julia => &JULIA,
    }
}

fn lint_text(path: &Path, text: &str, language: Language, task: Task, room: usize) -> Vec<Breach> {
    let rules = rules(language);
    let found = |line: usize, message: String| Breach { path: path.to_owned(), line, message };
    let mut findings = Vec::new();
    let (count, most) = (text.lines().count(), rules.max_lines + room);
    if count > most {
        let message = format!("{count} lines; at most {most} fit a reader's screens");
        findings.push(found(0, message));
    }
    findings.extend(lint_lines(path, text, language));
    findings.extend(lint_sections(path, text, language, task));
    findings
}

/// Finds lines that are too wide or use a word that is the SDK's.
fn lint_lines(path: &Path, text: &str, language: Language) -> Vec<Breach> {
    let rules = rules(language);
    let found = |line: usize, message: String| Breach { path: path.to_owned(), line, message };
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > rules.max_columns {
            let message = format!("{columns} columns; at most {}", rules.max_columns);
            findings.push(found(index + 1, message));
        }
        let code = line.split(sections::comment(language)).next().unwrap_or_default();
        for (word, instead) in rules.forbidden {
            if code.contains(word) {
                let message = format!("`{word}` belongs to the SDK; a harness uses {instead}");
                findings.push(found(index + 1, message));
            }
        }
    }
    findings
}

fn lint_sections(path: &Path, text: &str, language: Language, task: Task) -> Vec<Breach> {
    let wanted = sections::titles(language, task);
    let found = |line: usize, message: String| Breach { path: path.to_owned(), line, message };
    let mut findings = Vec::new();
    let mut next = 0;
    for Section { title, line: number, is_indented, .. } in sections::split(text, language) {
        if is_indented {
            findings.push(found(number, format!("section `{title}` must start at column 1")));
        }
        match wanted.iter().position(|one| *one == title) {
            Some(position) if position == next => next += 1,
            Some(position) if position > next => {
                let missing = wanted[next..position].join("`, `");
                findings.push(found(number, format!("before `{title}` must stand `{missing}`")));
                next = position + 1;
            }
            Some(_) => {
                let message = format!("section `{title}` stands twice or too late");
                findings.push(found(number, message));
            }
            None => {
                let known = wanted.join("`, `");
                findings
                    .push(found(number, format!("unknown section `{title}`; known: `{known}`")));
            }
        }
    }
    if next < wanted.len() {
        let missing = wanted[next..].join("`, `");
        findings.push(found(text.lines().count(), format!("missing at the end: `{missing}`")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Language, Task, lint_lines, lint_text};

    fn messages(text: &str) -> Vec<String> {
        let found = lint_text(Path::new("cnn.py"), text, Language::Python, Task::Features, 0);
        found.iter().map(ToString::to_string).collect()
    }

    const GOOD: &str =
        "# %% Setup\n# %% Load data\n# %% Build model\n# %% Initial weights\n# %% Predict\n";

    #[test]
    fn the_contract_is_quiet_about_a_good_harness() {
        assert_eq!(messages(GOOD), Vec::<String>::new());
    }

    #[test]
    fn sections_must_be_complete_in_order_and_known() {
        let swapped = GOOD.replace("# %% Load data\n", "") + "# %% Load data\n";
        assert_eq!(
            messages(&swapped),
            [
                "cnn.py:2: before `Build model` must stand `Load data`",
                "cnn.py:5: section `Load data` stands twice or too late",
            ]
        );
        let cut = GOOD.replace("# %% Predict\n", "");
        assert_eq!(messages(&cut), ["cnn.py:4: missing at the end: `Predict`"]);
        let odd = GOOD.replace("# %% Predict", "# %% Prediction\n# %% Predict");
        assert!(messages(&odd)[0].starts_with("cnn.py:5: unknown section `Prediction`"));
        let indented = GOOD.replace("# %% Predict", "    # %% Predict");
        assert!(messages(&indented)[0].ends_with("must start at column 1"));
    }

    #[test]
    fn defaults_have_no_sections_but_the_same_lines() {
        let text = "import time\n# %% Whatever\n".to_owned() + &"x = 1\n".repeat(300);
        let found = lint_lines(Path::new("defaults.py"), &text, Language::Python);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].line, 1);
    }

    #[test]
    fn an_experiment_of_many_arrays_may_have_longer_harnesses() {
        let tensor = |which: usize| format!("{{name: w{which}, shape: [1], init: zeros}}");
        for (count, room) in [(0, 0), (12, 0), (14, 6)] {
            let tensors = (0..count).map(tensor).collect::<Vec<_>>().join(", ");
            let spec = format!(
                "{{version: 1, name: tiny, title: Tiny, task: classification, seed: 1, data: {{}}, \
                 settings: {{}}, initial_weights: {{tensors: [{tensors}]}}, profiles: {{}}}}"
            );
            let spec = crate::yaml::parse(Path::new("tiny.yaml"), &spec).unwrap();
            assert_eq!(super::room_for(&spec), room, "{count}");
        }
    }

    #[test]
    fn clocks_prints_and_wide_lines_are_found() {
        let bad = format!("{GOOD}import time\nprint(1)\nx = 1  # print(x) is fine here\n");
        let found = messages(&bad);
        assert_eq!(found.len(), 2, "{found:?}");
        let wide = format!("{GOOD}{}\n", "x".repeat(81));
        assert_eq!(messages(&wide), ["cnn.py:6: 81 columns; at most 80"]);
    }
}
