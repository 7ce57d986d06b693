//! Records → comparison as data. Must not depend on processes, nor on how a table is drawn.

mod chosen;
mod column;
mod footnote;
mod group;
mod needed;
mod notes;
mod provenance;
mod published;
mod rank;
mod usual;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

pub use self::chosen::{Condition, RowOrder};
pub use self::column::Column;
pub use self::group::{
    Group, clean, counted, without_version as name_without_version, worth, worth_of,
};
pub use self::needed::needed;
use self::provenance::Provenance;
pub use self::published::{Published, PublishedRow, PublishedTable};
pub use self::usual::ColumnWish;
use crate::catalog::{Device, Era, Lane};
use crate::hint::hinted;
use crate::record::Record;
use crate::report::{Cell, Grid, NoteLine};

/// What to show.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Experiments by name; empty means all that have records.
    pub experiments: Vec<String>,
    pub profile: Option<String>,
    pub device: Option<Device>,
    pub era: Option<Era>,
    /// Frameworks, targets or titles; empty means all.
    pub frameworks: Vec<String>,
    /// What holds of every row.
    pub conditions: Vec<Condition>,
    /// The order of rows instead of the usual one.
    pub order: Option<RowOrder>,
    /// What is wished of columns; empty means the usual ones.
    pub columns: Vec<ColumnWish>,
    /// Adds the numbers published in 2017.
    pub with_published: bool,
    /// Shows old versions, each beside its newest.
    pub then_and_now: bool,
    /// Runs whose clock was ahead of today's; they come first in the records.
    pub ahead: Vec<String>,
}

impl Choice {
    /// Returns whether a record is of the device and the profile that are asked for.
    fn has_conditions_of(&self, record: &Record) -> bool {
        self.device.is_none_or(|device| record.device == device)
            && self.profile.as_ref().is_none_or(|profile| record.profile == *profile)
    }

    /// Returns whether a record is of the era and one of the frameworks that are asked for.
    fn has_framework_of(&self, record: &Record) -> bool {
        self.era.is_none_or(|era| record.era == era) && chosen::is_named(record, &self.frameworks)
    }
}

/// What the table needs to know of an experiment and is not in its records.
#[derive(Debug, Clone)]
pub struct Title {
    pub experiment: String,
    pub title: String,
}

/// Returns the tables of `records`, which are in the order in which they were made.
pub fn build(
    records: &[Record],
    titles: &[Title],
    published: &Published,
    choice: &Choice,
) -> Result<Vec<Grid>> {
    let mut names = titles.iter().map(|h| h.experiment.as_str()).collect::<Vec<_>>();
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
        let heading = titles.iter().find(|h| h.experiment == name);
        let title = heading.map_or(name, |heading| &heading.title);
        for (class, records) in classes(records, name) {
            let title =
                class.map_or_else(|| title.to_owned(), |class| format!("{title} – {class}"));
            tables.extend(build_one(name, &title, &records, published, choice)?);
        }
    }
    if tables.is_empty() {
        let hint = match choice.then_and_now {
            true => {
                "run an old version and its newest first, as `rosetta run -f tensorflow1,tensorflow`"
            }
            false if !choice.conditions.is_empty() || !choice.frameworks.is_empty() => {
                "no row is as `-f` and `--where` ask; `rosetta table` without them shows what there is"
            }
            false => "run `rosetta run` first, or choose another `--profile` or `--device`",
        };
        return Err(hinted("there are no results to show", hint));
    }
    Ok(tables)
}

/// Returns the records of an experiment, apart for each class of hardware that a cluster's nodes are of: numbers of unlike nodes
/// do not stand in one table.
fn classes<'a>(records: &'a [Record], experiment: &str) -> Vec<(Option<String>, Vec<&'a Record>)> {
    let mut classes = Vec::<(Option<String>, Vec<&Record>)>::new();
    for record in records.iter().filter(|record| record.experiment == experiment) {
        let class = record.machine.hardware_class();
        match classes.iter_mut().find(|(one, _)| *one == class) {
            Some((_, records)) => records.push(record),
            None => classes.push((class, vec![record])),
        }
    }
    classes
}

/// Returns the table of an experiment, one of the tuned lane, and one of those that are not the same experiment and do
/// not say so themselves: they are not ranked among the others.
fn build_one(
    name: &str,
    title: &str,
    records: &[&Record],
    published: &Published,
    choice: &Choice,
) -> Result<Vec<Grid>> {
    let mut of_experiment = records.to_vec();
    of_experiment.retain(|record| choice.has_conditions_of(record));
    let mut candidates =
        of_experiment.iter().filter(|record| choice.has_framework_of(record)).copied();
    let Some(newest) = newest_profile(&mut candidates) else { return Ok(Vec::new()) };
    let others = other_profiles(&of_experiment, newest);
    let of_profile = of_experiment.iter().filter(|r| r.profile == newest.profile).copied();
    let task = newest.task;
    let old = published.tables.get(name);
    let mut groups = group::with_newest(group::group(of_profile.collect(), task, old));
    groups.retain(|group| {
        choice.has_framework_of(group.first())
            && (!choice.then_and_now || group.first().successor.is_some())
    });
    chosen::keep(&mut groups, &choice.conditions);
    let with_published = choice.with_published && old.is_some();
    let columns = match choice.then_and_now {
        true => usual::then_and_now(task, &groups, with_published),
        false => usual::usual(task, &groups, with_published),
    };
    let columns = usual::chosen(columns, &choice.columns);
    ensure!(!columns.is_empty(), "`--columns` leaves no column; `rosetta table --help` lists them");
    let (ranked, apart) = groups.into_iter().partition::<Vec<_>, _>(|group| {
        group.records.iter().all(|record| column::equivalence(record).is_ranked())
    });
    let (tuned, ranked) =
        ranked.into_iter().partition::<Vec<_>, _>(|group| group.first().lane == Lane::Tuned);
    let apart_title = format!("{title}: not the same experiment");
    let tuned_title = format!("{title} – tuned lane");
    let parts = [(title, ranked), (tuned_title.as_str(), tuned), (apart_title.as_str(), apart)];
    let parts = parts.into_iter().filter(|(_, groups)| !groups.is_empty());
    let tables = parts
        .map(|(title, groups)| {
            let published = choice.with_published.then_some(published);
            let mut grid = fill(name, title, groups, &columns, published, choice);
            grid.notes.extend(others.clone().map(NoteLine::from));
            grid
        })
        .collect();
    Ok(tables)
}

/// Returns the record whose profile is shown, for one table has one profile: the newest that has numbers. A trial at
/// `smoke` is shown only where nothing else has.
fn newest_profile<'a>(records: &mut dyn Iterator<Item = &'a Record>) -> Option<&'a Record> {
    let worth = |index: usize, r: &Record| (r.is_whole(), r.profile != SMOKE, index);
    records.enumerate().max_by_key(|(index, r)| worth(*index, r)).map(|(_, r)| r)
}

/// The profile of a trial: everything once, as small as it can be.
const SMOKE: &str = "smoke";

/// Returns a note of the profiles that have results and are not shown.
fn other_profiles(records: &[&Record], shown: &Record) -> Option<String> {
    let mut targets = BTreeMap::<&str, BTreeSet<&str>>::new();
    for record in records.iter().filter(|r| r.profile != shown.profile && r.is_whole()) {
        targets.entry(&record.profile).or_default().insert(&record.target);
    }
    let words = |(profile, targets): (&&str, &BTreeSet<&str>)| {
        let s = if targets.len() == 1 { "" } else { "s" };
        format!("`--profile {profile}` ({} target{s})", targets.len())
    };
    let words = targets.iter().map(words).collect::<Vec<_>>().join(", ");
    (!words.is_empty()).then(|| format!("not shown: results of {words}"))
}

/// What a rank is.
const RANK: &str = "rank: = where the repeats do not tell which is faster (95 % interval of the paired ratio; of fewer than five pairs \
    their range)";

/// Returns a table of rows in their order.
fn fill(
    name: &str,
    title: &str,
    mut groups: Vec<Group>,
    columns: &[Column],
    published: Option<&Published>,
    choice: &Choice,
) -> Grid {
    group::sort(&mut groups);
    rank::rank(&mut groups);
    choice.order.iter().for_each(|order| order.sort(&mut groups));
    let mut notes = notes::notes(&groups, columns, published);
    if columns.contains(&Column::Rank) {
        notes.push(RANK.to_owned());
    }
    notes.extend(rank::noise_floor(&groups));
    notes.extend(notes::ahead(&groups, &choice.ahead));
    let mut grid = Grid {
        experiment: name.to_owned(),
        title: title.to_owned(),
        headings: columns.iter().map(|column| column.heading()).collect(),
        beside: provenance::beside(groups.iter().map(Provenance::of).collect()),
        notes: notes.into_iter().map(NoteLine::from).collect(),
        more: Some("choose with `--columns`, or use a wider terminal"),
        ..Grid::default()
    };
    for group in &groups {
        let mut row = Vec::new();
        for column in columns {
            let (value, why) = column.cell(group);
            let footnote = why.map(|why| grid.footnote(why));
            row.push(Cell { value, footnote, tone: column.tone(group) });
        }
        grid.rows.push(row);
    }
    grid
}

#[cfg(test)]
pub(crate) mod tests;
