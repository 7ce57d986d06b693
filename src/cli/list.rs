//! `rosetta list`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::catalog::{EnvSpec, Framework};
use crate::cli::args::Listing;
use crate::cli::{NOT_OK, OK};
use crate::env::Envs;
use crate::home::Home;
use crate::project::Project;
use crate::report::Heading;
use crate::spec::Experiment;
use crate::store::{About, Outline, Store};
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
            let survey = store.survey()?;
            ui::warn(&survey.troubles);
            is_all_read = survey.troubles.is_empty();
            runs(survey.folders())
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
    // Without a home nothing is built.
    let envs = Home::find().ok().map(|home| Envs::new(home, project.root.clone()));
    let rows = catalog.targets().map(|(framework, target)| {
        let has = |e: &&Experiment| framework.harnesses.contains_key(e.name());
        let runs = experiments.iter().filter(has).map(Experiment::name).collect::<Vec<_>>();
        let own = target.env.values().next().and_then(|env| catalog.envs.get(&env.value));
        let version = own.and_then(EnvSpec::framework).map(|(_, version)| version);
        let year = framework.spec.year_of(target);
        let is_built =
            own.zip(envs.as_ref()).is_some_and(|(spec, envs)| envs.built(spec).is_some());
        let named = target.env.iter().map(|(device, env)| format!("{device}: {}", env.value));
        let environments =
            target.env.iter().map(|(device, env)| (device.to_string(), json!(env.value)));
        let object = json!({
            "target": target.name,
            "title": target.title,
            "version": version,
            "year": year,
            "experiments": runs,
            "is_built": is_built,
            "environments": environments.collect::<serde_json::Map<_, _>>(),
            "starter": target.starter,
            "unverified": target.unverified,
        });
        let cells = vec![
            target.name.clone(),
            target.title.clone(),
            version.unwrap_or_default().to_owned(),
            year.map(|year| year.to_string()).unwrap_or_default(),
            runs.join(", "),
            named.collect::<Vec<_>>().join(", "),
            if is_built { "yes" } else { "" }.to_owned(),
            if target.starter { "yes" } else { "" }.to_owned(),
            target.unverified.clone().unwrap_or_default(),
        ];
        (cells, object)
    });
    let headings = [
        "Target",
        "Title",
        "Version",
        "Year",
        "Experiments",
        "Environments",
        "Built",
        "Starter",
        "Unverified",
    ];
    Ok(Listed { headings: headings.map(Heading::words).into(), rows: rows.collect() })
}

fn runs<'a>(runs: impl Iterator<Item = (&'a Path, &'a Outline)>) -> Listed {
    let headings = vec![
        Heading::words("Run"),
        Heading::words("State"),
        Heading::words("Label"),
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
    Listed { headings, rows: runs.map(row).collect() }
}

fn row((folder, run): (&Path, &Outline)) -> (Vec<String>, Value) {
    let about = About::of(folder);
    let (state, (_, jobs)) = (state(run), run.jobs());
    let object = json!({
        "run": run.id,
        "state": state,
        "started": run.started,
        "is_clock_ahead": run.is_ahead,
        "seconds": run.seconds,
        "profile": run.profile,
        "experiments": run.experiments,
        "targets": run.targets,
        "jobs": jobs,
        "ok": run.ok,
        "not_ok": run.not_ok,
        "skipped": run.skipped - run.dropped,
        "dropped": run.dropped,
        "command": run.command,
        "label": about.label,
        "note": about.note,
    });
    let ahead = if run.is_ahead { " (in the future)" } else { "" };
    let cells = vec![
        run.id.clone(),
        state.to_owned(),
        about.label.unwrap_or_default(),
        run.profile.clone().unwrap_or_default(),
        jobs.to_string(),
        run.ok.to_string(),
        run.not_ok.to_string(),
        (run.skipped - run.dropped).to_string(),
        run.seconds.map(|seconds| ui::words(Duration::from_secs_f64(seconds))).unwrap_or_default(),
        run.experiments.join(", "),
        few(&run.targets),
        format!("{}{ahead}", run.started),
        typed(&run.command),
    ];
    (cells, object)
}

/// Returns the command as it would be typed where rosetta is on the path.
pub(super) fn typed(command: &[String]) -> String {
    let arguments = command.iter().skip(1).map(String::as_str);
    std::iter::once("rosetta").chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Returns how a run ended: fewer records than jobs, or a job that was cancelled, is an interruption. Jobs that a cluster has may
/// still come.
pub(super) fn state(run: &Outline) -> &'static str {
    if run.is_running {
        "running"
    } else if run.planned.is_none() {
        "unknown"
    } else if run.is_submitted() {
        "submitted"
    } else if run.is_interrupted() {
        "interrupted"
    } else {
        "finished"
    }
}

/// Returns the first few names, and how many there are more.
fn few(names: &[String]) -> String {
    const FEW: usize = 4;
    let mut words = names[..names.len().min(FEW)].join(", ");
    if names.len() > FEW {
        words += &format!(" and {} more", names.len() - FEW);
    }
    words
}
