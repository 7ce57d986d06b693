//! `rosetta data`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::cli::OK;
use crate::cli::args::DataCommand;
use crate::data::{DataStatus, DataStore};
use crate::home::Home;
use crate::report::Heading;
use crate::ui::{self, Live};

/// Shows or changes what data there is.
pub fn data(command: &DataCommand) -> Result<ExitCode> {
    let store = DataStore::at(Home::find()?.data());
    let live = Live::new();
    match command {
        DataCommand::List { json } => list(&store, *json)?,
        DataCommand::Fetch { name } => {
            live.step(&format!("fetch {name}"), |report| store.fetch(name, report))?;
        }
        DataCommand::Import { name, file, unverified } => {
            let work =
                |report: crate::progress::Report| store.import(name, file, *unverified, report);
            live.step(&format!("import {name}"), work)?;
        }
        DataCommand::Make { names } => {
            let twins = store.twins().into_iter().map(str::to_owned);
            let names = if names.is_empty() { twins.collect() } else { names.clone() };
            return each(&names, |name| {
                live.step(&format!("make {name}"), |report| store.make(name, report))
            });
        }
        DataCommand::Verify { names } => return verify(&store, names, &live),
    }
    Ok(OK)
}

/// Verifies what is named or, without names, all that is here.
fn verify(store: &DataStore, names: &[String], live: &Live) -> Result<ExitCode> {
    let is_here = |status: &DataStatus| !status.stored.is_empty() || !status.damaged.is_empty();
    let here = store.list().into_iter().filter(is_here);
    let all = here.map(|status| status.known.name.to_owned()).chain([MADE.to_owned()]);
    let names = if names.is_empty() { all.collect() } else { names.to_vec() };
    each(&names, |name| {
        live.step(&format!("verify {name}"), |report| match name {
            MADE => store.verify_made(report),
            name => store.verify(name, report),
        })
    })
}

/// What has no name of its own.
const MADE: &str = "weights, batch orders and converted files";

/// Does the work for each name; one that fails does not stop the others.
fn each<T>(names: &[String], work: impl Fn(&str) -> Result<T>) -> Result<ExitCode> {
    let mut failed = None;
    for name in names {
        if let Err(error) = work(name)
            && let Some(before) = failed.replace(error)
        {
            crate::hint::report(&before);
        }
    }
    failed.map_or(Ok(OK), Err)
}

fn list(store: &DataStore, as_json: bool) -> Result<()> {
    let all = store.list();
    if as_json {
        let object = |status: &DataStatus| {
            let stored = status.stored.iter().map(|stored| {
                json!({
                    "source": stored.source,
                    "folder": stored.folder,
                    "bytes": stored.bytes,
                    "digest": stored.digest,
                })
            });
            json!({
                "name": status.known.name,
                "stored": stored.collect::<Vec<_>>(),
                "damaged": status.damaged,
            })
        };
        let list = all.iter().map(object).collect::<Vec<_>>();
        return ui::print(&(serde_json::to_string_pretty(&list)? + "\n"));
    }
    let mut rows = Vec::new();
    for status in &all {
        let name = status.known.name.to_owned();
        if status.stored.is_empty() && status.damaged.is_empty() {
            let missing = "not here yet: made or imported when it is needed".to_owned();
            rows.push(vec![name.clone(), missing, String::new(), String::new(), String::new()]);
        }
        for stored in &status.stored {
            let shapes = stored.arrays.iter().map(|(array, shape)| format!("{array} {shape:?}"));
            let shapes = shapes.take(4).collect::<Vec<_>>().join(", ");
            rows.push(vec![
                name.clone(),
                stored.source.as_str().to_owned(),
                ui::size(stored.bytes),
                shapes,
                stored.digest.chars().take(12).collect(),
            ]);
        }
        for why in &status.damaged {
            let damaged = format!("damaged: {why}");
            rows.push(vec![name.clone(), damaged, String::new(), String::new(), String::new()]);
        }
    }
    let headings = [
        Heading::words("Data"),
        Heading::words("Source"),
        Heading::numbers("Size"),
        Heading::words("Arrays"),
        Heading::words("Digest"),
    ];
    ui::print(&ui::list(headings, rows))
}
