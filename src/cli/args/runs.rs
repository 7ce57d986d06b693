//! Arguments of `rosetta runs`. Types only.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates as Names;

use crate::cli::complete;

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show how far a run on a cluster is
    #[command(after_help = "Examples:
  rosetta runs show latest             the newest run
  rosetta runs show 20261127 --json    another, for a program")]
    Show(RunsShowArgs),
    /// Take in what a cluster's tasks have left, and submit again what was lost
    #[command(after_help = "Examples:
  rosetta runs collect latest           what there is, as from cron
  rosetta runs collect 20261127 --wait  until every job has a record

Any rosetta may collect, as often as it likes: nothing is taken in twice, and no process needs to have
lived since the run was submitted.

Exit code: 0 all that has ended is ok, 1 some job is not, 2 Slurm did not answer or refused, or rosetta or
its input failed, 130 interrupted. `rosetta runs show RUN --json` says whether jobs are left.")]
    Collect(RunsCollectArgs),
    /// Cancel the tasks of a run on a cluster; records of jobs that have ended stay
    #[command(after_help = "Examples:
  rosetta runs cancel latest    stop what is left of the newest run")]
    Cancel(RunArg),
}

#[derive(Debug, Clone, Args)]
pub struct RunArg {
    /// The run: its id, the beginning of it, or `latest`
    #[arg(value_name = "RUN", add = Names::new(complete::runs))]
    pub run: String,
}

#[derive(Debug, Clone, Args)]
pub struct RunsShowArgs {
    #[command(flatten)]
    pub run: RunArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RunsCollectArgs {
    #[command(flatten)]
    pub run: RunArg,
    /// Go on until every job has a record
    #[arg(long)]
    pub wait: bool,
}
