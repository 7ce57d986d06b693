//! What is stored of a run on a cluster, so that whoever comes later, with no process left, knows as much as who submitted it.
//!
//! ```text
//! results/runs/<run>/cluster/plan.json                   what was asked for, where everything is
//!                           /variables.json              variables to pass on, with their values; for its owner's eyes
//!                           /submissions/<n>.json        jobs of an array, and its id once Slurm has taken it
//!                           /submissions/<n>.sh          what its tasks run
//!                           /output/<array>_<task>.log   what they said
//!                           /attempts/<job>.<n>-<r>/     folder of an attempt: submission n, started anew r times
//!                           /seen.json                   how tasks ended, and which are absent since when
//!                           /cancelled                   nothing is to be started any more
//! ```
//!
//! An attempt that has come to its end has a record.json in its folder, published last. The first one that is found becomes the
//! job's folder, by a rename; those that come later stay where they are and count for nothing. Must not depend on Slurm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fate::Seen;
use crate::catalog::Device;
use crate::hint::hinted;
use crate::proof::Verdict;
use crate::publish::publish;
use crate::regular;
use crate::request::Request;

/// Version of the format of `plan.json`.
const VERSION: u32 = 1;

/// A run as its tasks need it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// Version of this format.
    pub cluster: u32,
    pub run: String,
    /// The launcher's file, and what it said then.
    pub launcher: PathBuf,
    pub launcher_text: String,
    pub request: Request,
    pub project: PathBuf,
    pub home: PathBuf,
    /// The rosetta that was asked, and its version.
    pub rosetta: PathBuf,
    pub version: String,
    /// Names of all jobs and their devices; a job is known by its place.
    pub jobs: Vec<(String, Device)>,
    /// What checks found before.
    pub verdicts: Vec<Verdict>,
}

/// Jobs of one array.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submission {
    pub number: u32,
    pub device: Device,
    /// The job of each task, by its place in the plan.
    pub jobs: Vec<usize>,
    /// What Slurm calls the array; absent until it has taken it.
    pub array: Option<String>,
    /// Why Slurm did not take it.
    pub refused: Option<String>,
}

/// The folder of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskAttempt {
    pub submission: u32,
    /// How often Slurm had started the task before.
    pub restart: u32,
    pub folder: PathBuf,
}

/// What a task says of itself when it begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    pub submission: u32,
    pub restart: u32,
    pub node: String,
    /// What Slurm calls the task.
    pub task: String,
    /// On the node's clock, in UTC (RFC 3339).
    pub started: String,
}

/// The folder `cluster/` of a run.
#[derive(Debug, Clone)]
pub struct Ledger {
    run: PathBuf,
}

impl Ledger {
    /// Returns that of a run's folder, whether there is one or not.
    pub fn of(run: &Path) -> Ledger {
        Ledger { run: run.to_owned() }
    }

    pub fn run_folder(&self) -> &Path {
        &self.run
    }

    pub fn is_there(&self) -> bool {
        self.path("plan.json").exists()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.run.join("cluster").join(name)
    }

    /// Writes the plan of a new run. `variables` may hold secrets.
    pub fn begin(&self, plan: &ClusterPlan, variables: &[String]) -> Result<()> {
        for name in ["submissions", "output", "attempts"] {
            let folder = self.path(name);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        if !variables.is_empty() {
            let path = self.path("variables.json");
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let written = file.and_then(|mut file| file.write_all(&serde_json::to_vec(variables)?));
            written.with_context(|| cannot_write(&path))?;
        }
        self.write("plan.json", plan)
    }

    pub fn plan(&self) -> Result<ClusterPlan> {
        let path = self.path("plan.json");
        let plan: Option<ClusterPlan> = read(&path)?;
        let plan = plan.ok_or_else(|| {
            let message = format!("there is no `{}`", path.display());
            hinted(message, "the run was not submitted to a cluster, or the folder is not shared")
        })?;
        match plan.cluster == VERSION {
            true => Ok(plan),
            false => Err(anyhow::anyhow!(
                "`{}` has version {}; this rosetta reads version {VERSION}",
                path.display(),
                plan.cluster
            )),
        }
    }

    /// Returns the variables to pass on.
    pub fn variables(&self) -> Result<Vec<String>> {
        Ok(read(&self.path("variables.json"))?.unwrap_or_default())
    }

    pub fn submission(&self, number: u32) -> Result<Submission> {
        let path = self.path(&format!("submissions/{number}.json"));
        read(&path)?.with_context(|| format!("there is no `{}`", path.display()))
    }

    /// Returns all submissions in their order.
    pub fn submissions(&self) -> Result<Vec<Submission>> {
        let mut found = Vec::new();
        for number in 1.. {
            match read(&self.path(&format!("submissions/{number}.json")))? {
                Some(submission) => found.push(submission),
                None => break,
            }
        }
        Ok(found)
    }

    pub fn write_submission(&self, submission: &Submission) -> Result<()> {
        self.write(&format!("submissions/{}.json", submission.number), submission)
    }

    pub fn seen(&self) -> Result<Seen> {
        Ok(read(&self.path("seen.json"))?.unwrap_or_default())
    }

    pub fn write_seen(&self, seen: &Seen) -> Result<()> {
        self.write("seen.json", seen)
    }

    pub fn is_cancelled(&self) -> bool {
        self.path("cancelled").exists()
    }

    pub fn cancel(&self) -> Result<()> {
        let path = self.path("cancelled");
        publish(&path, b"").with_context(|| cannot_write(&path))
    }

    /// Returns the folder of an attempt.
    pub fn attempt(&self, job: &str, submission: u32, restart: u32) -> PathBuf {
        self.path("attempts").join(format!("{job}.{submission}-{restart}"))
    }

    /// Returns the folders of all attempts that have not become a job's folder, by job, in their order.
    pub fn attempts(&self) -> Result<BTreeMap<String, Vec<TaskAttempt>>> {
        let folder = self.path("attempts");
        let listing = fs::read_dir(&folder);
        let listing = listing.with_context(|| format!("cannot list `{}`", folder.display()))?;
        let mut found = BTreeMap::<String, Vec<TaskAttempt>>::new();
        for entry in listing {
            let entry = entry.with_context(|| format!("cannot list `{}`", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some((job, submission, restart)) = parts(&name) {
                let attempt = TaskAttempt { submission, restart, folder: entry.path() };
                found.entry(job.to_owned()).or_default().push(attempt);
            }
        }
        found.values_mut().for_each(|attempts| attempts.sort());
        Ok(found)
    }

    /// Returns the jobs that have a record, by the names of their folders.
    pub fn sealed(&self, jobs: &[(String, Device)]) -> BTreeSet<usize> {
        let is_sealed = |job: &str| self.run.join(job).join("record.json").exists();
        let jobs = jobs.iter().enumerate();
        jobs.filter(|(_, (name, _))| is_sealed(name)).map(|(index, _)| index).collect()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path(name);
        let text = serde_json::to_vec(value)?;
        publish(&path, &text).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free some space; results are intact, and `rosetta runs collect` goes on from here"
                }
                _ => "results are intact, and `rosetta runs collect` goes on from here",
            };
            hinted(format!("{}: {error}", cannot_write(&path)), hint)
        })
    }
}

/// Returns the job, the submission and the restart that the name of an attempt's folder says.
fn parts(name: &str) -> Option<(&str, u32, u32)> {
    let (job, numbers) = name.rsplit_once('.')?;
    let (submission, restart) = numbers.split_once('-')?;
    Some((job, submission.parse().ok()?, restart.parse().ok()?))
}

impl TaskAttempt {
    /// Returns what the task said when it began; none where it could not even say that.
    pub fn started(&self) -> Option<Started> {
        read(&self.folder.join("attempt.json")).ok().flatten()
    }

    pub fn has_record(&self) -> bool {
        self.folder.join("record.json").exists()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match regular::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let value = serde_json::from_slice(&text);
    value.map(Some).with_context(|| format!("`{}` is damaged", path.display()))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_an_attempt_says_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(folder.path());
        for (job, submission, restart) in
            [("cnn.torch.cpu.1", 2, 0), ("cnn.torch.cpu.1", 1, 11), ("rnn.b.cpu.2", 1, 0)]
        {
            fs::create_dir_all(ledger.attempt(job, submission, restart)).unwrap();
        }
        fs::create_dir_all(ledger.path("attempts/not one of ours")).unwrap();
        let found = ledger.attempts().unwrap();
        let torch = &found["cnn.torch.cpu.1"];
        assert_eq!(
            torch.iter().map(|it| (it.submission, it.restart)).collect::<Vec<_>>(),
            [(1, 11), (2, 0)]
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_not_there_is_none_and_what_is_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(folder.path());
        assert!(ledger.submissions().unwrap().is_empty() && !ledger.is_there());
        fs::create_dir_all(ledger.path("submissions")).unwrap();
        fs::write(ledger.path("submissions/1.json"), "{").unwrap();
        let error = ledger.submissions().unwrap_err();
        assert!(format!("{error:#}").contains("submissions/1.json` is damaged"), "{error:#}");
    }
}
