//! Records → comparison as data. May not know processes, nor how a table is drawn.

mod column;
mod csv;
mod export;
mod provenance;
mod published;

use std::collections::BTreeMap;

use anyhow::Result;

pub use self::column::Column;
pub use self::export::{Format, three_digits};
pub use self::provenance::Provenance;
pub use self::published::{Published, PublishedTable};
use crate::catalog::{Device, Era, Lane};
use crate::hint::hinted;
use crate::record::{Record, Status};
use crate::spec::{Source, Task};

/// One experiment's comparison.
#[derive(Debug, Clone)]
pub struct Table {
    pub experiment: String,
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Where each row comes from.
    pub provenance: Vec<Provenance>,
    /// Footnotes in the order of their numbers, from 1.
    pub footnotes: Vec<String>,
    /// Lines below: profile, data, machine, date.
    pub notes: Vec<String>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub value: Value,
    /// Number of a footnote, from 1.
    pub footnote: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(f64),
    /// A median with its 95 % interval.
    Interval(f64, f64, f64),
    Missing,
}

/// What to show.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Experiments by name; empty means all that have records.
    pub experiments: Vec<String>,
    pub profile: Option<String>,
    pub device: Option<Device>,
    pub era: Option<Era>,
    /// Columns by key; empty means the usual ones.
    pub columns: Vec<Column>,
    /// Adds the numbers published in 2017.
    pub with_published: bool,
    /// Shows old versions, each beside its newest.
    pub then_and_now: bool,
}

/// What the table needs to know of an experiment and is not in its records.
#[derive(Debug, Clone)]
pub struct Heading {
    pub experiment: String,
    pub title: String,
}

/// All records of one row: a target on a device, or on any device for features.
pub struct Group<'a> {
    records: Vec<&'a Record>,
    published: Option<&'a published::PublishedRow>,
    /// The framework's newest version on the same machine, with the same data.
    now: Option<Box<Group<'a>>>,
}

impl<'a> Group<'a> {
    /// Returns any record of the group.
    fn first(&self) -> &'a Record {
        self.records[0]
    }

    /// Returns the records that numbers are taken from, those on `device` if it is named.
    ///
    /// Disturbed runs count only when there is no other.
    fn counted(&self, device: Option<Device>) -> Vec<&'a Record> {
        let fits = |r: &&&Record| {
            let is_whole = matches!(r.outcome.status, Status::Ok | Status::CheckFailed);
            is_whole && device.is_none_or(|device| r.device == device)
        };
        let whole = self.records.iter().filter(fits).copied().collect::<Vec<_>>();
        let clean = whole.iter().filter(|r| !r.is_tainted()).copied().collect::<Vec<_>>();
        if clean.is_empty() { whole } else { clean }
    }
}

/// Returns a title without the words that are numbers: `Keras (TF)` of `Keras 2.2 (TF)`.
fn without_version(title: &str) -> String {
    let is_version = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    title.split_whitespace().filter(|word| !is_version(word)).collect::<Vec<_>>().join(" ")
}

/// Returns the tables of `records`, which are in the order in which they were made.
pub fn build(
    records: &[Record],
    headings: &[Heading],
    published: &Published,
    choice: &Choice,
) -> Result<Vec<Table>> {
    let mut names = headings.iter().map(|h| h.experiment.as_str()).collect::<Vec<_>>();
    for record in records {
        if !names.contains(&record.experiment.as_str()) {
            names.push(&record.experiment);
        }
    }
    for name in &choice.experiments {
        if !names.contains(&name.as_str()) {
            return Err(crate::hint::unknown("experiment", name, names.iter().copied()));
        }
    }
    let mut tables = Vec::new();
    for name in names {
        if !choice.experiments.is_empty() && !choice.experiments.iter().any(|one| one == name) {
            continue;
        }
        let heading = headings.iter().find(|h| h.experiment == name);
        let title = heading.map_or(name, |heading| &heading.title);
        tables.extend(build_one(name, title, records, published, choice));
    }
    if tables.is_empty() {
        let hint = match choice.then_and_now {
            true => {
                "run an old version and its newest first, as `rosetta run -f tensorflow1,tensorflow`"
            }
            false => "run `rosetta run` first, or choose another `--profile` or `--device`",
        };
        return Err(hinted("there are no results to show", hint));
    }
    Ok(tables)
}

/// Returns the table of an experiment, one of the tuned lane, and one of those that are not the same experiment and do
/// not say so themselves: they are not ranked among the others.
fn build_one(
    name: &str,
    title: &str,
    records: &[Record],
    published: &Published,
    choice: &Choice,
) -> Vec<Table> {
    let fits = |r: &&Record| {
        r.experiment == name
            && choice.device.is_none_or(|device| r.device == device)
            && choice.profile.as_ref().is_none_or(|profile| r.profile == *profile)
    };
    let of_experiment = records.iter().filter(fits).collect::<Vec<_>>();
    // One table, one profile: that of the newest record unless another was asked for.
    let of_era = |r: &&&Record| choice.era.is_none_or(|era| r.era == era);
    let Some(newest) = of_experiment.iter().rfind(of_era) else { return Vec::new() };
    let of_profile = of_experiment.iter().filter(|r| r.profile == newest.profile).copied();
    let task = newest.task;
    let old = published.tables.get(name);
    let mut groups = with_newest(group(of_profile.collect(), task, old));
    groups.retain(|group| {
        choice.era.is_none_or(|era| group.first().era == era)
            && (!choice.then_and_now || group.first().successor.is_some())
    });
    let with_published = choice.with_published && old.is_some();
    let columns = match choice.columns.as_slice() {
        [] if choice.then_and_now => Column::then_and_now(task, &groups, with_published),
        [] => Column::usual(task, &groups, with_published),
        chosen => chosen.to_vec(),
    };
    let is_ranked =
        |group: &Group| group.records.iter().all(|r| column::equivalence(r).is_ranked());
    let is_tuned = |group: &Group| group.first().lane == Lane::Tuned;
    let (ranked, apart) = groups.into_iter().partition::<Vec<_>, _>(is_ranked);
    let (tuned, ranked) = ranked.into_iter().partition::<Vec<_>, _>(is_tuned);
    let apart_title = format!("{title}: not the same experiment");
    let tuned_title = format!("{title} – tuned lane");
    let parts = [(title, ranked), (tuned_title.as_str(), tuned), (apart_title.as_str(), apart)];
    let parts = parts.into_iter().filter(|(_, groups)| !groups.is_empty());
    parts
        .map(|(title, groups)| {
            let published = choice.with_published.then_some(published);
            fill(name, title, groups, columns.clone(), published)
        })
        .collect()
}

/// Returns a table of rows in their order.
fn fill(
    name: &str,
    title: &str,
    mut groups: Vec<Group>,
    columns: Vec<Column>,
    published: Option<&Published>,
) -> Table {
    sort(&mut groups);
    let mut table = Table {
        experiment: name.to_owned(),
        title: title.to_owned(),
        notes: notes(&groups, &columns, published),
        columns,
        rows: Vec::new(),
        provenance: groups.iter().map(Provenance::of).collect(),
        footnotes: Vec::new(),
    };
    for group in &groups {
        let row = table.columns.clone().into_iter().map(|column| {
            let (value, why) = column.cell(group);
            Cell { value, footnote: why.map(|why| table.footnote(why)) }
        });
        let row = row.collect();
        table.rows.push(row);
    }
    table
}

impl Table {
    /// Returns the number of a footnote; the same words share one.
    fn footnote(&mut self, words: String) -> usize {
        let known = self.footnotes.iter().position(|one| *one == words);
        known.unwrap_or_else(|| {
            self.footnotes.push(words);
            self.footnotes.len() - 1
        }) + 1
    }
}

/// Returns the latest records of each row: those of its newest run.
fn group<'a>(
    records: Vec<&'a Record>,
    task: Task,
    published: Option<&'a PublishedTable>,
) -> Vec<Group<'a>> {
    // For a row, the newest run on each device; features show both devices in one row.
    let mut newest = BTreeMap::new();
    for record in &records {
        newest.insert((&record.target, record.device), &record.run);
    }
    let mut rows = Vec::<Group>::new();
    for record in records {
        if newest.get(&(&record.target, record.device)) != Some(&&record.run) {
            continue;
        }
        let same = |group: &&mut Group| {
            let first = group.first();
            first.target == record.target
                && (task == Task::Features || first.device == record.device)
        };
        match rows.iter_mut().find(same) {
            Some(group) => group.records.push(record),
            None => {
                let published = published.and_then(|table| table.row(&record.title));
                rows.push(Group { records: vec![record], published, now: None });
            }
        }
    }
    rows
}

/// Gives each row of an old version its newest, from the same machine and with the same data.
fn with_newest(mut groups: Vec<Group>) -> Vec<Group> {
    let newest = |group: &Group| {
        let then = group.first();
        let successor = then.successor.as_ref()?;
        let is_alike = |now: &&Record| {
            now.machine.is_same(&then.machine)
                && now.inputs.source == then.inputs.source
                && now.inputs.data_digest == then.inputs.data_digest
        };
        let found = groups.iter().find(|one| {
            let now = one.first();
            now.target == *successor && (then.task == Task::Features || now.device == then.device)
        })?;
        let records = found.records.iter().copied().filter(is_alike).collect::<Vec<_>>();
        (!records.is_empty())
            .then(|| Box::new(Group { records, published: found.published, now: None }))
    };
    let all = groups.iter().map(newest).collect::<Vec<_>>();
    groups.iter_mut().zip(all).for_each(|(group, now)| group.now = now);
    groups
}

/// Sorts as published: the fastest first; rows without a number last, by name.
fn sort(groups: &mut [Group]) {
    let key = |group: &Group| match group.first().task {
        Task::Classification => Column::TrainingTime.number(group),
        Task::Features => {
            let rate = Column::RateGpu.number(group).map(|rate| 1e9 + rate);
            rate.or_else(|| Column::RateCpu.number(group)).map(|rate| -rate)
        }
    };
    groups.sort_by(|a, b| {
        let (one, two) = (key(a).unwrap_or(f64::INFINITY), key(b).unwrap_or(f64::INFINITY));
        one.total_cmp(&two).then_with(|| a.first().title.cmp(&b.first().title))
    });
}

fn notes(groups: &[Group], columns: &[Column], published: Option<&Published>) -> Vec<String> {
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
    let repeats = groups.iter().map(|group| group.records.len()).max().unwrap_or(1);
    let threads = distinct(&|r| r.cost.threads_allowed.to_string());
    let mut words = vec![
        format!("profile {}", distinct(&|r| r.profile.clone()).join(", ")),
        format!("data {}", data.join(", ")),
        format!("{} threads", threads.join(", ")),
        dates.join(", "),
        format!("rosetta {}", distinct(&|r| r.rosetta.version.clone()).join(", ")),
    ];
    if repeats > 1 {
        words.push(format!("median of up to {repeats} runs"));
    }
    words.retain(|word| !word.ends_with(' '));
    let mut notes = vec![words.join(" · "), distinct(&|r| r.machine.words()).join(" | ")];
    let is_synthetic =
        |r: &&Record| r.inputs.source == Some(Source::Synthetic) && r.task == Task::Classification;
    if columns.contains(&Column::Accuracy) && records.clone().any(is_synthetic) {
        let words = "synthetic data: a made-up twin of the data set, with the same shapes; its accuracy says that \
                     a framework learns, and cannot be compared with a published one";
        notes.push(words.to_owned());
    }
    if let Some(published) = published {
        notes.push(published.words());
    }
    notes
}

#[cfg(test)]
pub(crate) mod tests;
