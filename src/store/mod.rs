//! The layout of results/: append, read, recover. Must not depend on processes nor the terminal.
//!
//! ```text
//! results/runs/<run>/run.json                what was asked, when, on what
//!                   /records.jsonl           one record a line, in the order of their end
//!                   /about.json              its label and its note, if a person gave it one
//!                   /<job>/record.json       the same record, sealed by an atomic rename
//!                   /<job>/…                 events, logs and outputs as the job left them
//!                   /attempts/<job>.<n>/…    the same of attempts that were cut short, once the run was resumed
//!                   /cluster/…               what is known of tasks, where a cluster carries the jobs out
//! results/checks/<experiment>.<target>.<device>-<key>.json    what a check found
//! results/apart/<id>/…                         runs of `rosetta verify`, which no table shows
//! results/defaults/<target>.json               what `rosetta defaults` measured last
//!                 /<id>/<target>/…         its events and logs
//! ```
//!
//! `record.json` is the truth; `records.jsonl` is the same for readers that want one file. A
//! line that was torn by a crash, or never written, is recovered from its `record.json`: when it is
//! read, and for good at the next start.

mod defaults;
mod folder;
mod index;
mod manage;
mod mend;
mod outline;
mod parse;
mod read;
mod survey;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use self::defaults::{StoredDefaults, StoredFact};
pub use self::manage::{About, check_label};
pub use self::outline::Outline;
pub use self::read::{Reading, Stored, Trouble};
pub use self::survey::Survey;
use crate::digest::sha256;
use crate::hint::hinted;
use crate::machine::Machine;
use crate::proof::{self, Verdict};
use crate::publish::{make_way, publish};
use crate::record::{Record, Version};
use crate::request::Request;

/// Version of the format of `run.json`.
const RUN_VERSION: u32 = 1;

/// The folder `results/` of a project.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// Where an index of the runs may be kept.
    index: Option<PathBuf>,
}

/// One invocation of `rosetta run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Version of this format.
    pub run: u32,
    pub id: String,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// The command line.
    pub command: Vec<String>,
    /// What that asked for; absent before it was stored.
    #[serde(default)]
    pub request: Option<Request>,
    pub profile: String,
    /// Names of the planned jobs, in order.
    pub jobs: Vec<String>,
    /// What carries the jobs out in place of this machine, as `slurm`; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<String>,
    pub machine: Machine,
    pub rosetta: Version,
}

/// A run's folder, open for new records.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    /// `run.json`, locked as long as the run goes on: whoever lists runs sees that it does.
    _held: Option<File>,
}

impl Store {
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into(), index: None }
    }

    /// Keeps an index of the runs in a folder: of a year of nights, only what is new is then read whole.
    #[must_use]
    pub fn indexed_in(mut self, folder: &Path) -> Store {
        let digest = sha256(self.root.as_os_str().as_encoded_bytes());
        self.index = Some(folder.join(format!("{}.json", &digest[..16])));
        self
    }

    /// Returns the folder of the results.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Makes the folder of a new run.
    pub fn begin(&self, run: &Run) -> Result<RunFolder> {
        let folder = self.runs().join(&run.id);
        // It gets its name when it has run.json and is held: no run is ever seen half made.
        let making = self.runs().join(format!("{}{}", mend::MAKING, run.id));
        let make = || -> std::io::Result<Option<File>> {
            make_private(&making)?;
            publish(&making.join("run.json"), &json_line(run)?)?;
            let held = File::open(making.join("run.json")).ok();
            let held = held.filter(|file| file.try_lock().is_ok());
            // A folder that is there belongs to another run: an error, never two runs in one.
            if folder.exists() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(&making, &folder)?;
            File::open(self.runs())?.sync_all()?;
            Ok(held)
        };
        mend::mend(&self.runs());
        match make() {
            Ok(held) => Ok(RunFolder { folder, _held: held }),
            Err(error) => {
                // What is left of it would be swept at a later start.
                let _ = fs::remove_dir_all(&making);
                Err(cannot_write(&folder, &error))
            }
        }
    }

    /// Opens the folder of a run once more, unless another rosetta holds it.
    pub fn reopen(&self, id: &str, folder: &Path) -> Result<RunFolder> {
        mend::mend(&self.runs());
        let held = File::open(folder.join("run.json"));
        let held = held.map_err(|error| cannot_write(folder, &error))?;
        match held.try_lock() {
            Ok(()) => Ok(RunFolder { folder: folder.to_owned(), _held: Some(held) }),
            Err(TryLockError::WouldBlock) => {
                bail!("run `{id}` is going on: another rosetta holds it")
            }
            Err(TryLockError::Error(error)) => Err(cannot_write(folder, &error)),
        }
    }

    /// Makes the folder of a measuring of defaults, which is no run and has no records.
    pub fn begin_defaults(&self, id: &str) -> Result<RunFolder> {
        let folder = self.root.join("defaults").join(id);
        make_private(&folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(RunFolder { folder, _held: None })
    }

    /// Returns a store for runs that no table shall show, below this one.
    pub fn apart(&self, name: &str) -> Store {
        Store::at(self.root.join("apart").join(name))
    }

    /// Stores what a check found.
    pub fn keep(&self, verdict: &Verdict) -> Result<()> {
        let folder = self.checks();
        let Verdict { experiment, target, device, key, .. } = verdict;
        let key = key.get(..12).unwrap_or(key);
        let path = folder.join(format!("{experiment}.{target}.{device}-{key}.json"));
        let keep = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            publish(&path, &json_line(verdict)?)
        };
        keep().map_err(|error| cannot_write(&folder, &error))
    }

    /// Returns what checks found, by key. What another version wrote counts as not there.
    pub fn verdicts(&self) -> Result<BTreeMap<String, Verdict>> {
        let folder = self.checks();
        let shown = folder.display();
        let listing = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            listing => listing.with_context(|| format!("cannot list `{shown}`"))?,
        };
        let mut found = BTreeMap::new();
        for entry in listing {
            let path = entry.with_context(|| format!("cannot list `{shown}`"))?.path();
            let is_ours = path.extension().is_some_and(|extension| extension == "json");
            let text =
                (is_ours && parse::is_regular(&path)).then(|| fs::read(&path).ok()).flatten();
            let verdict = text.and_then(|text| serde_json::from_slice::<Verdict>(&text).ok());
            if let Some(verdict) = verdict.filter(|verdict| verdict.verdict == proof::VERSION) {
                found.insert(verdict.key.clone(), verdict);
            }
        }
        Ok(found)
    }

    fn checks(&self) -> PathBuf {
        self.root.join("checks")
    }
}

impl RunFolder {
    /// Returns the folder of the run.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Makes and returns the folder of a job.
    pub fn job(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(folder)
    }

    /// Moves what earlier attempts of jobs have left out of the way, below `attempts/`, so that they can be done again.
    pub fn set_aside(&self, jobs: &[String]) -> Result<()> {
        for name in jobs.iter().filter(|name| self.folder.join(name).exists()) {
            self.aside(name)?;
        }
        mend::forget(&self.folder.join("records.jsonl"), jobs)
            .map_err(|error| cannot_write(&self.folder, &error))
    }

    /// Keeps an attempt at a job that will be made once more: its record with what it left, below `attempts/`.
    pub fn keep_attempt(&self, record: &Record) -> Result<()> {
        let folder = self.aside(&record.job)?;
        let keep = || publish(&folder.join("record.json"), &json_line(record)?);
        keep().map_err(|error| cannot_write(&folder, &error))
    }

    /// Moves the folder of a job out of the way, and returns where it is then.
    fn aside(&self, name: &str) -> Result<PathBuf> {
        let attempts = self.folder.join("attempts");
        let mut free = (1..).map(|number| attempts.join(format!("{name}.{number}")));
        let aside = free.find(|path| !path.exists()).expect("a number is free");
        let folder = self.folder.join(name);
        mend::sweep(&folder);
        let moved = fs::create_dir_all(&attempts).and_then(|()| fs::rename(&folder, &aside));
        moved.map_err(|error| cannot_write(&folder, &error))?;
        Ok(aside)
    }

    /// Makes the folder of an attempt, which holds a sealed record, the folder of its job. Returns false if the job has one. The
    /// record's line is still to be added.
    pub fn take_in(&self, job: &str, attempt: &Path) -> Result<bool> {
        let folder = self.folder.join(job);
        if folder.exists() {
            return Ok(false);
        }
        fs::rename(attempt, &folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(true)
    }

    /// Adds the lines of records that were taken in.
    pub fn add_lines(&self, lines: &[u8]) -> Result<()> {
        let add = || -> std::io::Result<()> {
            File::open(&self.folder)?.sync_all()?;
            append(&self.folder.join("records.jsonl"), lines)
        };
        add().map_err(|error| cannot_write(&self.folder, &error))
    }

    /// Seals a job: its record is on disk when this returns.
    pub fn seal(&self, record: &Record) -> Result<()> {
        let folder = self.job(&record.job)?;
        let seal = || -> std::io::Result<()> {
            let line = json_line(record)?;
            make_way(&folder.join("record.json"));
            publish(&folder.join("record.json"), &line)?;
            append(&self.folder.join("records.jsonl"), &line)
        };
        seal().map_err(|error| cannot_write(&folder, &error))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space; earlier results are intact"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "make the folder writable, or name another with `--results`"
        }
        _ => "earlier results are intact",
    };
    hinted(format!("cannot write to `{}`: {error}", path.display()), hint)
}

/// Makes a folder that is its owner's alone, for what programs say may hold more than they should; whoever shares results
/// changes its mode. Its parents are as any other folder.
fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

fn json_line<T: Serialize>(value: &T) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Appends one line under a lock; a torn tail of an earlier crash is cut off first.
fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    file.lock()?;
    let end = whole_lines(&mut file)?;
    file.set_len(end)?;
    if let Err(error) = file.write_all(line).and_then(|()| file.sync_data()) {
        file.set_len(end)?;
        return Err(error);
    }
    Ok(())
}

/// Returns how many bytes of the file are whole lines.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut last = [0];
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(memchr::memrchr(b'\n', &bytes).map_or(0, |at| at as u64 + 1))
}
