//! The harnesses of each experiment, section by section. The script hides what was not picked.

use maud::{Markup, Render, html};

use super::{Harnesses, word};
use crate::catalog::Language;
use crate::highlight::{CodePiece, pieces};
use crate::reading::{HarnessSection, HarnessText, rows};

/// Returns the part, if there are harnesses.
pub(super) fn part(harnesses: &[Harnesses]) -> Option<Markup> {
    (!harnesses.is_empty()).then(|| {
        html! {
            h2 { "Code side by side" }
            p { "The files that were timed, cut into the same sections. In a terminal: " code { "rosetta read EXPERIMENT FRAMEWORK …" } }
            (pickers(harnesses))
            @for of in harnesses { (experiment(of)) }
        }
    })
}

fn pickers(harnesses: &[Harnesses]) -> Markup {
    html! {
        form #pickers .script hidden aria-label="Pick harnesses" {
            label { "Experiment " select #pick-experiment {
                @for of in harnesses { option value=(word(&of.experiment)) { (of.experiment) } }
            } }
            @for name in ["First", "Second", "Third"] {
                label { (name) " " select data-pick=(name) {} }
            }
            a #pair href="#read" { "Link to this page with these" }
        }
    }
}

fn experiment(of: &Harnesses) -> Markup {
    let name = word(&of.experiment);
    let sources = of.sources.iter().map(|(_, source)| source).collect::<Vec<_>>();
    html! {
        details.reader data-experiment=(name) {
            summary { (of.title) }
            @for row in rows(&sources) {
                section.row {
                    h3 { (row.title) }
                    div.cells {
                        @for ((framework, source), found) in of.sources.iter().zip(&row.cells) {
                            (cell(&name, framework, source, found.as_ref(), row.title == "Setup"))
                        }
                    }
                }
            }
        }
    }
}

/// Returns a section of one harness; its first one can be linked to.
fn cell(
    experiment: &str,
    framework: &str,
    source: &HarnessText,
    found: Option<&HarnessSection>,
    is_first: bool,
) -> Markup {
    let id = is_first.then(|| format!("code-{experiment}-{}", word(framework)));
    html! {
        figure.harness id=[id] data-framework=(word(framework)) data-title=[is_first.then_some(&source.title)] {
            @if let Some(found) = found {
                figcaption { (source.title) " " span.place { (source.file) ":" (found.line) } }
                pre tabindex="0" { code { (coloured(&found.lines.join("\n"), source.language)) } }
            } @else {
                figcaption { (source.title) " " span.place { "has no such section" } }
            }
        }
    }
}

fn coloured(text: &str, language: Language) -> Markup {
    html! {
        @for (piece, text) in pieces(text, language) {
            @match piece {
                CodePiece::Plain | CodePiece::Number => (BetweenTags(text)),
                CodePiece::Comment => i { (BetweenTags(text)) },
                CodePiece::Keyword => b { (BetweenTags(text)) },
                CodePiece::Text => u { (BetweenTags(text)) },
            }
        }
    }
}

/// Code between tags, where a quote may stand as it is: maud writes six bytes for each, for it may be in an attribute.
struct BetweenTags<'a>(&'a str);

impl Render for BetweenTags<'_> {
    fn render_to(&self, out: &mut String) {
        for c in self.0.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                c => out.push(c),
            }
        }
    }
}
