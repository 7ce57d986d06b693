//! The number of each row over the nights that it was measured in, and where its level changed.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::epochs::tiles;
use super::rows::{RowRecords, name};
use super::tags;
use crate::chart::{Curve, Level, Lines};
use crate::compare::{Nights, RowNights};
use crate::record::Record;
use crate::report::html::{TableContext, below, table};
use crate::report::{Cell, Grid, Heading, Kind, Tone, Value, three_digits};
use crate::spec::Task;

/// The fewest days that are a history.
const DAYS: usize = 3;

/// Returns the history of a table's rows, where there is any.
pub(super) fn part(
    id: &str,
    profile: &str,
    grid: &Grid,
    records: &RowRecords,
    nights: &Nights,
) -> Markup {
    let rows = rows(profile, grid, records, nights);
    let changes = changes(grid, &rows);
    html! {
        (tiles(&format!("{id}-nights"), "the median of each run, each row on a scale of its own from zero; levels as black lines", &lines(&rows)))
        @if let Some(changes) = &changes { (listed(&format!("{id}-changes"), changes)) }
    }
}

/// A row of the table on one device, with its nights.
struct HistoryRow<'a> {
    label: String,
    tags: String,
    nights: &'a RowNights,
}

fn rows<'a>(
    profile: &str,
    grid: &Grid,
    records: &RowRecords,
    nights: &'a Nights,
) -> Vec<HistoryRow<'a>> {
    let mut rows = Vec::new();
    for row in 0..grid.rows.len() {
        // Of each device the newest record tells which row of which machine it is.
        let mut devices = Vec::<&Record>::new();
        for record in records.of_row(profile, grid, row).into_iter().rev() {
            if !devices.iter().any(|one| one.device == record.device) {
                devices.push(record);
            }
        }
        for record in devices.iter().rev() {
            let Some(nights) = nights.of_record(record) else { continue };
            let days = nights.nights.iter().map(|night| day_of(&night.started));
            if days.collect::<BTreeSet<_>>().len() < DAYS {
                continue;
            }
            let name = name(grid, row);
            let label = match devices.len() {
                1 => name,
                _ => format!("{name} on {}", record.device),
            };
            rows.push(HistoryRow { label, tags: tags(grid, row), nights });
        }
    }
    rows
}

fn lines(rows: &[HistoryRow]) -> Lines {
    let lines = rows.iter().map(line).collect();
    let days =
        rows.iter().flat_map(|row| row.nights.nights.iter().map(|night| day_of(&night.started)));
    let days = days.collect::<BTreeSet<_>>();
    let end = |day: Option<&&str>| day.map(|day| (*day).to_owned()).unwrap_or_default();
    let title = match rows.first().map(|row| row.nights.task) {
        Some(Task::Features) => "Images/s, night by night",
        _ => "Training time (s), night by night",
    };
    Lines {
        title: title.to_owned(),
        ends: (end(days.first()), end(days.last())),
        lines,
        is_scaled_apart: true,
        is_of_ratios: false,
    }
}

fn line(row: &HistoryRow) -> Curve {
    let nights = &row.nights.nights;
    let place = |index: usize| days_since_2017(&nights[index].started);
    let points =
        nights.iter().filter_map(|night| Some((days_since_2017(&night.started)?, night.value)));
    let (mut levels, mut told) = (Vec::new(), String::new());
    let mut from = place(0);
    for (index, change) in row.nights.changes.iter().enumerate() {
        let level = change.level;
        let ends = row.nights.changes.get(index + 1).map_or(nights.len() - 1, |next| next.level.at);
        let (at, end) = (place(level.at), place(ends));
        if let (Some(from), Some(at), Some(end)) = (from, at, end) {
            if index == 0 {
                levels.push(Level { from, to: at, value: level.before });
            }
            levels.push(Level { from: at, to: end, value: level.after });
        }
        told += &format!(
            "; since {} {} times as long",
            day_of(&nights[level.at].started),
            three_digits(change.times_as_long(row.nights.task))
        );
        from = at;
    }
    Curve {
        label: row.label.clone(),
        points: points.collect(),
        levels,
        told,
        tags: row.tags.clone(),
    }
}

/// Returns all changes of level, the newest first.
fn changes(grid: &Grid, rows: &[HistoryRow]) -> Option<Grid> {
    let task = rows.first()?.nights.task;
    let mut found = Vec::new();
    for row in rows {
        for change in &row.nights.changes {
            let night = &row.nights.nights[change.level.at];
            let times = change.times_as_long(task);
            let tone = if times > 1.0 { Tone::Bad } else { Tone::Good };
            let causes = match change.causes.as_slice() {
                [] => "nothing that is recorded".to_owned(),
                causes => causes.join("; "),
            };
            found.push((
                night.started.clone(),
                vec![
                    Cell::text(&row.label),
                    Cell::text(day_of(&night.started)),
                    Cell::of(Value::Number(change.level.before)),
                    Cell::of(Value::Number(change.level.after)),
                    Cell { tone, ..Cell::of(Value::Number(times)) },
                    Cell::text(causes),
                    Cell::text(&night.run),
                ],
            ));
        }
    }
    found.sort_by(|one, other| other.0.cmp(&one.0));
    let [before, after] = match task {
        Task::Classification => ["Before (s)", "After (s)"],
        Task::Features => ["Before (images/s)", "After (images/s)"],
    };
    let heading = |text, key, kind| Heading { text, key, kind, rank: 0 };
    (!found.is_empty()).then(|| Grid {
        experiment: grid.experiment.clone(),
        title: format!("Changes of level: {}", grid.title),
        headings: vec![
            heading("Row", "row", Kind::Text),
            heading("Since", "since", Kind::Text),
            heading(before, "before", Kind::Measured),
            heading(after, "after", Kind::Measured),
            heading("Times as Long", "times_as_long", Kind::Number),
            heading("What Differs", "differs", Kind::Text),
            heading("Run", "run", Kind::Text),
        ],
        rows: found.into_iter().map(|(_, cells)| cells).collect(),
        notes: vec![NOTE.into()],
        ..Grid::default()
    })
}

const NOTE: &str = "a level is at least three nights long, and its median differs from that before by more than 5 % and by more than \
    the noise explains; what differs was recorded otherwise in the first night of a level than in the night before: it may be why";

fn listed(id: &str, changes: &Grid) -> Markup {
    let place = TableContext {
        id: id.to_owned(),
        caption: "where the level changed for at least three nights, the newest first".to_owned(),
        tags: &|_| String::new(),
        behind: &|_| html! {},
    };
    html! {
        h3 { (changes.title) }
        div.scroll.changes tabindex="0" role="region" aria-label=(changes.title) { (table(changes, &place)) }
        (below(changes, &place.id))
    }
}

fn day_of(started: &str) -> &str {
    started.get(..10).unwrap_or(started)
}

/// Returns how many days after the beginning of 2017 a time is.
fn days_since_2017(started: &str) -> Option<f64> {
    let start = jiff::civil::date(2017, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let passed = started.parse::<jiff::Timestamp>().ok()?.duration_since(start.timestamp());
    Some(passed.as_secs_f64() / 86_400.0)
}
