//! Values of a launcher's file that are well-formed and may still be wrong: each is refused at its place.
//!
//! Must not depend on what they are for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::quantity::parse_duration;
use crate::yaml::{self, Spanned};

/// Options of sbatch that rosetta sets itself: others would lose results, or run a job twice.
const OWN_OPTIONS: [&str; 16] = [
    "array",
    "chdir",
    "comment",
    "error",
    "export",
    "export-file",
    "get-user-env",
    "job-name",
    "no-requeue",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "signal",
    "wait",
    "wrap",
];
pub(super) fn duration(
    path: &Path,
    field: &str,
    text: &Option<Spanned<String>>,
) -> Result<Option<Duration>> {
    let Some(Spanned { value, referenced, .. }) = text else { return Ok(None) };
    let parsed = parse_duration(value);
    parsed.map(Some).map_err(|why| yaml::wrong(path, referenced, format!("`{field}`: {why}")))
}

pub(super) fn positive(
    path: &Path,
    field: &str,
    number: &Option<Spanned<u32>>,
) -> Result<Option<u32>> {
    match number {
        Some(Spanned { value: 0, referenced, .. }) => {
            Err(yaml::wrong(path, referenced, format!("`{field}` is 0; write 1 or more")))
        }
        number => Ok(number.as_ref().map(|number| number.value)),
    }
}

/// Returns a value that becomes one word of a command line.
pub(super) fn word(
    path: &Path,
    field: &str,
    text: &Option<Spanned<String>>,
) -> Result<Option<String>> {
    let Some(Spanned { value, referenced, .. }) = text else { return Ok(None) };
    match value.trim().is_empty() || value.contains(['\n', '\0']) {
        true => {
            Err(yaml::wrong(path, referenced, format!("`{field}` is empty or has several lines")))
        }
        false => Ok(Some(value.trim().to_owned())),
    }
}

pub(super) fn absolute(path: &Path, field: &str, text: &Spanned<String>) -> Result<PathBuf> {
    let named = PathBuf::from(&text.value);
    match named.is_absolute() && named.exists() {
        true => Ok(named),
        false => {
            let why = if named.is_absolute() { "is not there" } else { "is not a whole path" };
            let message = format!(
                "`{field}`: `{}` {why}; write a path that begins with `/`, here and on the nodes the same",
                text.value
            );
            Err(yaml::wrong(path, &text.referenced, message))
        }
    }
}

pub(super) fn option(path: &Path, text: &Spanned<String>) -> Result<String> {
    let wrong = |message: String| Err(yaml::wrong(path, &text.referenced, message));
    let value = text.value.as_str();
    let Some(name) = value.strip_prefix("--").map(|rest| rest.split('=').next().unwrap_or(rest))
    else {
        return wrong(format!("`options`: `{value}` is not an option; write `--name=value`"));
    };
    let has_own = name.len() > 1 && OWN_OPTIONS.iter().any(|own| own.starts_with(name));
    match has_own {
        true => wrong(format!("`options`: rosetta sets `--{name}` itself; leave it out")),
        false => Ok(value.to_owned()),
    }
}
