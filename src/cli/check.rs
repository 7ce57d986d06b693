//! `rosetta check`.

use std::process::ExitCode;

use anyhow::Result;

use crate::check::{Verdict, report};
use crate::cli::args::CheckArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::data::DataStore;
use crate::env::Envs;
use crate::home::Home;
use crate::plan::{self, Plan};
use crate::project::Project;
use crate::run::{self, CheckSettings, Places, Settings, skip_unavailable};
use crate::store::Store;
use crate::ui::{self, Live};
use crate::{gpu, machine};

/// Checks what was asked for and prints the verdicts.
pub fn check(project: &Project, store: &Store, args: &CheckArgs) -> Result<ExitCode> {
    let home = Home::find()?;
    let (experiments, catalog) = (project.experiments()?, project.catalog()?);
    let envs = Envs::new(home.clone(), project.root.clone());
    let chosen = &args.selection;
    // By name, not shuffled: nothing is timed.
    let mut plan = plan::plan(&chosen.wanted(), &experiments, &catalog, gpu::is_here())?;
    skip_unavailable(&mut plan, chosen.is_system(), &catalog, &envs);
    super::run::refuse_nothing(&plan)?;
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    let at_once = args.at_once.map_or_else(at_once, usize::from);
    let settings = CheckSettings {
        run: &Settings {
            threads: threads(at_once),
            data: chosen.data.map(|data| data.source()),
            timeout: args.timeout,
            stall_timeout: None,
            memory_limit_bytes: None,
            python: chosen.interpreter(),
            environment: chosen.environment.clone(),
            command: super::command(),
            profile: "check".to_owned(),
        },
        reference: args.reference.clone(),
        at_once,
    };
    let places = Places {
        catalog: &catalog,
        envs: &envs,
        home: &home,
        data: &DataStore::at(home.data()),
        store,
        version: project.version(),
    };
    let known = if args.again { Default::default() } else { store.verdicts()? };
    let live = Live::new();
    let checked = run::check(&plan.jobs, &settings, &places, &known, &|notice| live.show(notice));
    live.finish();
    let checked = checked?;
    print(&plan, &checked.verdicts, args)?;
    Ok(match checked.is_interrupted {
        true => INTERRUPTED.into(),
        false => exit_code(&checked.verdicts),
    })
}

/// Returns how many targets are checked at once.
pub fn at_once() -> usize {
    usize::try_from(machine::cores()).unwrap_or(1).div_ceil(2).max(2)
}

/// Returns the threads of each of so many.
pub fn threads(at_once: usize) -> u32 {
    (machine::cores() / u32::try_from(at_once).unwrap_or(1)).max(1)
}

fn print(plan: &Plan, verdicts: &[Verdict], args: &CheckArgs) -> Result<()> {
    if args.json {
        return ui::print(&(serde_json::to_string_pretty(verdicts)? + "\n"));
    }
    if args.markdown {
        return ui::print(&report::markdown(verdicts));
    }
    ui::print(&ui::verdicts(verdicts))?;
    for skip in &plan.skips {
        let (experiment, target) = (skip.experiment.name(), &skip.target.title);
        let line =
            format!("{experiment} · {target} · {}: skipped: {}\n", skip.device, skip.obstacle);
        ui::print(&line)?;
    }
    Ok(())
}

fn exit_code(verdicts: &[Verdict]) -> ExitCode {
    let is_fine =
        |verdict: &Verdict| verdict.equivalence.grade.is_same() || verdict.equivalence.is_declared;
    if verdicts.iter().all(is_fine) { OK } else { NOT_OK.into() }
}
