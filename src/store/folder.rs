//! The folder of a run → what is stored in it. Must not depend on other runs.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan};

use crate::record::Record;
use crate::store::Run;
use crate::store::parse::{Damage, is_regular, parse, read_file, read_whole};
use crate::store::read::{Stored, Trouble};

/// Reads a run's folder; a folder that is not one of ours is nothing.
pub(super) fn read_folder(folder: &Path, troubles: &mut Vec<Trouble>) -> Option<Stored> {
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
    let (records, places) = read_records(folder, troubles);
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
    let places = places.filter(|_| run.is_some() && troubles.len() == before);
    let folder = folder.to_owned();
    Some(Stored { id, folder, run, started, is_ahead, is_running, records, places })
}

/// Returns whether a time is more than a day after now, whatever the time zones.
pub(super) fn is_ahead(started: &str) -> bool {
    let limit = Timestamp::now() + 24.hours();
    started.parse::<Timestamp>().is_ok_and(|started| started > limit)
}

/// Returns whether a rosetta holds the run.
pub(super) fn is_held(path: &Path) -> bool {
    if !is_regular(path) {
        return false;
    }
    let file = File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Where a record stands in records.jsonl: its first byte and how many there are.
pub(super) type Span = (u64, u32);

/// Returns the records of a run, each job once: the lines of records.jsonl, and what only record.json has. With them comes
/// where each stands, if records.jsonl has them all and is sound.
fn read_records(folder: &Path, troubles: &mut Vec<Trouble>) -> (Vec<Record>, Option<Vec<Span>>) {
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
    let (mut places, mut at) = (Vec::new(), 0);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let begin = at;
        at += line.len() + 1;
        if line.is_empty() {
            continue;
        }
        match parse::<Record>(line) {
            // A line that stands twice is one record.
            Ok(record) if known.insert(record.job.clone()) => {
                records.push(record);
                places.push((begin as u64, line.len() as u32));
            }
            Ok(_) => {}
            Err(damage) => damaged.push((index + 1, damage)),
        }
    }
    let is_sound = damaged.is_empty() && u32::try_from(text.len()).is_ok();
    let (mut mended, before) = (0, troubles.len());
    let jobs = subfolders(folder).unwrap_or_default();
    for job in jobs {
        let sealed = job.join("record.json");
        if known.contains(&name_of(&job)) || fs::symlink_metadata(&sealed).is_err() {
            continue;
        }
        match read_whole::<Record>(&sealed) {
            // A record may say that it is of another job than its folder, which has been read.
            Ok(record) if known.insert(record.job.clone()) => {
                records.push(record);
                mended += 1;
            }
            Ok(_) => {}
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
    let is_whole = is_sound && mended == 0 && troubles.len() == before;
    (records, is_whole.then_some(places))
}

pub(super) fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Sorts folders such that a run stands before its copies: those that are named as rosetta names a run come first.
pub(super) fn own_names_first(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_own = |folder: &PathBuf| {
        let name = name_of(folder);
        let id = name.as_bytes();
        name.len() == 21 && id[8] == b'T' && id[15] == b'Z' && id[16] == b'-'
    };
    folders.sort_by_cached_key(|folder| (!is_own(folder), folder.clone()));
    folders
}

/// Returns the folders in a folder, sorted; what begins with `.` is passed over: it is half made, or an editor's.
pub(super) fn subfolders(parent: &Path) -> Result<Vec<PathBuf>> {
    let shown = parent.display();
    let listing = match fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(|| format!("cannot list `{shown}`"))?,
    };
    let mut folders = Vec::new();
    for entry in listing {
        let entry = entry.with_context(|| format!("cannot list `{shown}`"))?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}
