//! What checks found: targets × quantities, each number a press away from all of its row.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::document::scrolled;
use super::word;
use crate::proof::report::NOTE;
use crate::proof::{Compared, Difference, Quantity, Verdict};
use crate::report::Tone;

const QUANTITIES: [(Quantity, &str); 6] = [
    (Quantity::InitialWeights, "Initial weights"),
    (Quantity::Outputs, "Outputs"),
    (Quantity::Loss, "Loss"),
    (Quantity::Gradient, "Gradient"),
    (Quantity::Update, "Update"),
    (Quantity::TrainedOutputs, "Outputs after"),
];

/// Returns the part, if there are verdicts.
pub(super) fn part(verdicts: &[Verdict]) -> Option<Markup> {
    let newest = newest(verdicts);
    let mut experiments = Vec::<&str>::new();
    for verdict in &newest {
        if !experiments.contains(&verdict.experiment.as_str()) {
            experiments.push(&verdict.experiment);
        }
    }
    (!newest.is_empty()).then(|| {
        html! {
            h2 { "Equivalence: do they compute the same?" }
            p { (NOTE) ". A press on a number shows all of its row." }
            @for experiment in experiments {
                h3 { (experiment) }
                @let of = newest.iter().filter(|verdict| verdict.experiment == experiment).collect::<Vec<_>>();
                (scrolled(&format!("Equivalence, {experiment}"), matrix(&of)))
                @for verdict in of { (all(verdict)) }
            }
        }
    })
}

/// Returns the newest verdict of each target on each device.
fn newest(verdicts: &[Verdict]) -> Vec<&Verdict> {
    let mut newest = BTreeMap::<_, &Verdict>::new();
    for verdict in verdicts {
        let key = (&verdict.experiment, &verdict.title, verdict.device);
        let one = newest.entry(key).or_insert(verdict);
        if verdict.checked > one.checked {
            *one = verdict;
        }
    }
    newest.into_values().collect()
}

fn matrix(verdicts: &[&&Verdict]) -> Markup {
    html! {
        table.matrix {
            caption { "Largest relative error of each quantity" }
            thead { tr {
                th scope="col" { "Target" }
                th scope="col" { "Device" }
                th scope="col" { "Grade" }
                @for (_, name) in QUANTITIES { th scope="col" { (name) } }
            } }
            tbody {
                @for verdict in verdicts {
                    tr data-tags={ "device:" (verdict.device) } {
                        th scope="row" { span.cell { (verdict.title) } }
                        td { (verdict.device) }
                        td class=[grade(verdict)] { (verdict.equivalence.words()) }
                        @for (quantity, name) in QUANTITIES { (cell(verdict, quantity, name)) }
                    }
                }
            }
        }
    }
}

fn grade(verdict: &Verdict) -> Option<&'static str> {
    match verdict.equivalence.grade.tone() {
        Tone::Good => Some("good"),
        Tone::Doubtful => Some("doubtful"),
        Tone::Bad => Some("bad"),
        Tone::Plain => None,
    }
}

fn id(verdict: &Verdict) -> String {
    let [experiment, target, device] =
        [&verdict.experiment, &verdict.target, &verdict.device.to_string()].map(|text| word(text));
    format!("check-{experiment}-{target}-{device}")
}

fn cell(verdict: &Verdict, quantity: Quantity, name: &str) -> Markup {
    let worst =
        verdict.compared.iter().filter_map(|compared| compared.worst(quantity)).collect::<Vec<_>>();
    let text = worst.iter().map(|found| error(found)).collect::<Vec<_>>().join(" / ");
    // The first is of the higher precision.
    let level = worst.first().map(|found| level(found)).unwrap_or_default();
    html! {
        @if worst.is_empty() { td { "–" } } @else {
            td class=(level) {
                button popovertarget=(id(verdict)) aria-label={ (verdict.title) ", " (name) ": " (text) } { (text) }
            }
        }
    }
}

fn error(found: &Difference) -> String {
    let mark = if found.is_within() { "" } else { " ✗" };
    match found.error {
        0.0 => format!("0{mark}"),
        error if error.is_finite() => format!("{error:.0e}{mark}"),
        _ => "✗".to_owned(),
    }
}

/// Returns how near to its tolerance an error is.
fn level(found: &Difference) -> &'static str {
    let share = found.error / found.tolerance;
    match share {
        _ if found.error == 0.0 => "far",
        share if share <= 0.01 => "far",
        share if share <= 1.0 => "near",
        _ => "beyond",
    }
}

/// Returns everything that a check found of a target.
fn all(verdict: &Verdict) -> Markup {
    let Verdict { title, device, experiment, equivalence, .. } = verdict;
    let version = verdict.framework_version.as_deref().unwrap_or("");
    html! {
        div.origin popover id=(id(verdict)) role="dialog" aria-label={ "Check of " (title) ", " (experiment) } {
            h3 { (title) " " (version) ", " (experiment) ", " (device) ": " (equivalence.words()) }
            @if let Some(reason) = &equivalence.reason { p { (reason) } }
            p { "Compared with " (verdict.reference) " on " (verdict.checked.get(..10).unwrap_or("")) }
            @for compared in &verdict.compared { (numbers(compared)) }
            @if !verdict.semantics.is_empty() {
                ul {
                    @for semantic in &verdict.semantics {
                        li { (if semantic.is_so { "✓ " } else { "✗ " }) (semantic.claim) ": " (semantic.seen) }
                    }
                }
            }
        }
    }
}

/// Returns the worst of each quantity at one precision.
fn numbers(compared: &Compared) -> Markup {
    let mut quantities = Vec::new();
    for difference in &compared.differences {
        if !quantities.contains(&difference.quantity) {
            quantities.push(difference.quantity);
        }
    }
    let worst = quantities.into_iter().filter_map(|quantity| compared.worst(quantity));
    html! {
        table {
            caption { (compared.dtype) }
            thead { tr { th scope="col" { "Quantity" } th scope="col" { "Worst" } th.number scope="col" { "Error" } th.number scope="col" { "Allowed" } } }
            tbody {
                @for found in worst {
                    tr {
                        th scope="row" { (found.quantity.words()) }
                        td { (found.of.as_deref().or(found.note.as_deref()).unwrap_or("")) }
                        td { (error(found)) }
                        td { (format!("{:.0e}", found.tolerance)) }
                    }
                }
            }
        }
    }
}
