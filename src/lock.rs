//! One process at a time does a thing, or several share it. Must not depend on what is done.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::hint::hinted;
use crate::progress::{Progress, Report};

/// A lock file held; given up when dropped or when the process ends.
///
/// The file stays: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes a lock; says that it waits for `others` if another process has it.
    pub fn wait(path: &Path, others: &str, report: Report) -> Result<Lock> {
        let file = open(path)?;
        let locked = match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                report(Progress::Waiting(format!("waiting for {others}")));
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
        };
        match locked {
            Ok(()) => Ok(Lock { file }),
            Err(error) => Err(cannot_lock(path, &error)),
        }
    }

    /// Takes a lock unless another process has it.
    pub fn try_take(path: &Path) -> Option<Lock> {
        let file = open(path).ok()?;
        file.try_lock().ok().map(|()| Lock { file })
    }

    /// Shares the lock of a file that others may remove; none if it is gone.
    ///
    /// Whoever removes such a file takes it alone first, with [`Lock::try_alone`].
    pub fn share(path: &Path, report: Report) -> Result<Option<Lock>> {
        let Ok(file) = File::open(path) else { return Ok(None) };
        let locked = match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                let process = holders(path).first().map(|process| format!("process {process}"));
                let process = process.unwrap_or_else(|| "a process".to_owned());
                let what = format!("waiting for {process}, which holds `{}`", path.display());
                report(Progress::Waiting(what));
                file.lock_shared()
            }
            Err(TryLockError::Error(error)) => Err(error),
        };
        locked.map_err(|error| cannot_lock(path, &error))?;
        // It may have been removed, and even made anew, between the two calls.
        Ok(is_still(path, &file).then_some(Lock { file }))
    }

    /// Takes the lock of a file that is there, unless it is shared by another; none then.
    pub fn try_alone(path: &Path) -> Result<Option<Lock>> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(cannot_lock(path, &error)),
        }
    }

    /// Returns the file, which holds the lock for a program that inherits it too.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Programs that were started share it: closing our end alone would leave it to them.
        let _ = self.file.unlock();
    }
}

/// Returns the processes that hold the lock of a file, as far as the kernel tells.
pub fn holders(path: &Path) -> Vec<u32> {
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    let (device, inode) = (metadata.dev(), metadata.ino());
    let file = format!("{:02x}:{:02x}:{inode}", libc::major(device), libc::minor(device));
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids = locks.lines().filter_map(|line| holder(line, &file)).collect::<Vec<_>>();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Returns who holds a lock: `1: FLOCK ADVISORY READ 3266 fe:00:10133508 0 EOF`. One who waits for
/// it has an arrow in front, one outside this container has the id 0.
fn holder(line: &str, file: &str) -> Option<u32> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, found, ..] if found == file => {
            pid.parse().ok().filter(|pid| *pid != 0)
        }
        _ => None,
    }
}

fn is_still(path: &Path, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (now, then) = (fs::metadata(path).map(identity), file.metadata().map(identity));
    matches!((now, then), (Ok(now), Ok(then)) if now == then)
}

fn cannot_lock(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let message = format!("cannot lock `{}`: {error}", path.display());
    hinted(message, "set `ROSETTA_HOME` to a folder on a local disk")
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot open the lock `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_is_nobodys_alone_and_its_holders_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        assert!(Lock::share(&path, &|_| ()).unwrap().is_none());
        fs::write(&path, "").unwrap();
        let both = [(); 2].map(|()| Lock::share(&path, &|_| ()).unwrap().unwrap());
        assert!(Lock::try_alone(&path).unwrap().is_none());
        assert_eq!(holders(&path), [std::process::id()]);
        drop(both);
        assert!(Lock::try_alone(&path).unwrap().is_some());
        assert!(holders(&path).is_empty());
    }

    #[test]
    fn who_waits_for_a_shared_file_says_for_whom() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        fs::write(&path, "").unwrap();
        let alone = std::sync::Mutex::new(Lock::try_alone(&path).unwrap());
        let heard = std::sync::Mutex::new(Vec::new());
        let report = |progress| {
            if let Progress::Waiting(what) = progress {
                heard.lock().unwrap().push(what);
            }
            alone.lock().unwrap().take();
        };
        assert!(Lock::share(&path, &report).unwrap().is_some());
        let (process, path) = (std::process::id(), path.display());
        let expected = format!("waiting for process {process}, which holds `{path}`");
        assert_eq!(heard.into_inner().unwrap(), [expected]);
    }

    #[test]
    fn a_file_that_was_made_anew_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        fs::write(&path, "").unwrap();
        let file = File::open(&path).unwrap();
        assert!(is_still(&path, &file));
        fs::rename(&path, folder.path().join("old")).unwrap();
        assert!(!is_still(&path, &file));
        fs::write(&path, "").unwrap();
        assert!(!is_still(&path, &file));
    }

    #[test]
    fn only_who_holds_a_lock_is_a_holder() {
        let cases = [
            ("1: FLOCK  ADVISORY  READ 3266 fe:00:17 0 EOF", Some(3266)),
            ("1: -> FLOCK  ADVISORY  WRITE 3267 fe:00:17 0 EOF", None),
            ("2: FLOCK  ADVISORY  READ 3266 fe:00:18 0 EOF", None),
            ("3: POSIX  ADVISORY  READ 3266 fe:00:17 0 EOF", None),
            ("4: FLOCK  ADVISORY  READ 0 fe:00:17 0 EOF", None),
        ];
        for (line, expected) in cases {
            assert_eq!(holder(line, "fe:00:17"), expected, "{line}");
        }
    }
}
