//! `rosetta plot`: one chart of a table as a picture, for a paper.

use anyhow::Result;

use crate::chart::{self, Chart};
use crate::cli::args::PlotArgs;
use crate::cli::table::{FoundRecords, find, titles};
use crate::hint::{hinted, say};
use crate::page;
use crate::project::Project;
use crate::publish::publish;
use crate::report::Grid;
use crate::store::Store;
use crate::table::{self, Choice, Column};
use crate::ui;

/// Writes a chart as SVG.
pub fn plot(project: &Project, store: &Store, args: &PlotArgs) -> Result<()> {
    let FoundRecords { records, ahead, .. } = find(store, args.run.as_deref(), args.all_machines)?;
    let choice = Choice {
        experiments: vec![args.experiment.clone()],
        profile: args.profile.clone(),
        frameworks: args.frameworks.clone(),
        columns: Column::named(&args.of)
            .map(|column| vec![Column::Library, column])
            .unwrap_or_default(),
        then_and_now: args.of == THEN_AND_NOW,
        ahead,
        ..Choice::default()
    };
    let experiments = project.experiments()?;
    let tables = table::build(&records, &titles(&experiments), &project.published()?, &choice)?;
    let profile = |grid: &Grid| {
        let of = |record: &&crate::record::Record| {
            record.experiment == grid.experiment && grid.beside("run", 0).contains(&record.run)
        };
        records.iter().find(of).map(|record| record.profile.clone()).unwrap_or_default()
    };
    // The first table is the one that is ranked.
    let grid = &tables[0];
    let drawn: Option<Box<dyn Chart>> = match args.of.as_str() {
        LOSS => page::losses(&records, &profile(grid), grid).map(|lines| Box::new(lines) as _),
        THEN_AND_NOW => page::slopes(grid).into_iter().next().map(|slopes| Box::new(slopes) as _),
        _ => page::bars(grid, grid.headings[1].key).map(|bars| Box::new(bars) as _),
    };
    let Some(drawn) = drawn else {
        let message =
            format!("there is nothing to draw of `{}`: it needs numbers of two rows", args.of);
        return Err(hinted(
            message,
            "look at `rosetta table` first, or choose another with `--of`",
        ));
    };
    let picture = chart::file(drawn.as_ref());
    let Some(out) = &args.out else { return ui::print(&picture) };
    publish(out, picture.as_bytes()).map_err(|error| {
        hinted(
            format!("cannot write `{}`: {error}", out.display()),
            "name another place with `--out`",
        )
    })?;
    say(format_args!("wrote `{}`", out.display()));
    Ok(())
}

/// What is drawn beside columns.
pub const LOSS: &str = "loss-by-epoch";
pub const THEN_AND_NOW: &str = "then-and-now";
