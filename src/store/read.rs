//! Reads results: whatever can be read is returned, and each thing that cannot is named once.
//!
//! Must not depend on what the records are for.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::hint::{hinted, unknown};
use crate::record::Record;
use crate::store::folder::{Span, is_ahead, name_of, own_names_first, read_folder, subfolders};
use crate::store::outline::Outline;
use crate::store::parse::{Damage, REMOVE, read_whole};
use crate::store::{About, Run, Store};

/// What reading the results found.
#[derive(Debug, Default)]
pub struct Reading {
    /// Oldest first; those whose clock was ahead of today's come before all others.
    pub runs: Vec<Stored>,
    pub troubles: Vec<Trouble>,
}

/// One run as it is stored.
#[derive(Debug)]
pub struct Stored {
    pub id: String,
    pub folder: PathBuf,
    /// What was asked; absent where run.json cannot be read.
    pub run: Option<Run>,
    /// When it began, in UTC (RFC 3339), as its own clock said.
    pub started: String,
    /// Whether that is in the future: the clock was wrong, and when it really was is not known.
    pub is_ahead: bool,
    /// Whether a rosetta holds it just now.
    pub is_running: bool,
    pub records: Vec<Record>,
    /// Where each record stands in records.jsonl, if that has them all.
    pub(super) places: Option<Vec<Span>>,
}

/// Something that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub path: PathBuf,
    /// From 1; absent for a file as a whole.
    pub line: Option<usize>,
    pub what: String,
    pub hint: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "`{}{line}`: {}; {}", self.path.display(), self.what, self.hint)
    }
}

impl Reading {
    /// Returns all records, oldest run first, and the troubles.
    pub fn into_records(self) -> (Vec<Record>, Vec<Trouble>) {
        (self.runs.into_iter().flat_map(|run| run.records).collect(), self.troubles)
    }

    /// Returns the runs whose clock was ahead of today's.
    pub fn ahead(&self) -> Vec<String> {
        self.runs.iter().filter(|run| run.is_ahead).map(|run| run.id.clone()).collect()
    }
}

impl Store {
    /// Reads all runs; only a folder that cannot be listed is an error.
    pub fn read(&self) -> Result<Reading> {
        let mut reading = Reading::default();
        let mut seen = HashSet::new();
        for folder in own_names_first(subfolders(&self.runs())?) {
            let Some(found) = read_folder(&folder, &mut reading.troubles) else { continue };
            match seen.insert(found.id.clone()) {
                true => reading.runs.push(found),
                false => reading.troubles.push(Trouble::copy(&folder, &found.id)),
            }
        }
        reading.runs.sort_by_cached_key(|run| Outline::of(run).order());
        Ok(reading)
    }

    /// Reads one run, named by its id, a beginning of it, `latest` or a folder.
    pub fn read_one(&self, name: &str) -> Result<Reading> {
        let folder = self.find(name)?;
        let mut troubles = Vec::new();
        let runs = read_folder(&folder, &mut troubles).into_iter().collect();
        Ok(Reading { runs, troubles })
    }

    /// Returns the ids of all runs, oldest first.
    pub fn ids(&self) -> Result<Vec<String>> {
        Ok(self.places()?.into_iter().map(|(id, _)| id).collect())
    }

    /// Returns the ids of all runs and their folders, oldest first; reads no record.
    fn places(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut places = Vec::new();
        for folder in own_names_first(subfolders(&self.runs())?) {
            let path = folder.join("run.json");
            if !path.exists() {
                continue;
            }
            let run = read_whole::<Run>(&path).ok();
            let id = run.as_ref().map_or_else(|| name_of(&folder), |run| run.id.clone());
            let started = run.map_or_else(|| id.clone(), |run| run.started);
            if !places.iter().any(|(_, one, _): &((bool, String), String, PathBuf)| *one == id) {
                places.push(((!is_ahead(&started), started), id, folder));
            }
        }
        places.sort();
        Ok(places.into_iter().map(|(_, id, folder)| (id, folder)).collect())
    }

    /// Returns the folders of all runs.
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        Ok(self.places()?.into_iter().map(|(_, folder)| folder).collect())
    }

    /// Returns the folder of a run, named by its id, a beginning of it, its label, `latest` or a folder.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        let as_path = Path::new(name);
        if as_path.join("run.json").is_file() {
            return Ok(as_path.to_owned());
        }
        let places = self.places()?;
        let matching = match name {
            "latest" => places.last().into_iter().collect::<Vec<_>>(),
            _ => places.iter().filter(|(id, _)| id.starts_with(name)).collect(),
        };
        let is_called = |folder: &Path| About::of(folder).label.as_deref() == Some(name);
        let matching = match matching.is_empty() {
            true => places.iter().filter(|(_, folder)| is_called(folder)).collect(),
            false => matching,
        };
        match matching.as_slice() {
            [(_, folder)] => Ok(folder.clone()),
            [] if places.is_empty() => {
                Err(hinted("there is no run yet", "run `rosetta run` first"))
            }
            [] => Err(unknown("run", name, places.iter().map(|(id, _)| id.as_str()))),
            several => {
                let list = several.iter().map(|(id, _)| format!("`{id}`")).collect::<Vec<_>>();
                anyhow::bail!("`{name}` is the beginning of several runs: {}", list.join(", "))
            }
        }
    }
}

impl Trouble {
    /// The folder of a run that stands in another folder too.
    pub(super) fn copy(folder: &Path, id: &str) -> Trouble {
        let what = format!("a copy of run `{id}`, which is not counted twice");
        Trouble::whole(folder, what, REMOVE)
    }

    fn whole(path: &Path, what: impl Into<String>, hint: &str) -> Trouble {
        Trouble { path: path.to_owned(), line: None, what: what.into(), hint: hint.to_owned() }
    }

    pub(super) fn of(path: &Path, damage: Damage) -> Trouble {
        let Damage { what, hint, .. } = damage;
        Trouble { path: path.to_owned(), line: None, what, hint }
    }
}
