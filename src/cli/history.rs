//! `rosetta history`: one framework over all nights.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;

use crate::brief::{Brief, Name};
use crate::catalog::Device;
use crate::cli::OK;
use crate::cli::args::HistoryArgs;
use crate::compare::{RowHistory, histories};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::plan::{choose_experiments, choose_targets};
use crate::project::Project;
use crate::record::Record;
use crate::report::{printable, spark, three_digits};
use crate::request::Request;
use crate::store::Store;
use crate::ui;

/// Blocks of the line.
const WIDTH: usize = 60;

/// Prints how the numbers of a framework went, night by night.
pub fn history(project: &Project, store: &Store, args: &HistoryArgs) -> Result<ExitCode> {
    let records = records(project, store, args)?;
    let histories = histories(records, args.tolerance);
    if histories.is_empty() {
        let here = if args.all_machines { "" } else { " on this machine" };
        let message =
            format!("there is no number of `{}` in `{}`{here}", args.framework, args.experiment);
        return Err(hinted(
            message,
            "`rosetta runs list` shows what was run; `--all-machines` takes in others",
        ));
    }
    match args.format.chosen() {
        Some(format) => {
            let grids = histories.iter().map(RowHistory::grid).collect::<Vec<_>>();
            ui::print(&format.write(&grids))?;
        }
        None => ui::print(&text(&histories, args))?,
    }
    Ok(OK)
}

/// Returns the records of what is named, in the order in which they were made.
fn records(project: &Project, store: &Store, args: &HistoryArgs) -> Result<Vec<Record>> {
    let (experiments, catalog) = (project.experiments()?, project.catalog()?);
    let request = Request {
        experiments: vec![args.experiment.clone()],
        frameworks: vec![args.framework.clone()],
        ..Request::default()
    };
    let chosen = choose_experiments(&request, &experiments, &catalog)?;
    let targets = choose_targets(&request, &catalog)?;
    let asked = AskedRecords {
        experiments: chosen.iter().map(|one| one.name()).collect(),
        targets: targets.iter().map(|(_, target)| target.name.as_str()).collect(),
        profile: args.profile.as_deref(),
        device: args.device,
    };
    let mut survey = store.survey()?;
    ui::warn(&std::mem::take(&mut survey.troubles));
    let names = survey.names.list().to_vec();
    let name = |number: Name| names.get(number as usize).map_or("", String::as_str);
    let mut records = survey.records(|briefs| {
        let asked = briefs.iter().map(|(_, brief)| {
            let Brief { experiment, target, profile, device, .. } = *brief;
            asked.include(name(experiment), name(target), name(profile), device)
        });
        asked.collect()
    });
    let here = Machine::look();
    records.retain(|record| {
        let Record { experiment, target, profile, device, .. } = record;
        // Of a run whose files have just changed, all records may have come.
        asked.include(experiment, target, profile, *device)
            && (args.all_machines || record.machine.is_same(&here))
    });
    Ok(records)
}

/// The records that are asked for, by their names.
struct AskedRecords<'a> {
    experiments: BTreeSet<&'a str>,
    targets: BTreeSet<&'a str>,
    profile: Option<&'a str>,
    device: Option<Device>,
}

impl AskedRecords<'_> {
    fn include(&self, experiment: &str, target: &str, profile: &str, device: Device) -> bool {
        self.experiments.contains(experiment)
            && self.targets.contains(target)
            && self.profile.is_none_or(|asked| asked == profile)
            && self.device.is_none_or(|asked| asked == device)
    }
}

fn text(histories: &[RowHistory], args: &HistoryArgs) -> String {
    let mut parts = Vec::new();
    for history in histories {
        let mut lines =
            vec![format!("{}: {}, {}", history.experiment, history.title, history.unit())];
        if args.all_machines {
            lines.push(format!("{}, {}", history.machine.host, history.machine.words()));
        }
        let values = history.nights.iter().map(|night| night.value).collect::<Vec<_>>();
        let day = |index: usize| history.nights[index].started.get(..10).unwrap_or_default();
        let (first, last) = (day(0), day(values.len() - 1));
        lines.push(format!("{first} {} {last}", spark(&values, WIDTH)));
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let [low, high, now] = [low, high, values[values.len() - 1]].map(three_digits);
        let nights = values.len();
        let s = if nights == 1 { "" } else { "s" };
        let mut totals = format!("{nights} night{s}, {low} to {high}, the last {now}");
        if history.without > 0 {
            totals += &format!("; {} more without a number", history.without);
        }
        lines.push(totals);
        match history.changes.as_slice() {
            [] if nights < 6 => lines.push(
                "too few nights to tell a change of level: three before it and three after"
                    .to_owned(),
            ),
            [] => lines.push("no change of level".to_owned()),
            changes => lines.extend(changes.iter().map(|change| history.words(change))),
        }
        parts.push(lines.iter().map(|line| printable(line) + "\n").collect::<String>());
    }
    let mut text = parts.join("\n");
    if args.all {
        let grids = histories.iter().map(RowHistory::grid).collect::<Vec<_>>();
        text += &format!("\n{}", ui::tables(&grids));
    }
    text
}
