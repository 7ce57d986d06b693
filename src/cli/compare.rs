//! `rosetta compare`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::args::{CompareArgs, FormatArgs};
use crate::cli::{NOT_OK, OK};
use crate::compare::{self, Comparison, Question, Side};
use crate::hint::{hinted, say, unknown};
use crate::project::Project;
use crate::report::Format;
use crate::store::{Store, Survey};
use crate::{table, ui};

/// Prints what changed between two sides.
pub fn compare(project: &Project, store: &Store, args: &CompareArgs) -> Result<ExitCode> {
    if !args.experiment.is_empty() {
        let experiments = project.experiments()?;
        let known = experiments.iter().map(|experiment| experiment.name());
        let is_unknown = |name: &&String| !known.clone().any(|one| one == name.as_str());
        if let Some(name) = args.experiment.iter().find(is_unknown) {
            return Err(unknown("experiment", name, known));
        }
    }
    let question = Question { experiments: args.experiment.clone(), tolerance: args.tolerance };
    let (now, survey) = match &args.after {
        Some(after) => (side(project, store, after)?, None),
        None => {
            let survey = store.survey()?;
            (side(project, store, &newest(&survey)?)?, Some(survey))
        }
    };
    let before = match &args.before {
        Some(before) => side(project, store, before)?,
        None => last_good_before(survey.map_or_else(|| store.survey(), Ok)?, &now)?,
    };
    let comparison = compare::compare(&before, &now, &question);
    show(&comparison, args.all, args.format)?;
    let is_worse = args.fail_above.is_some_and(|share| comparison.is_worse_by(share));
    Ok(if is_worse { NOT_OK.into() } else { OK })
}

fn show(comparison: &Comparison, all: bool, format: FormatArgs) -> Result<()> {
    let format = format.chosen();
    let grids = comparison.grids(all || format == Some(Format::Json));
    match format {
        Some(format) => ui::print(&format.write(&grids))?,
        None => ui::print(&ui::tables(&grids))?,
    }
    say(format_args!("{} → {}: {}", comparison.before, comparison.after, comparison.summary()));
    Ok(())
}

/// Returns the id of the newest run that has a record and has ended.
fn newest(survey: &Survey) -> Result<String> {
    let has_ended = survey.outlines().filter(|run| !run.is_running && run.jobs().0 > 0);
    let newest = has_ended.last().map(|run| run.id.clone());
    newest.ok_or_else(|| hinted("there is no run yet", "run `rosetta run` first"))
}

/// Returns the records of what is named: a run, a day, `reference`, a folder of results.
fn side(project: &Project, store: &Store, name: &str) -> Result<Side> {
    let folder = match name {
        "reference" => project.reference(),
        path => Path::new(path).to_owned(),
    };
    if folder.join("runs").is_dir() {
        let mut survey = project.store(Some(&folder))?.survey()?;
        ui::warn(&std::mem::take(&mut survey.troubles));
        return not_empty(Side::new(name, survey.records(table::needed)));
    }
    let run = match is_day(name) {
        true => on_or_before(store, name)?,
        false => name.to_owned(),
    };
    let reading = store.read_one(&run)?;
    let id = reading.runs.first().map_or(run, |run| run.id.clone());
    let (records, troubles) = reading.into_records();
    ui::warn(&troubles);
    not_empty(Side::new(id, records))
}

fn not_empty(side: Side) -> Result<Side> {
    match side.is_empty() {
        false => Ok(side),
        true => {
            let message = format!("`{}` has no job that ran", side.name);
            Err(hinted(message, "`rosetta list runs` shows what each run has"))
        }
    }
}

fn is_day(name: &str) -> bool {
    name.len() == 10 && name.parse::<jiff::civil::Date>().is_ok()
}

/// Returns the newest run that began on a day or before it, in UTC.
fn on_or_before(store: &Store, day: &str) -> Result<String> {
    let survey = store.survey()?;
    let runs = survey
        .outlines()
        .filter(|run| run.started.get(..10).is_some_and(|date| date <= day) && run.jobs().0 > 0);
    let newest = runs.last().map(|run| run.id.clone());
    newest.ok_or_else(|| {
        let message = format!("there is no run of {day} or before");
        hinted(message, "`rosetta list runs` shows when each began")
    })
}

/// Returns of each row the last good result before the run of the other side, from the same machine.
fn last_good_before(survey: Survey, now: &Side) -> Result<Side> {
    match earlier(survey, now) {
        Some(side) if !side.is_empty() => Ok(side),
        Some(_) => {
            let message = format!("there is no run of this machine before `{}`", now.name);
            Err(hinted(
                message,
                "compare with `reference`, or with a run of another machine by its id",
            ))
        }
        None => {
            let message = format!("what was before `{}` is not known: it is not a run", now.name);
            Err(hinted(message, "name both sides, as `rosetta compare reference latest`"))
        }
    }
}

/// Returns the same, empty where there is none; nothing where the other side is not a stored run.
pub(super) fn earlier(mut survey: Survey, now: &Side) -> Option<Side> {
    ui::warn(&std::mem::take(&mut survey.troubles));
    let place = survey.place(&now.name)?;
    let mut records = survey.records(|briefs| {
        let earlier = briefs.partition_point(|(run, _)| *run < place);
        let mut needed = table::needed(&briefs[..earlier]);
        needed.resize(briefs.len(), false);
        needed
    });
    records.retain(|record| now.is_of_machine(&record.machine) && record.run != now.name);
    Some(Side::new("the last good before", records))
}
