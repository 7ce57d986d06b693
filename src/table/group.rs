//! Records → rows: which records a row is made of, and in which order rows stand. Must not depend on columns' texts.

use std::collections::BTreeMap;

use crate::catalog::Device;
use crate::record::{Record, Status};
use crate::spec::Task;
use crate::table::column::Column;
use crate::table::published::{PublishedRow, PublishedTable};

/// All records of one row: a target on a device, or on any device for features.
pub struct Group<'a> {
    pub(super) records: Vec<&'a Record>,
    pub(super) published: Option<&'a PublishedRow>,
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
        let fits = |r: &&&Record| {
            let is_whole = matches!(r.outcome.status, Status::Ok | Status::CheckFailed);
            is_whole && device.is_none_or(|device| r.device == device)
        };
        let whole = self.records.iter().filter(fits).copied().collect::<Vec<_>>();
        let clean = whole.iter().filter(|r| !r.is_tainted()).copied().collect::<Vec<_>>();
        if clean.is_empty() { whole } else { clean }
    }

    /// Returns the records that words are taken from: those that are counted, else all.
    pub(super) fn told(&self) -> Vec<&'a Record> {
        let counted = self.counted(None);
        if counted.is_empty() { self.records.clone() } else { counted }
    }

    /// Returns the name of the row.
    pub(super) fn title(&self) -> String {
        self.first().title.clone()
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

/// Returns the latest records of each row: those of its newest run.
pub(super) fn group<'a>(
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
pub(super) fn with_newest(mut groups: Vec<Group>) -> Vec<Group> {
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
pub(super) fn without_version(title: &str) -> String {
    let is_version = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    title.split_whitespace().filter(|word| !is_version(word)).collect::<Vec<_>>().join(" ")
}
