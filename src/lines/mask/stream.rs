//! A stream, searched for credentials however it was cut, within bounded memory.
//!
//! Must not depend on what a credential looks like.

use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::MASK;
use super::shape::{Bytes, LOOKS_BACK, Look, Rule, SHAPES, View, run};

/// The longest secret that has no known kind of byte after it: what claims to be a longer key is not one.
const LONGEST_SECRET: usize = 64 << 10;
/// A variable's value that is shorter may be a word of any line; one that is longer is no password.
const VALUE_BYTES: std::ops::RangeInclusive<usize> = 8..=4096;

/// What is searched for: the beginnings of all shapes, and values that are known.
#[derive(Debug)]
struct Beginnings {
    automaton: AhoCorasick,
    words: Vec<Vec<u8>>,
    /// Which bytes some word has before its last one: a text that ends with another, as with a line's end, ends within none.
    within: [bool; 256],
}

impl Beginnings {
    fn of(values: Vec<String>) -> Beginnings {
        let known = SHAPES.iter().map(|(word, _)| word.as_bytes().to_vec());
        let words = known.chain(values.into_iter().map(String::into_bytes)).collect::<Vec<_>>();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&words);
        let mut within = [false; 256];
        for byte in words.iter().flat_map(|word| &word[..word.len() - 1]) {
            within[usize::from(*byte)] = true;
        }
        let automaton = automaton.expect("a few short words make an automaton");
        Beginnings { automaton, words, within }
    }

    fn rule(&self, index: usize) -> Rule {
        SHAPES.get(index).map_or(Rule::Whole, |(_, rule)| *rule)
    }

    /// Returns how many bytes at the end of a text may be part of a beginning.
    fn unfinished(&self, text: &[u8]) -> usize {
        let Some(last) = text.last().filter(|last| self.within[usize::from(**last)]) else {
            return 0;
        };
        let mut longest = 0;
        for word in &self.words {
            let most = text.len().min(word.len() - 1);
            let ends =
                |length: &usize| word[length - 1] == *last && text.ends_with(&word[..*length]);
            longest = (longest + 1..=most).rev().find(ends).unwrap_or(longest);
        }
        longest
    }
}

static KNOWN: LazyLock<Arc<Beginnings>> = LazyLock::new(|| Arc::new(Beginnings::of(Vec::new())));

/// Masks credentials in a stream.
#[derive(Debug, Clone)]
pub struct Masker {
    beginnings: Arc<Beginnings>,
    /// What may be a part of a credential, until more has come.
    held: Vec<u8>,
    /// What came last before it.
    before: Vec<u8>,
    /// The kind of a credential whose end has not come, and how long it may still be.
    inside: Option<(Bytes, usize)>,
}

impl Default for Masker {
    fn default() -> Masker {
        Masker::with(Arc::clone(&KNOWN))
    }
}

impl Masker {
    /// Returns one that knows some secrets by heart too. Values that are no words, such as numbers and paths, stay.
    pub fn knowing(secrets: impl IntoIterator<Item = String>) -> Masker {
        let mut values = Vec::new();
        for secret in secrets.into_iter().filter(|secret| is_told_apart(secret)) {
            let escaped = serde_json::Value::from(secret.as_str()).to_string();
            // A backslash at the end may be that of a quote behind it.
            let raw = secret.trim_end_matches('\\');
            if raw.is_empty() {
                continue;
            }
            let escaped = escaped[1..escaped.len() - 1].trim_end_matches('\\');
            values.extend((escaped != raw).then(|| escaped.to_owned()));
            values.push(raw.to_owned());
        }
        match values.is_empty() {
            true => Masker::default(),
            false => Masker::with(Arc::new(Beginnings::of(values))),
        }
    }

    fn with(beginnings: Arc<Beginnings>) -> Masker {
        Masker { beginnings, held: Vec::new(), before: Vec::new(), inside: None }
    }

    /// Hands on what is known to be harmless, and a mask for what is not.
    pub fn feed(&mut self, bytes: &[u8], take: impl FnMut(&[u8])) {
        self.search(bytes, false, take);
    }

    /// Hands on what was held back: nothing follows.
    pub fn finish(&mut self, take: impl FnMut(&[u8])) {
        self.search(&[], true, take);
    }

    fn search(&mut self, bytes: &[u8], is_end: bool, mut take: impl FnMut(&[u8])) {
        if self.held.is_empty() {
            return self.search_all(bytes, is_end, &mut take);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.search_all(&held, is_end, &mut take);
    }

    fn search_all(&mut self, text: &[u8], is_end: bool, take: &mut dyn FnMut(&[u8])) {
        // What is told of the text, and what is searched.
        let mut told = self.leave(text, is_end);
        let mut at = told;
        let mut hold = None;
        while self.inside.is_none()
            && let Some(found) = self.beginnings.automaton.find(Input::new(text).range(at..))
        {
            let view = View { before: &self.before, text, is_end };
            let rule = self.beginnings.rule(found.pattern().as_usize());
            match view.look(rule, found.start(), found.end()) {
                Look::Nothing => at = found.start() + 1,
                Look::Wait => {
                    hold = Some(found.start());
                    break;
                }
                Look::Secret { from, to, goes_on } => {
                    take(&text[told..from]);
                    take(MASK.as_bytes());
                    (told, at) = (to, to);
                    self.inside = goes_on.map(|bytes| (bytes, LONGEST_SECRET));
                }
            }
        }
        let end = match (self.inside, hold) {
            (Some(_), _) => told,
            (None, Some(hold)) => hold,
            (None, None) if is_end => text.len(),
            (None, None) => text.len() - self.beginnings.unfinished(&text[at..]),
        };
        if told < end {
            take(&text[told..end]);
        }
        self.held.extend_from_slice(&text[end..]);
        self.remember(&text[..end]);
    }

    /// Returns how much of a text belongs to the secret that came before it.
    fn leave(&mut self, text: &[u8], is_end: bool) -> usize {
        let Some((bytes, left)) = self.inside else { return 0 };
        let (length, is_open) = run(bytes, text, is_end);
        let is_over = !is_open || length > left;
        self.inside = (!is_over).then_some((bytes, left.saturating_sub(length)));
        length.min(left)
    }

    fn remember(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(LOOKS_BACK)..];
        self.before.extend_from_slice(last);
        let excess = self.before.len().saturating_sub(LOOKS_BACK);
        self.before.drain(..excess);
    }
}

/// Whether a value is unlikely to be said without meaning the secret.
fn is_told_apart(value: &str) -> bool {
    VALUE_BYTES.contains(&value.len()) && !value.starts_with('/') && value.parse::<f64>().is_err()
}

#[cfg(test)]
impl Masker {
    /// Returns how many bytes wait for more.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}
