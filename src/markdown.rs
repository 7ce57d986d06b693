//! Rows under headings as Markdown. Must not depend on what they are of.

use std::fmt::Write;

/// Returns a text that Markdown shows as it is, in a cell too.
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

/// Returns rows under headings as Markdown; `true` beside a heading aligns its column on the right.
pub fn rows(headings: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let mut lines = vec![headings.iter().map(|(heading, _)| escape(heading)).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()));
    let width = |index: usize| {
        let lengths = lines.iter().map(|line| line[index].chars().count());
        lengths.max().unwrap_or(0).max(3)
    };
    let widths = (0..headings.len()).map(width).collect::<Vec<_>>();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        out.push('|');
        for ((text, (_, is_number)), width) in line.iter().zip(headings).zip(&widths) {
            let gap = " ".repeat(width - text.chars().count());
            let _ = match is_number {
                true => write!(out, " {gap}{text} |"),
                false => write!(out, " {text}{gap} |"),
            };
        }
        out.push('\n');
        if number == 0 {
            out.push('|');
            for ((_, is_number), width) in headings.iter().zip(&widths) {
                let rule = "-".repeat(width + 1);
                let _ = match is_number {
                    true => write!(out, "{rule}:|"),
                    false => write!(out, ":{rule}|"),
                };
            }
            out.push('\n');
        }
    }
    out
}
