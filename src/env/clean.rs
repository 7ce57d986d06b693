//! What a clean-up of a home removes, or would.
//!
//! Must not depend on how it is known that something is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::docker::{self, HOME_LABEL};
use super::provider::AT_IN_IMAGES;
use super::store::{Entry, entries, list, path, remove_target, sealed, targets};
use super::{scratch, store, users};
use crate::container::{Engine, is_kept};
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::seal::Freed;

/// What engines call an image without a name.
const UNNAMED: &str = "<none>";

/// Whether something is removed, or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Told,
    Done,
}

/// An environment that a clean-up may find to be needed.
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// The digits of its digest that its folder's name has.
    pub(super) short: &'a str,
    /// The projects that have used it; none if no list was kept.
    pub(super) users: Option<BTreeSet<PathBuf>>,
    /// How long ago it was used last.
    pub(super) age: Duration,
}

/// A built environment: who it is, when it was used last, and what it takes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedEnv {
    pub name: String,
    pub short: String,
    pub age: Duration,
    pub bytes: u64,
}

/// Returns the environments that are built.
pub(super) fn used(home: &Home) -> Result<Vec<UsedEnv>> {
    let mut found = Vec::new();
    for entry in entries(home)?.into_iter().filter(|entry| !entry.is_log) {
        if let Some(age) = sealed(&entry.path).age() {
            let bytes = entry.bytes();
            found.push(UsedEnv { name: entry.name, short: entry.digest, age, bytes });
        }
    }
    Ok(found)
}

/// Removes these environments and their logs, those that nobody uses just now.
pub(super) fn remove_used(home: &Home, these: &[UsedEnv]) -> Result<Freed> {
    let sweep = Sweep::Done;
    let mut cleaning = Cleaning { sweep, freed: Freed::default(), failed: None };
    let is_kept = |candidate: &Candidate| {
        !these.iter().any(|one| one.name == candidate.name && one.short == candidate.short)
    };
    for entry in entries(home)? {
        environment(home, &entry, &is_kept, &mut cleaning)?;
    }
    cleaning.failed.map_or(Ok(cleaning.freed), Err)
}

/// A clean-up under way.
struct Cleaning {
    sweep: Sweep,
    freed: Freed,
    /// The first thing that could not be removed; the others go all the same.
    failed: Option<anyhow::Error>,
}

impl Cleaning {
    /// Removes what has a name and a size, or only notes it.
    fn take(&mut self, name: String, bytes: u64, remove: impl FnOnce() -> Result<()>) {
        if self.sweep == Sweep::Done
            && let Err(error) = remove()
        {
            self.failed.get_or_insert(error);
            return;
        }
        self.freed.folders += 1;
        self.freed.bytes += bytes;
        self.freed.names.push(name);
    }
}

/// Removes what `is_needed` does not claim, and what cargo compiled under names of which
/// `is_compiled` knows no crate. What is being built or used is left alone.
pub(super) fn gc(
    home: &Home,
    is_needed: &dyn Fn(&Candidate) -> bool,
    is_compiled: &dyn Fn(&str) -> bool,
    engine: Option<&Engine>,
    sweep: Sweep,
) -> Result<Freed> {
    let mut cleaning = Cleaning { sweep, freed: Freed::default(), failed: None };
    for entry in entries(home)? {
        environment(home, &entry, is_needed, &mut cleaning)?;
    }
    for name in targets(home)?.iter().filter(|name| !is_compiled(name)) {
        let Some(_lock) = Lock::try_take(&path(home, name)) else { continue };
        let folder = store::shared_target(home, name);
        cleaning.take(format!("cargo-target/{name}"), size_bytes(&folder), || {
            remove_target(home, name).map(|_| ())
        });
    }
    for folder in list(&home.envs())? {
        let Some(name) = scratch::name(&folder) else { continue };
        let Some(_lock) = Lock::try_take(&path(home, name)) else { continue };
        let shown = format!("what a build of {name} has left");
        cleaning.take(shown, size_bytes(&folder), || {
            if let Some(engine) = engine {
                docker::clear_stages(engine, &docker::stage(home, name));
            }
            scratch::clear(&folder, &[])
        });
    }
    fetches(home, &mut cleaning)?;
    if let Some(engine) = engine {
        images(home, engine, &mut cleaning)?;
    }
    match cleaning.failed {
        Some(error) => Err(error),
        None => Ok(cleaning.freed),
    }
}

/// Removes what a killed fetch of uv has left, unless one goes on.
fn fetches(home: &Home, cleaning: &mut Cleaning) -> Result<()> {
    let tools = home.tools();
    if let (true, Some(_lock)) = (tools.is_dir(), Lock::try_take(&tools.join(".uv.lock"))) {
        for left in list(&tools)?.iter().filter(|path| is_left_over(path)) {
            cleaning.take("what a fetch of uv has left".to_owned(), size_bytes(left), || {
                fs::remove_dir_all(left)
                    .with_context(|| format!("cannot remove `{}`", left.display()))
            });
        }
    }
    Ok(())
}

/// Removes one folder or log unless it is needed or used.
fn environment(
    home: &Home,
    entry: &Entry,
    is_needed: &dyn Fn(&Candidate) -> bool,
    cleaning: &mut Cleaning,
) -> Result<()> {
    // A log stays and goes with what it tells of.
    let (folder, place) = (entry.folder(), sealed(&entry.path));
    let is_whole = entry.is_log || place.is_whole();
    let candidate = Candidate {
        name: &entry.name,
        short: &entry.digest,
        users: if folder.exists() { users::of(&folder) } else { Some(BTreeSet::new()) },
        age: sealed(&folder).age().unwrap_or_default(),
    };
    if is_whole && is_needed(&candidate) {
        return Ok(());
    }
    let Some(_lock) = Lock::try_take(&path(home, &entry.name)) else { return Ok(()) };
    let Some(alone) = place.try_take()? else {
        cleaning.freed.in_use += 1;
        return Ok(());
    };
    let (bytes, name) = (entry.bytes(), format!("{}-{}", entry.name, entry.digest));
    let (folders, names) = (cleaning.freed.folders, cleaning.freed.names.len());
    cleaning.take(name, bytes, || entry.remove(alone).map(|_| ()));
    if entry.is_log {
        cleaning.freed.folders = folders;
        cleaning.freed.names.truncate(names);
    }
    Ok(())
}

/// Removes images that builds for this home have left, of which no environment knows. An engine that does not answer has
/// none to remove.
fn images(home: &Home, engine: &Engine, cleaning: &mut Cleaning) -> Result<()> {
    let kept = store::images(home)?;
    let ours = format!("label={HOME_LABEL}={}", home.root().display());
    let form = "{{.ID}} {{.Repository}}:{{.Tag}}";
    let words = ["images", "--no-trunc", "--filter", &ours, "--format", form];
    let Ok(said) = engine.answer(&words) else { return Ok(()) };
    for line in said.lines() {
        let Some((id, name)) = line.split_once(' ').filter(|(id, _)| !is_kept(id, &kept)) else {
            continue;
        };
        let Some(environment) = name.rsplit_once(':').and_then(|(name, _)| name.rsplit('/').next())
        else {
            continue;
        };
        if environment == UNNAMED {
            // What another build has made anew, or a step of podman's of one that goes on, which its engine then keeps.
            if cleaning.sweep == Sweep::Done {
                let _ = engine.answer(&["image", "rm", id]);
            }
            continue;
        }
        // One that is being built has its image before its seal.
        let environment = environment.replace(AT_IN_IMAGES, "@");
        let Some(_lock) = Lock::try_take(&path(home, &environment)) else { continue };
        let remove = || engine.answer(&["image", "rm", "--force", id]).map(|_| ());
        cleaning.take(format!("the image {name}"), 0, remove);
    }
    Ok(())
}

fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    path.is_dir() && (name.starts_with(b".making-") || name.starts_with(b".old-"))
}
