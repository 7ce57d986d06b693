//! `rosetta defaults`.

use std::process::ExitCode;

use anyhow::Result;

use crate::catalog::{Catalog, Device, Framework, Target};
use crate::cli::args::DefaultsArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::defaults::{Measurement, PROPERTIES, Sheet};
use crate::hint::{hinted, say};
use crate::machine::Machine;
use crate::plan;
use crate::project::Project;
use crate::record::Version;
use crate::request::Request;
use crate::run::{Conditions, Gathered, Session, gather, sources};
use crate::store::{Store, StoredDefaults, StoredFact};
use crate::ui::{self, Live};

/// Shows the comparison of what is stored, or measures it first.
pub fn defaults(project: &Project, store: &Store, args: &DefaultsArgs) -> Result<ExitCode> {
    args.check()?;
    let is_group = |name: &&String| PROPERTIES.iter().any(|one| one.short() == name.to_lowercase());
    let (groups, frameworks) = args.names.iter().partition::<Vec<&String>, _>(is_group);
    let groups = groups.into_iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let request = args.request(frameworks.into_iter().cloned().collect());
    let is_measured = args.measure || args.python.is_some() || args.provider.is_some();
    let (mut sheet, code) = match is_measured {
        true => measured(project, store, &request)?,
        false => stored(project, store, &request)?,
    };
    if !groups.is_empty() {
        sheet.keep_groups(&groups);
    }
    if args.diff {
        sheet.keep_differences();
    }
    match args {
        DefaultsArgs { markdown: true, .. } => ui::print(&sheet.markdown())?,
        DefaultsArgs { json: true, .. } => ui::print(&sheet.json())?,
        _ => ui::print(&ui::defaults(&sheet))?,
    }
    for fault in &sheet.faults {
        say(format_args!("fault: {fault}"));
    }
    Ok(if code == OK && !sheet.faults.is_empty() { NOT_OK.into() } else { code })
}

/// Measures, stores what was found, and returns it.
fn measured(project: &Project, store: &Store, request: &Request) -> Result<(Sheet, ExitCode)> {
    let session = Session::open(project, store, request.provider)?;
    let live = Live::new();
    let targets = choose(&session, request, &live)?;
    let version = session.version();
    let conditions = Conditions::of(request);
    let gathered = gather(&targets, &conditions, &session, &|notice| live.show(notice));
    live.finish();
    let gathered = gathered?;
    // An interpreter of somebody's own says nothing of the pinned environments.
    if !request.is_system() {
        for one in &gathered.measured {
            store.keep_defaults(&to_store(one, &version))?;
        }
    }
    let mut sheet = Sheet::build(&gathered.measured);
    sheet.notes = notes(&version);
    Ok((sheet, exit_code(&gathered)))
}

fn to_store(measured: &Measurement, version: &Version) -> StoredDefaults {
    let fact = |(name, value): &(String, _)| StoredFact {
        name: name.clone(),
        value: serde_json::Value::clone(value),
    };
    StoredDefaults {
        defaults: StoredDefaults::VERSION,
        target: measured.target.clone(),
        title: measured.title.clone(),
        version: measured.version.clone(),
        measured: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: Machine::look(),
        rosetta: version.clone(),
        facts: measured.facts.iter().map(fact).collect(),
    }
}

/// Returns what is stored of the targets that were named, or of all.
fn stored(project: &Project, store: &Store, request: &Request) -> Result<(Sheet, ExitCode)> {
    let catalog = project.catalog()?;
    let targets = with_program(request, &catalog)?;
    let (mut measured, mut missing) = (Vec::new(), Vec::new());
    let all = newest(project, store)?;
    for (framework, target) in targets {
        match all.iter().find(|one| one.target == target.name) {
            Some(one) => measured.push(read(one, framework)?),
            None => missing.push(target.name.as_str()),
        }
    }
    let measure = format!("measure it: `rosetta defaults --measure {}`", missing.join(" "));
    if measured.is_empty() {
        return Err(hinted("no defaults are stored of what was asked for", measure));
    }
    let mut sheet = Sheet::build(&measured);
    if missing.is_empty() {
        return Ok((sheet, OK));
    }
    let missing = format!("not stored: {}; {measure}", missing.join(", "));
    if request.all {
        sheet.notes.push(missing);
        return Ok((sheet, OK));
    }
    say(missing);
    Ok((sheet, NOT_OK.into()))
}

/// Returns every stored comparison for the report, if there is one.
pub(super) fn sheet(project: &Project, store: &Store, catalog: &Catalog) -> Result<Sheet> {
    let all = newest(project, store)?;
    let mut measured = Vec::new();
    for (framework, target) in catalog.targets() {
        if let Some(one) = all.iter().find(|one| one.target == target.name) {
            measured.push(read(one, framework)?);
        }
    }
    Ok(Sheet::build(&measured))
}

/// Returns what was measured here, and of the other targets what the project came with.
fn newest(project: &Project, store: &Store) -> Result<Vec<StoredDefaults>> {
    let mut all = store.defaults()?;
    for one in Store::at(project.reference()).defaults()? {
        if all.iter().all(|own| own.target != one.target) {
            all.push(one);
        }
    }
    Ok(all)
}

/// Returns stored defaults beside the harnesses as they are today.
fn read(stored: &StoredDefaults, framework: &Framework) -> Result<Measurement> {
    let facts = stored.facts.iter().map(|fact| (fact.name.clone(), fact.value.clone()));
    Ok(Measurement {
        target: stored.target.clone(),
        title: stored.title.clone(),
        version: stored.version.clone(),
        date: stored.measured.get(..10).map(str::to_owned),
        facts: facts.collect(),
        sources: sources(framework)?,
    })
}

/// Returns the targets that were named, or all, whose framework has a program that measures.
fn with_program<'a>(
    request: &Request,
    catalog: &'a Catalog,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let mut targets = plan::choose_targets(request, catalog)?;
    let lacking =
        targets.iter().find(|(framework, _)| !request.all && framework.defaults.is_none());
    if let Some((framework, _)) = lacking {
        let message = format!("nothing measures the defaults of `{}`", framework.spec.name);
        return Err(hinted(message, "docs/defaults.md tells how to write its program"));
    }
    targets.retain(|(framework, _)| framework.defaults.is_some());
    Ok(targets)
}

/// Returns the targets to measure: of all only those whose environment is built.
fn choose<'a>(
    session: &'a Session,
    request: &Request,
    live: &Live,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let mut targets = with_program(request, &session.catalog)?;
    if request.all && !request.is_system() {
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
            "name one, as `rosetta defaults --measure pytorch`, or build it with `rosetta env build`",
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

fn exit_code(gathered: &Gathered) -> ExitCode {
    if gathered.is_interrupted {
        INTERRUPTED.into()
    } else if gathered.is_complete {
        OK
    } else {
        NOT_OK.into()
    }
}
