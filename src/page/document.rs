//! The page around its parts: head, navigation, filters, script.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Content, code, past, proved, results, word};
use crate::chart;
use crate::report::Grid;
use crate::report::html::{TableContext, below, table};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing is fetched from anywhere, whatever a text in the page says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Returns the whole page.
pub(super) fn document(content: &Content) -> Markup {
    let parts = parts(content);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="rosetta";
                title { "rosetta report" }
                style { (PreEscaped(chart::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the results" }
                header {
                    h1 { "rosetta report" }
                    p {
                        "The same deep-learning experiments in many frameworks: how fast, whether they compute the same, and the code "
                        "that was timed. " (content.made)
                    }
                    @for trouble in &content.troubles { p.trouble { (trouble) } }
                }
                nav aria-label="Parts of the report" {
                    ul { @for (id, name, _) in &parts { li { a href={ "#" (id) } { (name) } } } }
                    button.script #light type="button" hidden { "Light or dark" }
                }
                main id="main" {
                    @if !content.experiments.is_empty() { (filters(content)) }
                    @for (id, _, part) in &parts { section id=(id) { (part) } }
                }
                footer {
                    p { "Made by " code { "rosetta report" } ". Medians of repeats with 95 % intervals where there are three or more; “how” says where a row comes from and what measures it again." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Returns the parts that have something to show: id, name, content.
fn parts(content: &Content) -> Vec<(String, String, Markup)> {
    let mut parts = Vec::new();
    let records = super::rows::RowRecords::of(content.records);
    for part in &content.experiments {
        parts.push((
            word(&part.experiment),
            part.experiment.clone(),
            results::part(part, content, &records),
        ));
    }
    let mut more = |id: &str, name: &str, part: Option<Markup>| {
        parts.extend(part.map(|part| (id.to_owned(), name.to_owned(), part)));
    };
    more("then-and-now", "Then and now", past::part(content));
    more("equivalence", "Equivalence", proved::part(&content.verdicts));
    more("defaults", "Defaults", defaults(content));
    more("words", "Words", words(content));
    more("read", "Code side by side", code::part(&content.harnesses));
    parts
}

/// Returns what rows are filtered by, for those values that there are.
fn filters(content: &Content) -> Markup {
    let mut values =
        std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    for (_, grid) in content.experiments.iter().flat_map(|part| &part.tables) {
        for row in 0..grid.rows.len() {
            for tag in super::tags(grid, row).split(' ') {
                if let Some((name, value)) = tag.split_once(':') {
                    values.entry(name.to_owned()).or_default().insert(value.to_owned());
                }
            }
        }
    }
    html! {
        form #filters .script hidden role="search" aria-label="Filter the results" {
            label { "Framework " input #find type="search" placeholder="any" autocomplete="off"; }
            @for (name, values) in values.iter().filter(|(_, values)| values.len() > 1) {
                label {
                    (capital(name)) " "
                    select data-filter=(name) {
                        option value="" { "any" }
                        @for value in values { option value=(value) { (value) } }
                    }
                }
            }
            output #shown aria-live="polite" {}
        }
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

fn defaults(content: &Content) -> Option<Markup> {
    let tables = content.defaults.iter().enumerate().map(|(index, grid)| {
        let place = TableContext {
            id: format!("default-{index}"),
            caption: grid.title.clone(),
            tags: &|_| String::new(),
            behind: &|_| html! {},
        };
        html! { (scrolled(&grid.title, table(grid, &place))) (below(grid, &place.id)) }
    });
    (!content.defaults.is_empty()).then(|| {
        html! {
            h2 { "What frameworks do unless told otherwise" }
            @for table in tables { (table) }
        }
    })
}

fn words(content: &Content) -> Option<Markup> {
    let one = |(index, grid): (usize, &Grid)| {
        let place = TableContext {
            id: format!("word-{index}"),
            caption: "the lines of the harnesses".to_owned(),
            tags: &|_| String::new(),
            behind: &|_| html! {},
        };
        html! { details.word { summary { (grid.title) } (scrolled(&grid.title, table(grid, &place))) } }
    };
    (!content.words.is_empty()).then(|| {
        html! {
            h2 { "Words: how each framework says it" }
            @for part in content.words.iter().enumerate().map(one) { (part) }
        }
    })
}

/// Returns what may be wider than the screen, to be scrolled by finger or by key.
pub(super) fn scrolled(label: &str, inside: Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (inside) } }
}
