//! Verdicts → a table of targets and quantities, and what to say of those that differ.

use crate::proof::{Compared, Difference, Grade, Quantity, Semantic, Verdict, sentence};
use crate::report::{self, Grid, Heading, Tone};

/// Headings of the table.
const HEADINGS: [Heading; 9] = [
    Heading::words("Target"),
    Heading::words("Device"),
    Heading::words("Grade"),
    Heading::numbers("Outputs"),
    Heading::numbers("Loss"),
    Heading::numbers("Gradient"),
    Heading::numbers("Update"),
    Heading::numbers("Outputs After"),
    Heading::words("Dropout, Seeds, Batch"),
];

/// Where the grade stands among them.
const GRADE: usize = 2;

const QUANTITIES: [Quantity; 5] = [
    Quantity::Outputs,
    Quantity::Loss,
    Quantity::Gradient,
    Quantity::Update,
    Quantity::TrainedOutputs,
];

/// What stands under the table.
pub const NOTE: &str = "largest relative error in float64 / float32 against the reference, in float64 where it can compute \
                        in it; the tolerance of float64 is 1e-9; – not applicable";

/// Returns a table for each experiment, one row for each verdict.
pub fn grids(verdicts: &[Verdict]) -> Vec<Grid> {
    let grid = |experiment: &str| {
        let of = verdicts.iter().filter(|verdict| verdict.experiment == experiment);
        let of = of.collect::<Vec<_>>();
        let mut grid = Grid {
            experiment: experiment.to_owned(),
            title: experiment.to_owned(),
            aside: Some(parameters(&of)),
            ..Grid::of_texts(HEADINGS, of.iter().map(|verdict| row(verdict)).collect())
        };
        for (row, verdict) in grid.rows.iter_mut().zip(&of) {
            row[GRADE].tone = verdict.equivalence.grade.tone();
        }
        grid
    };
    experiments(verdicts).into_iter().map(grid).collect()
}

fn row(verdict: &Verdict) -> Vec<String> {
    let mut cells =
        vec![verdict.title.clone(), verdict.device.to_string(), verdict.equivalence.words()];
    cells.extend(QUANTITIES.map(|quantity| cell(verdict, quantity)));
    cells.push(semantics(verdict));
    cells
}

fn cell(verdict: &Verdict, quantity: Quantity) -> String {
    let worst = |compared: &Compared| compared.worst(quantity).map(error);
    let cells = verdict.compared.iter().filter_map(worst).collect::<Vec<_>>();
    match cells.is_empty() {
        true => "–".to_owned(),
        false => cells.join(" / "),
    }
}

fn error(difference: &Difference) -> String {
    let mark = if difference.is_within() { "" } else { " ✗" };
    match difference.error {
        0.0 => format!("0{mark}"),
        error if error.is_finite() => format!("{error:.0e}{mark}"),
        _ => "✗".to_owned(),
    }
}

fn semantics(verdict: &Verdict) -> String {
    let all = &verdict.semantics;
    let so = all.iter().filter(|semantic| semantic.is_so).count();
    match all.len() {
        0 => "–".to_owned(),
        count => format!("{so} of {count} hold"),
    }
}

impl Grade {
    /// Returns what a grade says at a glance.
    pub fn tone(self) -> Tone {
        match self {
            Grade::Exact | Grade::Close | Grade::Variant => Tone::Good,
            Grade::Different => Tone::Bad,
            Grade::Unchecked => Tone::Doubtful,
        }
    }
}

/// Returns what a person should read of a verdict that is not what it should be.
pub fn explanation(verdict: &Verdict) -> Option<String> {
    if verdict.equivalence.grade.is_same() {
        return None;
    }
    let (experiment, target) = (&verdict.experiment, &verdict.target);
    let mut lines = vec![format!(
        "{experiment} · {} · {}: {}",
        verdict.title,
        verdict.device,
        verdict.equivalence.words()
    )];
    lines.extend(verdict.equivalence.reason.iter().map(|reason| format!("  {reason}")));
    if let Some(compared) = verdict.compared.iter().find(|one| one.first().is_some()) {
        lines.extend(further(compared).into_iter().map(|line| format!("  - {line}")));
    }
    // Where nothing else is wrong, the first of them is the reason.
    let wrong = verdict.semantics.iter().filter(|semantic| !semantic.is_so);
    let told = wrong.map(Semantic::sentence);
    let is_new = |line: &String| Some(line) != verdict.equivalence.reason.as_ref();
    lines.extend(told.filter(is_new).map(|line| format!("  - {line}")));
    if let Some(cause) = &verdict.cause
        && !cause.lines.is_empty()
    {
        lines.push(format!("  the numbers fit the reference `{}` with", verdict.reference));
        for (before, after) in &cause.lines {
            lines.extend(before.lines().map(|line| format!("    - {}", line.trim())));
            lines.extend(after.lines().map(|line| format!("    + {}", line.trim())));
        }
    }
    let is_to_mend =
        verdict.equivalence.grade == Grade::Different && !verdict.equivalence.is_declared;
    if is_to_mend && let Some((_, first)) = verdict.first() {
        lines.push(format!(
            "  next: compare section `{}` of the harness of {target} with that of {}",
            section(first.quantity),
            verdict.reference
        ));
    }
    Some(lines.join("\n"))
}

/// Returns what follows from the first difference, once for each quantity: the worst of it.
fn further(compared: &Compared) -> Vec<String> {
    let Some(first) = compared.first() else { return Vec::new() };
    let mut quantities = Vec::new();
    for difference in &compared.differences {
        let is_new = !quantities.contains(&difference.quantity);
        if is_new && difference.quantity != first.quantity && !difference.is_within() {
            quantities.push(difference.quantity);
        }
    }
    let worst = quantities.into_iter().filter_map(|quantity| compared.worst(quantity));
    worst.map(|difference| sentence(&compared.dtype, difference)).collect()
}

/// Returns the section of a harness in which a difference of this quantity begins.
fn section(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Parameters | Quantity::InitialWeights => "Initial weights",
        Quantity::Activation | Quantity::Outputs => "Build model",
        Quantity::Loss | Quantity::Gradient => "Loss and optimiser",
        Quantity::ArrayUpdate | Quantity::Update => "Train",
        Quantity::TrainedOutputs => "Predict",
    }
}

/// Returns verdicts as Markdown: a table for each experiment, then the explanations.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut out = report::markdown(&grids(verdicts));
    out += &format!("\n{NOTE}\n");
    for text in verdicts.iter().filter_map(explanation) {
        let lines = text.lines().map(report::printable).collect::<Vec<_>>();
        out += &format!("\n```text\n{}\n```\n", lines.join("\n"));
    }
    out
}

/// Returns the experiments of verdicts, each once.
fn experiments(verdicts: &[Verdict]) -> Vec<&str> {
    let mut names = Vec::new();
    for verdict in verdicts {
        if !names.contains(&verdict.experiment.as_str()) {
            names.push(verdict.experiment.as_str());
        }
    }
    names
}

/// Returns what was compared of the parameters, as any of the verdicts tells it.
fn parameters(verdicts: &[&Verdict]) -> String {
    let compared = verdicts.iter().flat_map(|verdict| &verdict.compared);
    let counts = compared.filter_map(|compared| compared.worst(Quantity::Parameters));
    let note = counts.filter_map(|difference| difference.note.clone()).next();
    note.unwrap_or_else(|| "features only: its harnesses have no trained weights".to_owned())
}
