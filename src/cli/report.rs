//! `rosetta report`: everything that is known, as one page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::catalog::Catalog;
use crate::cli::args::ReportArgs;
use crate::cli::table::{FoundRecords, find_with_nights, titles};
use crate::cli::{NOT_OK, OK, words};
use crate::hint::{hinted, say};
use crate::page::{self, Content, Harnesses, PagePart};
use crate::project::Project;
use crate::publish::publish;
use crate::reading::HarnessText;
use crate::record::Record;
use crate::regular;
use crate::report::{Format, Grid};
use crate::spec::Experiment;
use crate::store::Store;
use crate::table::{self, Choice, Published, Title};

/// Writes the page, or a folder to be published.
pub fn report(project: &Project, store: &Store, args: &ReportArgs) -> Result<ExitCode> {
    let (found, nights) = find_with_nights(store, args.run.as_deref(), args.all_machines)?;
    let FoundRecords { records, troubles, ahead } = found;
    let (experiments, catalog) = (project.experiments()?, project.catalog()?);
    let published = project.published()?;
    let choice = Choice { experiments: args.experiments.clone(), ahead, ..Choice::default() };
    let titles = titles(&experiments);
    for name in &args.experiments {
        if !titles.iter().any(|title| title.experiment == *name)
            && !records.iter().any(|r| r.experiment == *name)
        {
            let known = titles.iter().map(|title| title.experiment.as_str());
            return Err(crate::hint::unknown("experiment", name, known));
        }
    }
    let parts = parts(&records, &titles, &published, &choice, args.profile.as_deref());
    let then_and_now =
        Choice { then_and_now: true, profile: args.profile.clone(), ..choice.clone() };
    let is_wanted =
        |name: &str| args.experiments.is_empty() || args.experiments.iter().any(|one| one == name);
    let mut verdicts = store.verdicts()?.into_values().collect::<Vec<_>>();
    verdicts.retain(|verdict| is_wanted(&verdict.experiment));
    let mut harnesses = harnesses(&experiments, &catalog, &project.root)?;
    harnesses.retain(|of| is_wanted(&of.experiment));
    let content = Content {
        made: made(project),
        experiments: parts,
        then_and_now: table::build(&records, &titles, &published, &then_and_now)
            .unwrap_or_default(),
        published,
        records: &records,
        nights,
        verdicts,
        defaults: defaults(project, store, &catalog)?,
        words: words::grids(project, &catalog)?,
        harnesses,
        troubles: troubles.iter().map(ToString::to_string).collect(),
    };
    write(&content, &args.out)?;
    Ok(if troubles.is_empty() { OK } else { NOT_OK.into() })
}

/// Returns what is stored of defaults, with the versions below each table.
fn defaults(project: &Project, store: &Store, catalog: &Catalog) -> Result<Vec<Grid>> {
    let sheet = crate::cli::defaults::sheet(project, store, catalog)?;
    let mut grids = sheet.grids();
    let versions = sheet.lines_below().into_iter().map(Into::into);
    grids.last_mut().into_iter().for_each(|last| last.notes.extend(versions.clone()));
    Ok(if sheet.rows.is_empty() { Vec::new() } else { grids })
}

fn made(project: &Project) -> String {
    let version = project.version();
    let revision = version.revision.map(|revision| format!(" ({revision})")).unwrap_or_default();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!("Made on {today} by rosetta {}{revision}.", version.version)
}

/// Returns the tables of each experiment, one for each profile that has numbers: the one that `rosetta table` shows first.
fn parts(
    records: &[Record],
    titles: &[Title],
    published: &Published,
    choice: &Choice,
    profile: Option<&str>,
) -> Vec<PagePart> {
    let mut names = titles.iter().map(|title| title.experiment.as_str()).collect::<Vec<_>>();
    for record in records {
        if !names.contains(&record.experiment.as_str()) {
            names.push(&record.experiment);
        }
    }
    names.retain(|name| {
        choice.experiments.is_empty() || choice.experiments.iter().any(|one| one == name)
    });
    let mut parts = Vec::new();
    for name in names {
        let title = titles.iter().find(|title| title.experiment == name);
        let mut part = PagePart {
            experiment: name.to_owned(),
            title: title.map_or(name, |title| &title.title).to_owned(),
            tables: Vec::new(),
        };
        for profile in profiles(records, name, profile) {
            let choice = Choice {
                experiments: vec![name.to_owned()],
                profile: Some(profile.to_owned()),
                ..choice.clone()
            };
            // A profile without anything to show is left out.
            let tables = table::build(records, titles, published, &choice).unwrap_or_default();
            part.tables
                .extend(tables.into_iter().map(|grid| (profile.to_owned(), named(grid, profile))));
        }
        if !part.tables.is_empty() {
            parts.push(part);
        }
    }
    parts
}

/// Returns a table whose title names its profile, and that does not say that the others are not shown.
fn named(mut grid: Grid, profile: &str) -> Grid {
    grid.title = format!("{}, profile {profile}", grid.title);
    grid.notes.retain(|note| !note.words.starts_with("not shown: "));
    grid
}

/// Returns the profiles of an experiment that have numbers, the one of the newest record first and `smoke` last.
fn profiles<'a>(records: &'a [Record], experiment: &str, wanted: Option<&str>) -> Vec<&'a str> {
    let mut profiles = Vec::<&str>::new();
    let of = records.iter().rev().filter(|r| r.experiment == experiment && r.is_whole());
    for record in of.filter(|r| wanted.is_none_or(|wanted| r.profile == wanted)) {
        if !profiles.contains(&record.profile.as_str()) {
            profiles.push(&record.profile);
        }
    }
    profiles.sort_by_key(|profile| *profile == "smoke");
    profiles
}

fn harnesses(experiments: &[Experiment], catalog: &Catalog, root: &Path) -> Result<Vec<Harnesses>> {
    let mut all = Vec::new();
    for experiment in experiments {
        let mut sources = Vec::new();
        for framework in &catalog.frameworks {
            let Some(path) = framework.harnesses.get(experiment.name()) else { continue };
            let text = regular::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
            let source = HarnessText {
                title: framework.spec.title.clone(),
                file,
                language: framework.spec.language,
                text,
            };
            sources.push((framework.spec.name.clone(), source));
        }
        if !sources.is_empty() {
            let (experiment, title) = (experiment.name().to_owned(), experiment.spec.title.clone());
            all.push(Harnesses { experiment, title, sources });
        }
    }
    Ok(all)
}

/// Writes one file, or a folder with the page and the tables as data.
fn write(content: &Content, out: &Path) -> Result<()> {
    let page = page::write(content);
    let is_file = out.extension().is_some_and(|extension| extension == "html") && !out.is_dir();
    let put = |path: PathBuf, text: &str| {
        publish(&path, text.as_bytes()).map_err(|error| {
            hinted(
                format!("cannot write `{}`: {error}", path.display()),
                "name another place with `--out`",
            )
        })
    };
    if is_file {
        put(out.to_owned(), &page)?;
        say(format_args!("wrote `{}`", out.display()));
        return Ok(());
    }
    fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder `{}`", out.display()))?;
    let tables =
        content.experiments.iter().flat_map(|part| &part.tables).map(|(_, grid)| grid.clone());
    let tables = tables.collect::<Vec<_>>();
    put(out.join("index.html"), &page)?;
    put(out.join("tables.json"), &Format::Json.write(&tables))?;
    put(out.join("tables.csv"), &Format::Csv.write(&tables))?;
    say(format_args!(
        "wrote `{}` with `index.html`, `tables.json` and `tables.csv`",
        out.display()
    ));
    Ok(())
}
