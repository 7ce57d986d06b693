//! `rosetta words`: one idea, the call in each framework.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::catalog::{Catalog, Framework};
use crate::cli::args::WordsArgs;
use crate::hint::{hinted, unknown};
use crate::plan;
use crate::project::Project;
use crate::regular;
use crate::report::{self, Grid, Heading};
use crate::request::Request;
use crate::ui;
use crate::words::{Call, Dictionary, Word};

/// Where the dictionary lies in a project.
pub(super) const FILE: &str = "harnesses/words.yaml";

/// A word of a framework, or why there is none.
struct WordEntry<'a> {
    framework: &'a Framework,
    /// The harness as a reader finds it.
    file: String,
    found: Result<Call, String>,
}

/// Prints calls.
pub fn words(project: &Project, args: &WordsArgs) -> Result<()> {
    let (dictionary, catalog) = (Dictionary::load(&project.root.join(FILE))?, project.catalog()?);
    if dictionary.words.is_empty() {
        return Err(hinted(
            format!("this project has no `{FILE}`"),
            "copy that of a checkout of rosetta, and add words",
        ));
    }
    let (words, frameworks) = asked(&dictionary, &catalog, &args.names)?;
    let mut found = Vec::new();
    for word in words {
        found.push((word, entries(word, &frameworks, &project.root)?));
    }
    if args.json {
        return ui::print(&(serde_json::to_string_pretty(&data(&found))? + "\n"));
    }
    let grids = match args.names.is_empty() {
        true => vec![overview(&found)],
        false => found.iter().map(|(word, entries)| grid(word, entries)).collect(),
    };
    match args.markdown {
        true => ui::print(&report::markdown(&grids)),
        false => ui::print(&ui::tables(&grids)),
    }
}

/// Returns a table for each word, for the report.
pub(super) fn grids(project: &Project, catalog: &Catalog) -> Result<Vec<Grid>> {
    let dictionary = Dictionary::load(&project.root.join(FILE))?;
    let frameworks = catalog.frameworks.iter().collect::<Vec<_>>();
    let grid_of = |word: &Word| Ok(grid(word, &entries(word, &frameworks, &project.root)?));
    dictionary.words.iter().map(grid_of).collect()
}

/// Returns which words and which frameworks were named: a name is one or the other.
fn asked<'a>(
    dictionary: &'a Dictionary,
    catalog: &'a Catalog,
    names: &[String],
) -> Result<(Vec<&'a Word>, Vec<&'a Framework>)> {
    let (mut words, mut frameworks) = (Vec::new(), Vec::<&Framework>::new());
    for name in names {
        if let Some(word) = dictionary.words.iter().find(|word| word.word == name.to_lowercase()) {
            words.push(word);
            continue;
        }
        let request = Request { frameworks: vec![name.clone()], ..Request::default() };
        match plan::choose_targets(&request, catalog) {
            Ok(found) => frameworks.extend(found.first().map(|(framework, _)| *framework)),
            Err(_) => {
                let known = dictionary.words.iter().map(|word| word.word.as_str());
                let known =
                    known.chain(catalog.frameworks.iter().map(|one| one.spec.name.as_str()));
                return Err(unknown("word or framework", name, known));
            }
        }
    }
    let words = if words.is_empty() { dictionary.words.iter().collect() } else { words };
    let all = || catalog.frameworks.iter().collect();
    Ok((words, if frameworks.is_empty() { all() } else { frameworks }))
}

fn entries<'a>(
    word: &Word,
    frameworks: &[&'a Framework],
    root: &Path,
) -> Result<Vec<WordEntry<'a>>> {
    let mut entries = Vec::new();
    for framework in frameworks {
        let Some(path) = framework.harnesses.get(&word.experiment) else { continue };
        let text = regular::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let gap = || word.gaps.get(&framework.spec.name).cloned();
        let found = word.find(&text, framework.spec.language).map(|(call, _)| call);
        let found = found
            .ok_or_else(|| gap().unwrap_or_else(|| format!("not found; add a line to {FILE}")));
        entries.push(WordEntry { framework, file, found });
    }
    Ok(entries)
}

fn grid(word: &Word, entries: &[WordEntry]) -> Grid {
    const HEADINGS: [&str; 4] = ["Framework", "Call", "Says", "Where"];
    let row = |entry: &WordEntry| {
        let title = entry.framework.spec.title.clone();
        match &entry.found {
            Ok(call) => {
                vec![
                    title,
                    call.code.clone(),
                    call.note.clone(),
                    format!("{}:{}", entry.file, call.line),
                ]
            }
            Err(why) => vec![title, "–".to_owned(), why.clone(), String::new()],
        }
    };
    let mut headings = HEADINGS.map(Heading::words);
    headings[1].rank = 0;
    headings[2].rank = 2;
    headings[3].rank = 3;
    let title = format!("{}: {}", word.word, word.title);
    Grid { title, ..Grid::of_texts(headings, entries.iter().map(row).collect()) }
}

fn overview(found: &[(&Word, Vec<WordEntry>)]) -> Grid {
    let row = |(word, entries): &(&Word, Vec<WordEntry>)| {
        let have = entries.iter().filter(|entry| entry.found.is_ok()).count();
        let lacking = entries.iter().filter(|entry| entry.found.is_err());
        let lacking = lacking.map(|entry| entry.framework.spec.name.as_str()).collect::<Vec<_>>();
        vec![word.word.clone(), word.title.clone(), have.to_string(), lacking.join(", ")]
    };
    let mut headings = ["Word", "Meaning", "Frameworks", "Gaps"].map(Heading::words);
    headings[2] = Heading::numbers("Frameworks");
    let mut grid = Grid::of_texts(headings, found.iter().map(row).collect());
    grid.title = "Words".to_owned();
    grid.notes = vec!["`rosetta words dropout` shows one in all frameworks, `rosetta words pytorch jax` all in two".into()];
    grid
}

fn data(found: &[(&Word, Vec<WordEntry>)]) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for (word, entries) in found {
        for entry in entries {
            let call = entry.found.as_ref().ok();
            all.push(json!({
                "word": word.word,
                "title": word.title,
                "framework": entry.framework.spec.name,
                "file": entry.file,
                "line": call.map(|call| call.line),
                "code": call.map(|call| &call.code),
                "text": call.map(|call| call.lines.join("\n")),
                "note": call.map(|call| &call.note),
                "gap": entry.found.as_ref().err(),
            }));
        }
    }
    all
}
