//! `rosetta runs remove` and `rosetta runs prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{may_remove, own_folder};
use crate::brief::Brief;
use crate::cli::args::AgreementArgs;
use crate::hint::say;
use crate::home::size_bytes;
use crate::store::{About, Outline, Store};
use crate::{table, ui};

/// Removes the runs that are named.
pub fn remove(store: &Store, names: &[String], agreement: AgreementArgs) -> Result<()> {
    let folders = names.iter().map(|name| own_folder(store, name)).collect::<Result<Vec<_>>>()?;
    remove_folders(store, &folders.into_iter().collect(), agreement)
}

/// Removes old runs that no table shows.
pub fn prune(store: &Store, keep: usize, agreement: AgreementArgs) -> Result<()> {
    let survey = store.survey()?;
    ui::warn(&survey.troubles);
    let shown = shown(survey.briefs());
    let oldest = survey.outlines().count().saturating_sub(keep);
    let runs = survey.folders().take(oldest).enumerate();
    let is_spare = |(index, (folder, run)): &(usize, (&Path, &Outline))| {
        !run.is_running && !shown.contains(index) && About::of(folder).label.is_none()
    };
    let spare = runs.filter(is_spare).map(|(_, (folder, _))| folder.to_owned()).collect();
    remove_folders(store, &spare, agreement)
}

/// Returns the numbers of the runs that have the newest of the best results of a target: those that a table shows.
fn shown<'a>(runs: impl Iterator<Item = &'a [Brief]>) -> BTreeSet<usize> {
    let mut best = BTreeMap::new();
    for (run, briefs) in runs.enumerate() {
        for brief in briefs {
            let Brief { experiment, profile, target, provider, machine, device, .. } = *brief;
            let key = (experiment, profile, target, provider, machine, device);
            let found = (table::worth_of(brief.status, brief.is_tainted), run);
            let one = best.entry(key).or_insert(found);
            *one = found.max(*one);
        }
    }
    best.into_values().map(|(_, run)| run).collect()
}

fn remove_folders(
    store: &Store,
    folders: &BTreeSet<PathBuf>,
    agreement: AgreementArgs,
) -> Result<()> {
    let bytes = folders.iter().map(|folder| size_bytes(folder)).sum::<u64>();
    let size = ui::size(bytes);
    for folder in folders {
        let id = folder.file_name().unwrap_or_default().to_string_lossy();
        say(format_args!("run {id}, {}", ui::size(size_bytes(folder))));
    }
    let what = match folders.len() {
        0 => {
            say("there is no run to remove");
            return Ok(());
        }
        1 => "1 run".to_owned(),
        count => format!("{count} runs"),
    };
    if !may_remove(agreement, &format!("remove {what}, {size}?"))? {
        say(format_args!("{what} would be removed, {size}"));
        return Ok(());
    }
    let mut failed = Vec::new();
    for folder in folders {
        failed.extend(store.remove(folder).err());
    }
    let removed = folders.len() - failed.len();
    if let Some(error) = failed.pop() {
        failed.iter().for_each(crate::hint::report);
        bail!(error.context(format!("{removed} of {what} removed")));
    }
    say(format_args!("{what} removed, {size} freed"));
    Ok(())
}
