//! `rosetta plot`: one chart of a table as a picture, for a paper.

use std::path::Path;

use anyhow::Result;

use crate::chart::{self, Chart};
use crate::cli::args::PlotArgs;
use crate::cli::table::{FoundRecords, find, titles};
use crate::hint::{hinted, say};
use crate::page::{self, Across};
use crate::project::Project;
use crate::publish::publish;
use crate::record::Record;
use crate::report::Grid;
use crate::store::Store;
use crate::table::{self, Choice, Column, ColumnWish};
use crate::ui;

/// Writes a chart as SVG.
pub fn plot(project: &Project, store: &Store, args: &PlotArgs) -> Result<()> {
    if let Some(out) = &args.out {
        refuse_other_formats(out)?;
    }
    let FoundRecords { records, ahead, .. } = find(store, args.run.as_deref(), args.all_machines)?;
    let choice = Choice {
        experiments: vec![args.experiment.clone()],
        profile: args.profile.clone(),
        frameworks: args.frameworks.clone(),
        columns: Column::named(&args.of)
            .map(|column| [Column::Library, column].map(ColumnWish::Shown).to_vec())
            .unwrap_or_default(),
        then_and_now: args.of == THEN_AND_NOW,
        ahead,
        ..Choice::default()
    };
    let experiments = project.experiments()?;
    let tables = table::build(&records, &titles(&experiments), &project.published()?, &choice)?;
    // The first table is the one that is ranked.
    let grid = &tables[0];
    let drawn: Option<Box<dyn Chart>> = match args.of.as_str() {
        LOSS | LOSS_BY_SECOND => {
            let across = if args.of == LOSS { Across::Epochs } else { Across::Seconds };
            let lines = page::losses(&records, profile(&records, grid), grid, across);
            lines.map(|lines| Box::new(lines) as _)
        }
        ACCURACY => page::accuracy_by_time(grid).map(|points| Box::new(points) as _),
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

/// Returns the profile of the records that a table shows.
fn profile<'a>(records: &'a [Record], grid: &Grid) -> &'a str {
    let shown = records.iter().find(|record| {
        record.experiment == grid.experiment && grid.beside("run", 0).contains(&record.run)
    });
    shown.map(|record| record.profile.as_str()).unwrap_or_default()
}

/// Ends with an error if a file is named as what is not written here, before anything is read.
fn refuse_other_formats(out: &Path) -> Result<()> {
    let extension = out.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if !["png", "pdf", "jpg", "jpeg", "eps", "ps", "webp"].contains(&extension.as_str()) {
        return Ok(());
    }
    let (file, picture) = (out.display(), out.with_extension("svg"));
    let picture = picture.display();
    let how = match extension.as_str() {
        "png" => {
            format!("`rsvg-convert --zoom 3 {picture} --output {file}` (Debian: librsvg2-bin)")
        }
        "pdf" | "ps" | "eps" => {
            format!(
                "`rsvg-convert --format {extension} {picture} --output {file}` (Debian: librsvg2-bin)"
            )
        }
        // JPEG knows no transparent ground. Inkscape 1.2 ends by a signal when it is told these formats by its command line.
        _ => {
            format!(
                "`rsvg-convert --zoom 3 --background-color white {picture} | convert - {file}` \
                 (Debian: librsvg2-bin and imagemagick)"
            )
        }
    };
    Err(hinted(
        format!("`{file}`: a chart is written as SVG, not as {}", extension.to_uppercase()),
        format!("write `--out {picture}`, then {how}"),
    ))
}

/// What is drawn beside columns.
pub const LOSS: &str = "loss-by-epoch";
pub const LOSS_BY_SECOND: &str = "loss-by-second";
pub const ACCURACY: &str = "accuracy-by-time";
pub const THEN_AND_NOW: &str = "then-and-now";
