//! `rosetta table`.

use std::process::ExitCode;

use crate::cli::args::{FormatArgs, TableArgs};
use crate::cli::{NOT_OK, OK};
use crate::compare::{Nights, TOLERANCE};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::project::Project;
use crate::record::Record;
use crate::report::Grid;
use crate::spec::Experiment;
use crate::store::{Reading, Store, Trouble};
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
    let FoundRecords { records, troubles, ahead } =
        find(store, args.run.as_deref(), args.all_machines)?;
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

/// What tables can be made of.
pub(super) struct FoundRecords {
    pub(super) records: Vec<Record>,
    pub(super) troubles: Vec<Trouble>,
    /// Runs whose clock was ahead of today's.
    pub(super) ahead: Vec<String>,
}

/// Returns the records of a run, or of all runs those that a table may show, and names what cannot be read.
pub(super) fn find(store: &Store, run: Option<&str>, all_machines: bool) -> Result<FoundRecords> {
    match run {
        Some(run) => FoundRecords::from(store.read_one(run)?).told(true),
        None => {
            let mut survey = store.survey()?;
            let (ahead, troubles) = (survey.ahead(), std::mem::take(&mut survey.troubles));
            let records = survey.records(table::needed);
            FoundRecords { records, troubles, ahead }.told(all_machines)
        }
    }
}

/// Returns the same with what every row took, night by night, and the records that tell what differed where its level changed.
pub(super) fn find_with_nights(
    store: &Store,
    run: Option<&str>,
    all_machines: bool,
) -> Result<(FoundRecords, Nights)> {
    if run.is_some() {
        return Ok((find(store, run, all_machines)?, Nights::default()));
    }
    let mut survey = store.survey()?;
    let (ahead, troubles) = (survey.ahead(), std::mem::take(&mut survey.troubles));
    let names = survey.names.list().to_vec();
    let runs = survey.outlines().map(|run| (run.id.clone(), run.started.clone()));
    let runs = runs.collect::<Vec<_>>();
    let mut nights = Nights::default();
    let records = survey.records(|briefs| {
        nights = Nights::of(briefs, &names, &runs, TOLERANCE);
        let around = nights.needed(briefs, &names, &runs);
        table::needed(briefs).into_iter().zip(around).map(|(shown, told)| shown || told).collect()
    });
    nights.explain(&records);
    Ok((FoundRecords { records, troubles, ahead }.told(all_machines)?, nights))
}

impl FoundRecords {
    /// Names what cannot be read, and keeps to this machine unless all are asked for.
    fn told(mut self, all_machines: bool) -> Result<FoundRecords> {
        // Before anything else can end the command: what cannot be read may be why.
        ui::warn(&self.troubles);
        self.records = of_this_machine(self.records, all_machines)?;
        Ok(self)
    }
}

impl From<Reading> for FoundRecords {
    fn from(reading: Reading) -> FoundRecords {
        let ahead = reading.ahead();
        let (records, troubles) = reading.into_records();
        FoundRecords { records, troubles, ahead }
    }
}

/// Prints the tables of one run.
pub fn run_tables(
    experiments: &[Experiment],
    records: &[Record],
    format: FormatArgs,
) -> Result<()> {
    show(&of_run(experiments, records)?, format)
}

/// Returns the tables of one run; none where no job ran.
pub(super) fn of_run(experiments: &[Experiment], records: &[Record]) -> Result<Vec<Grid>> {
    // Published numbers are shown on request only.
    let published = Published::default();
    table::build(records, &titles(experiments), &published, &Choice::default())
}

pub(super) fn titles(experiments: &[Experiment]) -> Vec<Title> {
    let title =
        |e: &Experiment| Title { experiment: e.spec.name.clone(), title: e.spec.title.clone() };
    experiments.iter().map(title).collect()
}

fn of_this_machine(mut records: Vec<Record>, all_machines: bool) -> Result<Vec<Record>> {
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
    match format.chosen() {
        Some(format) => ui::print(&format.write(tables)),
        None => ui::print(&ui::tables(tables)),
    }
}
