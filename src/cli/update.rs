//! `rosetta env update`: another version of a framework beside the pinned one, kept once it is built and
//! proved to compute the same.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::catalog::{Catalog, EnvSpec, check_version, split_version};
use crate::cli::args::UpdateArgs;
use crate::cli::env::{find, starter};
use crate::cli::{INTERRUPTED, NOT_OK, OK};
use crate::env::Proposal;
use crate::hint::{hinted, report, say};
use crate::project::Project;
use crate::proof::Verdict;
use crate::report::Heading;
use crate::request::{FrameworksFrom, Request};
use crate::run::Session;
use crate::store::Store;
use crate::ui::{self, Live};

/// An environment, and the version that is wanted of it if that is not the newest.
type AskedVersion = (EnvSpec, Option<String>);

/// How one environment's update ended.
enum UpdateEnd {
    Well,
    Interrupted,
}

/// Keeps the newest versions of environments, or those that are named; or keeps some no more.
pub fn update(project: &Project, store: &Store, args: &UpdateArgs) -> Result<ExitCode> {
    let session = Session::open(project, store, FrameworksFrom::Pinned)?;
    if args.remove {
        return remove(&session, &args.names);
    }
    let wanted = wanted(&session.catalog, &args.names)?;
    drop(session);
    let mut failed = Vec::new();
    for (spec, version) in &wanted {
        match update_one(project, store, args, spec, version.as_deref()) {
            Ok(UpdateEnd::Well) => {}
            Ok(UpdateEnd::Interrupted) => return Ok(INTERRUPTED.into()),
            Err(error) => {
                report(&error);
                failed.push(spec.name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(OK);
    }
    say(format_args!("not updated: {}", failed.join(", ")));
    Ok(NOT_OK.into())
}

/// Returns what is to be updated; without names the starter set, of which what has no other versions is
/// left out and said.
fn wanted(catalog: &Catalog, names: &[String]) -> Result<Vec<AskedVersion>> {
    let mut wanted = Vec::<AskedVersion>::new();
    let mut add = |spec: &EnvSpec, version: Option<&str>| {
        let mut known = wanted.iter();
        if !known.any(|one| one.0.name == spec.name && one.1.as_deref() == version) {
            wanted.push((spec.clone(), version.map(str::to_owned)));
        }
    };
    if names.is_empty() {
        for spec in starter(catalog)? {
            match spec.refuse_versions() {
                Ok(()) => add(spec, None),
                Err(why) => say(format_args!("left out: {why}")),
            }
        }
    }
    for name in names {
        let (of, version) = split_version(name);
        let spec = find(catalog, of)?;
        spec.refuse_versions()?;
        if let Some(Err(why)) = version.map(check_version) {
            let example = spec.framework().map_or("1.2.3", |(_, version)| version);
            return Err(hinted(format!("`{name}`: {why}"), format!("write `{of}@{example}`")));
        }
        add(spec, version);
    }
    Ok(wanted)
}

/// Proposes, builds, checks and keeps a version of one environment.
fn update_one(
    project: &Project,
    store: &Store,
    args: &UpdateArgs,
    of: &EnvSpec,
    version: Option<&str>,
) -> Result<UpdateEnd> {
    let mut session = Session::open(project, store, FrameworksFrom::Pinned)?;
    let live = Live::new();
    let step = format!("lock of {}", of.name);
    let proposal = live.step(&step, |report| session.envs.propose(of, version, report))?;
    let name = proposal.spec.name.clone();
    if proposal.is_pinned() {
        let Proposal { framework, pinned, changes, .. } = &proposal;
        if !changes.is_empty() {
            ui::print(&table(&proposal, version.is_some()))?;
        }
        let words = match (version, changes.is_empty()) {
            (Some(_), _) => format!("{}: {framework} {pinned} is what is pinned", of.name),
            (None, true) => format!("{}: what is pinned is the newest", of.name),
            (None, false) => format!(
                "{}: {framework} {pinned} is the newest, and is pinned; to take in what else is newer, change env.yaml \
                 and run `rosetta env lock {}`",
                of.name, of.name
            ),
        };
        live.say(&words);
        return Ok(UpdateEnd::Well);
    }
    ui::print(&table(&proposal, version.is_some()))?;
    if args.dry_run {
        live.say(&format!("{name} would be built, checked and kept; `--dry-run` stops here"));
        return Ok(UpdateEnd::Well);
    }
    let step = format!("environment {name}");
    live.step(&step, |report| session.envs.build(&proposal.spec, report))
        .with_context(|| format!("`{name}` is not kept"))?;
    session.catalog.add_version(proposal.spec.clone());
    if args.no_check {
        live.say(&format!("{name} was not checked: `rosetta check -f {name}`"));
    } else if let UpdateEnd::Interrupted = check(project, &session, &name, &live)? {
        return Ok(UpdateEnd::Interrupted);
    }
    let place = proposal.keep(of)?;
    live.say(&kept(&session.catalog, &name, &place));
    Ok(UpdateEnd::Well)
}

/// Returns what a person can do now.
fn kept(catalog: &Catalog, name: &str, place: &std::path::Path) -> String {
    let shown = place.display();
    match targets(catalog, name).first() {
        Some(target) => {
            let pinned = split_version(target).0;
            format!("kept: {name} in `{shown}`; `rosetta run -f {pinned},{target}` runs both")
        }
        None => format!("kept: {name} in `{shown}`; no target uses it"),
    }
}

/// Returns the names of the targets that run in an environment.
fn targets(catalog: &Catalog, env: &str) -> Vec<String> {
    let of =
        catalog.targets().filter(|(_, target)| target.env.values().any(|one| one.value == env));
    of.map(|(_, target)| target.name.clone()).collect()
}

/// Returns what differs between what is pinned and what is proposed.
fn table(proposal: &Proposal, is_named: bool) -> String {
    let text = |version: &Option<String>| version.clone().unwrap_or_else(|| "–".to_owned());
    let rows = proposal
        .changes
        .iter()
        .map(|(package, (pinned, new))| vec![package.clone(), text(pinned), text(new)]);
    let new = if is_named { "Proposed" } else { "Newest" };
    let headings = [Heading::words("Package"), Heading::words("Pinned"), Heading::words(new)];
    ui::list(headings, rows.collect())
}

/// Checks the targets of a version that is built, and prints the verdicts; fails unless each is as it is
/// declared.
fn check(project: &Project, session: &Session, env: &str, live: &Live) -> Result<UpdateEnd> {
    let names = targets(&session.catalog, env);
    if names.is_empty() {
        return Ok(UpdateEnd::Well);
    }
    let not_kept = |why: String| {
        hinted(
            format!("`{env}` is not kept: {why}"),
            format!(
                "`rosetta env update {env} --no-check` keeps it all the same, for `rosetta check` and `rosetta run \
                 --no-check` to look closer"
            ),
        )
    };
    let experiments = project.experiments()?;
    let request = Request { frameworks: names, check: true, repeats: 1, ..Request::default() };
    let plan = session.plan(&request, &experiments)?;
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    if plan.jobs.is_empty() {
        let why = plan.skips.first().map(|skip| skip.obstacle.to_string());
        let why = why.unwrap_or_else(|| "it has no harness".to_owned());
        return Err(not_kept(format!("nothing of it can be checked here: {why}")));
    }
    let known = session.store.verdicts()?;
    let checked = session.check(&plan.jobs, &known, &request, None, &|notice| live.show(notice));
    live.finish();
    let checked = checked.with_context(|| format!("`{env}` is not kept"))?;
    ui::print(&ui::verdicts(&checked.verdicts))?;
    if checked.is_interrupted {
        return Ok(UpdateEnd::Interrupted);
    }
    let wrong = checked.verdicts.iter().filter(|verdict| !is_fine(verdict)).collect::<Vec<_>>();
    match wrong.as_slice() {
        [] => Ok(UpdateEnd::Well),
        [first, ..] => {
            let words = first.equivalence.words();
            let count = checked.verdicts.len();
            let (experiment, target) = (&first.experiment, &first.target);
            Err(not_kept(format!(
                "{} of {count} checks did not pass, as {experiment} · {target}: {words}",
                wrong.len()
            )))
        }
    }
}

/// Whether a target computes the experiment, or differs as it declares.
fn is_fine(verdict: &Verdict) -> bool {
    verdict.equivalence.grade.is_same() || verdict.equivalence.is_declared
}

/// Keeps versions no more: all names are looked up before the first goes.
fn remove(session: &Session, names: &[String]) -> Result<ExitCode> {
    let catalog = &session.catalog;
    let mut kept = Vec::new();
    for name in names {
        let (of, version) = split_version(name);
        let spec = find(catalog, of)?;
        let found =
            version.and_then(|version| catalog.envs.get(&format!("{}@{version}", spec.name)));
        kept.push(found.ok_or_else(|| unknown_version(catalog, spec, name))?);
    }
    let live = Live::new();
    for spec in kept {
        // Whoever uses it keeps all of it.
        let freed = session.envs.remove(&spec.name, None, &|_| {})?;
        let failed = || format!("cannot remove `{}`", spec.lock.display());
        std::fs::remove_file(&spec.lock).with_context(failed)?;
        // The folder goes with the last lock in it.
        let _ = std::fs::remove_dir(spec.locks());
        live.say(&format!("{}: not kept any more, {} freed", spec.name, ui::size(freed)));
    }
    Ok(OK)
}

fn unknown_version(catalog: &Catalog, spec: &EnvSpec, name: &str) -> anyhow::Error {
    let of = catalog
        .envs
        .values()
        .filter(|one| split_version(&one.name).0 == spec.name && one.kept_version().is_some());
    let kept = of.map(|one| format!("`{}`", one.name)).collect::<Vec<_>>();
    let hint = match kept.is_empty() {
        true => "no other version than the pinned one is kept; that is never removed".to_owned(),
        false => format!("kept: {}", kept.join(", ")),
    };
    hinted(format!("`{name}` is not a version that is kept"), hint)
}
