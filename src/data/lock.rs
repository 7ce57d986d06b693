//! One process at a time makes a thing of the store.
//!
//! May not know what is made.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::data::sealed::{create_folder, explain_disk};
use crate::hint::hinted;
use crate::progress::{Progress, Report};

/// A lock that other rosetta processes respect; it ends with the value or the process.
pub struct Lock(#[expect(dead_code, reason = "holds the lock until it is dropped")] File);

impl Lock {
    /// Waits until no other process makes the same thing.
    pub fn take(root: &Path, key: &str, report: Report) -> Result<Lock> {
        let folder = root.join("locks");
        create_folder(&folder)?;
        let path = folder.join(format!("{key}.lock"));
        // The file stays: removing it would let two processes lock two files of one name.
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open `{}`", path.display()));
        let file = file.map_err(explain_disk)?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                report(Progress::Doing(format!("waiting for another rosetta at work on {key}")));
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        match locked {
            Ok(()) => Ok(Lock(file)),
            Err(error) => {
                let message = format!("cannot lock `{}`: {error}", path.display());
                let advice = "set `ROSETTA_HOME` to a folder on a local disk";
                Err(hinted(message, advice))
            }
        }
    }
}
