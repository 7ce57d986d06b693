//! One process at a time does a thing. May not know what is done.

use std::fs::{File, TryLockError};
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
                report(Progress::Doing(format!("waiting for {others}")));
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
        };
        match locked {
            Ok(()) => Ok(Lock { file }),
            Err(error) => Err(hinted(
                format!("cannot lock `{}`: {error}", path.display()),
                "set `ROSETTA_HOME` to a folder on a local disk",
            )),
        }
    }

    /// Takes a lock unless another process has it.
    pub fn try_take(path: &Path) -> Option<Lock> {
        let file = open(path).ok()?;
        file.try_lock().ok().map(|()| Lock { file })
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

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot open the lock `{}`", path.display()))
}
