//! What can be typed. Types only; must not depend on what becomes of it.

mod choice;
mod compute;
mod limits;
mod manage;
mod runs;
mod show;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::ArgValueCandidates as Names;

pub use self::choice::{
    ColorArg, EraArg, LaneArg, Listing, MakerArg, ProviderArg, SchemaKind, SourceArg,
};
pub use self::compute::{
    CheckArgs, DefaultsArgs, JobArgs, NightlyArgs, RunArgs, Selection, VerifyArgs,
};
pub use self::limits::LimitArgs;
pub use self::manage::{CleanArgs, DataCommand, EnvCommand, UpdateArgs};
pub use self::runs::{AgreementArgs, RunArg, RunsCollectArgs, RunsCommand, RunsShowArgs};
pub use self::show::{
    CompareArgs, ExportCommand, FormatArgs, HistoryArgs, PlotArgs, ReadArgs, ReportArgs, TableArgs,
    WordsArgs,
};
use crate::cli::complete;
use crate::machine;

/// Run the same deep-learning experiments in many frameworks and compare them
#[derive(Debug, Parser)]
#[command(name = "rosetta", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Examples:
  rosetta run                              the starter set, a few minutes on this machine
  rosetta run cnn --framework pytorch,jax  one experiment in two frameworks
  rosetta run --all                        every experiment in every framework
  rosetta table --markdown                 the latest results, for a README
  rosetta doctor                           what this machine has and lacks")]
pub struct Cli {
    /// Folder of the project [default: the one around the current folder, else the checkout that this
    /// program was built in]
    #[arg(long, global = true, value_name = "DIR", env = "ROSETTA_PROJECT", help_heading = GLOBAL)]
    pub project: Option<PathBuf>,
    /// Folder of the results [default: results/ of the project]
    #[arg(long, global = true, value_name = "DIR", env = "ROSETTA_RESULTS", help_heading = GLOBAL)]
    pub results: Option<PathBuf>,
    /// Name of this machine in records and tables [default: its host name, which in a container changes
    /// from run to run]
    #[arg(long, global = true, value_name = "NAME", env = machine::VARIABLE, help_heading = GLOBAL)]
    #[arg(value_parser = machine::check_name)]
    pub machine: Option<String>,
    /// Colours in the output [default: in a terminal, unless NO_COLOR is set]
    #[arg(long, global = true, value_enum, value_name = "WHEN", help_heading = GLOBAL)]
    pub color: Option<ColorArg>,
    /// Show of what goes on only what fails; results are printed all the same
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Action,
}

/// The heading of what every command has.
const GLOBAL: &str = "Global options";
/// How a shell learns more than the script that is printed.
const COMPLETIONS: &str = "\
Examples:
  rosetta completions bash > ~/.local/share/bash-completion/completions/rosetta

The script knows commands and options. A shell that asks rosetta itself also completes the names of
experiments, frameworks, environments, data sets and runs:
  bash  source <(ROSETTA_COMPLETE=bash rosetta)
  zsh   source <(ROSETTA_COMPLETE=zsh rosetta)
  fish  ROSETTA_COMPLETE=fish rosetta | source";

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Run experiments and print their tables
    Run(Box<RunArgs>),
    /// Run, compare with the last good results, and sum the night up
    Nightly(Box<NightlyArgs>),
    /// Prove that targets compute the same experiment as the reference
    Check(Box<CheckArgs>),
    /// Find out whether an installation of yours is as fast as the pinned one, and what may be why not
    Verify(VerifyArgs),
    /// Print tables of stored results
    Table(TableArgs),
    /// Compare two runs: what is slower, faster or broken, and what may be why
    Compare(CompareArgs),
    /// Show how a framework's numbers went, night by night, and where they changed
    History(HistoryArgs),
    /// Read the harnesses of an experiment side by side
    Read(ReadArgs),
    /// Look up how each framework says a thing
    Words(WordsArgs),
    /// Write results, proofs and code as one page for a browser
    Report(ReportArgs),
    /// Draw one chart of a table as SVG, for a paper
    Plot(PlotArgs),
    /// Write what others run: a harness as a notebook, a folder that repeats one result
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta export notebook cnn jax    cnn-jax.ipynb, whose cells are the sections of the harness
  rosetta export repro latest/cnn.pytorch.cpu.1
                                     a folder that repeats that result without rosetta"
    )]
    Export(ExportCommand),
    /// Measure what each framework does unless told otherwise
    Defaults(DefaultsArgs),
    /// List experiments, frameworks, targets or runs
    #[command(after_help = "Examples:
  rosetta list                targets, and the experiments that each has a harness for
  rosetta list runs --json    all runs, for a program")]
    List {
        /// What to list
        #[arg(value_enum, default_value = "targets")]
        what: Listing,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look after runs that are stored or on a cluster: show, label, remove, collect
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta runs list                        all runs, and how each ended
  rosetta runs show latest                 its jobs, one by one
  rosetta runs label 20261127 before-2.15  a name for it, as in `rosetta compare before-2.15`
  rosetta runs prune --keep 30 --dry-run   which old runs no table needs
  rosetta runs collect latest --wait       take the results of a cluster's tasks in
  rosetta runs cancel latest               stop what is left of a run on a cluster"
    )]
    Runs(RunsCommand),
    /// Remove what killed runs have left, what no project needs, and what is too much for the disk
    #[command(after_help = "Examples:
  rosetta clean --dry-run              what would go
  rosetta clean --yes --disk 40G       for cron: environments and data hold at most 40 GiB

What goes: processes and containers of jobs whose rosetta is gone, half-made folders and files, environments
that no project needs. With --disk also, least lately used first, environments, and data that can be made
again, until the rest fits; data that were fetched or imported, runs, and what a run uses stay.")]
    Clean(CleanArgs),
    /// Show, fetch, import, make or verify data sets and weights
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta data fetch cifar10                              download it from its authors
  rosetta data import cifar10 cifar-10-python.tar.gz      take in a file that you have
  rosetta data list                                       what is here, and from where"
    )]
    Data(DataCommand),
    /// List, build, lock, update, remove or enter environments
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta env build pytorch     build what a target needs
  rosetta env list              which are built, and where
  rosetta env update pytorch    keep its newest version beside the pinned one
  rosetta env gc                remove what no project needs any more"
    )]
    Env(EnvCommand),
    /// Look at the machine: what is here, what is missing, how to get it
    #[command(after_help = "Examples:
  rosetta doctor           programs, interpreters, GPUs, environments, and the command that gets what is missing
  rosetta doctor --json    the same for a program")]
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the layout of harnesses: the same sections in the same order
    #[command(after_help = "Examples:
  rosetta lint            all harnesses
  rosetta lint pytorch    those of one framework, before `rosetta check -f pytorch`")]
    Lint {
        /// Frameworks to look at [default: all]
        #[arg(add = Names::new(complete::frameworks))]
        frameworks: Vec<String>,
    },
    /// Print the job file that a harness would be given
    Job(JobArgs),
    /// Print the protocol between rosetta and a harness
    #[command(after_help = "Examples:
  rosetta protocol | less    what a harness in a new language has to say")]
    Protocol,
    /// Print the JSON schema of a kind of YAML file
    #[command(after_help = "Examples:
  rosetta schema experiment > specs/experiment.schema.json    for an editor that completes and checks YAML
  rosetta schema env                                          the fields of an env.yaml")]
    Schema {
        /// Kind of file: a spec, a framework.yaml, an env.yaml, a variants.yaml or a launcher
        #[arg(value_enum)]
        kind: SchemaKind,
    },
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Shell to print it for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    #[command(after_help = "Examples:
  rosetta man | man -l -                        read it
  rosetta man --out ~/.local/share/man/man1     then `man rosetta-run`")]
    Man {
        /// Folder to write one page per command into
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}
