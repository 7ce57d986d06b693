//! The layout of results/: append, read, recover. May not know processes nor the terminal.
//!
//! ```text
//! results/runs/<run>/run.json                what was asked, when, on what
//!                   /records.jsonl           one record a line, in the order of their end
//!                   /<job>/record.json       the same record, sealed by an atomic rename
//!                   /<job>/…                 events, logs and outputs as the job left them
//! results/checks/<experiment>.<target>.<device>-<key>.json    what a check found
//! results/defaults/<id>/<target>/…             the same of `rosetta defaults`, which has no records
//! ```
//!
//! `record.json` is the truth; `records.jsonl` is the same for readers that want one file. A
//! line that was torn by a crash is recovered from its `record.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::hint::{hinted, unknown};
use crate::machine::Machine;
use crate::proof::{self, Verdict};
use crate::publish::{make_way, publish};
use crate::record::{Record, Version};
use crate::request::Request;

/// The folder `results/` of a project.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
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
    pub machine: Machine,
    pub rosetta: Version,
}

/// A run's folder, open for new records.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
}

impl Store {
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Makes the folder of a new run.
    pub fn begin(&self, run: &Run) -> Result<RunFolder> {
        let folder = self.runs().join(&run.id);
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(self.runs())?;
            // A folder that is there belongs to another run: an error, never two runs in one.
            fs::create_dir(&folder)?;
            publish(&folder.join("run.json"), &json_line(run)?)
        };
        make().map_err(|error| cannot_write(&folder, &error))?;
        Ok(RunFolder { folder })
    }

    /// Makes the folder of a measuring of defaults, which is no run and has no records.
    pub fn begin_defaults(&self, id: &str) -> Result<RunFolder> {
        let folder = self.root.join("defaults").join(id);
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(RunFolder { folder })
    }

    /// Returns every run, oldest first.
    pub fn list(&self) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for folder in subfolders(&self.runs())? {
            let path = folder.join("run.json");
            match fs::read_to_string(&path) {
                Ok(text) => runs.push(
                    serde_json::from_str::<Run>(&text)
                        .with_context(|| format!("`{}` is damaged", path.display()))?,
                ),
                // A folder without run.json is no run: somebody else's, or cut off at birth.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
                }
            }
        }
        runs.sort_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id)));
        Ok(runs)
    }

    /// Returns the records of one run, named by its id, a beginning of it, `latest` or a folder.
    pub fn records_of(&self, name: &str) -> Result<Vec<Record>> {
        read_run(&self.find(name)?)
    }

    /// Returns the records of all runs, oldest run first.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        for folder in subfolders(&self.runs())? {
            if folder.join("run.json").is_file() {
                all.extend(read_run(&folder)?);
            }
        }
        Ok(all)
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
            let text = fs::read(&path).ok().filter(|_| is_ours);
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

    fn find(&self, name: &str) -> Result<PathBuf> {
        let as_path = Path::new(name);
        if as_path.join("run.json").is_file() {
            return Ok(as_path.to_owned());
        }
        let ids = self.list()?.into_iter().map(|run| run.id).collect::<Vec<_>>();
        let matching = match name {
            "latest" => ids.last().into_iter().collect::<Vec<_>>(),
            _ => ids.iter().filter(|id| id.starts_with(name)).collect(),
        };
        match matching.as_slice() {
            [id] => Ok(self.runs().join(id)),
            [] if ids.is_empty() => Err(hinted("there is no run yet", "run `rosetta run` first")),
            [] => Err(unknown("run", name, ids.iter().map(String::as_str))),
            several => {
                let list = several.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>();
                anyhow::bail!("`{name}` is the beginning of several runs: {}", list.join(", "))
            }
        }
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
        ErrorKind::StorageFull => "free some space; earlier results are intact",
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "make the folder writable, or name another with `--results`"
        }
        _ => "earlier results are intact",
    };
    hinted(format!("cannot write to `{}`: {error}", path.display()), hint)
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

fn read_run(folder: &Path) -> Result<Vec<Record>> {
    let path = folder.join("records.jsonl");
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // A line that cannot be read was torn: its record.json, below, has it whole.
    let mut records =
        lines.filter_map(|line| serde_json::from_slice::<Record>(line).ok()).collect::<Vec<_>>();
    let jobs = subfolders(folder)?;
    if records.len() < jobs.len() {
        let known = records.iter().map(|record| record.job.clone()).collect::<BTreeSet<_>>();
        for job in jobs {
            let path = job.join("record.json");
            let name = job.file_name().unwrap_or_default().to_string_lossy();
            if known.contains(&*name) || !path.is_file() {
                continue;
            }
            let shown = path.display();
            let text = fs::read(&path).with_context(|| format!("cannot read `{shown}`"))?;
            records.push(
                serde_json::from_slice(&text).with_context(|| format!("`{shown}` is damaged"))?,
            );
        }
    }
    Ok(records)
}

fn subfolders(parent: &Path) -> Result<Vec<PathBuf>> {
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
