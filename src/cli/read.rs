//! `rosetta read`: the harnesses of one experiment side by side.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::catalog::{Catalog, Framework};
use crate::cli::args::ReadArgs;
use crate::cli::words;
use crate::hint::{hinted, unknown};
use crate::plan;
use crate::project::Project;
use crate::reading::{self, HarnessSection, HarnessText, SectionRow};
use crate::regular;
use crate::report::Screen;
use crate::request::Request;
use crate::ui;
use crate::words::Dictionary;

/// Prints harnesses section by section.
pub fn read(project: &Project, args: &ReadArgs) -> Result<()> {
    let (experiments, catalog) = (project.experiments()?, project.catalog()?);
    let asked = Request { experiments: vec![args.experiment.clone()], ..Request::default() };
    let experiment = plan::choose_experiments(&asked, &experiments, &catalog)?.remove(0).name();
    let mut sources = Vec::<(&Framework, HarnessText)>::new();
    for name in &args.frameworks {
        let framework = find(name, &catalog)?;
        if sources.iter().all(|(known, _)| known.spec.name != framework.spec.name) {
            sources.push((framework, source(framework, experiment, &catalog, &project.root)?));
        }
    }
    let (frameworks, sources) = sources.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let mut rows = reading::rows(&sources);
    if let Some(wanted) = &args.section {
        rows = vec![section(rows, wanted)?];
    }
    if let Some(wanted) = &args.concept {
        rows = vec![concept(wanted, &sources, project)?];
    }
    if args.json {
        let data = data(&frameworks, &sources, &rows);
        return ui::print(&(serde_json::to_string_pretty(&data)? + "\n"));
    }
    match (args.diff, sources.as_slice()) {
        (false, _) => ui::page(&reading::text(&sources, &rows, width())),
        (true, [old, new]) => ui::page(&reading::difference(old, new, &rows)),
        (true, others) => Err(hinted(
            format!("`--diff` is of two frameworks; {} were named", others.len()),
            "as `rosetta read cnn pytorch1 pytorch --diff`",
        )),
    }
}

/// Returns the statements that say a word of the dictionary.
fn concept(wanted: &str, sources: &[HarnessText], project: &Project) -> Result<SectionRow> {
    let dictionary = Dictionary::load(&project.root.join(words::FILE))?;
    let word = dictionary.words.iter().find(|word| word.word == wanted.to_lowercase());
    let known = dictionary.words.iter().map(|word| word.word.as_str());
    let word = word.ok_or_else(|| unknown("word", wanted, known))?;
    let cell = |source: &HarnessText| {
        let (call, _) = word.find(&source.text, source.language)?;
        Some(HarnessSection { line: call.line, lines: call.lines })
    };
    Ok(SectionRow { title: word.title.clone(), cells: sources.iter().map(cell).collect() })
}

/// Returns the columns of the terminal; those of two harnesses where there is none.
fn width() -> usize {
    match Screen::look() {
        Screen::Wide(width) => width,
        Screen::Endless => 160,
    }
}

pub(super) fn find<'a>(name: &str, catalog: &'a Catalog) -> Result<&'a Framework> {
    let asked = Request { frameworks: vec![name.to_owned()], ..Request::default() };
    let found = plan::choose_targets(&asked, catalog)?.first().map(|(framework, _)| *framework);
    found.ok_or_else(|| {
        unknown("framework", name, catalog.frameworks.iter().map(|f| f.spec.name.as_str()))
    })
}

fn source(
    framework: &Framework,
    experiment: &str,
    catalog: &Catalog,
    root: &Path,
) -> Result<HarnessText> {
    let Some(path) = framework.harnesses.get(experiment) else {
        let have = catalog.frameworks.iter().filter(|one| one.harnesses.contains_key(experiment));
        let have = have.map(|one| one.spec.name.as_str()).collect::<Vec<_>>().join("`, `");
        return Err(hinted(
            format!("`{}` has no harness for {experiment}", framework.spec.name),
            format!("those that have one: `{have}`"),
        ));
    };
    let text = regular::read_to_string(path);
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let title = framework.spec.title.clone();
    Ok(HarnessText { title, file, language: framework.spec.language, text })
}

/// Returns the row that is meant: its whole title, or how it begins, in any case.
fn section(rows: Vec<SectionRow>, wanted: &str) -> Result<SectionRow> {
    let titles = rows.iter().map(|row| row.title.clone()).collect::<Vec<_>>();
    let begins = |title: &str| title.to_lowercase().starts_with(&wanted.to_lowercase());
    let found = rows.into_iter().find(|row| begins(&row.title));
    found.ok_or_else(|| unknown("section", wanted, titles.iter().map(String::as_str)))
}

fn data(
    frameworks: &[&Framework],
    sources: &[HarnessText],
    rows: &[SectionRow],
) -> Vec<serde_json::Value> {
    let of = |(index, source): (usize, &HarnessText)| {
        let cells = rows.iter().filter_map(|row| Some((row, row.cells[index].as_ref()?)));
        let sections = cells.map(|(row, cell)| {
            json!({"title": row.title, "line": cell.line, "text": cell.lines.join("\n")})
        });
        json!({
            "framework": frameworks[index].spec.name,
            "title": source.title,
            "file": source.file,
            "sections": sections.collect::<Vec<_>>(),
        })
    };
    sources.iter().enumerate().map(of).collect()
}
