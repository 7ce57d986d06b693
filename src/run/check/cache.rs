//! The cached reference: its numbers, from one check to the next, and which of them go when they
//! become many.
//!
//! Must not depend on what the numbers are or how they are computed. A folder counts as cached by
//! the file of its events; whose modification time is that of its last use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::home::Home;
use crate::seal::{self, Place};

/// What a cached folder must have.
const EVENTS: &str = "events.jsonl";

/// The checks of all frameworks here and of `.ci/check_mutations.py --full` cache 3.0 GB together; each
/// further mistake that is looked for adds some tens of MB.
const LIMIT_BYTES: u64 = 4 << 30;

/// Another check may be about to read what was used so lately.
const IN_USE: Duration = Duration::from_secs(60 * 60);

/// Where the numbers of the reference are cached.
pub(super) fn folder(home: &Home) -> PathBuf {
    home.checks().join("reference")
}

/// Where checks work, one folder each.
pub(super) fn work(home: &Home) -> PathBuf {
    home.checks().join("work")
}

/// Whether a folder is there, whole.
pub(super) fn is_cached(folder: &Path) -> bool {
    Place::new(folder, EVENTS).is_whole()
}

/// Notes that a cached folder is of use.
pub(super) fn used(folder: &Path) -> io::Result<()> {
    Place::new(folder, EVENTS).used()
}

/// Removes what no check will miss: the numbers that were not used for longest while there are too
/// many, and the folders of checks that were killed.
///
/// Nothing fails if something cannot be removed: it is tried again at the next check.
pub(super) fn tidy(home: &Home) {
    seal::sweep(&folder(home), EVENTS, LIMIT_BYTES, IN_USE);
    clear(&work(home), IN_USE);
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
        fs::write(folder.join("outputs.npy"), vec![0; bytes]).unwrap();
        let events = File::create(folder.join(EVENTS)).unwrap();
        events.set_modified(SystemTime::now() - hours * HOUR).unwrap();
        folder
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let store = tempfile::tempdir().unwrap();
        let old = keep(store.path(), "old", 400, 30);
        let older = keep(store.path(), "older", 400, 40);
        let new = keep(store.path(), "new", 400, 20);
        seal::sweep(store.path(), EVENTS, 1000, HOUR);
        assert!(is_cached(&new) && is_cached(&old) && !older.exists());
        used(&old).unwrap();
        seal::sweep(store.path(), EVENTS, 500, HOUR);
        assert!(is_cached(&old) && !new.exists());
    }

    #[test]
    fn what_is_in_use_stays_however_much_it_is() {
        let store = tempfile::tempdir().unwrap();
        let folder = keep(store.path(), "new", 400, 0);
        seal::sweep(store.path(), EVENTS, 100, HOUR);
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
