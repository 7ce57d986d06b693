//! `rosetta defaults`.

use std::process::ExitCode;

use anyhow::Result;

use crate::catalog::{Device, Framework, Target};
use crate::cli::args::DefaultsArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::defaults::Sheet;
use crate::hint::{hinted, say};
use crate::machine::Machine;
use crate::plan;
use crate::project::Project;
use crate::record::Version;
use crate::request::Request;
use crate::run::{Conditions, Gathered, Session, gather};
use crate::store::Store;
use crate::ui::{self, Live};

/// Measures defaults and prints the comparison.
pub fn defaults(project: &Project, store: &Store, args: &DefaultsArgs) -> Result<ExitCode> {
    args.check()?;
    let request = args.request();
    let session = Session::open(project, store, request.provider)?;
    let live = Live::new();
    let targets = choose(&session, &request, &live)?;
    let version = session.version();
    let conditions = Conditions::of(&request);
    let gathered = gather(&targets, &conditions, &session, &|notice| live.show(notice));
    live.finish();
    let gathered = gathered?;
    let mut sheet = Sheet::build(&gathered.measured);
    sheet.notes = notes(&version);
    match args {
        DefaultsArgs { markdown: true, .. } => ui::print(&sheet.markdown())?,
        DefaultsArgs { json: true, .. } => ui::print(&sheet.json())?,
        _ => ui::print(&ui::defaults(&sheet))?,
    }
    for fault in &sheet.faults {
        say(format_args!("fault: {fault}"));
    }
    Ok(exit_code(&gathered, &sheet))
}

/// Returns the targets that were named, or those whose environment is built.
fn choose<'a>(
    session: &'a Session,
    request: &Request,
    live: &Live,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let is_all = request.all;
    let mut targets = plan::choose_targets(request, &session.catalog)?;
    if let Some((framework, _)) =
        targets.iter().find(|(framework, _)| !is_all && framework.defaults.is_none())
    {
        let name = &framework.spec.name;
        let message = format!("nothing measures the defaults of `{name}`");
        return Err(hinted(message, "docs/defaults.md tells how to write its program"));
    }
    targets.retain(|(framework, _)| framework.defaults.is_some());
    if is_all && !request.is_system() {
        targets.retain(|(_, target)| {
            let is_built = is_built(target, session);
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

fn is_built(target: &Target, session: &Session) -> bool {
    let env = target.env.get(&Device::Cpu).and_then(|env| session.catalog.envs.get(&env.value));
    env.is_some_and(|env| session.envs.built(env).is_some())
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
