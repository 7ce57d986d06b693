//! Texts that came from elsewhere (versions, titles, errors) made harmless. Must not depend on the format.

/// Returns a text on one line without characters that move a cursor, turn the direction of writing or are not seen:
/// each of them as its number, `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_unprintable(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Returns a whole document in which nothing is hidden: what stands in its texts and moves a cursor, turns the direction of
/// writing or is not seen is its number. The document's own lines stay.
pub fn visible(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    let mut rest = document;
    let is_hidden = |c: char| c != '\n' && is_unprintable(c);
    while let Some(at) = rest.find(is_hidden) {
        let c = rest[at..].chars().next().unwrap_or_default();
        out += &rest[..at];
        out.extend(c.escape_unicode());
        rest = &rest[at + c.len_utf8()..];
    }
    out + rest
}

/// Returns whether a character is a control (C0, DEL, C1), or a mark that turns or hides text.
pub fn is_unprintable(c: char) -> bool {
    let is_mark = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
    c.is_control() || is_mark
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_moves_turns_or_hides_is_shown_as_its_number() {
        assert_eq!(printable("1.0\n\tnext"), "1.0  next");
        assert_eq!(printable("\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(printable("\u{9b}1m \u{202e}x"), "\\u{9b}1m \\u{202e}x");
        assert_eq!(printable("Größe – 日本"), "Größe – 日本");
    }
}
