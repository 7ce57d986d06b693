//! `rosetta export`: what rosetta has, in a form that others run.

use anyhow::{Context, Result};

use crate::catalog::Language;
use crate::cli::args::ExportCommand;
use crate::hint::{hinted, say};
use crate::notebook;
use crate::project::Project;
use crate::publish::publish;
use crate::regular;

/// Writes what was asked for.
pub fn export(project: &Project, command: &ExportCommand) -> Result<()> {
    let ExportCommand::Notebook { experiment, framework, out } = command;
    let catalog = project.catalog()?;
    let found = super::read::find(framework, &catalog)?;
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
    let out = out.clone().unwrap_or_else(|| format!("{experiment}-{name}.ipynb").into());
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
