//! The command line: what was typed → one short function per subcommand.

pub mod args;
mod check;
mod clean;
mod compare;
mod complete;
mod data;
mod defaults;
mod doctor;
mod env;
mod export;
mod history;
mod list;
mod nightly;
mod plan;
pub mod plot;
mod read;
mod report;
mod request;
mod run;
mod runs;
mod submit;
mod table;
mod update;
mod verify;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use self::args::{Action, Cli, SchemaKind};
use crate::catalog::{EnvFile, FrameworkSpec};
use crate::cluster::LauncherFile;
use crate::hint::{hinted, say};
use crate::project::Project;
use crate::spec::Spec;
use crate::store::Store;
use crate::variant::Variants;
use crate::{hint, home, lint, machine, ui, yaml};

/// The page that `rosetta protocol` prints.
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// All is fine.
const OK: ExitCode = ExitCode::SUCCESS;
/// Something that was asked for is not as it should be: a job, a harness, a file.
const NOT_OK: u8 = 1;
/// rosetta or its input failed; also where all was done that could be, and a file of the project could
/// not be read.
const WRONG_INPUT: u8 = 2;
/// Interrupted by the user, as shells report it.
const INTERRUPTED: u8 = 130;

/// Returns what was typed; where that is nothing that there is, says so and ends the process.
pub fn parse() -> Cli {
    let error = match Cli::try_parse() {
        Ok(cli) => return cli,
        Err(error) => error,
    };
    let is_setting = error.kind() == ErrorKind::UnknownArgument
        && std::env::args()
            .nth(1)
            .is_some_and(|command| ["run", "check"].contains(&command.as_str()));
    // clap's tip would be to give an experiment this name.
    if let (true, Some(ContextValue::String(argument))) =
        (is_setting, error.get(ContextKind::InvalidArg))
        && error.get(ContextKind::SuggestedArg).is_none()
    {
        hint::report(&hinted(
            format!("unknown option `{argument}`"),
            "`rosetta run --help` lists the options; what an experiment sets, as its epochs, stands in its spec, where a \
             profile of yours can set it anew",
        ));
        std::process::exit(WRONG_INPUT.into());
    }
    error.exit()
}

/// Does what was typed.
pub fn main(cli: Cli) -> Result<ExitCode> {
    let place = Place {
        results: folder(cli.results.as_deref(), "`--results` or `ROSETTA_RESULTS`")?,
        root: folder(cli.project.as_deref(), "`--project` or `ROSETTA_PROJECT`")?,
    };
    if let Some(when) = cli.color {
        when.choice().write_global();
    }
    if cli.quiet {
        ui::be_quiet();
    }
    if let Some(name) = &cli.machine {
        machine::call_it(name);
    }
    match &cli.command {
        Action::Run(args) => {
            args.selection.check()?;
            place.with_store(|project, store| run::run(project, store, args))
        }
        Action::Nightly(args) => {
            args.selection.check()?;
            place.with_store(|project, store| nightly::nightly(project, store, args))
        }
        Action::Check(args) => {
            args.selection.check()?;
            place.with_store(|project, store| check::check(project, store, args))
        }
        Action::Verify(args) => {
            place.with_store(|project, store| verify::verify(project, store, args))
        }
        Action::Table(args) => {
            place.with_store(|project, store| table::table(project, store, args))
        }
        Action::Compare(args) => {
            place.with_store(|project, store| compare::compare(project, store, args))
        }
        Action::History(args) => {
            place.with_store(|project, store| history::history(project, store, args))
        }
        Action::Read(args) => place.here(|project| read::read(project, args).map(|()| OK)),
        Action::Plot(args) => {
            place.with_store(|project, store| plot::plot(project, store, args).map(|()| OK))
        }
        Action::Export(command) => {
            place.with_store(|project, store| export::export(project, store, command).map(|()| OK))
        }
        Action::Words(args) => place.here(|project| words::words(project, args).map(|()| OK)),
        Action::Report(args) => {
            place.with_store(|project, store| report::report(project, store, args))
        }
        Action::Defaults(args) => {
            place.with_store(|project, store| defaults::defaults(project, store, args))
        }
        Action::Runs(command) => {
            place.with_store(|project, store| runs::runs(project, store, command))
        }
        Action::Clean(args) => {
            place.with_store(|project, store| clean::clean(project, store, args))
        }
        Action::List { what, json } => {
            place.with_store(|project, store| list::list(project, store, *what, *json))
        }
        Action::Data(command) => data::data(command),
        Action::Env(command) => {
            place.with_store(|project, store| env::env(project, store, command))
        }
        Action::Doctor { json } => place.here(|project| doctor::doctor(project, *json)),
        Action::Lint { frameworks } => place.here(|project| lint_harnesses(project, frameworks)),
        Action::Job(args) => place.here(|project| run::job(project, args).map(|()| OK)),
        Action::Protocol => ui::print(PROTOCOL).map(|()| OK),
        Action::Schema { kind } => ui::print(&schema(*kind)).map(|()| OK),
        Action::Completions { shell } => completions(*shell).map(|()| OK),
        Action::Man { out } => man(out.as_deref()).map(|()| OK),
    }
}

/// Returns the folder that an option names, if it is given.
fn folder(named: Option<&Path>, what: &str) -> Result<Option<PathBuf>> {
    named.map(|named| home::folder(named, what)).transpose()
}

/// Where a subcommand works, as far as that was typed.
struct Place {
    results: Option<PathBuf>,
    root: Option<PathBuf>,
}

impl Place {
    /// Does something with the project.
    fn here(&self, act: impl FnOnce(&Project) -> Result<ExitCode>) -> Result<ExitCode> {
        let project = Project::find(self.root.as_deref())?;
        if let (None, Ok(here)) = (&self.root, std::env::current_dir())
            && !here.starts_with(&project.root)
        {
            let (here, project) = (here.display(), project.root.display());
            say(format_args!("`{here}` is not in a project; this is the project `{project}`"));
        }
        let code = act(&project)?;
        Ok(if project.is_damaged() && code == OK { WRONG_INPUT.into() } else { code })
    }

    /// Does something with the project and its results.
    fn with_store(
        &self,
        act: impl FnOnce(&Project, &Store) -> Result<ExitCode>,
    ) -> Result<ExitCode> {
        self.here(|project| act(project, &project.store(self.results.as_deref())?))
    }
}

/// Returns the JSON schema of a kind of YAML file.
pub fn schema(kind: SchemaKind) -> String {
    match kind {
        SchemaKind::Experiment => yaml::schema::<Spec>(),
        SchemaKind::Framework => yaml::schema::<FrameworkSpec>(),
        SchemaKind::Env => yaml::schema::<EnvFile>(),
        SchemaKind::Variants => yaml::schema::<Variants>(),
        SchemaKind::Launcher => yaml::schema::<LauncherFile>(),
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
    let experiment_of = |name: &str| {
        let experiment = experiments.iter().find(|experiment| experiment.name() == name);
        experiment.map(|experiment| &experiment.spec)
    };
    let mut findings = Vec::new();
    for framework in &catalog.frameworks {
        if names.is_empty() || names.contains(&framework.spec.name) {
            findings.extend(lint::lint(framework, experiment_of)?);
        }
    }
    let lines = findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
    ui::print(&lines)?;
    Ok(if findings.is_empty() { OK } else { NOT_OK.into() })
}
