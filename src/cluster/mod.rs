//! A cluster as an engine for a run's jobs: what it is asked, what it answers, what that means for each job.
//!
//! Must not depend on how a job is run nor on what is in a record.
//!
//! rosetta plans, submits and collects; Slurm decides when and where a task runs. What a task has published in the folder of
//! its attempt is the record. Slurm is asked for one thing only: whether a task may still come.

mod array;
mod fate;
mod field;
mod launcher;
mod ledger;
mod script;
mod slurm;

pub use array::parse as parse_array;
pub use fate::{Fate, Look, Seen, TaskEnd, fate};
pub use launcher::{ClusterLauncher, LauncherFile, Resources, find};
pub use ledger::{ClusterPlan, Ledger, Started, Submission, TaskAttempt};
pub use script::{SUBMISSION, name, script, submit_words};
pub use slurm::{ArrayTask, Queue, Slurm, TaskState};
