//! What is remembered of runs whose files have not changed since: an outline of each, and by what its records are chosen.
//!
//! An index is made from the results and may be deleted at any time. It lies outside of them, for results may belong to
//! somebody else, or to a repository. Must not depend on what is chosen.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::brief::{Brief, Name, Words};
use crate::catalog::{Device, Era};
use crate::record::Status;
use crate::spec::Task;
use crate::store::folder::Span;
use crate::store::outline::Outline;

/// Version of the format of an index; another one counts as not there.
const VERSION: &str = concat!("3 of ", env!("CARGO_PKG_VERSION"));

/// A file that was written less than this ago may change once more without a sign of it: clocks of file systems are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// An index that was not written for this long is removed; where it is wanted again, it is made anew.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// All runs of one folder of results.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) names: Words,
    /// By the names of their folders.
    pub(super) runs: BTreeMap<String, Indexed>,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Indexed {
    fingerprint: Fingerprint,
    pub(super) outline: Outline,
    rows: Vec<IndexRow>,
}

/// A record: its brief (names, words, number), and where it stands in records.jsonl.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct IndexRow([Name; 5], Device, Era, Status, Task, bool, Option<f64>, u64, u32);

/// What changes when a run's files change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    /// Of the folder, run.json and records.jsonl: inode, bytes, and when it was last written and changed.
    files: Vec<Option<(u64, u64, i64, i64)>>,
    /// The youngest of those times, in nanoseconds since 1970.
    #[serde(skip)]
    youngest: i64,
}

impl Fingerprint {
    pub(super) fn of(folder: &Path) -> Fingerprint {
        let paths = [folder.to_owned(), folder.join("run.json"), folder.join("records.jsonl")];
        let files = paths.map(|path| {
            let metadata = fs::metadata(path).ok()?;
            let nanoseconds =
                |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000) + rest;
            let written = nanoseconds(metadata.mtime(), metadata.mtime_nsec());
            let changed = nanoseconds(metadata.ctime(), metadata.ctime_nsec());
            Some((metadata.ino(), metadata.len(), written, changed))
        });
        let times = files.iter().flatten().map(|(_, _, written, changed)| *written.max(changed));
        let youngest = times.max().unwrap_or(i64::MAX);
        Fingerprint { files: files.into(), youngest }
    }

    fn is_settled(&self) -> bool {
        let limit = SystemTime::now().checked_sub(SETTLED);
        let limit = limit.and_then(|limit| limit.duration_since(UNIX_EPOCH).ok());
        limit.is_some_and(|limit| i128::from(self.youngest) < limit.as_nanos() as i128)
    }
}

impl Indexed {
    pub(super) fn new(
        fingerprint: Fingerprint,
        outline: Outline,
        briefs: &[Brief],
        places: &[Span],
    ) -> Indexed {
        let row = |(brief, place): (&Brief, &Span)| {
            let Brief { experiment, profile, target, provider, machine, .. } = *brief;
            let Brief { device, era, status, task, is_tainted, seconds, .. } = *brief;
            let names = [experiment, profile, target, provider, machine];
            let (at, length) = *place;
            IndexRow(names, device, era, status, task, is_tainted, seconds, at, length)
        };
        Indexed { fingerprint, outline, rows: briefs.iter().zip(places).map(row).collect() }
    }

    pub(super) fn is_of(&self, fingerprint: &Fingerprint) -> bool {
        self.fingerprint.files == fingerprint.files
    }

    pub(super) fn briefs(&self) -> Vec<Brief> {
        let brief = |row: &IndexRow| {
            let IndexRow(names, device, era, status, task, is_tainted, seconds, ..) = *row;
            let [experiment, profile, target, provider, machine] = names;
            Brief {
                experiment,
                profile,
                target,
                provider,
                machine,
                device,
                era,
                status,
                is_tainted,
                task,
                seconds,
            }
        };
        self.rows.iter().map(brief).collect()
    }

    pub(super) fn places(&self) -> Vec<Span> {
        self.rows.iter().map(|IndexRow(.., at, length)| (*at, *length)).collect()
    }
}

/// Removes indexes that were not written for long: of results that are gone, or that nothing new comes to.
fn sweep(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > FORGOTTEN {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct IndexFile<Words, Runs> {
    index: String,
    names: Words,
    runs: Runs,
}

impl Index {
    /// Returns what is there; an index that cannot be read, or is of another version, has nothing.
    pub(super) fn read(path: &Path) -> Index {
        let text = fs::read(path).unwrap_or_default();
        let stored =
            serde_json::from_slice::<IndexFile<Vec<String>, BTreeMap<String, Indexed>>>(&text);
        let Some(stored) = stored.ok().filter(|stored| stored.index == VERSION) else {
            return Index::default();
        };
        let known = stored.names.len() as Name;
        let is_sound = |entry: &Indexed| {
            entry.rows.iter().all(|IndexRow(names, ..)| names.iter().all(|name| *name < known))
        };
        let runs = stored.runs.into_iter().filter(|(_, entry)| is_sound(entry)).collect();
        Index { names: stored.names.into(), runs }
    }

    /// Stores the runs whose files are settled. Nothing is lost where that fails: it is done again at the next reading.
    pub(super) fn write(&self, path: &Path) {
        let settled = self.runs.iter().filter(|(_, entry)| entry.fingerprint.is_settled());
        let runs = settled.collect::<BTreeMap<_, _>>();
        let stored = IndexFile { index: VERSION.to_owned(), names: self.names.list(), runs };
        let Some(folder) = path.parent() else { return };
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            // Not fsynced, unlike results: after a power cut, an index that is damaged is made anew.
            let mut part = tempfile::Builder::new().prefix(".index.").tempfile_in(folder)?;
            part.write_all(&serde_json::to_vec(&stored)?)?;
            part.persist(path)?;
            sweep(folder)
        };
        let _ = write();
    }
}
