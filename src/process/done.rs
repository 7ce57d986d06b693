//! What a shim tells: how a job ended, what it used, and where it ran. Written by the shim, read by a launcher.
//!
//! Must not depend on how a job is run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::intake::cannot_write;
use super::kernel::monotonic_seconds;
use crate::gpu;
use crate::machine::Machine;
use crate::publish::{make_way, publish};

/// Where the shim says how the job ended, in the job's folder.
pub const DONE: &str = "done.json";

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    Stalled,
    OutOfMemory,
    Cancelled,
    /// It said that it was done and did not exit.
    DidNotExit,
    /// rosetta ended it, for this reason.
    Refused(String),
    CannotStart(String),
    /// Nobody knows: the shim was killed.
    Lost(String),
}

/// How the job ended, and what it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub exit: Exit,
    /// Start of the process on this machine's monotonic clock, in seconds.
    pub started: f64,
    pub wall_seconds: f64,
    pub user_seconds: f64,
    pub system_seconds: f64,
    /// The largest resident set of one process, by the kernel.
    pub max_rss_bytes: u64,
    /// The largest sum over the tree in a sample, and at least `max_rss_bytes`.
    pub peak_rss_bytes: u64,
    pub samples: u32,
    pub threads_seen: u32,
    pub processes_seen: u32,
    pub cpus_allowed: BTreeSet<usize>,
    pub left_behind: u32,
    pub oom_kills: u64,
    /// The environment as the process saw it.
    pub environment: BTreeMap<String, String>,
    /// The machine when the job began; absent of a job that is not measured.
    pub machine: Option<Machine>,
    /// What disturbed the job, if something did.
    pub disturbance: Option<String>,
    /// What was used of the GPUs meanwhile; absent of a job of the CPU and where there is no GPU.
    pub gpu: Option<gpu::Usage>,
}

impl Done {
    /// Reads what a shim wrote; none if it never did.
    pub fn read(job_folder: &Path) -> Result<Option<Done>> {
        let path = job_folder.join(DONE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            }
        };
        let done = serde_json::from_slice(&text);
        done.map(Some).with_context(|| format!("`{}` is not what a shim writes", path.display()))
    }

    /// Publishes the end: whoever sees the file sees all of it.
    pub(super) fn write(&self, job_folder: &Path) -> Result<()> {
        let path = job_folder.join(DONE);
        make_way(&path);
        let text = serde_json::to_vec_pretty(self)?;
        publish(&path, &text).with_context(|| cannot_write(&path))
    }

    /// Returns the end of a job whose process never ran, or of which nothing is known.
    pub(super) fn without_process(exit: Exit) -> Done {
        Done {
            exit,
            started: monotonic_seconds(),
            wall_seconds: 0.0,
            user_seconds: 0.0,
            system_seconds: 0.0,
            max_rss_bytes: 0,
            peak_rss_bytes: 0,
            samples: 0,
            threads_seen: 0,
            processes_seen: 0,
            cpus_allowed: BTreeSet::new(),
            left_behind: 0,
            oom_kills: 0,
            environment: BTreeMap::new(),
            machine: None,
            disturbance: None,
            gpu: None,
        }
    }

    /// Returns what can be said when the shim left no `done.json`.
    pub fn lost(status: ExitStatus, wall: Duration) -> Done {
        let exit = Exit::Lost(format!("the job's shim ended without a word: {status}"));
        Done { wall_seconds: wall.as_secs_f64(), ..Done::without_process(exit) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Done::read(folder.path()).unwrap(), None);
        let mut done = Done::lost(ExitStatus::from_raw(9), Duration::from_secs(2));
        assert!(matches!(&done.exit, Exit::Lost(why) if why.contains("signal: 9")));
        assert_eq!((done.wall_seconds, &done.machine), (2.0, &None));
        done.machine = Some(Machine { host: "node7".to_owned(), ..Machine::default() });
        done.gpu = Some(gpu::Usage { joules: Some(7.0), ..gpu::Usage::default() });
        done.write(folder.path()).unwrap();
        assert_eq!(Done::read(folder.path()).unwrap(), Some(done));
        fs::write(folder.path().join(DONE), "{}").unwrap();
        assert!(Done::read(folder.path()).is_err());
    }
}
