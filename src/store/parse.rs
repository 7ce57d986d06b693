//! One stored file or line → what it holds, or why it cannot be read. Must not depend on where it lies.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::record::{self, Record};
use crate::store::{RUN_VERSION, Run};

/// What to do with something that is damaged.
pub(super) const REMOVE: &str = "remove it, or move it out of the results";
/// What to do with something that this rosetta does not know.
const UPDATE: &str = "use the rosetta that wrote it, or a newer one";

/// Returns whether a path is a file that can be opened without waiting: a pipe would hang.
pub(super) fn is_regular(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Why something that is there cannot be read.
pub(super) struct Damage {
    pub(super) what: String,
    pub(super) hint: String,
    /// The job that a line is of, as far as it tells.
    pub(super) job: Option<String>,
    /// Whether it is not there at all.
    pub(super) is_absent: bool,
}

impl Damage {
    fn new(what: impl Into<String>, hint: &str, job: Option<String>) -> Damage {
        Damage { what: what.into(), hint: hint.to_owned(), job, is_absent: false }
    }

    pub(super) fn unreadable(error: &io::Error) -> Damage {
        let (what, hint) = match error.kind() {
            ErrorKind::NotFound => ("is missing".to_owned(), "put it back, or remove the folder"),
            ErrorKind::IsADirectory => ("is a folder, not a file".to_owned(), REMOVE),
            ErrorKind::PermissionDenied => {
                ("cannot be read: permission denied".to_owned(), "make it readable for this user")
            }
            _ => (format!("cannot be read: {error}"), REMOVE),
        };
        let is_absent = error.kind() == ErrorKind::NotFound;
        Damage { is_absent, ..Damage::new(what, hint, None) }
    }
}

/// What is stored with the version of its format.
pub(super) trait Versioned: DeserializeOwned {
    const NAME: &'static str;
    const NEWEST: u32;
    fn version(&self) -> u32;
}

impl Versioned for Record {
    const NAME: &'static str = "record";
    const NEWEST: u32 = record::VERSION;
    fn version(&self) -> u32 {
        self.record
    }
}

impl Versioned for Run {
    const NAME: &'static str = "run";
    const NEWEST: u32 = RUN_VERSION;
    fn version(&self) -> u32 {
        self.run
    }
}

pub(super) fn read_whole<T: Versioned>(path: &Path) -> Result<T, Damage> {
    parse(&read_file(path)?)
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Damage> {
    let metadata = fs::metadata(path).map_err(|error| Damage::unreadable(&error))?;
    if metadata.is_dir() {
        return Err(Damage::unreadable(&ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(Damage::new("is not a regular file", REMOVE, None));
    }
    fs::read(path).map_err(|error| Damage::unreadable(&error))
}

pub(super) fn parse<T: Versioned>(text: &[u8]) -> Result<T, Damage> {
    let error = match serde_json::from_slice::<T>(text) {
        Ok(found) if found.version() <= T::NEWEST => return Ok(found),
        Ok(found) => return Err(newer::<T>(u64::from(found.version()), job_of(text))),
        Err(error) => error,
    };
    let job = job_of(text);
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        let what = format!("is damaged: {error}");
        return Err(Damage::new(what, REMOVE, job));
    };
    match value.get(T::NAME).and_then(Value::as_u64) {
        Some(version) if version > u64::from(T::NEWEST) => Err(newer::<T>(version, job)),
        Some(_) => {
            let what = format!("has what this rosetta does not know: {error}");
            Err(Damage::new(what, UPDATE, job))
        }
        None => {
            let what = format!("is not a {} of rosetta: {error}", T::NAME);
            Err(Damage::new(what, REMOVE, job))
        }
    }
}

fn newer<T: Versioned>(version: u64, job: Option<String>) -> Damage {
    let (name, newest) = (T::NAME, T::NEWEST);
    let what = format!("is of {name} format {version}; this rosetta reads format {newest}");
    Damage::new(what, UPDATE, job)
}

/// Returns the job that a line names, torn or not: it stands near the beginning.
fn job_of(text: &[u8]) -> Option<String> {
    let key = b"\"job\":\"";
    let at = memchr::memmem::find(text, key)? + key.len();
    let rest = &text[at..];
    let end = memchr::memchr(b'"', rest)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
