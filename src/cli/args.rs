//! What can be typed. Types only; must not depend on what becomes of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates as Names;

use crate::catalog::{Device, Era, Lane};
use crate::cli::complete;
use crate::machine;
use crate::quantity::{parse_bytes, parse_duration};
use crate::spec::Source;
use crate::table::Column;

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
    #[command(subcommand)]
    pub command: Command,
}

/// The heading of what every command has.
const GLOBAL: &str = "Global options";
/// Headings of `run` and `check`.
const SELECTION: &str = "What to compute";
const LIMITS: &str = "Limits";
const OUTPUT: &str = "Output";

/// How a shell learns more than the script that is printed.
const COMPLETIONS: &str = "\
The script knows commands and options. A shell that asks rosetta itself also completes the names of
experiments, frameworks, environments, data sets and runs:
  bash  source <(ROSETTA_COMPLETE=bash rosetta)
  zsh   source <(ROSETTA_COMPLETE=zsh rosetta)
  fish  ROSETTA_COMPLETE=fish rosetta | source";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run experiments and print their tables
    Run(Box<RunArgs>),
    /// Prove that targets compute the same experiment as the reference
    Check(Box<CheckArgs>),
    /// Print tables of stored results
    Table(TableArgs),
    /// Read the harnesses of an experiment side by side
    Read(ReadArgs),
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
    /// Show, fetch, import, make or verify data sets and weights
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta data fetch cifar10                              download it from its authors
  rosetta data import cifar10 cifar-10-python.tar.gz      take in a file that you have
  rosetta data list                                       what is here, and from where"
    )]
    Data(DataCommand),
    /// List, build, lock, remove or enter environments
    #[command(
        subcommand,
        after_help = "Examples:
  rosetta env build pytorch     build what a target needs
  rosetta env list              which are built, and where
  rosetta env gc                remove what no project needs any more"
    )]
    Env(EnvCommand),
    /// Look at the machine: what is here, what is missing, how to get it
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the layout of harnesses: the same sections in the same order
    Lint {
        /// Frameworks to look at [default: all]
        #[arg(add = Names::new(complete::frameworks))]
        frameworks: Vec<String>,
    },
    /// Print the job file that a harness would be given
    Job(JobArgs),
    /// Print the protocol between rosetta and a harness
    Protocol,
    /// Print the JSON schema of a kind of YAML file
    Schema {
        /// Kind of file: a spec, a framework.yaml, an env.yaml or a variants.yaml
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
    Man {
        /// Folder to write one page per command into
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// What to compute, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = SELECTION)]
pub struct Selection {
    /// Experiments [default: all]
    #[arg(add = Names::new(complete::experiments))]
    pub experiments: Vec<String>,
    /// Frameworks or targets, separated by commas or each with an -f of its own [default: the starter
    /// set]
    #[arg(short, long = "framework", value_name = "NAME", value_delimiter = ',')]
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// Every framework, not only the starter set
    #[arg(long, conflicts_with = "frameworks")]
    pub all: bool,
    /// Only frameworks of this era
    #[arg(long, value_enum)]
    pub era: Option<EraArg>,
    /// Targets as a tutorial has them, tuned ones, or both; what is named needs no lane
    #[arg(long, value_enum, default_value = "idiomatic", conflicts_with = "frameworks")]
    pub lane: LaneArg,
    /// Where to compute [default: cpu, and cuda where there is a GPU]
    #[arg(short, long, value_enum, value_delimiter = ',')]
    pub device: Vec<Device>,
    /// Use this kind of data [default: real where it was imported, else synthetic]
    #[arg(long, value_enum)]
    pub data: Option<SourceArg>,
    /// Where the frameworks come from: the pinned environments, or an interpreter of yours [default:
    /// pinned, and system with `--python`]
    #[arg(long, value_enum, hide_default_value = true)]
    pub provider: Option<ProviderArg>,
    /// Take the frameworks that this interpreter has: `--provider system`
    #[arg(long, value_name = "PATH", required_if_eq("provider", "system"))]
    pub python: Option<PathBuf>,
    /// Pass a variable of yours on to the harnesses
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub environment: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta run                                     the starter set at profile quick
  rosetta run rnn --profile full --device cuda    as published, on the GPU
  rosetta run --all --device cpu                  everything, on the CPU
  rosetta run cnn -f pytorch --provider system --python python3
                                                  with the PyTorch that python3 has

Exit code: 0 all jobs are ok, 1 some job is not, or one of a framework that was named with -f was
skipped because something is missing here, 2 rosetta or its input failed, 130 interrupted.")]
pub struct RunArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Size of the experiments: full, quick or smoke, or one of your spec's
    #[arg(short, long, default_value = "quick", add = Names::new(complete::profiles))]
    pub profile: String,
    /// How often each job runs, each time in a fresh process
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// CPU threads of each job [default: the cores of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Time limit of each job, as 90s, 1h30m or 1.5h [default: the profile's]
    #[arg(long, value_parser = parse_duration, help_heading = LIMITS)]
    pub timeout: Option<Duration>,
    /// End a job that has said nothing for this long [default: no limit but the one on its time]
    #[arg(long, value_parser = parse_duration, value_name = "TIME", help_heading = LIMITS)]
    pub stall_timeout: Option<Duration>,
    /// End a job whose processes use more memory than this, as 8G or 500M
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE", help_heading = LIMITS)]
    pub memory_limit: Option<u64>,
    /// Seed of the order in which targets run
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub order_seed: u64,
    /// Do not check first whether a target computes the experiment
    #[arg(long)]
    pub no_check: bool,
    /// Print the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta check                               the starter set
  rosetta check cnn -f pytorch                one harness against the reference
  rosetta check --all --markdown              every harness, for a page
  rosetta check mymodel --reference pytorch   your harnesses against one of them

A target is exact (float64 within 1e-9), close (float32 within rounding), a variant that it
declares, or different; the verdict says what differs first and what usually causes it.

Exit code: 0 all are as declared, 1 some target is different or unchecked, 2 rosetta or its input
failed, 130 interrupted.")]
pub struct CheckArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// The target to compare with [default: the experiment's reference, which is numpy]
    #[arg(long, value_name = "NAME", add = Names::new(complete::frameworks_and_targets))]
    pub reference: Option<String>,
    /// Check again what has a verdict already
    #[arg(long)]
    pub again: bool,
    /// How many targets are checked at once [default: one for each two cores, at least 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub at_once: Option<u16>,
    /// Time limit of each target, as 90s, 1h30m or 1.5h
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON: every comparison
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta table                        the latest result of every target on this machine
  rosetta table cnn --markdown         one experiment, for a README
  rosetta table --published            the tables of 2017
  rosetta table --with-published       ours beside those of 2017
  rosetta table cnn --columns library,training-time,peak-memory")]
pub struct TableArgs {
    /// Experiments to show [default: all that have results]
    #[arg(add = Names::new(complete::experiments))]
    pub experiments: Vec<String>,
    /// A run's id, its beginning, `latest`, or a run's folder [default: the latest record of every target]
    #[arg(long, add = Names::new(complete::runs))]
    pub run: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Profile to show [default: that of the newest result]
    #[arg(short, long, add = Names::new(complete::profiles))]
    pub profile: Option<String>,
    /// Only this device
    #[arg(short, long, value_enum)]
    pub device: Option<Device>,
    /// Only frameworks of this era
    #[arg(long, value_enum)]
    pub era: Option<EraArg>,
    /// Columns to show, in this order
    #[arg(long, value_delimiter = ',', value_parser = column())]
    pub columns: Vec<Column>,
    /// Show the tables of 2017 instead
    #[arg(long, conflicts_with_all = ["run", "with_published", "columns", "then_and_now"])]
    pub published: bool,
    /// Show old versions, each beside its newest on the same machine, and the ratio
    #[arg(long)]
    pub then_and_now: bool,
    /// Add the numbers of 2017
    #[arg(long)]
    pub with_published: bool,
    /// Take in results from other machines
    #[arg(long)]
    pub all_machines: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta defaults                     every framework whose environment is built
  rosetta defaults pytorch jax         two of them, built if need be
  rosetta defaults --markdown          for a README

Exit code: 0 all is measured, 1 a framework failed or a harness no longer overrides a default
as its defaults.* says, 2 rosetta or its input failed, 130 interrupted.")]
pub struct DefaultsArgs {
    /// Frameworks or targets to measure [default: all whose environment is built]
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// CPU threads of each job [default: the cores of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Take the frameworks that this interpreter has, not those of the pinned environments
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta read cnn pytorch jax                     two harnesses, section by section
  rosetta read rnn pytorch keras jax -s build      one section of three
  rosetta read cnn pytorch1 pytorch | less -R      old and new

Harnesses stand beside each other where the terminal has 60 columns for each, else one below the
other; a pipe has 160 columns, or COLUMNS.")]
pub struct ReadArgs {
    /// Experiment
    #[arg(add = Names::new(complete::experiments))]
    pub experiment: String,
    /// Frameworks or targets, in the order in which they stand
    #[arg(required = true, value_delimiter = ',', add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// Only the section that begins so, as `build` or `Loss and optimiser`
    #[arg(short, long, value_name = "TITLE")]
    pub section: Option<String>,
    /// Print JSON: the sections of each harness with their lines
    #[arg(long)]
    pub json: bool,
}

/// Returns the parser of a column's name; the names stand in the help and in completions.
fn column() -> impl TypedValueParser<Value = Column> {
    let names = Column::ALL.iter().map(|column| column.name());
    PossibleValuesParser::new(names).map(|name| Column::named(&name).expect("a name of the list"))
}

/// How tables are printed.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
#[command(next_help_heading = OUTPUT)]
pub struct FormatArgs {
    /// Print Markdown
    #[arg(long)]
    pub markdown: bool,
    /// Print CSV
    #[arg(long)]
    pub csv: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print LaTeX
    #[arg(long)]
    pub latex: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta job cnn --outputs out > job.json
  ROSETTA_JOB=job.json PYTHONPATH=harnesses/sdk/python python harnesses/numpy/cnn.py")]
pub struct JobArgs {
    /// Experiment that the job is of
    #[arg(add = Names::new(complete::experiments))]
    pub experiment: String,
    /// Size of the experiment
    #[arg(short, long, default_value = "smoke", add = Names::new(complete::profiles))]
    pub profile: String,
    /// Where the harness is to compute
    #[arg(short, long, value_enum, default_value = "cpu")]
    pub device: Device,
    /// Name of the target in the job file
    #[arg(long, default_value = "by-hand")]
    pub target: String,
    /// Ask for a check of this many training steps
    #[arg(long, value_name = "STEPS")]
    pub check: Option<u64>,
    /// Type of the floating arrays that the harness is given
    #[arg(long, default_value = "float32", value_parser = ["float32", "float64"])]
    pub dtype: String,
    /// Folder that the harness stores its outputs in [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub outputs: Option<PathBuf>,
    /// Use this kind of data [default: real where it was imported, else synthetic]
    #[arg(long, value_enum)]
    pub data: Option<SourceArg>,
    /// CPU threads that the framework may use [default: the cores of this machine]
    #[arg(long)]
    pub threads: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what is here
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download an archive from its authors
    Fetch {
        /// Data set or weights to download
        #[arg(add = Names::new(complete::data_sets))]
        name: String,
    },
    /// Take in an archive that you have
    Import {
        /// Data set or weights that the archive holds
        #[arg(add = Names::new(complete::data_sets))]
        name: String,
        /// The archive, as its authors publish it
        file: PathBuf,
        /// Admit a well-formed archive whose digest is not the authors'; records will say so
        #[arg(long)]
        unverified: bool,
    },
    /// Make the synthetic twin of a data set
    Make {
        /// Data sets to make [default: all that have a twin]
        #[arg(add = Names::new(complete::data_sets))]
        names: Vec<String>,
    },
    /// Compare every file with its digest
    Verify {
        /// Data sets to verify [default: all that is here, and what was made for experiments]
        #[arg(add = Names::new(complete::data_sets))]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// Show the environments and whether they are built
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show what this provider makes
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
    },
    /// Build environments
    Build {
        /// Environments or targets to build [default: those of the starter set]
        #[arg(add = Names::new(complete::environments_and_targets))]
        names: Vec<String>,
        /// Let this provider make them
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
        /// Build every environment that can be built here
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// Resolve the requirements anew and write the lock
    Lock {
        /// Environments or targets whose lock is written
        #[arg(required = true, add = Names::new(complete::environments_and_targets))]
        names: Vec<String>,
        /// Write the lock that this provider builds from
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
    },
    /// Remove built environments that no run uses
    Remove {
        /// Environments or targets to remove
        #[arg(required = true, add = Names::new(complete::environments_and_targets))]
        names: Vec<String>,
        /// Remove only what this provider has made [default: all]
        #[arg(long, value_enum, hide_default_value = true)]
        provider: Option<MakerArg>,
    },
    /// Remove what no project needs any more and no run uses
    Gc,
    /// Start a shell in an environment
    Shell {
        /// Environment or target
        #[arg(add = Names::new(complete::environments_and_targets))]
        name: String,
        /// Take the environment that this provider makes
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    Experiments,
    Frameworks,
    Targets,
    Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    Experiment,
    Framework,
    Env,
    Variants,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderArg {
    /// What env.yaml names
    Pinned,
    /// Conda's interpreter and libraries, and the same Python packages
    Conda,
    /// An interpreter of yours
    System,
}

impl ProviderArg {
    pub fn name(self) -> &'static str {
        match self {
            ProviderArg::Pinned => "pinned",
            ProviderArg::Conda => "conda",
            ProviderArg::System => "system",
        }
    }
}

/// Who makes environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MakerArg {
    /// What env.yaml names
    Pinned,
    /// Conda's interpreter and libraries, and the same Python packages
    Conda,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EraArg {
    Current,
    Historic,
    All,
}

impl EraArg {
    /// Returns the era to keep to, if it is one.
    pub fn era(self) -> Option<Era> {
        match self {
            EraArg::Current => Some(Era::Current),
            EraArg::Historic => Some(Era::Historic),
            EraArg::All => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LaneArg {
    Idiomatic,
    Tuned,
    All,
}

impl LaneArg {
    /// Returns the lane to keep to, if it is one.
    pub fn lane(self) -> Option<Lane> {
        match self {
            LaneArg::Idiomatic => Some(Lane::Idiomatic),
            LaneArg::Tuned => Some(Lane::Tuned),
            LaneArg::All => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceArg {
    Real,
    Unverified,
    Synthetic,
}

impl SourceArg {
    pub fn source(self) -> Source {
        match self {
            SourceArg::Real => Source::Real,
            SourceArg::Unverified => Source::Unverified,
            SourceArg::Synthetic => Source::Synthetic,
        }
    }
}
