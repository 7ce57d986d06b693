//! The cached reference: its numbers, from one check to the next, and which of them go when they
//! become many.
//!
//! Must not depend on what the numbers are or how they are computed. A folder counts as cached by a
//! file with the digests of all others: numbers that a power cut or a bad disk has changed would
//! condemn a harness that is right. Its modification time is that of the last use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::digest::sha256_of;
use crate::home::Home;
use crate::regular;
use crate::seal::{self, Place};

/// What a cached folder must have: file → SHA-256.
const SEAL: &str = "digests.json";

/// The checks of all frameworks here and of `.ci/check_mutations.py --full` cache 3.0 GB together; each
/// further mistake that is looked for adds some tens of MB.
const LIMIT_BYTES: u64 = 4 << 30;

/// Another check may be about to read what was used so lately.
const IN_USE: Duration = Duration::from_secs(60 * 60);

/// What jobs import is learnt anew after a month, should nothing need most of it any more.
const IMPORTS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where the numbers of the reference are cached.
pub(super) fn folder(home: &Home) -> PathBuf {
    home.scratch().join("reference")
}

/// Where checks work, one folder each.
pub(super) fn work(home: &Home) -> PathBuf {
    home.scratch().join("work")
}

/// Where it is kept what jobs import.
pub(super) fn imports(home: &Home) -> PathBuf {
    home.scratch().join("imports")
}

/// Whether a folder is there, whole and as it was computed.
pub(super) fn is_cached(folder: &Path) -> bool {
    let sealed = Place::new(folder, SEAL).read().ok().flatten();
    let sealed = sealed.and_then(|text| serde_json::from_str::<FileDigests>(&text).ok());
    sealed.is_some_and(|sealed| digests(folder, false).is_ok_and(|found| found == sealed))
}

/// Puts the numbers of a folder in place. What was there goes.
pub(super) fn put(folder: &Path, place: &Path) -> Result<()> {
    let cannot = || format!("cannot read what is in `{}`", folder.display());
    let digests = digests(folder, true).with_context(cannot)?;
    Place::new(folder, SEAL).seal(&serde_json::to_vec(&digests)?)?;
    Place::new(place, SEAL).put(folder)
}

/// File, below its folder → SHA-256.
type FileDigests = BTreeMap<PathBuf, String>;

/// Returns the digests of all files but the seal; with `durably`, they are on disk then.
fn digests(folder: &Path, durably: bool) -> io::Result<FileDigests> {
    let mut digests = FileDigests::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path != folder.join(SEAL) {
                let file = regular::open(&path)?;
                let digest = sha256_of(&file)?;
                if durably {
                    file.sync_all()?;
                }
                digests.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), digest);
            }
        }
    }
    Ok(digests)
}

/// Notes that a cached folder is of use.
pub(super) fn used(folder: &Path) -> io::Result<()> {
    Place::new(folder, SEAL).used()
}

/// Removes what no check will miss: the numbers that were not used for longest while there are too
/// many, and the folders of checks that were killed.
///
/// Nothing fails if something cannot be removed: it is tried again at the next check.
pub(super) fn tidy(home: &Home) {
    seal::sweep(&folder(home), SEAL, LIMIT_BYTES, IN_USE);
    clear_unsealed(&folder(home), IN_USE);
    clear(&work(home), IN_USE);
    clear_old(&imports(home), IMPORTS_KEPT);
}

/// Removes folders without a seal: of a rosetta that cached without digests, or half removed.
fn clear_unsealed(store: &Path, in_use: Duration) {
    for folder in entries(store) {
        let is_old = age(&folder).is_some_and(|age| age > in_use);
        if is_old && folder.is_dir() && !Place::new(&folder, SEAL).is_whole() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Removes the folders of processes that have ended; their names end with `-PID-NUMBER`.
fn clear(work: &Path, in_use: Duration) {
    for folder in entries(work) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let Some(pid) = name.rsplit('-').nth(1) else { continue };
        // The home may be shared with another machine, whose processes are not seen here.
        let is_old = age(&folder).is_some_and(|age| age > in_use);
        if is_old && !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Removes files that nobody has written for so long.
fn clear_old(folder: &Path, kept: Duration) {
    for file in entries(folder).filter(|file| age(file).is_some_and(|age| age > kept)) {
        let _ = fs::remove_file(&file);
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Returns how long ago a file or folder was modified; nothing if it is not there.
fn age(path: &Path) -> Option<Duration> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    /// Keeps `bytes` of numbers, last used `hours` ago.
    fn keep(store: &Path, name: &str, bytes: usize, hours: u32) -> PathBuf {
        let folder = store.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(folder.join("weights")).unwrap();
        fs::write(folder.join("weights/a.npy"), vec![0; bytes]).unwrap();
        let digests = digests(&folder, true).unwrap();
        fs::write(folder.join(SEAL), serde_json::to_vec(&digests).unwrap()).unwrap();
        let seal = File::options().append(true).open(folder.join(SEAL)).unwrap();
        seal.set_modified(SystemTime::now() - hours * HOUR).unwrap();
        folder
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let store = tempfile::tempdir().unwrap();
        let old = keep(store.path(), "old", 400, 30);
        let older = keep(store.path(), "older", 400, 40);
        let new = keep(store.path(), "new", 400, 20);
        seal::sweep(store.path(), SEAL, 1000, HOUR);
        assert!(is_cached(&new) && is_cached(&old) && !older.exists());
        used(&old).unwrap();
        seal::sweep(store.path(), SEAL, 500, HOUR);
        assert!(is_cached(&old) && !new.exists());
    }

    #[test]
    fn what_was_damaged_is_not_cached() {
        let store = tempfile::tempdir().unwrap();
        let file = |folder: &Path| folder.join("weights/a.npy");
        type Damage = fn(&Path);
        let damage: [(&str, Damage); 5] = [
            ("nothing", |_| ()),
            ("a bit", |file| fs::write(file, [&[1][..], &[0; 399]].concat()).unwrap()),
            ("the end", |file| fs::write(file, [0; 392]).unwrap()),
            ("a file", |file| fs::remove_file(file).unwrap()),
            ("one more", |file| fs::write(file.with_extension("x"), "").unwrap()),
        ];
        for (what, damage) in damage {
            let folder = keep(store.path(), what, 400, 0);
            damage(&file(&folder));
            assert_eq!(is_cached(&folder), what == "nothing", "{what}");
        }
        let [made, place] = ["made", "a bit"].map(|name| store.path().join(name));
        fs::create_dir(&made).unwrap();
        fs::write(made.join("outputs.npy"), "right").unwrap();
        put(&made, &place).unwrap();
        assert!(is_cached(&place) && !made.exists() && !file(&place).exists());
    }

    #[test]
    fn what_is_in_use_stays_however_much_it_is() {
        let store = tempfile::tempdir().unwrap();
        let folder = keep(store.path(), "new", 400, 0);
        seal::sweep(store.path(), SEAL, 100, HOUR);
        assert!(is_cached(&folder));
    }

    #[test]
    fn a_killed_check_leaves_nothing_for_ever() {
        let work = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        // Above the kernel's largest process number.
        let names = [format!("cnn.fake.cpu.1-{pid}-0"), "cnn.fake.cpu.1-4194305-0".to_owned()];
        let [ours, dead] = names.map(|name| {
            let folder = work.path().join(name);
            fs::create_dir(&folder).unwrap();
            File::open(&folder).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
            folder
        });
        clear(work.path(), 3 * HOUR);
        assert!(ours.exists() && dead.exists());
        clear(work.path(), HOUR);
        assert!(ours.exists() && !dead.exists());
    }
}
