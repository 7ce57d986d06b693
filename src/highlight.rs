//! Code as pieces: comments, texts, keywords, numbers. Must not depend on how they are drawn.
//!
//! It colours the harnesses of this project, in three languages; it does not parse them.

use crate::catalog::Language;
use crate::sections::comment;

/// What a piece of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePiece {
    Plain,
    Comment,
    Text,
    Keyword,
    Number,
}

const PYTHON: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "False", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "None", "nonlocal", "not", "or", "pass", "raise", "return", "True", "try", "while",
    "with", "yield",
];
const RUST: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "else", "enum", "false", "fn", "for",
    "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return",
    "self", "Self", "static", "struct", "trait", "true", "type", "unsafe", "use", "where", "while",
];
const JULIA: &[&str] = &[
    "begin", "break", "const", "continue", "do", "else", "elseif", "end", "false", "for",
    "function", "global", "if", "import", "in", "let", "local", "macro", "module", "mutable",
    "nothing", "quote", "return", "struct", "true", "try", "using", "while",
];

/// Returns the pieces of a text in their order; together they are the text.
pub fn pieces(text: &str, language: Language) -> Vec<(CodePiece, &str)> {
    let mut found = Vec::<(CodePiece, &str)>::new();
    let mut rest = text;
    // Where plain code began that is not yet a piece.
    let mut plain = text;
    while !rest.is_empty() {
        let (piece, length) = next(rest, language);
        if piece != CodePiece::Plain {
            let before = &plain[..plain.len() - rest.len()];
            if !before.is_empty() {
                found.push((CodePiece::Plain, before));
            }
            found.push((piece, &rest[..length]));
            plain = &rest[length..];
        }
        rest = &rest[length..];
    }
    if !plain.is_empty() {
        found.push((CodePiece::Plain, plain));
    }
    found
}

/// Returns whether a character may stand in a name.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns what a text begins with, and how many bytes that is.
fn next(text: &str, language: Language) -> (CodePiece, usize) {
    if text.starts_with(comment(language)) {
        return (CodePiece::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if let Some(length) = quoted(text, language) {
        return (CodePiece::Text, length);
    }
    let first = text.chars().next().unwrap_or(' ');
    if first.is_ascii_digit() {
        let length = text.find(|c| !is_word(c) && c != '.').unwrap_or(text.len());
        return (CodePiece::Number, length);
    }
    if !is_word(first) {
        return (CodePiece::Plain, first.len_utf8());
    }
    let length = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let keywords = match language {
        Language::Python => PYTHON,
        Language::Rust => RUST,
        Language::Julia => JULIA,
    };
    let piece =
        if keywords.contains(&&text[..length]) { CodePiece::Keyword } else { CodePiece::Plain };
    (piece, length)
}

/// Returns the length of the quoted text that a text begins with, if it does.
fn quoted(text: &str, language: Language) -> Option<usize> {
    let quotes: &[&str] = match language {
        Language::Python => &["\"\"\"", "'''", "\"", "'"],
        // A single quote may begin a lifetime.
        Language::Rust => &["\""],
        Language::Julia => &["\"\"\"", "\""],
    };
    let quote = quotes.iter().find(|quote| text.starts_with(**quote))?;
    let mut at = quote.len();
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(*quote) {
            return Some(at + quote.len());
        }
        // One that is not closed on its line is not a text, but for those that may be longer.
        if rest.starts_with('\n') && quote.len() == 1 && language == Language::Python {
            return None;
        }
        let escaped = if rest.starts_with('\\') { 1 } else { 0 };
        at += rest.chars().take(1 + escaped).map(char::len_utf8).sum::<usize>();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::CodePiece::{Comment, Keyword, Number, Plain, Text};
    use super::{Language, pieces};

    #[test]
    fn code_is_its_pieces() {
        let found = pieces("for x in f(\"a#\\\"b\", 1e-8):  # é\n    y2 = 'c", Language::Python);
        let expected = [
            (Keyword, "for"),
            (Plain, " x "),
            (Keyword, "in"),
            (Plain, " f("),
            (Text, "\"a#\\\"b\""),
            (Plain, ", "),
            (Number, "1e"),
            (Plain, "-"),
            (Number, "8"),
            (Plain, "):  "),
            (Comment, "# é"),
            (Plain, "\n    y2 = 'c"),
        ];
        assert_eq!(found, expected);
        let found = pieces("fn f<'a>() {} // x", Language::Rust);
        assert_eq!(found, [(Keyword, "fn"), (Plain, " f<'a>() {} "), (Comment, "// x")]);
        let found = pieces("f(w') = w' * \"$x\"  # y\nend", Language::Julia);
        let expected = [
            (Plain, "f(w') = w' * "),
            (Text, "\"$x\""),
            (Plain, "  "),
            (Comment, "# y"),
            (Plain, "\n"),
            (Keyword, "end"),
        ];
        assert_eq!(found, expected);
        assert_eq!(pieces("\"\"\"a\nb\"\"\"", Language::Python), [(Text, "\"\"\"a\nb\"\"\"")]);
    }

    #[test]
    fn nothing_is_lost_of_any_harness() {
        let harnesses = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("harnesses");
        for (file, language) in [
            ("pytorch/cnn.py", Language::Python),
            ("burn/rnn.rs", Language::Rust),
            ("knet/rnn.jl", Language::Julia),
        ] {
            let text = std::fs::read_to_string(harnesses.join(file)).unwrap();
            let found = pieces(&text, language);
            assert_eq!(found.iter().map(|(_, piece)| *piece).collect::<String>(), text);
            assert!(found.len() > 100, "{file} has only {} pieces", found.len());
        }
    }
}
