//! `rosetta env`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::catalog::{Catalog, EnvSpec, Provider, ProviderName};
use crate::cli::args::{AgreementArgs, EnvCommand, MakerArg};
use crate::cli::runs::may_remove;
use crate::cli::{NOT_OK, OK, update};
use crate::env::{Availability, EnvStatus, Envs, Sweep};
use crate::hint::{hinted, unknown};
use crate::home::Home;
use crate::progress::{Progress, Report};
use crate::project::Project;
use crate::report::Heading;
use crate::store::Store;
use crate::ui::{self, Live};

/// Shows or changes what environments there are.
pub fn env(project: &Project, store: &Store, command: &EnvCommand) -> Result<ExitCode> {
    let catalog = project.catalog()?;
    let envs = Envs::new(Home::find()?, project.root.clone());
    let live = Live::new();
    match command {
        EnvCommand::List { json, provider } => {
            let mut catalog = catalog;
            let made = catalog
                .envs
                .iter()
                .filter_map(|(name, spec)| Some((name.clone(), made_by(*provider, spec)?)));
            catalog.envs = made.collect();
            list(&envs.list(&catalog), *json)?;
        }
        EnvCommand::Build { names, all, provider } => {
            let wanted = match (names.as_slice(), all) {
                (_, true) => buildable(&catalog, &envs, *provider),
                ([], false) => {
                    let starter = starter(&catalog)?.into_iter();
                    starter.filter_map(|spec| made_by(*provider, spec)).collect()
                }
                (names, false) => find_all(&catalog, names, *provider)?,
            };
            return build(&wanted, &envs, &live);
        }
        EnvCommand::Lock { names, provider, base } => {
            for mut spec in find_all(&catalog, names, *provider)? {
                set_base(&mut spec, base.as_deref())?;
                refuse_version(&spec)?;
                let name = format!("lock {}", spec.name);
                live.step(&name, |report| envs.lock(&spec, report))?;
            }
        }
        EnvCommand::Update(args) => return update::update(project, store, args),
        EnvCommand::Remove { names, provider } => {
            for name in names {
                let own = find(&catalog, name)?;
                let by = provider.map(|provider| made(provider, own)).transpose()?;
                let (name, by) = (&own.name, by.map(|spec| spec.provider.name()));
                let freed = envs.remove(name, by, &|_| {})?;
                live.say(&format!("{name}: {} freed", ui::size(freed)));
            }
        }
        EnvCommand::Gc { agreement } => gc(&envs, &catalog, *agreement, &live)?,
        EnvCommand::Shell { name, provider } => {
            let spec = &made(*provider, find(&catalog, name)?)?;
            match enter(spec, &[], &envs, &live)? {}
        }
        EnvCommand::Run { name, provider, command } => {
            let spec = &made(*provider, find(&catalog, name)?)?;
            match enter(spec, command, &envs, &live)? {}
        }
    }
    Ok(OK)
}

/// Becomes a command in an environment, built if it was not: the person's shell if none is named.
fn enter(spec: &EnvSpec, command: &[OsString], envs: &Envs, live: &Live) -> Result<Infallible> {
    if envs.built(spec).is_none() {
        let step = format!("environment {}", spec.name);
        live.step(&step, |report| envs.build(spec, report))?;
    }
    envs.enter(spec, command)
}

/// Removes what nobody needs, once the person at the terminal has agreed.
fn gc(envs: &Envs, catalog: &Catalog, agreement: AgreementArgs, live: &Live) -> Result<()> {
    let found = envs.gc(catalog, Sweep::Told)?;
    let size = ui::size(found.bytes);
    if !agreement.yes {
        for name in &found.names {
            live.say(&format!("not needed any more: {name}"));
        }
    }
    if agreement.dry_run {
        live.say(&format!("{} folders would be removed, {size}", found.folders));
        return Ok(());
    }
    if !found.names.is_empty() {
        may_remove(agreement, &format!("remove {size}?"))?;
    }
    let freed = envs.gc(catalog, Sweep::Done)?;
    let size = ui::size(freed.bytes);
    live.say(&format!("{} folders removed, {size} freed", freed.folders));
    if freed.in_use > 0 {
        live.say(&format!("{} folders kept, because a run uses them", freed.in_use));
    }
    Ok(())
}

/// Returns an environment by its own name or by that of a target.
pub(super) fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a EnvSpec> {
    if catalog.unreadable_envs.contains_key(name) {
        return catalog.env(name);
    }
    let target = catalog.targets().find(|(_, target)| target.name == name);
    let env = target.and_then(|(_, target)| target.env.values().next());
    let own = catalog.envs.get(name);
    let found = own.or_else(|| env.and_then(|env| catalog.envs.get(&env.value)));
    found.ok_or_else(|| {
        if catalog.frameworks.iter().any(|framework| framework.harnesses.contains_key(name)) {
            return hinted(
                format!("`{name}` is an experiment, not an environment"),
                "name an environment or a target; `rosetta env list` shows them",
            );
        }
        let targets = catalog.targets().map(|(_, target)| target.name.as_str());
        let known = catalog.envs.keys().map(String::as_str).chain(targets);
        unknown("environment", name, known.collect::<BTreeSet<_>>().iter().copied())
    })
}

fn find_all(catalog: &Catalog, names: &[String], maker: MakerArg) -> Result<Vec<EnvSpec>> {
    names.iter().map(|name| made(maker, find(catalog, name)?)).collect()
}

/// Returns an environment as a provider makes it, if it makes such.
fn made_by(maker: MakerArg, own: &EnvSpec) -> Option<EnvSpec> {
    let Some(provider) = maker.provider() else { return Some(own.clone()) };
    let made = own.provided_by(provider);
    (made.provider.name() == provider).then_some(made)
}

fn made(maker: MakerArg, own: &EnvSpec) -> Result<EnvSpec> {
    made_by(maker, own).ok_or_else(|| {
        let (name, provider) = (&own.name, own.provider.name());
        let other = maker.provider().map_or("", ProviderName::as_str);
        let message = format!(
            "the environment `{name}` is made by {provider}; {other} makes those of `venv`"
        );
        hinted(message, "leave `--provider` out")
    })
}

/// Sets the base image that a lock is made for.
fn set_base(spec: &mut EnvSpec, named: Option<&str>) -> Result<()> {
    match (&mut spec.provider, named) {
        (_, None) => Ok(()),
        (Provider::Docker { base, .. }, Some(named)) => {
            *base = Some(named.to_owned());
            Ok(())
        }
        (_, Some(named)) => Err(hinted(
            format!("`--base {named}` goes with `--provider docker`"),
            "name that provider, or leave `--base` out",
        )),
    }
}

/// Refuses to lock a version of which `update` makes the lock.
fn refuse_version(spec: &EnvSpec) -> Result<()> {
    match spec.kept_version() {
        None => Ok(()),
        Some(_) => Err(hinted(
            format!("`{}` is a version that stands beside what env.yaml pins", spec.name),
            format!("`rosetta env update {}` locks it anew", spec.name),
        )),
    }
}

pub(super) fn starter(catalog: &Catalog) -> Result<Vec<&EnvSpec>> {
    let targets = catalog.targets().filter(|(_, target)| target.starter);
    targets.map(|(_, target)| find(catalog, &target.name)).collect()
}

fn buildable(catalog: &Catalog, envs: &Envs, maker: MakerArg) -> Vec<EnvSpec> {
    let can = |spec: &EnvSpec| {
        !matches!(envs.availability(spec), Availability::Unavailable(_))
            && !spec.name.ends_with("-cuda")
    };
    catalog.envs.values().filter_map(|own| made_by(maker, own)).filter(can).collect()
}

/// Builds one after the other: each build uses every core and the whole network by itself.
fn build(specs: &[EnvSpec], envs: &Envs, live: &Live) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for spec in specs {
        let name = &spec.name;
        let step = format!("environment {name}");
        let build = |report: Report| {
            let built = envs.build(spec, report)?;
            if !envs.is_compiled(&built, None) {
                report(Progress::Doing("compiling bytecode".to_owned()));
                envs.compile(&built);
            }
            Ok(())
        };
        if let Err(error) = live.step(&step, build) {
            crate::hint::report(&error);
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(OK);
    }
    live.say(&format!("not built: {}", failed.join(", ")));
    Ok(NOT_OK.into())
}

fn list(all: &[EnvStatus], as_json: bool) -> Result<()> {
    if as_json {
        let list = all.iter().map(object).collect::<Vec<_>>();
        return ui::print(&(serde_json::to_string_pretty(&list)? + "\n"));
    }
    let headings = [
        Heading::words("Environment"),
        Heading::words("Provider"),
        Heading::numbers("Python"),
        Heading::words("State"),
        Heading::numbers("Size"),
        Heading::words("Digest"),
        Heading::words("To get it"),
    ];
    ui::print(&ui::list(headings, all.iter().map(row).collect()))
}

/// Returns an environment for a program.
fn object(status: &EnvStatus) -> Value {
    let built = status.built.as_ref();
    json!({
        "name": status.name,
        "provider": status.provider.as_str(),
        "python": status.python,
        "state": state(status),
        "hint": hint(status),
        "digest": status.digest,
        "size_bytes": built.map(|built| built.size_bytes),
        "build_seconds": built.map(|built| built.build_seconds),
        "root": built.map(|built| &built.root),
    })
}

/// Returns an environment for a person.
fn row(status: &EnvStatus) -> Vec<String> {
    let built = status.built.as_ref();
    let digest = status.digest.as_deref();
    vec![
        status.name.clone(),
        status.provider.to_string(),
        status.python.clone().unwrap_or_default(),
        state(status).to_owned(),
        built.map(|built| ui::size(built.size_bytes)).unwrap_or_default(),
        digest.map(|digest| digest[..12].to_owned()).unwrap_or_default(),
        hint(status).to_owned(),
    ]
}

fn state(status: &EnvStatus) -> &str {
    match &status.availability {
        Availability::Ready => "built",
        Availability::Buildable => "can be built",
        Availability::Unavailable(obstacle) => &obstacle.reason,
    }
}

/// Returns what makes an environment possible; nothing where it is.
fn hint(status: &EnvStatus) -> &str {
    match &status.availability {
        Availability::Unavailable(obstacle) => obstacle.hint.as_deref().unwrap_or_default(),
        _ => "",
    }
}
