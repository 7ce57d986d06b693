//! `rosetta table`.

use std::process::ExitCode;

use crate::cli::args::{FormatArgs, TableArgs};
use crate::cli::{NOT_OK, OK};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::project::Project;
use crate::record::Record;
use crate::report::{Format, Grid};
use crate::spec::Experiment;
use crate::store::Store;
use crate::table::{self, Choice, Published, Title};
use crate::ui;
use anyhow::Result;

/// Prints the tables that were asked for.
pub fn table(project: &Project, store: &Store, args: &TableArgs) -> Result<ExitCode> {
    let published = project.published()?;
    if args.published {
        for name in &args.experiments {
            if !published.tables.contains_key(name) {
                let known = published.tables.keys().map(String::as_str);
                return Err(crate::hint::unknown("published experiment", name, known));
            }
        }
        return show(&published.to_tables(&args.experiments), args.format).map(|()| OK);
    }
    let reading = match &args.run {
        Some(run) => store.read_one(run)?,
        None => store.read()?,
    };
    let ahead = reading.ahead();
    let (records, troubles) = reading.into_records();
    // Before anything else can end the command: what cannot be read may be why.
    ui::warn(&troubles);
    let records = match &args.run {
        Some(_) => records,
        None => of_this_machine(records, args.all_machines)?,
    };
    let choice = Choice {
        experiments: args.experiments.clone(),
        profile: args.profile.clone(),
        device: args.device,
        era: args.era.and_then(|era| era.era()),
        columns: args.columns.clone(),
        frameworks: args.frameworks.clone(),
        conditions: args.conditions.clone(),
        order: args.sort,
        with_published: args.with_published,
        then_and_now: args.then_and_now,
        ahead,
    };
    // Results are shown under their own names where a spec cannot be read today.
    let experiments = project.experiments();
    let (experiments, is_spec_wrong) = match experiments {
        Ok(experiments) => (experiments, false),
        Err(error) => {
            crate::hint::report(&error);
            (Vec::new(), true)
        }
    };
    show(&table::build(&records, &titles(&experiments), &published, &choice)?, args.format)?;
    Ok(if troubles.is_empty() && !is_spec_wrong { OK } else { NOT_OK.into() })
}

/// Prints the tables of one run.
pub fn run_tables(
    experiments: &[Experiment],
    records: &[Record],
    format: FormatArgs,
) -> Result<()> {
    // Published numbers are shown on request only.
    let published = Published::default();
    let tables = table::build(records, &titles(experiments), &published, &Choice::default())?;
    show(&tables, format)
}

pub(super) fn titles(experiments: &[Experiment]) -> Vec<Title> {
    let title =
        |e: &Experiment| Title { experiment: e.spec.name.clone(), title: e.spec.title.clone() };
    experiments.iter().map(title).collect()
}

pub(super) fn of_this_machine(mut records: Vec<Record>, all_machines: bool) -> Result<Vec<Record>> {
    if all_machines || records.is_empty() {
        return Ok(records);
    }
    let here = Machine::look();
    records.retain(|record| record.machine.is_same(&here));
    match records.is_empty() {
        false => Ok(records),
        true => Err(hinted(
            "there are results, but none from this machine",
            "add `--all-machines`, or name a run with `--run`",
        )),
    }
}

fn show(tables: &[Grid], format: FormatArgs) -> Result<()> {
    let format = match format {
        FormatArgs { markdown: true, .. } => Some(Format::Markdown),
        FormatArgs { csv: true, .. } => Some(Format::Csv),
        FormatArgs { json: true, .. } => Some(Format::Json),
        FormatArgs { latex: true, .. } => Some(Format::Latex),
        FormatArgs { html: true, .. } => Some(Format::Html),
        _ => None,
    };
    match format {
        Some(format) => ui::print(&format.write(tables)),
        None => ui::print(&ui::tables(tables)),
    }
}
