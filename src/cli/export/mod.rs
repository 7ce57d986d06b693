//! `rosetta export`: what rosetta has, in a form that others run.

mod notebook;
mod repro;

use anyhow::Result;

use crate::cli::args::ExportCommand;
use crate::project::Project;
use crate::store::Store;

/// Writes what was asked for.
pub fn export(project: &Project, store: &Store, command: &ExportCommand) -> Result<()> {
    match command {
        ExportCommand::Notebook { experiment, framework, out } => {
            notebook::notebook(project, experiment, framework, out.as_deref())
        }
        ExportCommand::Repro { record, out } => {
            repro::repro(project, store, record, out.as_deref())
        }
    }
}
