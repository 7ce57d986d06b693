//! The lines below a comparison: profile, data, machine, date. Must not depend on how they are drawn.

use crate::record::Record;
use crate::spec::{Source, Task};
use crate::table::column::Column;
use crate::table::group::Group;
use crate::table::provenance::Provenance;
use crate::table::published::Published;

/// Returns which rows have fewer repeats that count than others: ` (2: JAX)`.
fn fewer(groups: &[Group], most: usize) -> String {
    let mut rows = Vec::new();
    for group in groups {
        let count = Provenance::of(group).repeats.unwrap_or(0);
        if count > 0 && count < most {
            rows.push(format!("{count}: {}", group.title()));
        }
    }
    if rows.is_empty() { String::new() } else { format!(" ({})", rows.join(", ")) }
}

/// Returns what holds for the rows as a whole.
pub(super) fn notes(
    groups: &[Group],
    columns: &[Column],
    published: Option<&Published>,
) -> Vec<String> {
    let records = groups.iter().flat_map(|group| &group.records);
    let distinct = |of: &dyn Fn(&Record) -> String| {
        let mut seen = Vec::new();
        for word in records.clone().map(|r| of(r)) {
            if !word.is_empty() && !seen.contains(&word) {
                seen.push(word);
            }
        }
        seen
    };
    let data = distinct(&|r| match (&r.inputs.dataset, r.inputs.source) {
        (Some(name), Some(source)) => format!("{name} ({})", source.as_str()),
        _ => String::new(),
    });
    let mut dates = distinct(&|r| r.started.chars().take(10).collect());
    dates.sort();
    if dates.len() > 2 {
        dates = vec![format!("{} to {}", dates[0], dates[dates.len() - 1])];
    }
    let counted = groups.iter().filter_map(|group| Provenance::of(group).repeats);
    let repeats = counted.max().unwrap_or(1);
    let threads = distinct(&|r| r.cost.threads_allowed.to_string());
    let mut words = vec![
        format!("profile {}", distinct(&|r| r.profile.clone()).join(", ")),
        format!("data {}", data.join(", ")),
        format!("{} threads", threads.join(", ")),
        dates.join(", "),
        format!("rosetta {}", distinct(&|r| r.rosetta.version.clone()).join(", ")),
    ];
    if repeats > 1 {
        words.push(format!("median of up to {repeats} runs{}", fewer(groups, repeats)));
    }
    words.retain(|word| !word.ends_with(' '));
    let mut notes = vec![words.join(" · "), distinct(&|r| r.machine.words()).join(" | ")];
    let mut trained = records.clone().filter(|r| r.task == Task::Classification);
    if columns.contains(&Column::Accuracy)
        && trained.any(|r| r.inputs.source == Some(Source::Synthetic))
    {
        let words = "synthetic data: a made-up twin of the data set, with the same shapes; its accuracy says that \
                     a framework learns, and cannot be compared with a published one";
        notes.push(words.to_owned());
    }
    if let Some(published) = published {
        notes.push(published.words());
    }
    notes
}

/// Returns a line for each run whose clock was ahead of today's and that a row is taken from.
pub(super) fn ahead(groups: &[Group], ahead: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for record in groups.iter().flat_map(|group| &group.records) {
        let (run, started) = (&record.run, &record.started);
        let date = started.get(..10).unwrap_or(started);
        let line = format!(
            "run {run} began on {date}, which is in the future: its clock was wrong, and it counts as older than all \
             others"
        );
        if ahead.contains(run) && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}
