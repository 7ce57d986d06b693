//! `rosetta check`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::args::CheckArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::plan::Plan;
use crate::project::Project;
use crate::proof::{Verdict, report};
use crate::run::{self, CheckSettings, Conditions, Session};
use crate::store::Store;
use crate::ui::{self, Live};

/// Checks what was asked for and prints the verdicts.
pub fn check(project: &Project, store: &Store, args: &CheckArgs) -> Result<ExitCode> {
    let request = args.request();
    let experiments = project.experiments()?;
    let session = Session::open(project, store, request.provider)?;
    let plan = session.plan(&request, &experiments)?;
    let is_missed = plan.lacks_what_was_named(&request);
    super::run::refuse_nothing(&plan)?;
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    let at_once = args.at_once.map_or_else(run::at_once, usize::from);
    let conditions = Conditions { threads: run::threads(at_once), ..Conditions::of(&request) };
    let reference = args.reference.clone();
    let settings = CheckSettings { conditions: &conditions, reference, at_once, urgent: None };
    let known = if args.again { Default::default() } else { store.verdicts()? };
    let live = Live::new();
    let checked = run::check(&plan.jobs, &settings, &session, &known, &|notice| live.show(notice));
    live.finish();
    let checked = checked?;
    print(&plan, &checked.verdicts, args)?;
    Ok(match checked.is_interrupted {
        true => INTERRUPTED.into(),
        false if is_missed => NOT_OK.into(),
        false => exit_code(&checked.verdicts),
    })
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
