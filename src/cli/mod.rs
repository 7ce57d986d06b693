//! The command line: what was typed → one short function per subcommand.

pub mod args;
mod check;
mod complete;
mod data;
mod defaults;
mod doctor;
mod env;
mod list;
mod run;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;

use self::args::{Cli, Command, SchemaKind};
use crate::catalog::{EnvFile, FrameworkSpec};
use crate::project::Project;
use crate::spec::Spec;
use crate::variant::Variants;
use crate::{lint, ui, yaml};

/// The page that `rosetta protocol` prints.
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// All is fine.
const OK: ExitCode = ExitCode::SUCCESS;
/// Something that was asked for is not as it should be: a job, a harness, a file.
const NOT_OK: u8 = 1;
/// Interrupted by the user, as shells report it.
const INTERRUPTED: u8 = 130;

/// Does what was typed.
pub fn main(cli: Cli) -> Result<ExitCode> {
    let project = || Project::find(cli.project.as_deref());
    let store = |project: &Project| project.store(cli.results.as_deref());
    match &cli.command {
        Command::Run(args) => {
            let project = project()?;
            run::run(&project, &store(&project)?, args)
        }
        Command::Check(args) => {
            let project = project()?;
            check::check(&project, &store(&project)?, args)
        }
        Command::Table(args) => {
            let project = project()?;
            table::table(&project, &store(&project)?, args)
        }
        Command::Defaults(args) => {
            let project = project()?;
            defaults::defaults(&project, &store(&project)?, args)
        }
        Command::List { what, json } => {
            let project = project()?;
            list::list(&project, &store(&project)?, *what, *json)
        }
        Command::Data(command) => data::data(command),
        Command::Env(command) => env::env(&project()?, command),
        Command::Doctor { json } => doctor::doctor(&project()?, *json),
        Command::Lint { frameworks } => lint_harnesses(&project()?, frameworks),
        Command::Job(args) => run::job(&project()?, args).map(|()| OK),
        Command::Protocol => ui::print(PROTOCOL).map(|()| OK),
        Command::Schema { kind } => ui::print(&schema(*kind)).map(|()| OK),
        Command::Completions { shell } => completions(*shell).map(|()| OK),
        Command::Man { out } => man(out.as_deref()).map(|()| OK),
    }
}

/// Returns the JSON schema of a kind of YAML file.
pub fn schema(kind: SchemaKind) -> String {
    match kind {
        SchemaKind::Experiment => yaml::schema::<Spec>(),
        SchemaKind::Framework => yaml::schema::<FrameworkSpec>(),
        SchemaKind::Env => yaml::schema::<EnvFile>(),
        SchemaKind::Variants => yaml::schema::<Variants>(),
    }
}

/// Answers a shell that asks for completions, and ends the process then; else does nothing.
pub fn answer_shell() {
    clap_complete::CompleteEnv::with_factory(Cli::command).var(complete::VARIABLE).complete();
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rosetta", &mut script);
    ui::print(&String::from_utf8_lossy(&script))
}

fn man(out: Option<&Path>) -> Result<()> {
    let Some(folder) = out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return ui::print(&String::from_utf8_lossy(&page));
    };
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.with_context(|| format!("cannot write manual pages into `{}`", folder.display()))
}

fn lint_harnesses(project: &Project, names: &[String]) -> Result<ExitCode> {
    let catalog = project.catalog()?;
    let experiments = project.experiments()?;
    let known = catalog.frameworks.iter().map(|framework| framework.spec.name.as_str());
    if let Some(name) = names.iter().find(|name| !known.clone().any(|one| one == name.as_str())) {
        return Err(crate::hint::unknown("framework", name, known));
    }
    let task_of = |name: &str| {
        let experiment = experiments.iter().find(|experiment| experiment.name() == name);
        experiment.map(|experiment| experiment.spec.task)
    };
    let mut findings = Vec::new();
    for framework in &catalog.frameworks {
        if names.is_empty() || names.contains(&framework.spec.name) {
            findings.extend(lint::lint(framework, task_of)?);
        }
    }
    let lines = findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
    ui::print(&lines)?;
    Ok(if findings.is_empty() { OK } else { NOT_OK.into() })
}
