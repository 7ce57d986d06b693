//! The folders of built environments: their locks, seals, sizes and ends.
//!
//! May not know how an environment is built. An environment is built at its final place, because a
//! venv holds absolute paths; the seal, written last, is what makes it one. A folder without a seal
//! is half-built, is never used, and is wiped under the lock before the next build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Built;
use crate::home::Home;
use crate::lock::Lock;
use crate::progress::Report;
use crate::publish::publish;

/// Name of the file that makes a folder an environment.
const SEAL: &str = "rosetta.json";

/// Version of the seal's format.
const SEAL_VERSION: u32 = 1;

/// Digits of the digest that a folder's name has.
const SHORT: usize = 12;

#[derive(serde::Serialize, serde::Deserialize)]
struct Seal {
    version: u32,
    built: Built,
}

/// Where one build of an environment lives.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// What the build's programs said, kept beside the folder.
    pub(super) log: PathBuf,
}

impl Place {
    pub(super) fn of(home: &Home, name: &str, digest: &str) -> Place {
        let name = format!("{name}-{}", &digest[..SHORT.min(digest.len())]);
        Place { folder: home.envs().join(&name), log: home.envs().join(format!("{name}.log")) }
    }

    /// Returns what was sealed here for that digest, if it is whole.
    pub(super) fn sealed(&self, digest: &str) -> Option<Built> {
        let text = fs::read_to_string(self.folder.join(SEAL)).ok()?;
        let seal: Seal = serde_json::from_str(&text).ok()?;
        let built = seal.built;
        let is_same = seal.version == SEAL_VERSION
            && built.digest.as_deref() == Some(digest)
            && built.root == self.folder;
        // The interpreter is a link: it ends with the one that it leads to.
        let works = built.interpreter.as_ref().is_none_or(|python| python.is_file());
        (is_same && works).then_some(built)
    }

    pub(super) fn seal(&self, built: &Built) -> Result<()> {
        let seal = Seal { version: SEAL_VERSION, built: built.clone() };
        let text = serde_json::to_string_pretty(&seal).context("cannot write a seal")?;
        let path = self.folder.join(SEAL);
        publish(&path, text.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Removes the folder, its seal first.
    pub(super) fn wipe(&self) -> Result<()> {
        wipe(&self.folder)
    }
}

/// Takes the lock of one environment.
pub(super) fn lock(home: &Home, name: &str, report: Report) -> Result<Lock> {
    let envs = home.envs();
    fs::create_dir_all(&envs).with_context(|| format!("cannot make `{}`", envs.display()))?;
    Lock::wait(&path(home, name), &format!("another build of `{name}`"), report)
}

fn path(home: &Home, name: &str) -> PathBuf {
    home.envs().join(format!(".{name}.lock"))
}

/// Removes everything that was built under one name; returns the bytes freed.
pub(super) fn remove(home: &Home, name: &str, report: Report) -> Result<u64> {
    let _lock = lock(home, name, report)?;
    let of_name = entries(home)?.into_iter().filter(|entry| entry.name == name);
    let mut freed = of_name.map(|entry| entry.remove()).sum::<Result<u64>>()?;
    let shared = shared_target(home, name);
    freed += size_bytes(&shared);
    wipe(&shared)?;
    Ok(freed)
}

/// Removes what `is_current(name, short digest)` does not claim; returns folders and bytes freed.
/// What is being built is left alone.
pub(super) fn gc(home: &Home, is_current: &dyn Fn(&str, &str) -> bool) -> Result<(usize, u64)> {
    let (mut folders, mut freed) = (0, 0);
    for entry in entries(home)? {
        let is_whole = entry.is_log || entry.path.join(SEAL).is_file();
        if is_whole && is_current(&entry.name, &entry.digest) {
            continue;
        }
        let Some(_lock) = Lock::try_take(&path(home, &entry.name)) else { continue };
        folders += usize::from(!entry.is_log);
        freed += entry.remove()?;
    }
    Ok((folders, freed))
}

/// Where cargo keeps what it compiled for an environment, for its next build.
pub(super) fn shared_target(home: &Home, name: &str) -> PathBuf {
    home.root().join("cargo-target").join(name)
}

/// A folder or log under `envs/`.
struct Entry {
    path: PathBuf,
    name: String,
    digest: String,
    is_log: bool,
}

impl Entry {
    fn parse(path: PathBuf) -> Option<Entry> {
        let file = path.file_name()?.to_str()?;
        let is_log = file.ends_with(".log");
        let (name, digest) = file.strip_suffix(".log").unwrap_or(file).rsplit_once('-')?;
        let is_ours = digest.len() == SHORT && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (name, digest) = (name.to_owned(), digest.to_owned());
        (is_ours && !name.starts_with('.')).then_some(Entry { path, name, digest, is_log })
    }

    fn remove(self) -> Result<u64> {
        let freed = size_bytes(&self.path);
        if self.is_log {
            let failed = || format!("cannot remove `{}`", self.path.display());
            fs::remove_file(&self.path).with_context(failed)?;
        } else {
            wipe(&self.path)?;
        }
        Ok(freed)
    }
}

fn entries(home: &Home) -> Result<Vec<Entry>> {
    let envs = home.envs();
    let failed = || format!("cannot list `{}`", envs.display());
    let listing = match fs::read_dir(&envs) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(failed)?,
    };
    let mut entries = Vec::new();
    for entry in listing {
        entries.extend(Entry::parse(entry.with_context(failed)?.path()));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Removes a folder; its seal goes first, so that what a crash leaves is no environment.
fn wipe(folder: &Path) -> Result<()> {
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
        }
        _ => Ok(()),
    };
    gone(fs::remove_file(folder.join(SEAL)))?;
    gone(fs::remove_dir_all(folder))
}

/// Returns the bytes of all files under a path; links count as themselves.
pub(super) fn size_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let listing = fs::read_dir(path).into_iter().flatten().flatten();
    listing.map(|entry| size_bytes(&entry.path())).sum()
}
