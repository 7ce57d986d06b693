//! `rosetta defaults`.

use std::process::ExitCode;

use anyhow::Result;

use crate::catalog::{Catalog, Device, Framework, Target};
use crate::cli::args::DefaultsArgs;
use crate::cli::run::runtime;
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::data::DataStore;
use crate::defaults::Sheet;
use crate::env::Envs;
use crate::hint::hinted;
use crate::home::Home;
use crate::machine::{Machine, cores};
use crate::plan::{self, Wanted};
use crate::project::Project;
use crate::record::Version;
use crate::run::{Gathered, Places, Settings, gather};
use crate::store::Store;
use crate::ui::{self, Live};

/// Measures defaults and prints the comparison.
pub fn defaults(project: &Project, store: &Store, args: &DefaultsArgs) -> Result<ExitCode> {
    let home = Home::find()?;
    let catalog = project.catalog()?;
    let envs = Envs::new(home.clone(), project.root.clone());
    let live = Live::new();
    let targets = choose(&catalog, &envs, args, &live)?;
    let data = DataStore::at(home.data());
    let version = project.version();
    let places =
        Places { catalog: &catalog, envs: &envs, home: &home, data: &data, store, version };
    let notify = |notice: crate::run::Notice| live.show(notice);
    let gathered = runtime()?.block_on(gather(&targets, &settings(args), &places, &notify));
    live.finish();
    let gathered = gathered?;
    let mut sheet = Sheet::build(&gathered.measured);
    sheet.notes = notes(&places.version);
    match args {
        DefaultsArgs { markdown: true, .. } => ui::print(&sheet.markdown())?,
        DefaultsArgs { json: true, .. } => ui::print(&sheet.json())?,
        _ => ui::print(&ui::defaults(&sheet))?,
    }
    for fault in &sheet.faults {
        anstream::eprintln!("fault: {fault}");
    }
    Ok(exit_code(&gathered, &sheet))
}

/// Returns the targets that were named, or those whose environment is built.
fn choose<'a>(
    catalog: &'a Catalog,
    envs: &Envs,
    args: &DefaultsArgs,
    live: &Live,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let is_all = args.frameworks.is_empty();
    let wanted = Wanted {
        frameworks: args.frameworks.clone(),
        all: is_all,
        lane: None,
        ..Wanted::default()
    };
    let mut targets = plan::choose_targets(&wanted, catalog)?;
    if let Some((framework, _)) =
        targets.iter().find(|(framework, _)| !is_all && framework.defaults.is_none())
    {
        let name = &framework.spec.name;
        let message = format!("nothing measures the defaults of `{name}`");
        return Err(hinted(message, "docs/defaults.md tells how to write its program"));
    }
    targets.retain(|(framework, _)| framework.defaults.is_some());
    if is_all && args.python.is_none() {
        targets.retain(|(_, target)| {
            let is_built = is_built(target, catalog, envs);
            if !is_built {
                live.say(&format!("{} is left out: its environment is not built", target.title));
            }
            is_built
        });
    }
    match targets.is_empty() {
        false => Ok(targets),
        true => Err(hinted(
            "no framework whose defaults could be measured has its environment built",
            "name one, as `rosetta defaults pytorch`, or build it with `rosetta env build`",
        )),
    }
}

fn is_built(target: &Target, catalog: &Catalog, envs: &Envs) -> bool {
    let env = target.env.get(&Device::Cpu).and_then(|env| catalog.envs.get(&env.value));
    env.is_some_and(|env| envs.built(env).is_some())
}

fn settings(args: &DefaultsArgs) -> Settings {
    Settings {
        threads: args.threads.unwrap_or_else(cores),
        data: None,
        timeout: None,
        stall_timeout: None,
        memory_limit_bytes: None,
        python: args.python.clone(),
        environment: Vec::new(),
        command: Vec::new(),
        profile: String::new(),
    }
}

fn notes(version: &Version) -> Vec<String> {
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    vec![format!("{today} · rosetta {}", version.version), Machine::look().words()]
}

fn exit_code(gathered: &Gathered, sheet: &Sheet) -> ExitCode {
    if gathered.is_interrupted {
        INTERRUPTED.into()
    } else if gathered.is_complete && sheet.faults.is_empty() {
        OK
    } else {
        NOT_OK.into()
    }
}
