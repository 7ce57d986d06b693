//! The folders of built environments: their locks, seals, sizes and ends.
//!
//! Must not depend on how an environment is built. The lock of a name is held by whoever builds or
//! removes; the folders are sealed ones (see [`crate::seal`]), made in place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Built;
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::progress::Report;
use crate::seal::{self, Alone, Freed};
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
    pub(super) sealed: seal::Place,
    /// What the build's programs said, kept beside the folder.
    pub(super) log: PathBuf,
}

impl Place {
    pub(super) fn of(home: &Home, name: &str, digest: &str) -> Place {
        let name = format!("{name}-{}", &digest[..SHORT.min(digest.len())]);
        let sealed = sealed(home.envs().join(&name));
        Place { sealed, log: home.envs().join(format!("{name}.log")) }
    }

    /// Returns what was sealed here for that digest, if it is whole.
    pub(super) fn read(&self, digest: &str) -> Option<Built> {
        let mut built = read(&self.sealed)?;
        if built.interpreter.is_none() {
            // Compiled programs may be copied to another machine; a venv holds absolute paths.
            built.root = self.sealed.folder().to_owned();
        }
        let is_same = built.digest.as_deref() == Some(digest) && built.root == self.sealed.folder();
        // The interpreter is a link: it ends with the one that it leads to.
        let works = built.interpreter.as_ref().is_none_or(|python| python.is_file());
        (is_same && works).then_some(built)
    }

    pub(super) fn seal(&self, built: &Built) -> Result<()> {
        let seal = Seal { version: SEAL_VERSION, built: built.clone() };
        let text = serde_json::to_string_pretty(&seal).context("cannot write a seal")?;
        self.sealed.seal(text.as_bytes())
    }
}

fn sealed(folder: impl Into<PathBuf>) -> seal::Place {
    seal::Place::new(folder, SEAL)
}

fn read(place: &seal::Place) -> Option<Built> {
    let seal: Seal = serde_json::from_str(&place.read().ok()??).ok()?;
    (seal.version == SEAL_VERSION).then_some(seal.built)
}

/// Returns the compilers that builds under one name were made with, as they name themselves.
pub(super) fn compilers(home: &Home, name: &str) -> Vec<String> {
    let entries = entries(home).unwrap_or_default().into_iter();
    let of_name = entries.filter(|entry| entry.name == name && !entry.is_log);
    of_name.filter_map(|entry| read(&sealed(entry.path))?.compiler).collect()
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
    sealed(folder).hold()
}

/// Removes everything that was built under one name; returns the bytes freed.
pub(super) fn remove(home: &Home, name: &str, report: Report) -> Result<u64> {
    let _lock = lock(home, name, report)?;
    let of_name = entries(home)?.into_iter().filter(|entry| entry.name == name);
    let of_name = of_name.collect::<Vec<_>>();
    // All or nothing: every folder is taken before the first is removed.
    let taken =
        of_name.iter().map(|entry| sealed(&entry.path).take()).collect::<Result<Vec<_>>>()?;
    let mut freed = remove_target(home, name)?;
    for (entry, alone) in of_name.iter().zip(taken) {
        freed += entry.remove(alone)?;
    }
    Ok(freed)
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
        let place = sealed(&entry.path);
        let is_whole = entry.is_log || place.is_whole();
        if is_whole && is_current(&entry.name, &entry.digest) {
            continue;
        }
        let Some(_lock) = Lock::try_take(&path(home, &entry.name)) else { continue };
        let Some(alone) = place.try_take()? else {
            freed.in_use += 1;
            continue;
        };
        freed.folders += usize::from(!entry.is_log);
        freed.bytes += entry.remove(alone)?;
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
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", target.display()))
        }
        _ => Ok(freed),
    }
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

    fn remove(&self, alone: Alone) -> Result<u64> {
        if !self.is_log {
            return alone.free();
        }
        let freed = size_bytes(&self.path);
        let failed = || format!("cannot remove `{}`", self.path.display());
        fs::remove_file(&self.path).with_context(failed)?;
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
