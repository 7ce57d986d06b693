//! Runs a program of a framework that is no harness and says facts only. Must not depend on what they are about.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tokio::sync::watch;

use super::attempt::{Asked, Attempt, Program, TIMEOUT};
use super::conditions::Conditions;
use super::outcome;
use crate::env::Built;
use crate::event::Event;
use crate::jobfile::{self, JobFile, JobPlace};
use crate::process::Cancel;
use crate::record::Status;

/// What a program said.
pub(super) struct ProgramFacts {
    /// The framework's version.
    pub(super) version: String,
    /// Names and values, in the order in which they came.
    pub(super) facts: Vec<(String, Value)>,
}

/// Runs a program in a folder of its own; returns what it said, or why it failed.
pub(super) async fn ask(
    program: Program<'_>,
    built: &Built,
    conditions: &Conditions,
    folder: &Path,
    cancel: &mut watch::Receiver<Cancel>,
) -> Result<Result<ProgramFacts, String>> {
    let Program { target, device, name, .. } = program;
    let place = JobPlace {
        job: format!("{name}.{}.{device}.1", target.name),
        target: &target.name,
        device,
        threads: conditions.threads,
        outputs: folder,
    };
    let attempt = Attempt {
        program,
        built,
        job_file: &jobfile::write(folder, &JobFile::of_program(name, &place))?,
        writes: Vec::new(),
        conditions,
        timeout: TIMEOUT,
        left: None,
        asked: Asked::default(),
        is_timed: true,
        environment: Default::default(),
    };
    let mut facts = Vec::new();
    let take = |event: &Event| {
        if let Event::Fact { name, value } = event {
            facts.push((name.to_string(), value.clone()));
        }
    };
    let ending = attempt.run(cancel, take).await?;
    let outcome = outcome::of_process(&ending);
    if outcome.status != Status::Ok {
        let why = outcome.reason.unwrap_or_else(|| outcome.status.as_str().to_owned());
        let log = folder.join("stderr.log");
        return Ok(Err(format!("{why}; its log is {}", log.display())));
    }
    let version = ending.fold.hello.map(|hello| hello.version).unwrap_or_default();
    Ok(Ok(ProgramFacts { version, facts }))
}
