//! `rosetta table` and `rosetta list`.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::{FormatArgs, Listing, TableArgs};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::project::Project;
use crate::record::Record;
use crate::report::{Format, Grid, Heading};
use crate::spec::Experiment;
use crate::store::Store;
use crate::table::{self, Choice, Published, Title};
use crate::ui;

/// Prints the tables that were asked for.
pub fn table(project: &Project, store: &Store, args: &TableArgs) -> Result<()> {
    let published = project.published()?;
    if args.published {
        for name in &args.experiments {
            if !published.tables.contains_key(name) {
                let known = published.tables.keys().map(String::as_str);
                return Err(crate::hint::unknown("published experiment", name, known));
            }
        }
        return show(&published.to_tables(&args.experiments), args.format);
    }
    let records = match &args.run {
        Some(run) => store.records_of(run)?,
        None => of_this_machine(store.records()?, args.all_machines)?,
    };
    let choice = Choice {
        experiments: args.experiments.clone(),
        profile: args.profile.clone(),
        device: args.device,
        era: args.era.and_then(|era| era.era()),
        columns: args.columns.clone(),
        with_published: args.with_published,
        then_and_now: args.then_and_now,
    };
    let titles = titles(&project.experiments()?);
    show(&table::build(&records, &titles, &published, &choice)?, args.format)
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

fn titles(experiments: &[Experiment]) -> Vec<Title> {
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
    let format = match format {
        FormatArgs { markdown: true, .. } => Some(Format::Markdown),
        FormatArgs { csv: true, .. } => Some(Format::Csv),
        FormatArgs { json: true, .. } => Some(Format::Json),
        FormatArgs { latex: true, .. } => Some(Format::Latex),
        _ => None,
    };
    match format {
        Some(format) => ui::print(&format.write(tables)),
        None => ui::print(&ui::tables(tables)),
    }
}

/// Prints what the project has.
pub fn list(project: &Project, store: &Store, what: Listing, as_json: bool) -> Result<()> {
    let (headings, rows) = match what {
        Listing::Experiments => experiments(project)?,
        Listing::Frameworks => frameworks(project)?,
        Listing::Targets => targets(project)?,
        Listing::Runs => runs(store)?,
    };
    if as_json {
        let object = |row: &Vec<String>| {
            let fields =
                headings.iter().zip(row).map(|(name, cell)| (name.to_lowercase(), json!(cell)));
            serde_json::Value::Object(fields.collect())
        };
        let list = rows.iter().map(object).collect::<Vec<_>>();
        return ui::print(&(serde_json::to_string_pretty(&list)? + "\n"));
    }
    ui::print(&ui::list(headings.into_iter().map(Heading::words), rows))
}

type Listed = (Vec<&'static str>, Vec<Vec<String>>);

fn experiments(project: &Project) -> Result<Listed> {
    let row = |e: Experiment| {
        let profiles = e.spec.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        vec![e.spec.name, e.spec.title, profiles]
    };
    let rows = project.experiments()?.into_iter().map(row).collect();
    Ok((vec!["Experiment", "Title", "Profiles"], rows))
}

fn frameworks(project: &Project) -> Result<Listed> {
    let catalog = project.catalog()?;
    let row = |f: &crate::catalog::Framework| {
        let experiments = f.harnesses.keys().cloned().collect::<Vec<_>>().join(", ");
        let targets = f.spec.targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>();
        let era = format!("{:?}", f.spec.era).to_lowercase();
        vec![f.spec.name.clone(), f.spec.title.clone(), era, targets.join(", "), experiments]
    };
    let rows = catalog.frameworks.iter().map(row).collect();
    Ok((vec!["Framework", "Title", "Era", "Targets", "Experiments"], rows))
}

fn targets(project: &Project) -> Result<Listed> {
    let catalog = project.catalog()?;
    let experiments = project.experiments()?;
    let rows = catalog.targets().map(|(framework, target)| {
        let has = |e: &&Experiment| framework.harnesses.contains_key(e.name());
        let runs = experiments.iter().filter(has).map(Experiment::name);
        let envs = target.env.iter().map(|(device, env)| format!("{device}: {}", env.value));
        vec![
            target.name.clone(),
            target.title.clone(),
            runs.collect::<Vec<_>>().join(", "),
            envs.collect::<Vec<_>>().join(", "),
            if target.starter { "yes" } else { "" }.to_owned(),
        ]
    });
    Ok((vec!["Target", "Title", "Experiments", "Environments", "Starter"], rows.collect()))
}

fn runs(store: &Store) -> Result<Listed> {
    let mut rows = Vec::new();
    for run in store.list()? {
        let records = store.records_of(&run.id)?;
        let count = |is: &dyn Fn(&Record) -> bool| records.iter().filter(|r| is(r)).count();
        let ok = count(&|r| r.is_ok());
        let skipped = count(&|r| r.outcome.status == crate::record::Status::Skipped);
        rows.push(vec![
            run.id,
            run.started,
            run.profile,
            run.jobs.len().to_string(),
            ok.to_string(),
            (records.len() - ok - skipped).to_string(),
            skipped.to_string(),
        ]);
    }
    Ok((vec!["Run", "Started", "Profile", "Jobs", "Ok", "Not ok", "Skipped"], rows))
}
