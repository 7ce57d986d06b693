//! The folders of built environments: their locks, seals, sizes and ends.
//!
//! May not know how an environment is built. An environment is built at its final place, because a
//! venv holds absolute paths; the seal, written last, is what makes it one. A folder without a seal
//! is half-built, is never used, and is wiped under the lock before the next build.
//!
//! Two locks: that of a name is held by whoever builds or removes; that of a seal is shared by the
//! runs that use the environment, and taken alone, without waiting, by whoever would wipe it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Built, Freed};
use crate::hint::hinted;
use crate::home::{Home, size_bytes};
use crate::lock::{self, Lock};
use crate::progress::Report;
use crate::publish::publish;
use crate::spec::check_name;

/// Name of the file that makes a folder an environment.
const SEAL: &str = "rosetta.json";

/// Folder of what cargo compiled, under the home.
const TARGETS: &str = "cargo-target";

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
        let mut built = seal.built;
        if built.interpreter.is_none() {
            // Compiled programs may be copied to another machine; a venv holds absolute paths.
            built.root.clone_from(&self.folder);
        }
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

    /// Removes the folder, its seal first, unless a run uses it.
    pub(super) fn wipe(&self) -> Result<()> {
        let _alone = alone(&self.folder)?;
        wipe(&self.folder)
    }
}

/// Returns the compilers that builds under one name were made with, as they name themselves.
pub(super) fn compilers(home: &Home, name: &str) -> Vec<String> {
    let entries = entries(home).unwrap_or_default().into_iter();
    let of_name = entries.filter(|entry| entry.name == name && !entry.is_log);
    let seals = of_name.filter_map(|entry| fs::read(entry.path.join(SEAL)).ok());
    let seals = seals.filter_map(|text| serde_json::from_slice::<Seal>(&text).ok());
    seals.filter_map(|seal| seal.built.compiler).collect()
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

/// Shares an environment's folder with the other runs that use it; none if it is gone.
pub(super) fn hold(folder: &Path) -> Result<Option<Lock>> {
    Lock::share(&folder.join(SEAL))
}

/// A folder taken for removal: no run uses it, and none can begin to. Without a seal none could.
struct Alone {
    _lock: Option<Lock>,
}

/// Takes a folder for removal, unless a run uses it.
fn try_alone(folder: &Path) -> Result<Option<Alone>> {
    let seal = folder.join(SEAL);
    if !seal.is_file() {
        return Ok(Some(Alone { _lock: None }));
    }
    Ok(Lock::try_alone(&seal)?.map(|lock| Alone { _lock: Some(lock) }))
}

/// Takes a folder for removal, or says who uses it.
fn alone(folder: &Path) -> Result<Alone> {
    try_alone(folder)?.ok_or_else(|| {
        let Some(pid) = lock::holders(&folder.join(SEAL)).first().copied() else {
            return hinted("another process uses it", "wait until it has ended");
        };
        let hint = format!("wait until it has ended, or stop it with `kill {pid}`");
        hinted(format!("process {pid} uses it{}", command_line(pid)), hint)
    })
}

/// Returns what a process was started with, as `: rosetta run`.
fn command_line(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    match words.trim_end_matches('\0') {
        "" => String::new(),
        words => format!(": `{}`", words.replace('\0', " ")),
    }
}

/// Removes everything that was built under one name; returns the bytes freed.
pub(super) fn remove(home: &Home, name: &str, report: Report) -> Result<u64> {
    let _lock = lock(home, name, report)?;
    let of_name = entries(home)?.into_iter().filter(|entry| entry.name == name);
    let of_name = of_name.collect::<Vec<_>>();
    // All or nothing: every folder is taken before the first is removed.
    let _alone = of_name.iter().map(|entry| alone(&entry.path)).collect::<Result<Vec<_>>>()?;
    let freed = of_name.iter().map(Entry::remove).sum::<Result<u64>>()?;
    Ok(freed + remove_target(home, name)?)
}

/// Removes what `is_current(name, short digest)` does not claim, and what cargo compiled under
/// names of which `is_compiled` knows no crate. What is being built or used is left alone.
pub(super) fn gc(
    home: &Home,
    is_current: &dyn Fn(&str, &str) -> bool,
    is_compiled: &dyn Fn(&str) -> bool,
) -> Result<Freed> {
    let mut freed = Freed::default();
    for entry in entries(home)? {
        let is_whole = entry.is_log || entry.path.join(SEAL).is_file();
        if is_whole && is_current(&entry.name, &entry.digest) {
            continue;
        }
        let Some(_lock) = Lock::try_take(&path(home, &entry.name)) else { continue };
        let Some(_alone) = try_alone(&entry.path)? else {
            freed.in_use += 1;
            continue;
        };
        freed.folders += usize::from(!entry.is_log);
        freed.bytes += entry.remove()?;
    }
    for name in targets(home)?.iter().filter(|name| !is_compiled(name)) {
        let Some(_lock) = Lock::try_take(&path(home, name)) else { continue };
        freed.folders += 1;
        freed.bytes += remove_target(home, name)?;
    }
    Ok(freed)
}

/// Where cargo keeps what it compiled for an environment, for its next build.
pub(super) fn shared_target(home: &Home, name: &str) -> PathBuf {
    home.root().join(TARGETS).join(name)
}

fn remove_target(home: &Home, name: &str) -> Result<u64> {
    let target = shared_target(home, name);
    let freed = size_bytes(&target);
    wipe(&target)?;
    Ok(freed)
}

/// Returns the names under which cargo keeps what it compiled.
fn targets(home: &Home) -> Result<Vec<String>> {
    let folders = list(&home.root().join(TARGETS))?.into_iter().filter(|path| path.is_dir());
    let names = folders.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names.filter(|name| check_name(name).is_ok()).collect())
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

    fn remove(&self) -> Result<u64> {
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
    Ok(list(&home.envs())?.into_iter().filter_map(Entry::parse).collect())
}

/// Returns what is in a folder, sorted; nothing if there is none.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list `{}`", folder.display());
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(failed)?,
    };
    let paths = listing.map(|entry| Ok(entry.with_context(failed)?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
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
