//! What a shim is told: the job to run and who wants it. Written by a launcher, read by the shim.
//!
//! Must not depend on how a job is run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::intake::cannot_write;
use super::kernel;
use crate::catalog::Device;
use crate::container::Container;
use crate::machine::Machine;

/// One process to be run as a job: what is wanted, wherever it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// An absolute path, or a name to be found by `PATH` of `environment`.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub environment: Environment,
    /// The working folder.
    pub folder: PathBuf,
    /// An existing, empty folder for `launch.json`, `events.jsonl`, `chatter.log`, `stderr.log` and `done.json`.
    pub job_folder: PathBuf,
    pub timeout: Duration,
    /// How long the process may say nothing at all, on standard output or error.
    pub stall_timeout: Option<Duration>,
    /// How long it may take to stop when asked, before it is killed.
    pub grace: Duration,
    /// Where it computes; the GPUs are watched while a job uses them.
    pub device: Device,
    /// How many CPUs it is kept to: the first of those that are allowed where it runs.
    pub cpus: Option<u32>,
    /// The resident memory of the whole tree above which it is killed.
    pub memory_limit_bytes: Option<u64>,
    /// Whether somebody wants to know on what machine it ran and what disturbed it.
    pub is_measured: bool,
    /// The container that it runs in, shim and all.
    #[serde(default)]
    pub container: Option<Container>,
}

impl Launch {
    /// Returns the CPUs that it would be kept to here: more of them wanted than there are means all.
    pub fn cpus_here(&self) -> Option<Vec<usize>> {
        let wanted = usize::try_from(self.cpus?).unwrap_or(usize::MAX);
        let mut cpus = kernel::cpus_allowed(0);
        cpus.truncate(wanted);
        (!cpus.is_empty()).then_some(cpus)
    }
}

/// Whether a job shall go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cancel {
    #[default]
    No,
    Gracefully,
    Now,
}

/// What the shim is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub launch: Launch,
    /// Who must be alive for the job to go on; nobody in particular in a Slurm task.
    pub parent: Option<i32>,
    /// What the job's processes are known by when its shim is gone.
    pub tag: String,
    /// Whether the job ends when the shim's standard input does: in a container, whose client holds it.
    #[serde(default)]
    pub follows_input: bool,
    /// The machine that the shim is on, where whoever starts it has looked already.
    #[serde(default)]
    pub machine: Option<Machine>,
}

impl Order {
    /// Returns where the order of a job is.
    pub fn path(job_folder: &Path) -> PathBuf {
        job_folder.join("launch.json")
    }

    /// Writes the order into the job's folder, which has none, and returns its path.
    pub fn write(&self) -> Result<PathBuf> {
        let path = Order::path(&self.launch.job_folder);
        let text = serde_json::to_vec_pretty(self).context("cannot describe the launch in JSON")?;
        // For this user's eyes: variables may hold secrets.
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(&text));
        written.with_context(|| cannot_write(&path))?;
        Ok(path)
    }

    pub(super) fn read(path: &Path) -> Result<Order> {
        let text = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("`{}` is not an order", path.display()))
    }
}
