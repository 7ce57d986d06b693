//! `rosetta export notebook`: a harness as cells.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::catalog::Language;
use crate::cli::read::find;
use crate::hint::{hinted, say};
use crate::notebook;
use crate::project::Project;
use crate::publish::publish;
use crate::regular;

/// Writes the harness of a framework for an experiment as a notebook.
pub(super) fn notebook(
    project: &Project,
    experiment: &str,
    framework: &str,
    out: Option<&Path>,
) -> Result<()> {
    let catalog = project.catalog()?;
    let found = find(framework, &catalog)?;
    let name = &found.spec.name;
    let path = found.harnesses.get(experiment);
    let path = path.ok_or_else(|| {
        let have = found.harnesses.keys().map(String::as_str);
        crate::hint::unknown("experiment of this framework", experiment, have)
    })?;
    if found.spec.language != Language::Python {
        let message =
            format!("`{name}` is not written in Python, and a notebook of it would not run");
        return Err(hinted(message, format!("read it with `rosetta read {experiment} {name}`")));
    }
    let text = regular::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    let notebook = notebook::of(&text, &file, experiment, &project.root);
    let out =
        out.map_or_else(|| PathBuf::from(format!("{experiment}-{name}.ipynb")), Path::to_owned);
    let text = serde_json::to_string_pretty(&notebook)? + "\n";
    publish(&out, text.as_bytes()).map_err(|error| {
        hinted(
            format!("cannot write `{}`: {error}", out.display()),
            "name another place with `--out`",
        )
    })?;
    say(format_args!(
        "wrote `{}`; its kernel is the environment's: `rosetta env shell {name}`",
        out.display()
    ));
    Ok(())
}
