//! What a person is told of a plan before anything is done.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::catalog::Device;
use crate::cli::OK;
use crate::machine::cores;
use crate::plan::{Job, Plan, Skip};
use crate::request::Request;
use crate::run::{Expected, Preview, Session, ToBuild};
use crate::ui;

/// Returns what a person is told before disk and network are used.
pub fn preview_words(preview: &Preview, home: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for ToBuild { name, provider, size_bytes } in &preview.to_build {
        let size = size_bytes.map_or("size not known".to_owned(), |bytes| {
            format!("about {} on disk", ui::size(bytes))
        });
        lines.push(format!("to build: environment {name} ({provider}), {size}"));
    }
    if lines.is_empty() {
        return lines;
    }
    let is_unknown = |one: &ToBuild| one.size_bytes.is_none();
    let together = match (preview.known_bytes(), preview.to_build.iter().any(is_unknown)) {
        (0, _) => String::new(),
        (known, false) => format!("together about {}, ", ui::size(known)),
        (known, true) => format!("together more than {}, ", ui::size(known)),
    };
    let free = preview.free_bytes.map_or("not known".to_owned(), ui::size);
    let home = home.display();
    lines.push(format!("what they need is downloaded; {together}free in {home}: {free}"));
    if preview.is_too_much() {
        lines.push(
            "that is too little: make room, as with `rosetta env gc`, or set ROSETTA_HOME to another disk".to_owned(),
        );
    }
    lines
}

/// Returns what a person should know of what was asked for.
pub fn remarks(plan: &Plan, request: &Request) -> Vec<String> {
    let mut jobs = plan.jobs.iter();
    let has_newest = !request.newest || jobs.any(|job| job.target.kept_version().is_some());
    let no_newest = (!has_newest).then(|| {
        "no version is kept that is newer than what is pinned: `rosetta env update` looks for them"
            .to_owned()
    });
    crowded(request).into_iter().chain(no_newest).collect()
}

/// Returns a warning where a job may have more threads than there are CPUs.
fn crowded(request: &Request) -> Option<String> {
    let (threads, cores) = (request.threads?, cores());
    (threads > cores).then(|| {
        format!("warning: {threads} threads for {cores} CPUs: threads will wait for each other")
    })
}

/// Returns how many jobs there are and how long they took last.
pub fn length(plan: &Plan, request: &Request, expected: &Expected) -> String {
    let (known, unknown) = expected.sum(&plan.jobs);
    let took = match (known, unknown) {
        (_, unknown) if unknown == plan.jobs.len() => "none has run here yet".to_owned(),
        (known, 0) => format!("they took {} last", ui::words(known)),
        (known, unknown) => {
            format!("{unknown} have not run here yet, the others took {} last", ui::words(known))
        }
    };
    let checks = match request.check {
        true => "; what has no verdict yet is checked first",
        false => "",
    };
    let count = plan.jobs.len();
    format!("{count} job{}: {took}{checks}", if count == 1 { "" } else { "s" })
}

/// Prints a plan instead of doing it.
pub fn print(
    plan: &Plan,
    request: &Request,
    preview: &Preview,
    session: &Session,
    as_json: bool,
) -> Result<ExitCode> {
    let text = match as_json {
        true => {
            let json = json(plan, request, preview, &session.expected());
            serde_json::to_string_pretty(&json)? + "\n"
        }
        false => text(plan),
    };
    ui::print(&text).map(|()| OK)
}

/// Returns the jobs, each on a line, and those that are skipped.
fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for job in &plan.jobs {
        text += &format!("{}\n", job.name());
    }
    for Skip { experiment, target, device, obstacle, .. } in &plan.skips {
        let (experiment, target) = (experiment.name(), &target.name);
        text += &format!("skipped: {experiment}.{target}.{device}: {obstacle}\n");
    }
    text
}

/// Returns a plan for a program: times in seconds, sizes in bytes, null where something is not known.
fn json(plan: &Plan, request: &Request, preview: &Preview, expected: &Expected) -> Value {
    let (known, unknown) = expected.sum(&plan.jobs);
    let jobs = plan.jobs.iter().map(|job| job_json(job, request, expected));
    json!({
        "jobs": jobs.collect::<Vec<_>>(),
        "skipped": plan.skips.iter().map(skip_json).collect::<Vec<_>>(),
        "to_build": preview.to_build.iter().map(build_json).collect::<Vec<_>>(),
        "free_bytes": preview.free_bytes,
        "is_checked_first": request.check,
        "expected_seconds": (unknown == 0).then_some(known.as_secs_f64()),
    })
}

fn job_json(job: &Job, request: &Request, expected: &Expected) -> Value {
    json!({
        "job": job.name(),
        "experiment": job.experiment.name(),
        "framework": job.framework.spec.name,
        "target": job.target.name,
        "device": job.device,
        "profile": job.profile,
        "repeat": job.repeat,
        "env": env(job, request),
        "expected_seconds": expected.time(job).map(|time| time.as_secs_f64()),
    })
}

fn skip_json(skip: &Skip) -> Value {
    json!({
        "experiment": skip.experiment.name(),
        "framework": skip.framework.spec.name,
        "target": skip.target.name,
        "device": skip.device,
        "reason": skip.obstacle.reason,
        "hint": skip.obstacle.hint,
    })
}

fn build_json(build: &ToBuild) -> Value {
    let ToBuild { name, provider, size_bytes } = build;
    json!({"env": name, "provider": provider.as_str(), "size_bytes": size_bytes})
}

/// Returns the environment that a job runs in; none where that is an interpreter of the user's.
fn env<'a>(job: &Job<'a>, request: &Request) -> Option<&'a str> {
    let of = |device: Device| job.target.env.get(&device);
    of(job.device).filter(|_| !request.is_own(job.framework)).map(|env| env.value.as_str())
}
