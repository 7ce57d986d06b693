//! Reads a YAML file into a type, or says where it is wrong and what is allowed there.
//!
//! The only module that knows the YAML library. Must not depend on what the files mean.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use serde_yaml::Location;

use crate::hint::{Hinted, nearest};
use crate::regular;

/// Largest YAML file that is read: a spec is a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// A value that remembers where in its file it stands.
pub type Spanned<T> = serde_yaml::Spanned<T>;

/// Returns the JSON schema of a kind of YAML file, as editors use it.
pub fn schema<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON") + "\n"
}

/// Returns the content of a YAML file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(path, &read(path)?)
}

/// Returns the text of a YAML file.
pub fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let cannot = || format!("cannot read `{shown}`");
    let mut file = regular::open(path).with_context(cannot)?;
    let size = file.metadata().with_context(cannot)?.len();
    if size > MAX_BYTES {
        return Err(anyhow!("`{shown}` has {size} bytes; at most {MAX_BYTES} are read"));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes).with_context(cannot)?;
    String::from_utf8(bytes).map_err(|error| not_utf8(path, error))
}

/// Returns the content of YAML text that came from `path`.
///
/// Unknown fields, wrong types, duplicate keys and the like are errors that name file, line,
/// column and field, with the names allowed there.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(anyhow!("{}:1:1: the file is empty", path.display()));
    }
    let options = serde_yaml::options! { strict_booleans: true };
    let mut field = String::new();
    let parsed = serde_yaml::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| explain(path, text, &field, &error))
}

/// Returns the error for a value that is well-formed but wrong, at its place in the file.
pub fn wrong(path: &Path, place: &Location, message: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{}:{}:{}: {message}", path.display(), place.line(), place.column())
}

fn not_utf8(path: &Path, error: std::string::FromUtf8Error) -> anyhow::Error {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = valid.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    anyhow!("{}:{line}:{column}: not UTF-8; save the file as UTF-8", path.display())
}

fn explain(path: &Path, text: &str, field: &str, error: &serde_yaml::Error) -> anyhow::Error {
    let error = error.without_snippet();
    let place = match error.location() {
        Some(place) if place.line() > 0 => format!(":{}:{}", place.line(), place.column()),
        _ => String::new(),
    };
    let rendered = error.render();
    // The library repeats the place at the end of its sentence; ours stands in front.
    let sentence = rendered.split(" at line ").next().unwrap_or(&rendered);
    let sentence = sentence.trim_start_matches("error: ").trim();
    let at_field = match field {
        "" | "." | "?" => String::new(),
        field => format!("`{field}`: "),
    };
    let (what, hints) = match unknown(sentence) {
        Some(unknown) => {
            let Unknown { kind, name, allowed } = &unknown;
            let list = allowed.join("`, `");
            let near = nearest(name, allowed.iter().copied());
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            (format!("unknown {kind} `{name}`; allowed: `{list}`"), hint.into_iter().collect())
        }
        None => (format!("{at_field}{}", in_plain_words(sentence)), Vec::new()),
    };
    let hints = match error.location().and_then(|place| continued(text, &place, sentence)) {
        Some(hint) => vec![hint],
        None => hints,
    };
    let mut message = format!("{}{place}: {what}", path.display());
    if let Some(line) = error.location().and_then(|place| source_line(text, &place)) {
        message.push_str(&line);
    }
    anyhow::Error::new(Hinted { message, hints })
}

/// Returns a sentence of the library without Rust's names of types.
fn in_plain_words(sentence: &str) -> String {
    if let Some(rest) = sentence.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(", set ").next().unwrap_or(rest);
        return format!("`{key}` stands here a second time; keep one of the two");
    }
    let meant = match sentence {
        "invalid u8" | "invalid u16" | "invalid u32" | "invalid u64" | "invalid usize" => {
            "a whole number from 0 up"
        }
        "invalid i8" | "invalid i16" | "invalid i32" | "invalid i64" | "invalid isize" => {
            "a whole number"
        }
        "invalid f32" | "invalid f64" | "invalid floating point" => "a number",
        "expected string scalar" => "a text: a word, or words in quotes",
        "alias references unknown anchor" => {
            return "`*` stands before the name of an anchor, and there is none of that name; put the \
                    text in quotes"
                .to_owned();
        }
        other => return other.to_owned(),
    };
    format!("this is not {meant}")
}

/// Returns the hint for a value that goes on in the next line because that line is indented.
fn continued(text: &str, place: &Location, sentence: &str) -> Option<String> {
    let line = usize::try_from(place.line()).ok()?;
    let next = text.lines().nth(line)?;
    let (indent, words) = (next.len() - next.trim_start().len(), next.trim());
    let key = words.split_once(':').map(|(key, _)| key)?;
    let is_taken_in = indent > 0 && key.split_whitespace().count() == 1 && sentence.contains(key);
    let stands_here = text.lines().nth(line - 1).is_some_and(|here| here.contains(key));
    (is_taken_in && !stands_here).then(|| {
        format!("line {} is indented, so it goes on with this value; begin it in the column of its neighbours", line + 1)
    })
}

/// Returns the line of the text at `place` with a caret under the column.
fn source_line(text: &str, place: &Location) -> Option<String> {
    let line = text.lines().nth(usize::try_from(place.line()).ok()?.checked_sub(1)?)?;
    let column = usize::try_from(place.column()).ok()?.checked_sub(1)?;
    let number = place.line();
    if line.len() > 200 {
        return None;
    }
    let margin = " ".repeat(number.to_string().len());
    Some(format!("\n  {number} | {line}\n  {margin} | {}^", " ".repeat(column)))
}

/// A name that is not allowed where it stands, and those that are.
struct Unknown<'a> {
    kind: &'a str,
    name: &'a str,
    allowed: Vec<&'a str>,
}

/// Takes "unknown field `a`, expected one of b, c" apart.
fn unknown(sentence: &str) -> Option<Unknown<'_>> {
    let (_, rest) = sentence.split_once("unknown ")?;
    let (kind, rest) = rest.split_once(" `")?;
    let (name, rest) = rest.split_once('`')?;
    let list = rest.split_once("expected ").map_or("", |(_, list)| list);
    let list = list.trim_start_matches("one of ");
    let words = list.split([',', ' ']).map(|word| word.trim_matches(['`', ' ']));
    let allowed = words.filter(|word| !word.is_empty() && *word != "or").collect();
    Some(Unknown { kind, name, allowed })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Thing {
        seed: u64,
        share: f64,
        title: String,
        task: Task,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Task {
        Classification,
    }

    fn said(text: &str) -> String {
        let error = parse::<Thing>(Path::new("a.yaml"), text).unwrap_err();
        let hints = error.downcast_ref::<Hinted>().map(|hinted| hinted.hints.join("; "));
        format!("{error} [{}]", hints.unwrap_or_default())
    }

    #[test]
    fn what_is_wrong_is_said_in_plain_words() {
        let right = "task: classification\nseed: 1\nshare: 0.5\ntitle: a\n";
        assert!(parse::<Thing>(Path::new("a.yaml"), right).is_ok());
        let cases = [
            ("seed: 1", "seed: one", "a.yaml:2:7: `seed`: this is not a whole number from 0 up"),
            ("seed: 1", "seed: -1", "this is not a whole number from 0 up"),
            ("share: 0.5", "share: half", "a.yaml:3:8: `share`: this is not a number"),
            ("title: a", "title: [a]", "this is not a text: a word, or words in quotes"),
            ("title: a", "title: *a", "put the text in quotes"),
            ("title: a", "title: a\nseed: 2", "`seed` stands here a second time; keep one"),
            ("\nseed: 1", "\n seed: 1", "[line 2 is indented, so it goes on with this value;"),
            ("classification", "clasification", "[did you mean `classification`?]"),
        ];
        for (old, new, expected) in cases {
            let found = said(&right.replacen(old, new, 1));
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }
}
