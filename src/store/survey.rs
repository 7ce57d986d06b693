//! All runs at once, from the index where their files have not changed: outlines, and the records that somebody chooses.
//!
//! A year of nights is tens of thousands of records of which a table shows dozens; those alone are read again.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::brief::{Brief, Words};
use crate::record::Record;
use crate::store::folder::{
    Span, is_ahead, is_held, name_of, own_names_first, read_folder, subfolders,
};
use crate::store::index::{Fingerprint, Index, Indexed};
use crate::store::outline::Outline;
use crate::store::parse::parse;
use crate::store::{Store, Trouble};

/// Every run, oldest first, without most of its records.
#[derive(Debug)]
pub struct Survey {
    runs: Vec<Surveyed>,
    /// What the numbers of briefs stand for.
    pub names: Words,
    pub troubles: Vec<Trouble>,
}

#[derive(Debug)]
struct Surveyed {
    folder: PathBuf,
    outline: Outline,
    briefs: Vec<Brief>,
    records: Records,
}

#[derive(Debug)]
enum Records {
    /// They were read, because something about the run is not settled.
    Read(Vec<Record>),
    /// Where each stands in records.jsonl.
    At(Vec<Span>),
}

impl Store {
    /// Looks at all runs; only a folder that cannot be listed is an error.
    pub fn survey(&self) -> Result<Survey> {
        let index = self.index.as_deref().map(Index::read).unwrap_or_default();
        let Index { mut names, runs: mut known } = index;
        let (mut runs, mut troubles, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let (mut entries, mut is_changed) = (BTreeMap::new(), false);
        for folder in own_names_first(subfolders(&self.runs())?) {
            let fingerprint = Fingerprint::of(&folder);
            let path = folder.join("run.json");
            let entry = known.remove(&name_of(&folder));
            let entry = entry.filter(|entry| entry.is_of(&fingerprint) && !is_held(&path));
            is_changed |= entry.is_none();
            let surveyed = match entry {
                Some(entry) => {
                    let surveyed = of_index(folder.clone(), &entry);
                    entries.insert(name_of(&folder), entry);
                    surveyed
                }
                None => match read(&folder, &mut names, &mut troubles) {
                    Some(surveyed) => {
                        if let Records::At(places) = &surveyed.records {
                            let outline = surveyed.outline.clone();
                            let entry =
                                Indexed::new(fingerprint, outline, &surveyed.briefs, places);
                            entries.insert(name_of(&folder), entry);
                        }
                        surveyed
                    }
                    None => continue,
                },
            };
            match seen.insert(surveyed.outline.id.clone()) {
                true => runs.push(surveyed),
                false => troubles.push(Trouble::copy(&folder, &surveyed.outline.id)),
            }
        }
        let index = Index { names, runs: entries };
        if let Some(path) = self.index.as_deref().filter(|_| is_changed || !known.is_empty()) {
            index.write(path);
        }
        let names = index.names;
        runs.sort_by_cached_key(|run| run.outline.order());
        Ok(Survey { runs, names, troubles })
    }
}

/// Returns what the index has of a run that nobody holds.
fn of_index(folder: PathBuf, entry: &Indexed) -> Surveyed {
    let mut outline = entry.outline.clone();
    outline.is_ahead = is_ahead(&outline.started);
    Surveyed { folder, outline, briefs: entry.briefs(), records: Records::At(entry.places()) }
}

/// Reads a run that the index has not. Where nothing about it will change, its records are not held.
fn read(folder: &Path, names: &mut Words, troubles: &mut Vec<Trouble>) -> Option<Surveyed> {
    let stored = read_folder(folder, troubles)?;
    let outline = Outline::of(&stored);
    let briefs = stored.records.iter().map(|record| Brief::of(record, names)).collect();
    let records = match stored.places {
        Some(places) if !stored.is_running => Records::At(places),
        _ => Records::Read(stored.records),
    };
    Some(Surveyed { folder: folder.to_owned(), outline, briefs, records })
}

impl Survey {
    pub fn outlines(&self) -> impl Iterator<Item = &Outline> {
        self.runs.iter().map(|run| &run.outline)
    }

    /// Returns the folder of each run with what is known of it.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, &Outline)> {
        self.runs.iter().map(|run| (run.folder.as_path(), &run.outline))
    }

    /// Returns what the records of each run are chosen by.
    pub fn briefs(&self) -> impl Iterator<Item = &[Brief]> {
        self.runs.iter().map(|run| run.briefs.as_slice())
    }

    /// Returns where a run stands among all, from 0.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.outlines().position(|run| run.id == id)
    }

    /// Returns the runs whose clock was ahead of today's.
    pub fn ahead(&self) -> Vec<String> {
        self.outlines().filter(|run| run.is_ahead).map(|run| run.id.clone()).collect()
    }

    /// Returns the records that `choose` says yes to, and perhaps more, in the order in which they were made. It is given each record's
    /// brief with the number of its run, in that order.
    pub fn records(self, choose: impl FnOnce(&[(usize, Brief)]) -> Vec<bool>) -> Vec<Record> {
        let runs = self.runs.iter().enumerate();
        let briefs = runs.flat_map(|(run, one)| one.briefs.iter().map(move |brief| (run, *brief)));
        let mut wanted = choose(&briefs.collect::<Vec<_>>()).into_iter();
        let mut records = Vec::new();
        for Surveyed { folder, briefs, records: there, .. } in self.runs {
            let wanted = wanted.by_ref().take(briefs.len()).collect::<Vec<_>>();
            let is_wanted = |index: &usize| wanted.get(*index).copied().unwrap_or(true);
            match there {
                Records::Read(all) => {
                    let all = all.into_iter().enumerate();
                    records.extend(all.filter(|(index, _)| is_wanted(index)).map(|(_, r)| r));
                }
                Records::At(places) => {
                    let places = places.into_iter().enumerate();
                    let places = places.filter(|(index, _)| is_wanted(index)).map(|(_, at)| at);
                    records.extend(read_at(&folder, &places.collect::<Vec<_>>()));
                }
            }
        }
        records
    }
}

/// Reads the records that stand at `places`. Where the file has changed since, all that are there now.
fn read_at(folder: &Path, places: &[Span]) -> Vec<Record> {
    if places.is_empty() {
        return Vec::new();
    }
    // What is wrong with it is said at the next reading; here it is only between two looks.
    read_lines(folder, places)
        .or_else(|| Some(read_folder(folder, &mut Vec::new())?.records))
        .unwrap_or_default()
}

/// Reads the records that stand at `places`; nothing where one of them has none.
fn read_lines(folder: &Path, places: &[Span]) -> Option<Vec<Record>> {
    let file = File::open(folder.join("records.jsonl")).ok()?;
    let lines = places.iter().map(|(at, length)| {
        let mut line = vec![0; *length as usize];
        file.read_exact_at(&mut line, *at).ok()?;
        parse::<Record>(&line).ok()
    });
    lines.collect()
}
