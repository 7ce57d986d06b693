//! Records → rows: which records a row is made of, and in which order rows stand. Must not depend on columns' texts.

use std::collections::BTreeMap;

use crate::catalog::Device;
use crate::record::{Record, Status};
use crate::spec::Task;
use crate::table::column::Column;
use crate::table::published::{PublishedRow, PublishedTable};

/// All records of one row: a target on a device, or on any device for features.
#[derive(Clone)]
pub struct Group<'a> {
    pub(super) records: Vec<&'a Record>,
    /// The newest record of each device that is not shown, because an older one is better.
    pub(super) newer: Vec<&'a Record>,
    /// Whether a row of the same target, but of another installation, stands beside it.
    pub(super) has_twin: bool,
    pub(super) published: Option<&'a PublishedRow>,
    /// Where it stands among the rows of its table, where others may stand too: `=2`.
    pub(super) rank: Option<String>,
    /// The framework's newest version on the same machine, with the same data.
    pub(super) now: Option<Box<Group<'a>>>,
}

impl<'a> Group<'a> {
    /// Returns any record of the group.
    pub(super) fn first(&self) -> &'a Record {
        self.records[0]
    }

    /// Returns the records that numbers are taken from, those on `device` if it is named.
    ///
    /// Disturbed runs count only when there is no other.
    pub(super) fn counted(&self, device: Option<Device>) -> Vec<&'a Record> {
        let is_there = |r: &&Record| device.is_none_or(|device| r.device == device);
        counted(self.records.iter().copied().filter(is_there))
    }

    /// Returns the records that words are taken from: those that are counted, else all.
    pub(super) fn told(&self) -> Vec<&'a Record> {
        let counted = self.counted(None);
        if counted.is_empty() { self.records.clone() } else { counted }
    }

    /// Returns the name of the row; what another provider has made is told from the pinned environment.
    pub(super) fn title(&self) -> String {
        let first = self.first();
        match first.chosen_provider().filter(|_| self.has_twin) {
            Some(provider) => format!("{} ({provider})", first.title),
            None => first.title.clone(),
        }
    }

    /// Returns title, version and year: `PyTorch 2.15.0 (2026)`.
    pub(super) fn version_words(&self) -> String {
        let record = self.told()[0];
        let mut words = without_version(&record.title);
        if let Some(version) = &record.framework_version {
            words += &format!(" {version}");
        }
        if let Some(year) = record.year {
            words += &format!(" ({year})");
        }
        words
    }
}

/// Returns the records that numbers are taken from: those that ran to their end, disturbed ones only where there is no other.
pub fn counted<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<&'a Record> {
    clean(records.filter(|r| r.is_whole()).collect(), |r| r.is_tainted())
}

/// Returns those that nothing disturbed, or all where there is no such one.
pub fn clean<T: Copy>(all: Vec<T>, is_tainted: impl Fn(&T) -> bool) -> Vec<T> {
    let clean = all.iter().filter(|one| !is_tainted(one)).copied().collect::<Vec<_>>();
    if clean.is_empty() { all } else { clean }
}

/// What makes a row one: the target on a device, and the provider if it is not env.yaml's own.
type GroupKey<'a> = (&'a str, Device, Option<&'a str>);

fn key(record: &Record) -> GroupKey<'_> {
    (&record.target, record.device, record.chosen_provider())
}

/// How good a result is: a number that is sound, one that was disturbed, one whose accuracy is out of range, none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    Nothing,
    OutOfRange,
    Disturbed,
    Sound,
}

pub fn worth(record: &Record) -> Worth {
    worth_of(record.outcome.status, record.is_tainted())
}

/// Returns the same of a record that is not at hand.
pub fn worth_of(status: Status, is_tainted: bool) -> Worth {
    match status {
        Status::Ok if is_tainted => Worth::Disturbed,
        Status::Ok => Worth::Sound,
        Status::CheckFailed => Worth::OutOfRange,
        _ => Worth::Nothing,
    }
}

/// The run that a row is taken from.
struct Chosen<'a> {
    run: &'a str,
    worth: Worth,
    /// The newest record of all.
    newest: &'a Record,
}

/// Returns for each key the newest run among its best ones: a run is worth what its best record is.
fn choose<'a>(records: &[&'a Record]) -> BTreeMap<GroupKey<'a>, Chosen<'a>> {
    let mut chosen = BTreeMap::<GroupKey, Chosen>::new();
    for record in records {
        let worth = worth(record);
        let new = Chosen { run: &record.run, worth, newest: record };
        let one = chosen.entry(key(record)).or_insert(new);
        one.newest = record;
        if worth >= one.worth {
            (one.run, one.worth) = (&record.run, worth);
        }
    }
    chosen
}

/// Returns the rows: of each target the newest of its best runs; features show both devices in one row.
pub(super) fn group<'a>(
    records: Vec<&'a Record>,
    task: Task,
    published: Option<&'a PublishedTable>,
) -> Vec<Group<'a>> {
    let chosen = choose(&records);
    let mut rows = Vec::<Group>::new();
    let mut places = BTreeMap::<(&str, Option<Device>, Option<&str>), usize>::new();
    for record in records {
        if chosen[&key(record)].run != record.run {
            continue;
        }
        let device = (task != Task::Features).then_some(record.device);
        let place =
            *places.entry((&record.target, device, record.chosen_provider())).or_insert(rows.len());
        if place == rows.len() {
            let published = published.and_then(|table| table.row(&record.title));
            let (records, newer) = (Vec::new(), Vec::new());
            rows.push(Group { records, newer, has_twin: false, published, rank: None, now: None });
        }
        rows[place].records.push(record);
    }
    for one in chosen.into_values().filter(|one| one.newest.run != one.run) {
        let (target, device, provider) = key(one.newest);
        let device = (task != Task::Features).then_some(device);
        rows[places[&(target, device, provider)]].newer.push(one.newest);
    }
    for (key, place) in &places {
        let is_twin = |(target, device, provider): &(&str, Option<Device>, Option<&str>)| {
            (*target, *device) == (key.0, key.1) && *provider != key.2
        };
        rows[*place].has_twin = places.keys().any(is_twin);
    }
    rows
}

/// Gives each row of an old version its newest, from the same machine and with the same data.
pub(super) fn with_newest(mut groups: Vec<Group>) -> Vec<Group> {
    let all = groups.iter().map(|group| newest(group, &groups)).collect::<Vec<_>>();
    groups.iter_mut().zip(all).for_each(|(group, now)| group.now = now.map(Box::new));
    groups
}

/// Returns the newest version of a row's target, if it has one among `groups`.
fn newest<'a>(group: &Group<'a>, groups: &[Group<'a>]) -> Option<Group<'a>> {
    let then = group.first();
    let successor = then.successor.as_ref()?;
    let found = groups.iter().find(|one| {
        let now = one.first();
        now.target == *successor
            && (then.task == Task::Features || now.device == then.device)
            && !(one.has_twin && now.chosen_provider().is_some())
    })?;
    let mut records = found.records.clone();
    records.retain(|now| {
        now.machine.is_same(&then.machine)
            && now.inputs.source == then.inputs.source
            && now.inputs.data_digest == then.inputs.data_digest
    });
    (!records.is_empty()).then(|| Group { records, now: None, ..found.clone() })
}

/// Sorts as published: the fastest first; rows without a number last, by name.
pub(super) fn sort(groups: &mut [Group]) {
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

/// Returns a title without the words that are numbers: `Keras (TF)` of `Keras 2.2 (TF)`.
pub fn without_version(title: &str) -> String {
    let is_version = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    title.split_whitespace().filter(|word| !is_version(word)).collect::<Vec<_>>().join(" ")
}
