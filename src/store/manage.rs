//! What a person does with runs that are stored: names them, writes a note, removes them.
//!
//! Must not depend on what is in a record.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::folder::name_of;
use super::mend::{self, REMOVING};
use super::{Store, cannot_write, json_line};
use crate::hint::hinted;
use crate::publish::publish;
use crate::regular;

/// Version of the format.
const VERSION: u32 = 1;
/// Where it is stored, in the folder of a run.
const FILE: &str = "about.json";

/// What a person says of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of this format.
    about: u32,
    /// A name by which it may be called; it is never pruned.
    pub label: Option<String>,
    pub note: Option<String>,
}

impl About {
    /// Returns what is said of the run in a folder; what cannot be read says nothing.
    pub fn of(folder: &Path) -> About {
        let text = regular::read(&folder.join(FILE)).unwrap_or_default();
        let about = serde_json::from_slice::<About>(&text).unwrap_or_default();
        if about.about == VERSION { about } else { About::default() }
    }
}

/// Returns a label, or why it cannot be one: a run is called by it as by its id.
pub fn check_label(label: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let is_taken = label == "latest" || label.starts_with(|c: char| c.is_ascii_digit());
    match !label.is_empty() && label.len() <= 64 && label.chars().all(is_plain) && !is_taken {
        true => Ok(label.to_owned()),
        false => Err("a label has letters, digits, `.`, `_` and `-`, at most 64, begins with no digit, and is not \
             `latest`"
            .to_owned()),
    }
}

impl Store {
    /// Changes what is said of a run.
    pub fn describe(&self, folder: &Path, change: impl FnOnce(&mut About)) -> Result<()> {
        let mut about = About { about: VERSION, ..About::of(folder) };
        change(&mut about);
        let path = folder.join(FILE);
        let written = json_line(&about).and_then(|line| publish(&path, &line));
        written.map_err(|error| cannot_write(&path, &error))
    }

    /// Refuses a label that another run has.
    pub fn refuse_taken(&self, label: &str, folder: &Path) -> Result<()> {
        let others = self.folders()?.into_iter().filter(|other| other != folder);
        for other in others {
            if About::of(&other).label.as_deref() == Some(label) {
                let other = name_of(&other);
                return Err(hinted(
                    format!("run `{other}` has the label `{label}`"),
                    format!("take it away with `rosetta runs label {other}`"),
                ));
            }
        }
        Ok(())
    }

    /// Removes a run, unless a rosetta holds it. It is gone at once; what a crash leaves of it is removed at the next start.
    pub fn remove(&self, folder: &Path) -> Result<()> {
        let (id, shown) = (name_of(folder), folder.display());
        let held = File::open(folder.join("run.json")).ok();
        if let Some(Err(error)) = held.as_ref().map(File::try_lock) {
            match error {
                TryLockError::WouldBlock => {
                    bail!("run `{id}` is going on: another rosetta holds it")
                }
                TryLockError::Error(error) => return Err(cannot_write(folder, &error)),
            }
        }
        let aside = folder.with_file_name(format!("{REMOVING}{id}"));
        fs::rename(folder, &aside).with_context(|| format!("cannot remove `{shown}`"))?;
        fs::remove_dir_all(&aside).with_context(|| format!("cannot remove `{}`", aside.display()))
    }

    /// Returns what killed rosettas have left among the runs: folders that are no run yet or none any more, and hidden parts.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        mend::leftovers(&self.runs())
    }

    /// Removes that, and puts into records.jsonl what only record.json has.
    pub fn tidy(&self) {
        mend::mend(&self.runs());
    }

    /// Returns whether a folder is one of a run of ours.
    pub fn has(&self, folder: &Path) -> io::Result<bool> {
        Ok(fs::canonicalize(folder)?.parent() == Some(&fs::canonicalize(self.runs())?))
    }
}
