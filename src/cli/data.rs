//! `rosetta data`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::cli::OK;
use crate::cli::args::DataCommand;
use crate::data::{DataStore, Status};
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
            for name in or_all(names, &store) {
                live.step(&format!("make {name}"), |report| store.make(&name, report))?;
            }
        }
        DataCommand::Verify { names } => {
            for name in or_all(names, &store) {
                live.step(&format!("verify {name}"), |report| store.verify(&name, report))?;
            }
        }
    }
    Ok(OK)
}

fn or_all(names: &[String], store: &DataStore) -> Vec<String> {
    match names {
        [] => store.list().into_iter().map(|status| status.known.name.to_owned()).collect(),
        names => names.to_vec(),
    }
}

fn list(store: &DataStore, as_json: bool) -> Result<()> {
    let all = store.list();
    if as_json {
        let object = |status: &Status| {
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
        if status.stored.is_empty() {
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
