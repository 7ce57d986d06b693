//! Reads results: whatever can be read is returned, and each thing that cannot is named once.
//!
//! Must not depend on what the records are for.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan};

use crate::hint::{hinted, unknown};
use crate::record::Record;
use crate::store::parse::{Damage, REMOVE, is_regular, parse, read_file, read_whole};
use crate::store::{Run, Store};

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
    /// What was asked; absent where run.json cannot be read.
    pub run: Option<Run>,
    /// When it began, in UTC (RFC 3339), as its own clock said.
    pub started: String,
    /// Whether that is in the future: the clock was wrong, and when it really was is not known.
    pub is_ahead: bool,
    /// Whether a rosetta holds it just now.
    pub is_running: bool,
    pub records: Vec<Record>,
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
                false => {
                    let what = format!("a copy of run `{}`, which is not counted twice", found.id);
                    reading.troubles.push(Trouble::whole(&folder, what, REMOVE));
                }
            }
        }
        let order = |run: &Stored| (!run.is_ahead, run.started.clone(), run.id.clone());
        reading.runs.sort_by_cached_key(order);
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

    fn find(&self, name: &str) -> Result<PathBuf> {
        let as_path = Path::new(name);
        if as_path.join("run.json").is_file() {
            return Ok(as_path.to_owned());
        }
        let places = self.places()?;
        let matching = match name {
            "latest" => places.last().into_iter().collect::<Vec<_>>(),
            _ => places.iter().filter(|(id, _)| id.starts_with(name)).collect(),
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
    fn whole(path: &Path, what: impl Into<String>, hint: &str) -> Trouble {
        Trouble { path: path.to_owned(), line: None, what: what.into(), hint: hint.to_owned() }
    }

    fn of(path: &Path, damage: Damage) -> Trouble {
        let Damage { what, hint, .. } = damage;
        Trouble { path: path.to_owned(), line: None, what, hint }
    }
}

/// Reads a run's folder; a folder that is not one of ours is nothing.
fn read_folder(folder: &Path, troubles: &mut Vec<Trouble>) -> Option<Stored> {
    let path = folder.join("run.json");
    if let Err(error) = fs::read_dir(folder) {
        troubles.push(Trouble::of(folder, Damage::unreadable(&error)));
        return None;
    }
    let before = troubles.len();
    let (run, is_absent) = match read_whole::<Run>(&path) {
        Ok(run) => (Some(run), false),
        Err(damage) => {
            let is_absent = damage.is_absent;
            troubles.push(Trouble::of(&path, damage));
            (None, is_absent)
        }
    };
    let records = read_records(folder, troubles);
    // Without run.json and without a record it is somebody else's, or cut off at birth.
    if is_absent && records.is_empty() {
        troubles.truncate(before);
        return None;
    }
    let first = records.first();
    let id = run.as_ref().map(|run| run.id.clone()).or(first.map(|record| record.run.clone()));
    let id = id.unwrap_or_else(|| name_of(folder));
    let started = run.as_ref().map(|run| run.started.clone());
    let started = started.or(first.map(|record| record.started.clone()));
    let started = started.unwrap_or_else(|| id.clone());
    let (is_ahead, is_running) = (is_ahead(&started), is_held(&path));
    Some(Stored { id, run, started, is_ahead, is_running, records })
}

/// Returns whether a time is more than a day after now, whatever the time zones.
fn is_ahead(started: &str) -> bool {
    let limit = Timestamp::now() + 24.hours();
    started.parse::<Timestamp>().is_ok_and(|started| started > limit)
}

/// Returns whether a rosetta holds the run.
fn is_held(path: &Path) -> bool {
    if !is_regular(path) {
        return false;
    }
    let file = File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Returns the records of a run, each job once: the lines of records.jsonl, and what only record.json has.
fn read_records(folder: &Path, troubles: &mut Vec<Trouble>) -> Vec<Record> {
    let path = folder.join("records.jsonl");
    let text = match read_file(&path) {
        Ok(text) => text,
        Err(Damage { is_absent: true, .. }) => Vec::new(),
        Err(damage) => {
            troubles.push(Trouble::of(&path, damage));
            Vec::new()
        }
    };
    let (mut records, mut known, mut damaged) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        match parse::<Record>(line) {
            // A line that stands twice is one record.
            Ok(record) if known.insert(record.job.clone()) => records.push(record),
            Ok(_) => {}
            Err(damage) => damaged.push((index + 1, damage)),
        }
    }
    let (mut mended, before) = (0, troubles.len());
    let jobs = subfolders(folder).unwrap_or_default();
    for job in jobs {
        let sealed = job.join("record.json");
        if known.contains(&name_of(&job)) || fs::symlink_metadata(&sealed).is_err() {
            continue;
        }
        match read_whole::<Record>(&sealed) {
            Ok(record) => {
                known.insert(record.job.clone());
                records.push(record);
                mended += 1;
            }
            Err(damage) => {
                known.insert(name_of(&job));
                troubles.push(Trouble::of(&sealed, damage));
            }
        }
    }
    // A line whose job was read from its record.json, or is named above, is not a second trouble.
    let mut spare = mended + troubles.len() - before;
    for (line, damage) in damaged {
        let is_known = damage.job.as_ref().is_some_and(|job| known.contains(job));
        if is_known || (damage.job.is_none() && spare > 0) {
            spare = spare.saturating_sub(1);
            continue;
        }
        troubles.push(Trouble { line: Some(line), ..Trouble::of(&path, damage) });
    }
    records
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Sorts folders such that a run stands before its copies: those that are named as rosetta names a run come first.
fn own_names_first(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_own = |folder: &PathBuf| {
        let name = name_of(folder);
        let id = name.as_bytes();
        name.len() == 21 && id[8] == b'T' && id[15] == b'Z' && id[16] == b'-'
    };
    folders.sort_by_cached_key(|folder| (!is_own(folder), folder.clone()));
    folders
}

pub(super) fn subfolders(parent: &Path) -> Result<Vec<PathBuf>> {
    let shown = parent.display();
    let listing = match fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(|| format!("cannot list `{shown}`"))?,
    };
    let mut folders = Vec::new();
    for entry in listing {
        let entry = entry.with_context(|| format!("cannot list `{shown}`"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}
