//! `rosetta runs show`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::cli::{OK, list};
use crate::home::size_bytes;
use crate::record::Record;
use crate::report::{Heading, printable, three_digits};
use crate::store::{About, Outline, Stored};
use crate::ui;

/// A job of a run, whether it has ended or not.
struct ShownJob<'a> {
    name: &'a str,
    /// What is known of it where it has no record.
    state: &'static str,
    record: Option<&'a Record>,
}

/// Prints what is known of a run.
pub fn show(run: &Stored, as_json: bool) -> Result<ExitCode> {
    let (outline, about) = (Outline::of(run), About::of(&run.folder));
    let jobs = jobs(run);
    match as_json {
        true => {
            let object = object(run, &outline, &about, &jobs);
            ui::print(&(serde_json::to_string_pretty(&object)? + "\n"))?;
        }
        false => people(run, &outline, &about, &jobs)?,
    }
    Ok(OK)
}

/// Returns the jobs as they were planned, those that were skipped last.
fn jobs(run: &Stored) -> Vec<ShownJob<'_>> {
    let planned = run.run.iter().flat_map(|run| &run.jobs);
    let mut jobs = Vec::new();
    for name in planned.clone() {
        let record = run.records.iter().find(|record| record.job == *name);
        let has_begun = run.folder.join(name).exists();
        let state = match (has_begun, run.is_running) {
            (true, true) => "running",
            (true, false) => "cut short",
            (false, true) => "waiting",
            (false, false) => "not started",
        };
        jobs.push(ShownJob { name, state, record });
    }
    let is_extra = |record: &&Record| planned.clone().all(|name| *name != record.job);
    let extra = run.records.iter().filter(is_extra);
    jobs.extend(extra.map(|record| ShownJob {
        name: &record.job,
        state: "",
        record: Some(record),
    }));
    jobs
}

impl ShownJob<'_> {
    fn state(&self) -> &str {
        self.record.map_or(self.state, |record| record.outcome.status.as_str())
    }

    /// Returns what else there is to say of it.
    fn words(&self) -> String {
        let Some(record) = self.record else { return String::new() };
        let mut words = record.outcome.reason.clone().into_iter().collect::<Vec<_>>();
        words.extend(record.marks.iter().cloned());
        if !record.earlier.is_empty() {
            words.push(format!("attempt {}", record.earlier.len() + 1));
        }
        printable(&words.join("; "))
    }

    fn row(&self) -> Vec<String> {
        let times = self.record.map(|record| &record.times);
        let training = times.and_then(|times| times.training);
        let wall = times.and_then(|times| times.wall);
        vec![
            self.name.to_owned(),
            self.state().to_owned(),
            training.map(three_digits).unwrap_or_default(),
            wall.map(three_digits).unwrap_or_default(),
            self.words(),
        ]
    }
}

fn object(run: &Stored, outline: &Outline, about: &About, jobs: &[ShownJob]) -> serde_json::Value {
    let job = |job: &ShownJob| {
        json!({
            "job": job.name,
            "state": job.state(),
            "reason": job.record.and_then(|record| record.outcome.reason.clone()),
            "training_seconds": job.record.and_then(|record| record.times.training),
            "wall_seconds": job.record.and_then(|record| record.times.wall),
            "marks": job.record.map(|record| record.marks.clone()).unwrap_or_default(),
            "earlier": job.record.map(|record| record.earlier.clone()).unwrap_or_default(),
        })
    };
    json!({
        "run": run.id,
        "state": list::state(outline),
        "label": about.label,
        "note": about.note,
        "started": run.started,
        "seconds": outline.seconds,
        "folder": run.folder,
        "bytes": size_bytes(&run.folder),
        "command": outline.command,
        "request": run.run.as_ref().and_then(|run| run.request.clone()),
        "machine": run.run.as_ref().map(|run| run.machine.clone()),
        "rosetta": run.run.as_ref().map(|run| run.rosetta.clone()),
        "jobs": jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

fn people(run: &Stored, outline: &Outline, about: &About, jobs: &[ShownJob]) -> Result<()> {
    let (ended, planned) = outline.jobs();
    let mut lines = vec![
        format!("run      {}", run.id),
        format!(
            "state    {}, {ended} of {planned} jobs have ended, {} ok",
            list::state(outline),
            outline.ok
        ),
    ];
    let mut line = |what: &str, words: Option<String>| {
        lines.extend(words.map(|words| format!("{what:<8} {}", printable(&words))));
    };
    line("label", about.label.clone());
    line("note", about.note.clone());
    let took = outline.seconds.map(|seconds| ui::words(Duration::from_secs_f64(seconds)));
    let took = took.map(|took| format!(", took {took}")).unwrap_or_default();
    line("started", Some(format!("{}{took}", run.started)));
    line("command", Some(list::typed(&outline.command)).filter(|_| !outline.command.is_empty()));
    line(
        "machine",
        run.run.as_ref().map(|run| format!("{}: {}", run.machine.host, run.machine.words())),
    );
    let size = ui::size(size_bytes(&run.folder));
    line("folder", Some(format!("{} ({size})", run.folder.display())));
    ui::print(&(lines.join("\n") + "\n\n"))?;
    let headings = vec![
        Heading::words("Job"),
        Heading::words("Outcome"),
        Heading::numbers("Training (s)"),
        Heading::numbers("Took (s)"),
        Heading::words("Why"),
    ];
    ui::print(&ui::list(headings, jobs.iter().map(ShownJob::row).collect()))
}
