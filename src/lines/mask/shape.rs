//! What credentials look like: a literal that each begins with, and what must follow.
//!
//! Must not depend on how a text was cut.
//!
//! A shape asks for more than its beginning, such as so many letters and digits: words of prose, digests of 32, 40 or 64
//! hexadecimal digits, revisions and base64 stay as they are.

/// Which bytes a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    Upper,
    Alnum,
    /// Letters, digits, `_` and `-`: base64 as in addresses.
    Word,
    /// Base64 of both alphabets, and dots.
    Base64,
    /// The same as an address's query has it.
    Query,
    /// The body of a private key, over lines or with `\n` between them.
    Key,
}

/// What must follow the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// So many bytes at once; a word must not have begun before.
    Token(Bytes, usize),
    /// The same, with a digit and a capital letter among them: else it is prose with hyphens.
    Mixed(Bytes, usize),
    /// Exactly 16 capital letters and digits.
    AccessKey,
    /// `=`, `:` or `>` with blanks and quotes around it, then so many bytes with a letter among them.
    Assigned(Bytes, usize),
    /// In the query of an address: after `?`, `&` or `;`.
    InQuery(usize),
    /// `: Bearer` or another scheme, then a value.
    Authorization,
    /// Three parts with dots between them.
    WebToken,
    /// A name, `:`, the password, `@`.
    UserInfo,
    /// `-----BEGIN … PRIVATE KEY-----` and its lines.
    PrivateKey,
    /// The beginning is all of it: the value of a variable.
    Whole,
}

use Bytes::{Alnum, Base64, Query, Word};
use Rule::{
    AccessKey, Assigned, Authorization, InQuery, Mixed, PrivateKey, Token, UserInfo, WebToken,
};

/// The beginnings of what is known, and the rule of each.
pub(super) const SHAPES: [(&str, Rule); 51] = [
    // Amazon, with a session's too.
    ("AKIA", AccessKey),
    ("ASIA", AccessKey),
    ("aws_secret_access_key", Assigned(Base64, 40)),
    ("AWS_SECRET_ACCESS_KEY", Assigned(Base64, 40)),
    ("aws_session_token", Assigned(Base64, 40)),
    ("AWS_SESSION_TOKEN", Assigned(Base64, 40)),
    ("SecretAccessKey", Assigned(Base64, 40)),
    ("secretAccessKey", Assigned(Base64, 40)),
    ("SessionToken", Assigned(Base64, 40)),
    ("X-Amz-Signature=", InQuery(32)),
    ("X-Amz-Security-Token=", InQuery(32)),
    // GitHub, GitLab.
    ("ghp_", Token(Alnum, 36)),
    ("gho_", Token(Alnum, 36)),
    ("ghu_", Token(Alnum, 36)),
    ("ghs_", Token(Alnum, 36)),
    ("ghr_", Token(Alnum, 36)),
    ("github_pat_", Token(Word, 22)),
    ("glpat-", Token(Word, 20)),
    // Hugging Face.
    ("hf_", Token(Alnum, 30)),
    ("api_org_", Token(Alnum, 30)),
    // OpenAI and Anthropic, with `sk-proj-` and `sk-ant-`; Stripe.
    ("sk-", Mixed(Word, 20)),
    ("sk_live_", Token(Alnum, 20)),
    // Google.
    ("AIza", Token(Word, 35)),
    ("ya29.", Token(Word, 20)),
    ("GOCSPX-", Token(Word, 20)),
    ("X-Goog-Signature=", InQuery(32)),
    // Slack.
    ("xoxa-", Token(Word, 10)),
    ("xoxb-", Token(Word, 10)),
    ("xoxe-", Token(Word, 10)),
    ("xoxe.", Token(Base64, 10)),
    ("xoxp-", Token(Word, 10)),
    ("xoxr-", Token(Word, 10)),
    ("xoxs-", Token(Word, 10)),
    ("xapp-", Token(Word, 20)),
    ("hooks.slack.com/services/", Token(Base64, 20)),
    // NVIDIA, registries of packages and images.
    ("nvapi-", Token(Word, 40)),
    ("npm_", Token(Alnum, 36)),
    ("pypi-", Mixed(Word, 50)),
    ("dckr_pat_", Token(Word, 20)),
    // Azure.
    ("sig=", InQuery(20)),
    ("AccountKey", Assigned(Base64, 40)),
    ("SharedAccessKey", Assigned(Base64, 40)),
    // Of no one in particular.
    ("eyJ", WebToken),
    ("Authorization", Authorization),
    ("authorization", Authorization),
    ("AUTHORIZATION", Authorization),
    ("Bearer ", Mixed(Base64, 16)),
    ("bearer ", Mixed(Base64, 16)),
    ("BEARER ", Mixed(Base64, 16)),
    ("://", UserInfo),
    ("-----BEGIN ", PrivateKey),
];

/// What a beginning turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Nothing,
    /// It cannot be told before more has come.
    Wait,
    /// These bytes are secret, and so are those of that kind that follow what there is of the text.
    Secret {
        from: usize,
        to: usize,
        goes_on: Option<Bytes>,
    },
}

/// The most of anything that is not yet known to be a credential.
const LONGEST_WAIT: usize = 1024;
/// How far a shape looks back.
pub(super) const LOOKS_BACK: usize = 16;
/// The most between a name and its value.
const LONGEST_GAP: usize = 16;
const LONGEST_USER: usize = 512;

/// A text, what came before it, and whether something may follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub before: &'a [u8],
    pub text: &'a [u8],
    pub is_end: bool,
}

impl View<'_> {
    /// Returns what it is that begins at `start` and goes on at `at`.
    pub fn look(&self, rule: Rule, start: usize, at: usize) -> Look {
        match rule {
            Rule::Whole => self.whole(start, at),
            Assigned(bytes, least) => self.assigned(at, bytes, least),
            Authorization => self.authorization(at),
            UserInfo => self.user_info(start, at),
            PrivateKey => self.private_key(at),
            InQuery(least) if self.is_in_query(start) => self.value(at, Query, least, |_| true),
            InQuery(_) => Look::Nothing,
            _ if !self.begins_a_word(start) => Look::Nothing,
            Token(bytes, least) => self.value(at, bytes, least, |_| true),
            Mixed(bytes, least) => self.value(at, bytes, least, is_mixed),
            AccessKey => self.access_key(at),
            WebToken => self.web_token(at),
        }
    }

    /// Returns the byte so many before a place; a line's end before the first of all.
    fn back(&self, at: usize, count: usize) -> u8 {
        let byte = match at.checked_sub(count) {
            Some(at) => self.text.get(at),
            None => self.before.len().checked_sub(count - at).and_then(|at| self.before.get(at)),
        };
        byte.copied().unwrap_or(b'\n')
    }

    /// Whether no word goes on at a place: `\n` of a string in JSON and what colours a terminal are none.
    fn begins_a_word(&self, at: usize) -> bool {
        let byte = self.back(at, 1);
        if !(byte.is_ascii_alphanumeric() || byte == b'_') {
            return true;
        }
        if b"nrt".contains(&byte) && self.back(at, 2) == b'\\' {
            return true;
        }
        let is_of_colour = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
        let mut colours = (2..12).map(|count| self.back(at, count)).skip_while(is_of_colour);
        byte == b'm' && colours.next() == Some(b'[')
    }

    fn is_in_query(&self, at: usize) -> bool {
        let escaped = [6, 5, 4, 3, 2, 1].map(|count| self.back(at, count));
        b"?&;".contains(&self.back(at, 1)) || &escaped == b"\\u0026"
    }

    /// Returns a value that is known. Where its first letter may be that of an escape in JSON (`\n`, `\u00e9`), that stays.
    fn whole(&self, start: usize, to: usize) -> Look {
        let slashes =
            (1..=LOOKS_BACK).take_while(|count| self.back(start, *count) == b'\\').count();
        let escape = match self.text.get(start) {
            _ if slashes % 2 == 0 => 0,
            Some(b'u') => 5,
            _ => 1,
        };
        Look::Secret { from: start + escape, to, goes_on: None }
    }

    /// Returns where bytes of a kind end, and whether more of them may follow the text.
    fn end_of(&self, bytes: Bytes, from: usize) -> (usize, bool) {
        let (length, is_open) = run(bytes, &self.text[from..], self.is_end);
        (from + length, is_open)
    }

    fn value(&self, from: usize, bytes: Bytes, least: usize, test: fn(&[u8]) -> bool) -> Look {
        let (to, is_open) = self.end_of(bytes, from);
        let length = to - from;
        match length >= least && test(&self.text[from..to.min(from + LONGEST_WAIT)]) {
            true => Look::Secret { from, to, goes_on: is_open.then_some(bytes) },
            false if is_open && length < LONGEST_WAIT => Look::Wait,
            false => Look::Nothing,
        }
    }

    fn access_key(&self, from: usize) -> Look {
        let (to, is_open) = self.end_of(Bytes::Upper, from);
        let is_longer = self.text.get(to).is_some_and(u8::is_ascii_alphanumeric);
        match to - from {
            ..=16 if is_open => Look::Wait,
            16 if !is_longer => Look::Secret { from, to, goes_on: None },
            _ => Look::Nothing,
        }
    }

    /// Returns where a value begins that is assigned to what ends here.
    fn assigned_at(&self, at: usize) -> Result<usize, Look> {
        let mut gap = at;
        while gap < at + LONGEST_GAP {
            match self.text.get(gap) {
                None if !self.is_end => return Err(Look::Wait),
                Some(b'\\') => match self.text.get(gap + 1) {
                    None if !self.is_end => return Err(Look::Wait),
                    // Quotes within a string of JSON. Another letter would be left with the backslash alone.
                    Some(b'"' | b'\'' | b'\\') => gap += 1,
                    _ => break,
                },
                Some(byte) if b" \t\"':=>".contains(byte) => gap += 1,
                _ => break,
            }
        }
        let is_assigned = self.text[at..gap].iter().any(|byte| b":=>".contains(byte));
        if is_assigned { Ok(gap) } else { Err(Look::Nothing) }
    }

    fn assigned(&self, at: usize, bytes: Bytes, least: usize) -> Look {
        // A number is none.
        let has_letter: fn(&[u8]) -> bool = |value| value.iter().any(u8::is_ascii_alphabetic);
        match self.assigned_at(at) {
            Ok(from) => self.value(from, bytes, least, has_letter),
            Err(look) => look,
        }
    }

    fn authorization(&self, at: usize) -> Look {
        let scheme = match self.assigned_at(at) {
            Ok(scheme) => scheme,
            Err(look) => return look,
        };
        let (end, is_open) = self.end_of(Alnum, scheme);
        let word = self.text[scheme..end].to_ascii_lowercase();
        match word.as_slice() {
            _ if is_open && word.len() <= 6 => Look::Wait,
            b"basic" | b"bearer" | b"token" if self.text.get(end) == Some(&b' ') => {
                self.value(end + 1, Base64, 8, |_| true)
            }
            _ => Look::Nothing,
        }
    }

    fn web_token(&self, at: usize) -> Look {
        let (dot, is_open) = self.end_of(Word, at);
        match dot - at {
            LONGEST_WAIT.. => return Look::Nothing,
            _ if is_open => return Look::Wait,
            ..10 => return Look::Nothing,
            _ if self.text.get(dot) != Some(&b'.') => return Look::Nothing,
            _ => {}
        }
        let (end, is_open) = self.end_of(Word, dot + 1);
        if end - dot <= 10 {
            return if is_open { Look::Wait } else { Look::Nothing };
        }
        let (to, is_open) = self.end_of(Base64, end);
        Look::Secret { from: at, to, goes_on: is_open.then_some(Base64) }
    }

    fn user_info(&self, start: usize, at: usize) -> Look {
        let rest = &self.text[at..];
        let length = rest.iter().take(LONGEST_USER).take_while(|byte| is_of_user(**byte)).count();
        if !self.is_end && length == rest.len() && length < LONGEST_USER {
            return Look::Wait;
        }
        let Some(end) = rest[..length].iter().rposition(|byte| *byte == b'@') else {
            return Look::Nothing;
        };
        let from = match rest[..end].iter().position(|byte| *byte == b':') {
            Some(colon) if colon + 1 < end => colon + 1,
            // A name alone may be a token, as of a forge.
            None if self.is_of_web(start) && is_like_token(&rest[..end]) => 0,
            _ => return Look::Nothing,
        };
        Look::Secret { from: at + from, to: at + end, goes_on: None }
    }

    fn is_of_web(&self, at: usize) -> bool {
        let scheme = [5, 4, 3, 2, 1].map(|count| self.back(at, count).to_ascii_lowercase());
        scheme.ends_with(b"http") || scheme == *b"https"
    }

    fn private_key(&self, at: usize) -> Look {
        let label = &self.text[at..self.text.len().min(at + LONGEST_LABEL)];
        let is_of_label = |byte: &&u8| is_of(Bytes::Upper, **byte) || **byte == b' ';
        let length = label.iter().take_while(is_of_label).count();
        let dashes = label[length..].iter().take(5).take_while(|byte| **byte == b'-').count();
        let (name, from) = (&label[..length], at + length + dashes);
        if !self.is_end && from == self.text.len() && label.len() < LONGEST_LABEL {
            return Look::Wait;
        }
        if dashes < 5 || !(name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK")) {
            return Look::Nothing;
        }
        self.value(from, Bytes::Key, 32, |body| {
            // A key has long words; prose about one has not.
            body.split(|byte| !is_of(Base64, *byte)).any(|word| word.len() >= 32)
        })
    }
}

/// The most that a label of a private key has, its hyphens included.
const LONGEST_LABEL: usize = 48;

fn is_mixed(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_uppercase)
}

fn is_of_user(byte: u8) -> bool {
    !byte.is_ascii_control() && !b" /\"'<>?#\\,`(){}|".contains(&byte)
}

fn is_like_token(name: &[u8]) -> bool {
    name.len() >= 20
        && name.iter().all(|byte| is_of(Word, *byte))
        && name.iter().any(u8::is_ascii_digit)
        && name.iter().any(u8::is_ascii_alphabetic)
}

fn is_of(bytes: Bytes, byte: u8) -> bool {
    let others: &[u8] = match bytes {
        Bytes::Upper => return byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        Alnum => b"",
        Word => b"_-",
        Base64 => b"_-.~+/=",
        Query => b"_-.~+/=%",
        Bytes::Key => b"+/= \r\n\t:,.()",
    };
    byte.is_ascii_alphanumeric() || others.contains(&byte)
}

/// The most backslashes before the `n` of a line's end that was written as JSON again and again.
const MOST_SLASHES: usize = 8;

/// Returns how many bytes at the beginning are of a kind, and whether what follows the text may be more of them.
pub(super) fn run(bytes: Bytes, text: &[u8], is_end: bool) -> (usize, bool) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let length = match byte {
            b'\\' | b'-' if bytes == Bytes::Key => key_piece(&text[at..]),
            byte => Some(usize::from(is_of(bytes, *byte))),
        };
        match length {
            Some(0) => return (at, false),
            Some(length) => at += length,
            None => return (at, !is_end),
        }
    }
    (at, !is_end)
}

/// Returns the length of what is part of a key though it looks like its end: a line's end as JSON writes it, one hyphen.
/// Nothing where only what follows tells.
fn key_piece(text: &[u8]) -> Option<usize> {
    let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
    match (slashes, text.get(slashes.max(1))) {
        (MOST_SLASHES.., _) => Some(0),
        (_, None) => None,
        (0, Some(next)) => Some(usize::from(*next != b'-')),
        (_, Some(b'n' | b'r')) => Some(slashes + 1),
        _ => Some(0),
    }
}
