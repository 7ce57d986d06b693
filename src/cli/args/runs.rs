//! Arguments of `rosetta runs`. Types only.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates as Names;

use crate::cli::complete;
use crate::store::check_label;

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, oldest first
    #[command(after_help = "Examples:
  rosetta runs list          all runs, as `rosetta list runs`")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a run: how each of its jobs ended, where it is, how large it is
    #[command(after_help = "Examples:
  rosetta runs show latest             the newest run
  rosetta runs show 20261127 --json    another, for a program")]
    Show(RunsShowArgs),
    /// Give a run a label, by which it may be called and which keeps it from being pruned; without one, take it away
    #[command(after_help = "Examples:
  rosetta runs label latest before-2.15    call it so, as in `rosetta compare before-2.15`
  rosetta runs label before-2.15           take the label away")]
    Label {
        #[command(flatten)]
        run: RunArg,
        /// Letters, digits, `.`, `_` and `-`
        #[arg(value_parser = check_label)]
        label: Option<String>,
    },
    /// Write a note to a run; without one, take it away
    #[command(after_help = "Examples:
  rosetta runs note latest 'the fan was loud'    it stands in `rosetta runs show`
  rosetta runs note latest                       take it away")]
    Note {
        #[command(flatten)]
        run: RunArg,
        /// Any text
        note: Option<String>,
    },
    /// Remove runs
    #[command(after_help = "Examples:
  rosetta runs remove 20261127 --dry-run    what would go
  rosetta runs remove 20261127 --yes        without a question")]
    Remove {
        /// Runs: ids, beginnings of them, or labels
        #[arg(value_name = "RUN", required = true, add = Names::new(complete::runs))]
        runs: Vec<String>,
        #[command(flatten)]
        agreement: AgreementArgs,
    },
    /// Remove old runs that no table shows
    #[command(after_help = "Examples:
  rosetta runs prune --dry-run           what would go
  rosetta runs prune --keep 90 --yes     for cron

A run stays if it is one of the newest, has a label, goes on just now, or has the newest good result of
a target: tables are the same before and after.")]
    Prune {
        /// How many of the newest runs stay in any case
        #[arg(long, value_name = "COUNT", default_value_t = 30)]
        keep: usize,
        #[command(flatten)]
        agreement: AgreementArgs,
    },
}

#[derive(Debug, Clone, Args)]
pub struct RunArg {
    /// The run: its id, the beginning of it, its label, or `latest`
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

/// Whether something is removed without a question, or at all.
#[derive(Debug, Clone, Copy, Args)]
pub struct AgreementArgs {
    /// Say what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask; needed where nobody can be asked
    #[arg(short, long)]
    pub yes: bool,
}
