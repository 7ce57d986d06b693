//! `rosetta runs`: one file for each subcommand.

mod cancel;
mod collect;
mod progress;

use std::process::ExitCode;

use anyhow::{Context, Result};

pub(super) use self::collect::{exit_code, follow, tell};
use crate::cli::args::RunsCommand;
use crate::hint::hinted;
use crate::project::Project;
use crate::store::{Store, Stored};
use crate::ui;

/// Does what was typed.
pub fn runs(project: &Project, store: &Store, command: &RunsCommand) -> Result<ExitCode> {
    match command {
        RunsCommand::Show(args) => progress::show(&on_a_cluster(store, &args.run.run)?, args.json),
        RunsCommand::Collect(args) => collect::collect(project, store, args),
        RunsCommand::Cancel(args) => cancel::cancel(project, store, &args.run),
    }
}

/// Returns a run that a cluster carries out.
fn on_a_cluster(store: &Store, name: &str) -> Result<Stored> {
    let folder = store.find(name)?;
    let reading = store.read_one(&folder.to_string_lossy())?;
    ui::warn(&reading.troubles);
    let stored = reading.runs.into_iter().next();
    let stored = stored.with_context(|| format!("run `{name}` cannot be read"))?;
    let launcher = stored.run.as_ref().and_then(|run| run.launcher.as_ref());
    match launcher {
        Some(_) => Ok(stored),
        None => Err(hinted(
            format!("run `{}` was not submitted to a cluster", stored.id),
            "`rosetta list runs` shows how it ended; `rosetta run --launcher` submits one",
        )),
    }
}
