//! `rosetta runs`: one file for each subcommand.

mod label;
mod remove;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::args::{AgreementArgs, Listing, RunsCommand};
use crate::cli::{OK, list};
use crate::hint::hinted;
use crate::project::Project;
use crate::store::{Store, Stored};
use crate::ui;

/// Does what was typed.
pub fn runs(project: &Project, store: &Store, command: &RunsCommand) -> Result<ExitCode> {
    match command {
        RunsCommand::List { json } => return list::list(project, store, Listing::Runs, *json),
        RunsCommand::Show(args) => return show::show(store, args),
        RunsCommand::Label { run, label } => label::label(store, &run.run, label.as_deref())?,
        RunsCommand::Note { run, note } => label::note(store, &run.run, note.as_deref())?,
        RunsCommand::Remove { runs, agreement } => remove::remove(store, runs, *agreement)?,
        RunsCommand::Prune { keep, agreement } => remove::prune(store, *keep, *agreement)?,
    }
    Ok(OK)
}

/// Returns a run that is named, and says what of it cannot be read.
fn stored(store: &Store, name: &str) -> Result<Stored> {
    let reading = store.read_one(name)?;
    ui::warn(&reading.troubles);
    reading.runs.into_iter().next().with_context(|| format!("run `{name}` cannot be read"))
}

/// Returns the folder of a run of this project: one that lies elsewhere is somebody else's to change.
fn own_folder(store: &Store, name: &str) -> Result<PathBuf> {
    let folder = store.find(name)?;
    match store.has(&folder) {
        Ok(true) => Ok(folder),
        _ => Err(hinted(
            format!("`{}` is not a run of these results", folder.display()),
            "name it by its id, or name its folder of results with `--results`",
        )),
    }
}

/// Whether something may be removed: a person has agreed. Of a trial nothing is removed.
pub(super) fn may_remove(agreement: AgreementArgs, question: &str) -> Result<bool> {
    if agreement.dry_run {
        return Ok(false);
    }
    if !agreement.yes && !ui::agrees(question)? {
        return Err(hinted("nothing was removed", "say `--yes` to agree beforehand"));
    }
    Ok(true)
}
