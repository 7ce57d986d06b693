//! Arguments of the commands that look after data and environments. Types only.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates as Names;

use super::choice::MakerArg;
use super::runs::AgreementArgs;
use crate::cli::complete;
use crate::quantity::parse_bytes;

/// What is removed, and how much may stay.
#[derive(Debug, Clone, Args)]
pub struct CleanArgs {
    /// How much environments and data may hold together, as 40G
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "ROSETTA_DISK")]
    pub disk: Option<u64>,
    #[command(flatten)]
    pub agreement: AgreementArgs,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what is here
    #[command(after_help = "Examples:
  rosetta data list           data sets and weights: real or synthetic, and from where
  rosetta data list --json    for a program")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download an archive from its authors
    #[command(after_help = "Examples:
  rosetta data fetch cifar10     170 MB, checked by its digest
  rosetta data fetch resnet50    the weights that all frameworks load")]
    Fetch {
        /// Data set or weights to download
        #[arg(add = Names::new(complete::data_sets))]
        name: String,
    },
    /// Take in an archive that you have
    #[command(after_help = "Examples:
  rosetta data import cifar10 cifar-10-python.tar.gz
  rosetta data import imdb imdb.npz --unverified    a copy whose digest is another; records say so")]
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
    #[command(after_help = "Examples:
  rosetta data make            all of them, which `rosetta run` does by itself
  rosetta data make cifar10    one")]
    Make {
        /// Data sets to make [default: all that have a twin]
        #[arg(add = Names::new(complete::data_sets))]
        names: Vec<String>,
    },
    /// Compare every file with its digest
    #[command(after_help = "Examples:
  rosetta data verify            all that is here; exit code 1 if a file is damaged
  rosetta data verify cifar10    one")]
    Verify {
        /// Data sets to verify [default: all that is here, and what was made for experiments]
        #[arg(add = Names::new(complete::data_sets))]
        names: Vec<String>,
    },
}

/// Which versions are kept.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// Environments or targets, with `@VERSION` for one that is not the newest [default: those of the starter
    /// set]
    #[arg(add = Names::new(complete::environments_and_targets))]
    pub names: Vec<String>,
    /// Print what would change, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Keep it although nobody has checked whether it computes the same
    #[arg(long, conflicts_with = "dry_run")]
    pub no_check: bool,
    /// Keep these versions no more: remove their locks, and what was built from them
    #[arg(long, requires = "names", conflicts_with_all = ["dry_run", "no_check"])]
    pub remove: bool,
}

#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// Show the environments and whether they are built
    #[command(after_help = "Examples:
  rosetta env list                     which are built, and what the others lack
  rosetta env list --provider conda    those that conda can make")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show what this provider makes
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
    },
    /// Build environments
    #[command(after_help = "Examples:
  rosetta env build                         those of the starter set
  rosetta env build pytorch jax             two of them
  rosetta env build --all                   every one that can be built here
  rosetta env build cntk --provider conda   with conda's interpreter")]
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
    #[command(after_help = "Examples:
  rosetta env lock pytorch                      after a change of its env.yaml
  rosetta env lock cntk --provider conda        conda's packages by URL and digest
  rosetta env lock cntk --provider docker       the base image by its digest")]
    Lock {
        /// Environments or targets whose lock is written
        #[arg(required = true, add = Names::new(complete::environments_and_targets))]
        names: Vec<String>,
        /// Write the lock that this provider builds from
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
        /// With `docker`: the base image [default: the lock's, or Docker's own image of the CPython]
        #[arg(long, value_name = "IMAGE")]
        base: Option<String>,
    },
    /// Keep another version of a framework beside the pinned one: lock it, build it, check it
    #[command(after_help = "Examples:
  rosetta env update pytorch --dry-run     what is newer than what is pinned
  rosetta env update pytorch               lock, build and check it; its rows are pytorch@2.16.0
  rosetta env update numpy@2.4.6           this version, which may be an older one
  rosetta run -f pytorch,pytorch@2.16.0    both in one table
  rosetta nightly --all --newest           every night what is pinned and what is newest
  rosetta env update --remove numpy@2.4.6  keep it no more

What is pinned is never changed: the lock is a file of its own, envs/NAME/locks/VERSION.lock. It is
put there when its environment is built and its targets pass `rosetta check`.

Exit code: 0 it is kept, or nothing is newer, 1 a lock, a build or a check failed, so that it is not
kept, 2 rosetta or its input failed, 130 interrupted.")]
    Update(UpdateArgs),
    /// Remove built environments that no run uses
    #[command(after_help = "Examples:
  rosetta env remove pytorch                      however it was made
  rosetta env remove pytorch --provider docker    only its image")]
    Remove {
        /// Environments or targets to remove
        #[arg(required = true, add = Names::new(complete::environments_and_targets))]
        names: Vec<String>,
        /// Remove only what this provider has made [default: all]
        #[arg(long, value_enum, hide_default_value = true)]
        provider: Option<MakerArg>,
    },
    /// Remove what no project needs any more and no run uses
    #[command(after_help = "Examples:
  rosetta env gc --dry-run    what would go, and how much room it takes
  rosetta env gc --yes        under cron")]
    Gc {
        #[command(flatten)]
        agreement: AgreementArgs,
    },
    /// Start a shell in an environment
    #[command(after_help = "Examples:
  rosetta env shell pytorch                      with PATH as the harnesses have it
  rosetta env shell cntk --provider docker       in its image")]
    Shell {
        /// Environment or target
        #[arg(add = Names::new(complete::environments_and_targets))]
        name: String,
        /// Take the environment that this provider makes
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
    },
    /// Run a command in an environment
    #[command(after_help = "Examples:
  rosetta env run pytorch -- python -c 'import torch; print(torch.__config__.show())'
  rosetta env run numpy -- python mine.py    any Python program, with its packages")]
    Run {
        /// Environment or target
        #[arg(add = Names::new(complete::environments_and_targets))]
        name: String,
        /// Take the environment that this provider makes
        #[arg(long, value_enum, default_value = "pinned")]
        provider: MakerArg,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}
