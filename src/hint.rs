//! Errors that carry a next step: a message for the chain and hints printed after it.
//!
//! Must not depend on who raises them.

use std::fmt;
use std::io::Write;

use crate::mask::masked;
use crate::report::printable;

/// An error message with what the reader can do about it.
#[derive(Debug)]
pub struct Hinted {
    pub message: String,
    pub hints: Vec<String>,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// Returns an error that says `message` and, after the chain, `hint`.
pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let hints = vec![hint.into()];
    let message = message.into();
    anyhow::Error::new(Hinted { message, hints })
}

/// Prints a line to standard error. That nobody can read it, on a terminal that is gone or a full disk, is not a reason
/// to stop.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Prints an error chain to standard error: `error:`, `caused by:` and hints. In `main`, and where the
/// others go on.
pub fn report(error: &anyhow::Error) {
    let mut hints = Vec::new();
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { "error" } else { "caused by" };
        say(format_args!("{RED}{label}:{RESET} {}", harmless(cause)));
        // A `Hinted` added as context hides behind anyhow's own type: ask for it there too.
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            hints.extend(&hinted.hints);
        }
    }
    if hints.is_empty() {
        hints.extend(error.downcast_ref::<Hinted>().iter().flat_map(|h| &h.hints));
    }
    for hint in hints {
        say(format_args!("{CYAN}hint:{RESET} {}", harmless(hint)));
    }
}

/// Returns the lines of a message, which may have words of other programs, without what moves a cursor and without
/// credentials.
fn harmless(message: impl fmt::Display) -> String {
    let text = message.to_string();
    let text = masked(&text);
    let lines = text.lines().map(printable).collect::<Vec<_>>();
    lines.join("\n")
}

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// Returns the known name nearest to `unknown`, if one is near enough to be a slip.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&unknown, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Returns the error for a name that is not among the known ones.
pub fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> anyhow::Error {
    let list = known.clone().into_iter().collect::<Vec<_>>().join("`, `");
    if list.is_empty() {
        return anyhow::anyhow!("unknown {kind} `{name}`; there is none");
    }
    let is_long = known.clone().into_iter().count() > LONG_LIST;
    match nearest(name, known) {
        // What was probably meant stands before a list that is long.
        Some(near) if is_long => anyhow::Error::new(Hinted {
            message: format!("unknown {kind} `{name}`"),
            hints: vec![format!("did you mean `{near}`?"), format!("known: `{list}`")],
        }),
        Some(near) => hinted(
            format!("unknown {kind} `{name}`; known: `{list}`"),
            format!("did you mean `{near}`?"),
        ),
        None => anyhow::anyhow!("unknown {kind} `{name}`; known: `{list}`"),
    }
}

/// Names that a reader takes in at a glance.
const LONG_LIST: usize = 8;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_finds_slips_and_refuses_strangers() {
        let known = ["pytorch", "jax", "keras-jax"];
        assert_eq!(nearest("pytroch", known), Some("pytorch"));
        assert_eq!(nearest("JAX", known), Some("jax"));
        assert_eq!(nearest("zzz", known), None);
    }
}
