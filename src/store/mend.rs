//! Puts right what a rosetta that was killed left in results/: sealed records that records.jsonl lacks, hidden parts.
//!
//! Must not depend on what a record says.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::publish::publish;
use crate::store::folder::{is_held, subfolders};
use crate::store::parse::is_regular;
use crate::store::whole_lines;

/// What is read of a line to know which job it is of.
#[derive(Deserialize)]
struct Named {
    job: String,
}

/// The home of a job while it goes on, in its folder.
const JOB_HOME: &str = "home";

/// What the name of a run's folder begins with until it is whole.
pub(super) const MAKING: &str = ".making-";

/// What the name of a run's folder begins with while it is removed.
pub(super) const REMOVING: &str = ".removing-";

/// Returns folders of runs that were killed at birth, for nobody holds them, and of runs whose removal was.
fn half_made(runs: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_old = || {
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = changed.and_then(|changed| changed.elapsed().ok());
            age.is_some_and(|age| age > HALF_MADE)
        };
        if (name.starts_with(MAKING) || name.starts_with(REMOVING)) && is_old() {
            found.push(entry.path());
        }
    }
    found
}

/// Returns what killed rosettas have left among runs.
pub(super) fn leftovers(runs: &Path) -> Vec<PathBuf> {
    let mut found = half_made(runs);
    for run in subfolders(runs).unwrap_or_default() {
        if is_held(&run.join("run.json")) {
            continue;
        }
        let jobs = subfolders(&run).unwrap_or_default();
        found.extend(jobs.iter().flat_map(|job| parts(job)));
    }
    found
}

/// Longer than a rosetta takes to make the folder of a run.
const HALF_MADE: Duration = Duration::from_secs(60);

/// Mends every run that no rosetta holds. What cannot be mended stays as it is: readers find the same in `record.json`.
pub(super) fn mend(runs: &Path) {
    for folder in half_made(runs) {
        // One that cannot be removed does no harm.
        let _ = fs::remove_dir_all(folder);
    }
    for run in subfolders(runs).unwrap_or_default() {
        let path = run.join("run.json");
        let lock = || File::open(&path).and_then(|file| Ok(file.try_lock()?));
        if is_regular(&path) && lock().is_ok() {
            // What cannot be written now is written at a later start.
            let _ = mend_run(&run);
        }
    }
}

fn mend_run(run: &Path) -> io::Result<()> {
    let path = run.join("records.jsonl");
    let jobs = subfolders(run).unwrap_or_default();
    let mut sealed = Vec::new();
    for job in &jobs {
        if job.join("record.json").is_file() {
            sealed.push(job);
        }
        sweep(job);
    }
    let text = match path.exists() {
        false => Vec::new(),
        true if is_regular(&path) => fs::read(&path)?,
        true => return Ok(()),
    };
    // A line without its end is written anew: whoever appends next would cut it off.
    let is_whole = text.last().is_none_or(|byte| *byte == b'\n');
    if is_whole && memchr::memchr_iter(b'\n', &text).count() >= sealed.len() {
        return Ok(());
    }
    let whole = memchr::memrchr(b'\n', &text).map_or(&text[..0], |end| &text[..end]);
    let lines = whole.split(|byte| *byte == b'\n');
    let named = lines.filter_map(|line| serde_json::from_slice::<Named>(line).ok());
    let known = named.map(|named| named.job).collect::<BTreeSet<_>>();
    let mut missing = Vec::new();
    for job in sealed {
        let name = job.file_name().unwrap_or_default().to_string_lossy();
        let line = fs::read(job.join("record.json"))?;
        if !known.contains(&*name) && serde_json::from_slice::<Named>(&line).is_ok() {
            missing.extend(line);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut file = File::options().create(true).read(true).append(true).open(&path)?;
    file.lock()?;
    let end = whole_lines(&mut file)?;
    file.set_len(end)?;
    if let Err(error) = file.write_all(&missing).and_then(|()| file.sync_data()) {
        file.set_len(end)?;
        return Err(error);
    }
    Ok(())
}

/// Takes the lines of some jobs out of records.jsonl: they are done again.
pub(super) fn forget(path: &Path, jobs: &[String]) -> io::Result<()> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    let is_of_another = |line: &&[u8]| {
        let named = serde_json::from_slice::<Named>(line).ok();
        named.is_none_or(|named| !jobs.contains(&named.job))
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept = lines.filter(is_of_another).flatten().copied().collect::<Vec<_>>();
    if kept.len() == text.len() { Ok(()) } else { publish(path, &kept) }
}

/// Removes from the folder of a job what a rosetta that was killed has left.
pub(super) fn sweep(job: &Path) {
    for part in parts(job) {
        // One that cannot be removed does no harm.
        let _ = match part.is_dir() && !part.is_symlink() {
            true => fs::remove_dir_all(part),
            false => fs::remove_file(part),
        };
    }
}

/// Returns hidden parts of a record that was being written, and the home that the job had for itself.
fn parts(job: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(job).into_iter().flatten().flatten();
    let is_part = |name: &str| name.starts_with(".record.json.") || name == JOB_HOME;
    let parts = entries.filter(|entry| is_part(&entry.file_name().to_string_lossy()));
    parts.map(|entry| entry.path()).collect()
}
