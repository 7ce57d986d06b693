//! Arguments of the commands that compute. Types only.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates as Names;

use super::choice::{EraArg, LaneArg, ProviderArg, SourceArg};
use super::limits::LimitArgs;
use super::show::FormatArgs;
use crate::catalog::Device;
use crate::cli::complete;
use crate::quantity::{parse_duration, parse_percent};

/// Heading of `run` and `check`.
const SELECTION: &str = "What to compute";
const CLUSTER: &str = "On a cluster";
/// What a resumed run has from its beginning.
const RESUMED_WITHOUT: [&str; 25] = [
    "experiments",
    "frameworks",
    "all",
    "era",
    "lane",
    "newest",
    "device",
    "data",
    "provider",
    "python",
    "programs",
    "profile",
    "repeats",
    "threads",
    "timeout",
    "stall_timeout",
    "memory_limit",
    "retries",
    "retry_tainted",
    "wait_quiet",
    "order_seed",
    "no_check",
    "dry_run",
    "launcher",
    "detach",
];

/// The words of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandWords(pub Vec<String>);

fn words(text: &str) -> Result<CommandWords, String> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    words.map(CommandWords).ok_or_else(|| "write a command, with its quotes closed".to_owned())
}

fn program(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((framework, folder)) if !framework.is_empty() && !folder.is_empty() => {
            Ok((framework.to_owned(), folder.into()))
        }
        _ => Err("write a framework, `=` and the folder of its programs".to_owned()),
    }
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
    /// Also the newest version of each that `rosetta env update` keeps, in a row beside the pinned one
    #[arg(long)]
    pub newest: bool,
    /// Where to compute: the CPU, or NVIDIA GPUs by CUDA; others cannot be used yet [default: cpu, and cuda
    /// where there is a GPU]
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
    /// With `--python`: run it by this command, as "apptainer exec image.sif"
    #[arg(long, value_name = "COMMAND", requires = "python", value_parser = words)]
    pub wrap: Option<CommandWords>,
    /// Take compiled harnesses that you have: a folder with a program for each experiment, as
    /// `burn=target/release`
    #[arg(long, value_name = "FRAMEWORK=DIR", value_parser = program)]
    pub programs: Vec<(String, PathBuf)>,
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
  rosetta run --all --launcher slurm --detach     on the cluster of launchers/slurm.yaml

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
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Seed of the order in which targets run
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub order_seed: u64,
    /// Do not check first whether a target computes the experiment
    #[arg(long)]
    pub no_check: bool,
    /// Print the plan and stop; with --json for a program
    #[arg(long, conflicts_with_all = ["markdown", "csv", "latex", "html"])]
    pub dry_run: bool,
    /// Let a cluster run the jobs, as launchers/NAME.yaml or this file says
    #[arg(long, value_name = "NAME|FILE", help_heading = CLUSTER)]
    pub launcher: Option<String>,
    /// Submit the jobs and stop: `rosetta runs collect` takes their results in
    #[arg(long, requires = "launcher", help_heading = CLUSTER)]
    pub detach: bool,
    /// Go on with a run that was interrupted, as it was asked for: its id, or the beginning of it
    /// [default: the newest that was interrupted]
    #[arg(long, value_name = "RUN", num_args = 0..=1, add = Names::new(complete::runs))]
    #[arg(conflicts_with_all = RESUMED_WITHOUT)]
    pub resume: Option<Option<String>>,
    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta nightly --all --device cpu                    everything on the CPU, each job five times
  rosetta nightly -f pytorch,jax --notify 'mail -s rosetta me@example.org'
                                                        the summary as a mail
  rosetta nightly --all --newest                        what is pinned, and the newest versions kept

The summary is printed, is in the run's folder as summary.txt, summary.md and summary.json, and is the
input of the program that --notify names. docs/nightly.md has a crontab line and a systemd timer.

Exit code: 0 nothing is worse, 1 a row is slower or broken, a job is not ok, or the program of
--notify failed, 2 rosetta or its input failed, 130 interrupted.")]
pub struct NightlyArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Size of the experiments: full, quick or smoke, or one of your spec's
    #[arg(short, long, default_value = "quick", add = Names::new(complete::profiles))]
    pub profile: String,
    /// How often each job runs, each time in a fresh process: from five on, ratios have an interval
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// CPU threads of each job [default: the cores of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Do not check first whether a target computes the experiment
    #[arg(long)]
    pub no_check: bool,
    /// A change of time by less is none
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    pub tolerance: f64,
    /// End with 1 if a row is slower by more than this
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_percent)]
    pub fail_above: f64,
    /// Command for `sh` that is given the summary on its standard input
    #[arg(long, value_name = "COMMAND")]
    pub notify: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta verify cnn -f pytorch --python python3    is the PyTorch that python3 has as fast as the pinned one?
  rosetta verify -f jax --python ~/venv/bin/python --pairs 7 --profile full
  rosetta verify cnn -f pytorch --python python3 --device cuda

Both are checked first, then run in turn, and asked what their builds are and how fast they multiply and
convolve. Suspects are what differs. The runs are in results/apart and in no table.

Exit code: 0 yours is as fast or faster, 1 it is slower, or nothing can be said, 2 rosetta or its input
failed, 130 interrupted.")]
pub struct VerifyArgs {
    /// Experiments [default: all that the framework has]
    #[arg(add = Names::new(complete::experiments))]
    pub experiments: Vec<String>,
    /// Framework or target that you have installed
    #[arg(short, long = "framework", value_name = "NAME", required = true)]
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub framework: String,
    /// The interpreter that has it
    #[arg(long, value_name = "PATH", required = true)]
    pub python: PathBuf,
    /// Run that interpreter by this command, as "apptainer exec image.sif"
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    pub wrap: Option<CommandWords>,
    /// Where both compute
    #[arg(short, long, value_enum, default_value = "cpu")]
    pub device: Device,
    /// Size of the experiments: full, quick or smoke, or one of your spec's
    #[arg(short, long, default_value = "quick", add = Names::new(complete::profiles))]
    pub profile: String,
    /// How often each runs on both sides: from five on, the ratio has an interval
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: u32,
    /// CPU threads of each job [default: the cores of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// A ratio of times by less than this from 1 is none
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_percent)]
    pub tolerance: f64,
    /// Do not check first whether both compute the experiment
    #[arg(long)]
    pub no_check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta check                               the starter set
  rosetta check cnn -f pytorch                one harness against the reference
  rosetta check --all --markdown              every harness, for a page
  rosetta check -f pytorch@2.16.0             a version that `rosetta env update` keeps
  rosetta check mymodel --reference pytorch   your harnesses against one of them

A target is exact (float64 within 1e-9), close (float32 within rounding), a variant that it
declares, or different; the verdict says what differs first and what usually causes it.

Exit code: 0 all are as declared, 1 some target is different or unchecked, or one that was named
with -f was skipped because something is missing here, 2 rosetta or its input failed, 130
interrupted.")]
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
  rosetta defaults                         what is stored of all frameworks
  rosetta defaults gru --diff pytorch jax  in what the GRUs of two differ
  rosetta defaults --measure pytorch jax   measure two, built if need be, and store it
  rosetta defaults --measure               measure all whose environment is built

What is stored is what was measured here last, else what the project's results/reference has; each
with its version and its day.

Exit code: 0 all is there, 1 a framework failed or is not stored, or a harness no longer overrides a
default as its defaults.* says, 2 rosetta or its input failed, 130 interrupted.")]
pub struct DefaultsArgs {
    /// Groups (conv, dense, pool, dropout, loss, sgd, adam, gru, …), frameworks or targets, in any order
    /// [default: all]
    #[arg(value_name = "GROUP|FRAMEWORK", add = Names::new(complete::frameworks_and_targets))]
    pub names: Vec<String>,
    /// Measure anew instead of showing what is stored
    #[arg(long)]
    pub measure: bool,
    /// Only the properties in which the frameworks differ
    #[arg(long)]
    pub diff: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// CPU threads of each job [default: the cores of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Where the frameworks come from [default: pinned, and system with `--python`]
    #[arg(long, value_enum, hide_default_value = true)]
    pub provider: Option<ProviderArg>,
    /// Take the frameworks that this interpreter has: `--provider system`
    #[arg(long, value_name = "PATH", required_if_eq("provider", "system"))]
    pub python: Option<PathBuf>,
    /// With `--python`: run it by this command, as "apptainer exec image.sif"
    #[arg(long, value_name = "COMMAND", requires = "python", value_parser = words)]
    pub wrap: Option<CommandWords>,
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
