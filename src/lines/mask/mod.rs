//! Credentials in what programs print, masked before it is stored or shown: their shapes (`shape`), and a stream that is
//! searched for them however it was cut (`stream`).
//!
//! Must not depend on where the words come from or go to.
//!
//! Decision: a fixed table of shapes with a literal beginning each, and the values of a job's own secret variables, found
//! by one automaton; regular expressions would be one more engine, and whatever looks random (the entropy of a word) would
//! mask digests and revisions, which records are full of. The mask is plain ASCII without a quote or a backslash and
//! stands for bytes that have neither, so that a line of JSON stays one.

mod shape;
mod stream;

use std::borrow::Cow;

use self::shape::SHAPES;
pub use stream::Masker;

/// What stands for a secret where something is described or was printed.
pub const MASK: &str = "***";

/// Whether a text has no credential.
pub fn is_harmless(text: &str) -> bool {
    matches!(masked(text), Cow::Borrowed(_))
}

/// Returns a text with its credentials masked.
pub fn masked(text: &str) -> Cow<'_, str> {
    // Nearly all texts are short and have none, as the variables of a job in its shim: to make the automaton of a stream for
    // them takes longer than to look for each beginning.
    if !SHAPES.iter().any(|(beginning, _)| text.contains(beginning)) {
        return Cow::Borrowed(text);
    }
    let mut masker = Masker::default();
    let mut found = Vec::new();
    masker.feed(text.as_bytes(), |bytes| found.extend_from_slice(bytes));
    masker.finish(|bytes| found.extend_from_slice(bytes));
    match found == text.as_bytes() {
        true => Cow::Borrowed(text),
        // Whole characters are masked, but a byte that is none must not end a program.
        false => Cow::Owned(String::from_utf8_lossy(&found).into_owned()),
    }
}

#[cfg(test)]
mod tests;
