//! Folders that are whole or absent: the seal, the last file to be written, makes one count.
//!
//! A folder is made under a lock: whoever comes second waits and finds it made. It is made aside and
//! renamed into place or, where what is in it holds absolute paths, at its place. While it is used
//! its seal is shared; whoever removes it takes the seal alone first, so nothing goes away under a
//! user. The time of a seal is that of its last use, by which a sweep finds what nobody misses.
//! Must not depend on what is in a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};

use crate::hint::hinted;
use crate::home::size_bytes;
use crate::lock::{self, Lock};
use crate::progress::Report;
use crate::publish::publish;

/// What the name of a folder begins with while it is made aside, and while another takes its place.
const MAKING: &str = ".making-";
const OLD: &str = ".old-";

/// Where a sealed folder is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    folder: PathBuf,
    /// Name of the file that makes the folder whole.
    seal: &'static str,
}

/// A folder that nobody else uses, and nobody can begin to use. Without a seal nobody could.
#[derive(Debug)]
pub struct Alone {
    place: Place,
    _lock: Option<Lock>,
}

/// What a clean-up removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Freed {
    pub folders: usize,
    /// What it removed, or would, where that is told.
    pub names: Vec<String>,
    pub bytes: u64,
    /// Folders that it left because somebody uses them.
    pub in_use: usize,
}

/// Returns what `find` finds; if that is nothing, makes it under a lock, unless whoever had the
/// lock before has just made it.
pub fn find_or_make<T>(
    find: impl Fn() -> Option<T>,
    lock: impl FnOnce() -> Result<Lock>,
    make: impl FnOnce(&Lock) -> Result<T>,
) -> Result<T> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let lock = lock()?;
    match find() {
        Some(found) => Ok(found),
        None => make(&lock),
    }
}

impl Place {
    pub fn new(folder: impl Into<PathBuf>, seal: &'static str) -> Place {
        Place { folder: folder.into(), seal }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn is_whole(&self) -> bool {
        self.seal_file().is_file()
    }

    /// Returns what the seal says, if there is one.
    pub fn read(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.seal_file()) {
            Ok(text) => Ok(Some(text)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the seal: what is in the folder is whole.
    pub fn seal(&self, content: &[u8]) -> Result<()> {
        let file = self.seal_file();
        publish(&file, content).with_context(|| format!("cannot write `{}`", file.display()))
    }

    /// Makes the folder at its place; `fill` seals it last. What was there goes first, unless it is
    /// used. Call it under a lock.
    pub fn make_in_place<T>(&self, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        self.take()?.remove()?;
        let made = fill(&self.folder).and_then(|made| self.sealed(&self.folder, made));
        if made.is_err() {
            // It has no seal, and the next one to make it would clear it away as well.
            let _ = wipe(&self.folder, self.seal);
        }
        made
    }

    /// Makes the folder aside, seal and all, and puts it in place. What was there goes last, unless
    /// it is used. Call it under a lock: a killed process leaves what is cleared away here.
    pub fn make_aside<T>(&self, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let aside = self.beside(MAKING)?;
        create_folder(aside.parent().unwrap_or(&aside))?;
        self.clear_leftovers()?;
        create_folder(&aside)?;
        let made = fill(&aside).and_then(|made| self.put(&aside).map(|()| made));
        if made.is_err() {
            // The error of the making is what the caller must see.
            let _ = wipe(&aside, self.seal);
        }
        made
    }

    /// Removes what a killed process left beside the folder. Call it under a lock.
    fn clear_leftovers(&self) -> Result<()> {
        let (aside, old) = (self.beside(MAKING)?, self.beside(OLD)?);
        if old.exists() && !self.folder.exists() {
            // Killed between the two renames of `put`.
            fs::rename(&old, &self.folder).with_context(|| self.cannot_put())?;
        }
        wipe(&old, self.seal)?;
        wipe(&aside, self.seal)
    }

    /// Moves a sealed folder of the same disk into place. What was there goes, unless it is used.
    pub fn put(&self, made: &Path) -> Result<()> {
        self.sealed(made, ())?;
        let old = self.beside(OLD)?;
        let _alone = self.take()?;
        sync_folder(made)?;
        if self.folder.exists() {
            fs::rename(&self.folder, &old).with_context(|| self.cannot_put())?;
        }
        fs::rename(made, &self.folder).with_context(|| self.cannot_put())?;
        sync_folder(self.folder.parent().unwrap_or(&self.folder))?;
        wipe(&old, self.seal)
    }

    /// Shares the folder with others who use it, for as long as the lock lives; none if it is gone.
    pub fn hold(&self, report: Report) -> Result<Option<Lock>> {
        Lock::share(&self.seal_file(), report)
    }

    /// Notes that the folder is of use.
    pub fn used(&self) -> io::Result<()> {
        File::options().append(true).open(self.seal_file())?.set_modified(SystemTime::now())
    }

    /// Takes the folder alone, or says who uses it.
    pub fn take(&self) -> Result<Alone> {
        self.try_take()?.ok_or_else(|| used_by(lock::holders(&self.seal_file()).first().copied()))
    }

    /// Takes the folder alone, unless somebody uses it.
    pub fn try_take(&self) -> Result<Option<Alone>> {
        let place = self.clone();
        if !self.is_whole() {
            return Ok(Some(Alone { place, _lock: None }));
        }
        let lock = Lock::try_alone(&self.seal_file())?;
        Ok(lock.map(|lock| Alone { place, _lock: Some(lock) }))
    }

    fn seal_file(&self) -> PathBuf {
        self.folder.join(self.seal)
    }

    fn sealed<T>(&self, folder: &Path, made: T) -> Result<T> {
        let is_sealed = folder.join(self.seal).is_file();
        ensure!(is_sealed, "`{}` was made without its `{}`", folder.display(), self.seal);
        Ok(made)
    }

    /// Returns a hidden neighbour of the folder.
    fn beside(&self, what: &str) -> Result<PathBuf> {
        let name = self.folder.file_name().ok_or_else(|| anyhow!("a folder needs a name"))?;
        Ok(self.folder.with_file_name(format!("{what}{}", name.to_string_lossy())))
    }

    fn cannot_put(&self) -> String {
        format!("cannot put `{}` in place", self.folder.display())
    }

    /// Returns how long ago the folder was used last.
    pub fn age(&self) -> Option<Duration> {
        let modified = fs::metadata(self.seal_file()).ok()?.modified().ok()?;
        Some(SystemTime::now().duration_since(modified).unwrap_or_default())
    }
}

impl Alone {
    /// Removes the folder, its seal first: what a crash leaves is not whole.
    pub fn remove(self) -> Result<()> {
        wipe(&self.place.folder, self.place.seal)
    }

    /// Does the same; returns the bytes freed.
    pub fn free(self) -> Result<u64> {
        let bytes = size_bytes(&self.place.folder);
        self.remove()?;
        Ok(bytes)
    }
}

/// Returns what processes that were making folders in `parent` have left there, or are at work on.
pub fn leftovers(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_left = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(MAKING) || name.starts_with(OLD)
    };
    entries.filter(is_left).collect()
}

/// Removes what killed processes left in `parent` beside the folders that they were making.
///
/// `try_lock` takes the lock under which a folder is made, unless somebody has it. Nothing fails if something cannot be
/// removed: the next one to make that folder must do it, or say why not.
pub fn clear_leftovers(
    parent: &Path,
    seal: &'static str,
    try_lock: impl Fn(&Path) -> Option<Lock>,
) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let Some(of) = name.strip_prefix(MAKING).or_else(|| name.strip_prefix(OLD)) else {
            continue;
        };
        let place = Place::new(parent.join(of), seal);
        if let Some(_lock) = try_lock(place.folder()) {
            let _ = place.clear_leftovers();
        }
    }
}

/// Removes whole folders of `parent`, the least lately used first, until the others have at most
/// `limit` bytes. What was used within `in_use`, or is held, stays.
///
/// Nothing fails if something cannot be removed: the next sweep tries it again.
pub fn sweep(parent: &Path, seal: &'static str, limit: u64, in_use: Duration) -> Freed {
    let mut places = Vec::new();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let place = Place::new(entry.path(), seal);
        if let Some(age) = place.age() {
            places.push((age, place));
        }
    }
    places.sort_by_key(|(age, _)| *age);
    let (mut bytes, mut freed) = (0, Freed::default());
    for (age, place) in places {
        let size = size_bytes(place.folder());
        bytes += size;
        if bytes <= limit {
            continue;
        }
        let alone = if age > in_use { place.try_take().ok().flatten() } else { None };
        match alone.map(Alone::remove) {
            Some(Ok(())) => {
                freed.folders += 1;
                freed.bytes += size;
            }
            Some(Err(_)) => {}
            None => freed.in_use += 1,
        }
    }
    freed
}

fn used_by(pid: Option<u32>) -> anyhow::Error {
    let Some(pid) = pid else {
        return hinted("another process uses it", "wait until it has ended");
    };
    let hint = format!("wait until it has ended, or stop it with `kill {pid}`");
    hinted(format!("process {pid} uses it{}", command_line(pid)), hint)
}

/// Returns what a process was started with, as `: rosetta run`.
fn command_line(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    match words.trim_end_matches('\0') {
        "" => String::new(),
        words => format!(": `{}`", words.replace('\0', " ")),
    }
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create `{}`", path.display()))
}

/// Removes a folder, its seal first.
fn wipe(folder: &Path, seal: &str) -> Result<()> {
    let cannot = || format!("cannot remove `{}`", folder.display());
    gone(fs::remove_file(folder.join(seal))).with_context(cannot)?;
    gone(fs::remove_dir_all(folder)).with_context(cannot)
}

/// What was not there is gone too.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_folder(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn place(root: &Path, name: &str) -> Place {
        Place::new(root.join(name), "seal.json")
    }

    fn fill(folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("content"), [0; 400])?;
        Ok(fs::write(folder.join("seal.json"), "")?)
    }

    /// Fails halfway.
    fn fail(folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("content"), "half")?;
        Err(anyhow!("no more"))
    }

    fn names(folder: &Path) -> Vec<String> {
        let listing = fs::read_dir(folder).unwrap();
        let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    #[test]
    fn what_fails_or_is_not_sealed_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), "x");
        let unsealed = |folder: &Path| Ok(fs::create_dir_all(folder)?);
        assert_eq!(place.make_aside(fail).unwrap_err().to_string(), "no more");
        assert_eq!(place.make_in_place(fail).unwrap_err().to_string(), "no more");
        let expected = "x` was made without its `seal.json`";
        assert!(place.make_aside(unsealed).unwrap_err().to_string().contains(expected));
        assert!(place.make_in_place(unsealed).unwrap_err().to_string().ends_with(expected));
        assert!(!place.is_whole() && names(root.path()).is_empty());
        assert!(place.read().unwrap().is_none() && place.hold(&|_| ()).unwrap().is_none());
    }

    #[test]
    fn aside_the_old_one_stays_until_the_new_one_is_whole() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), "x");
        place.make_aside(fill).unwrap();
        place.make_aside(fail).unwrap_err();
        assert!(place.is_whole());
        place.make_aside(fill).unwrap();
        assert_eq!(names(root.path()), ["x"]);
        // In place it cannot.
        place.make_in_place(fail).unwrap_err();
        assert!(!place.is_whole());
    }

    #[test]
    fn what_killed_processes_left_is_cleared_away() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), "x");
        fail(&root.path().join(".making-x")).unwrap_err();
        place.make_aside(fill).unwrap();
        assert_eq!(names(root.path()), ["x"]);
        // Killed between the two renames: the old one counts.
        fs::rename(root.path().join("x"), root.path().join(".old-x")).unwrap();
        place.make_aside(fail).unwrap_err();
        assert!(place.is_whole());
        assert_eq!(names(root.path()), ["x"]);
    }

    #[test]
    fn what_is_held_is_neither_removed_nor_replaced() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), "x");
        place.make_in_place(fill).unwrap();
        let held = [(); 2].map(|()| place.hold(&|_| ()).unwrap().unwrap());
        let uses = format!("process {} uses it: `", std::process::id());
        let attempts: [&dyn Fn() -> Result<()>; 3] =
            [&|| place.take()?.remove(), &|| place.make_aside(fill), &|| place.make_in_place(fill)];
        for attempt in attempts {
            let error = attempt().unwrap_err().to_string();
            assert!(error.starts_with(&uses), "{error}");
            assert!(place.try_take().unwrap().is_none() && place.is_whole());
        }
        assert_eq!(sweep(root.path(), "seal.json", 0, Duration::ZERO).in_use, 1);
        drop(held);
        assert_eq!(place.take().unwrap().free().unwrap(), 400);
        assert!(place.hold(&|_| ()).unwrap().is_none() && names(root.path()).is_empty());
    }

    #[test]
    fn who_comes_second_finds_it_made() {
        let root = tempfile::tempdir().unwrap();
        let (place, made) = (place(root.path(), "x"), AtomicUsize::new(0));
        let find = || place.is_whole().then_some(());
        let lock = || Lock::wait(&root.path().join(".lock"), "another", &|_| ());
        let make = |_: &Lock| {
            made.fetch_add(1, Ordering::SeqCst);
            place.make_aside(fill)
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| find_or_make(find, lock, make).unwrap());
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_sweep_takes_what_was_not_used_for_longest() {
        let root = tempfile::tempdir().unwrap();
        let [new, old, older] = [("new", 20), ("old", 30), ("older", 40)].map(|(name, hours)| {
            let place = place(root.path(), name);
            place.make_aside(fill).unwrap();
            let seal = File::options().append(true).open(place.seal_file()).unwrap();
            seal.set_modified(SystemTime::now() - hours * HOUR).unwrap();
            place
        });
        let half_made = root.path().join("half-made");
        fs::create_dir(&half_made).unwrap();
        let freed = sweep(root.path(), "seal.json", 1000, HOUR);
        assert_eq!(freed, Freed { folders: 1, bytes: 400, ..Freed::default() });
        assert!(new.is_whole() && old.is_whole() && !older.folder().exists());
        old.used().unwrap();
        assert_eq!(sweep(root.path(), "seal.json", 500, HOUR).folders, 1);
        assert!(old.is_whole() && !new.is_whole() && half_made.is_dir());
        // It was used within the hour, however much it is.
        let freed = sweep(root.path(), "seal.json", 100, HOUR);
        assert_eq!(freed, Freed { in_use: 1, ..Freed::default() });
    }
}
