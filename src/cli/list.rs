//! `rosetta list`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalog::Framework;
use crate::cli::args::Listing;
use crate::cli::{NOT_OK, OK};
use crate::project::Project;
use crate::record::{Record, Status};
use crate::report::Heading;
use crate::spec::Experiment;
use crate::store::{Store, Stored};
use crate::ui;

/// What is listed: cells for people, and for each row an object for programs.
struct Listed {
    headings: Vec<Heading>,
    rows: Vec<(Vec<String>, Value)>,
}

/// Prints what the project has.
pub fn list(project: &Project, store: &Store, what: Listing, as_json: bool) -> Result<ExitCode> {
    let mut is_all_read = true;
    let listed = match what {
        Listing::Experiments => experiments(project)?,
        Listing::Frameworks => frameworks(project)?,
        Listing::Targets => targets(project)?,
        Listing::Runs => {
            let reading = store.read()?;
            ui::warn(&reading.troubles);
            is_all_read = reading.troubles.is_empty();
            runs(&reading.runs)
        }
    };
    let (rows, objects) = listed.rows.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    match as_json {
        true => ui::print(&(serde_json::to_string_pretty(&objects)? + "\n"))?,
        false => ui::print(&ui::list(listed.headings, rows))?,
    }
    Ok(if is_all_read { OK } else { NOT_OK.into() })
}

fn experiments(project: &Project) -> Result<Listed> {
    let row = |e: Experiment| {
        let profiles = e.spec.profiles.keys().cloned().collect::<Vec<_>>();
        let cells = vec![e.spec.name, e.spec.title, profiles.join(", ")];
        let object = json!({"experiment": cells[0], "title": cells[1], "profiles": profiles});
        (cells, object)
    };
    let rows = project.experiments()?.into_iter().map(row).collect();
    Ok(Listed { headings: ["Experiment", "Title", "Profiles"].map(Heading::words).into(), rows })
}

fn frameworks(project: &Project) -> Result<Listed> {
    let row = |f: &Framework| {
        let experiments = f.harnesses.keys().cloned().collect::<Vec<_>>();
        let targets = f.spec.targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>();
        let era = format!("{:?}", f.spec.era).to_lowercase();
        let object = json!({
            "framework": f.spec.name,
            "title": f.spec.title,
            "era": era,
            "targets": targets,
            "experiments": experiments,
        });
        let (name, title) = (f.spec.name.clone(), f.spec.title.clone());
        (vec![name, title, era, targets.join(", "), experiments.join(", ")], object)
    };
    let rows = project.catalog()?.frameworks.iter().map(row).collect();
    let headings = ["Framework", "Title", "Era", "Targets", "Experiments"];
    Ok(Listed { headings: headings.map(Heading::words).into(), rows })
}

fn targets(project: &Project) -> Result<Listed> {
    let catalog = project.catalog()?;
    let experiments = project.experiments()?;
    let rows = catalog.targets().map(|(framework, target)| {
        let has = |e: &&Experiment| framework.harnesses.contains_key(e.name());
        let runs = experiments.iter().filter(has).map(Experiment::name).collect::<Vec<_>>();
        let envs = target.env.iter().map(|(device, env)| format!("{device}: {}", env.value));
        let environments =
            target.env.iter().map(|(device, env)| (device.to_string(), json!(env.value)));
        let object = json!({
            "target": target.name,
            "title": target.title,
            "experiments": runs,
            "environments": environments.collect::<serde_json::Map<_, _>>(),
            "starter": target.starter,
        });
        let cells = vec![
            target.name.clone(),
            target.title.clone(),
            runs.join(", "),
            envs.collect::<Vec<_>>().join(", "),
            if target.starter { "yes" } else { "" }.to_owned(),
        ];
        (cells, object)
    });
    let headings = ["Target", "Title", "Experiments", "Environments", "Starter"];
    Ok(Listed { headings: headings.map(Heading::words).into(), rows: rows.collect() })
}

fn runs(runs: &[Stored]) -> Listed {
    let headings = vec![
        Heading::words("Run"),
        Heading::words("State"),
        Heading::words("Profile"),
        Heading::numbers("Jobs"),
        Heading::numbers("Ok"),
        Heading::numbers("Not ok"),
        Heading::numbers("Skipped"),
        Heading::numbers("Took"),
        Heading::words("Experiments"),
        Heading::words("Targets"),
        Heading::words("Started"),
        Heading::words("Command"),
    ];
    Listed { headings, rows: runs.iter().map(row).collect() }
}

fn row(stored: &Stored) -> (Vec<String>, Value) {
    let records = &stored.records;
    let count = |is: &dyn Fn(&Record) -> bool| records.iter().filter(|r| is(r)).count();
    let (ok, skipped) = (count(&Record::is_ok), count(&|r| r.outcome.status == Status::Skipped));
    let not_ok = records.len() - ok - skipped;
    // Without run.json, what was planned is not known.
    let jobs = stored.run.as_ref().map_or(ok + not_ok, |run| run.jobs.len());
    let state = state(stored, jobs, ok + not_ok);
    let experiments = each_once(records.iter().map(|record| record.experiment.as_str()));
    let targets = each_once(records.iter().map(|record| record.target.as_str()));
    let profile = stored.run.as_ref().map(|run| run.profile.clone());
    let profile = profile.or(records.first().map(|record| record.profile.clone()));
    let command = stored.run.as_ref().map(|run| run.command.clone()).unwrap_or_default();
    let seconds = seconds(stored);
    let object = json!({
        "run": stored.id,
        "state": state,
        "started": stored.started,
        "is_clock_ahead": stored.is_ahead,
        "seconds": seconds,
        "profile": profile,
        "experiments": experiments,
        "targets": targets,
        "jobs": jobs,
        "ok": ok,
        "not_ok": not_ok,
        "skipped": skipped,
        "command": command,
    });
    let ahead = if stored.is_ahead { " (in the future)" } else { "" };
    let cells = vec![
        stored.id.clone(),
        state.to_owned(),
        profile.unwrap_or_default(),
        jobs.to_string(),
        ok.to_string(),
        not_ok.to_string(),
        skipped.to_string(),
        seconds.map(|seconds| ui::words(Duration::from_secs_f64(seconds))).unwrap_or_default(),
        experiments.join(", "),
        few(&targets),
        format!("{}{ahead}", stored.started),
        typed(&command),
    ];
    (cells, object)
}

/// Returns the command as it would be typed where rosetta is on the path.
fn typed(command: &[String]) -> String {
    let arguments = command.iter().skip(1).map(String::as_str);
    std::iter::once("rosetta").chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Returns how a run ended: fewer records than jobs, or a job that was cancelled, is an interruption.
fn state(stored: &Stored, jobs: usize, ended: usize) -> &'static str {
    let is_cancelled = |record: &Record| record.outcome.status == Status::Cancelled;
    if stored.is_running {
        "running"
    } else if stored.run.is_none() {
        "unknown"
    } else if ended < jobs || stored.records.iter().any(is_cancelled) {
        "interrupted"
    } else {
        "finished"
    }
}

/// Returns the time from a run's start to the end of its last job.
fn seconds(stored: &Stored) -> Option<f64> {
    let start = stored.started.parse::<Timestamp>().ok()?;
    let end = |record: &Record| {
        let began = record.started.parse::<Timestamp>().ok()?;
        Some(began.duration_since(start).as_secs_f64() + record.times.wall.unwrap_or(0.0))
    };
    let last = stored.records.iter().filter_map(end).max_by(f64::total_cmp)?;
    (last.is_finite() && (0.0..1e9).contains(&last)).then_some(last)
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// Returns the first few names, and how many there are more.
fn few(names: &[&str]) -> String {
    const FEW: usize = 4;
    let mut words = names.iter().take(FEW).copied().collect::<Vec<_>>().join(", ");
    if names.len() > FEW {
        words += &format!(" and {} more", names.len() - FEW);
    }
    words
}
