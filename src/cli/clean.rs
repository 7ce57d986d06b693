//! `rosetta clean`: what killed runs have left, what no project needs, and what is too much for the disk.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::OK;
use crate::cli::args::CleanArgs;
use crate::cli::runs::may_remove;
use crate::container::{left_containers, remove_containers};
use crate::data::DataStore;
use crate::env::{Envs, Sweep, UsedEnv};
use crate::hint::say;
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::project::Project;
use crate::seal::Place;
use crate::store::Store;
use crate::{process, ui};

/// What was used less than this ago is not removed for want of room: somebody may be at work with it.
const IN_USE: Duration = Duration::from_secs(60 * 60);

/// What may go to make room.
enum Spare {
    Env(UsedEnv),
    Data(Place, u64),
}

impl Spare {
    fn age(&self) -> Duration {
        match self {
            Spare::Env(env) => env.age,
            Spare::Data(place, _) => place.age().unwrap_or_default(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Spare::Env(env) => env.bytes,
            Spare::Data(_, bytes) => *bytes,
        }
    }

    fn words(&self, data: &Path) -> String {
        match self {
            Spare::Env(env) => format!("environment {}-{}", env.name, env.short),
            Spare::Data(place, _) => {
                let folder = place.folder();
                format!("data {}", folder.strip_prefix(data).unwrap_or(folder).display())
            }
        }
    }
}

/// Says what would go, and removes it once a person has agreed.
pub fn clean(project: &Project, store: &Store, args: &CleanArgs) -> Result<ExitCode> {
    let home = Home::find()?;
    let (catalog, data) = (project.catalog()?, DataStore::at(home.data()));
    let envs = Envs::new(home.clone(), project.root.clone());
    let left = process::leftovers().len();
    let engine = envs.engine().ok();
    let is_gone = process::is_of_a_dead_rosetta;
    let containers = engine.as_ref().map(|engine| left_containers(engine, is_gone));
    let containers = containers.unwrap_or_default();
    let half_made = [store.leftovers(), data.leftovers()].concat();
    let unneeded = envs.gc(&catalog, Sweep::Told)?;
    let spare = match args.disk {
        Some(limit) => too_much(limit, &envs, &data, &unneeded.names)?,
        None => Vec::new(),
    };
    if left > 0 {
        say(format_args!("left behind: {left} processes of killed runs"));
    }
    if !containers.is_empty() {
        say(format_args!("left behind: {} containers of killed runs", containers.len()));
    }
    for path in &half_made {
        say(format_args!("left behind: {}", path.display()));
    }
    for name in &unneeded.names {
        say(format_args!("not needed any more: {name}"));
    }
    for one in &spare {
        let (words, size) = (one.words(&home.data()), ui::size(one.bytes()));
        say(format_args!("too much for the disk: {words}, {size}"));
    }
    let bytes = half_made.iter().map(|path| size_bytes(path)).sum::<u64>()
        + unneeded.bytes
        + spare.iter().map(Spare::bytes).sum::<u64>();
    let left = left + containers.len();
    let count = left + half_made.len() + unneeded.names.len() + spare.len();
    let size = ui::size(bytes);
    if count == 0 {
        say("there is nothing to remove");
        return Ok(OK);
    }
    if !may_remove(args.agreement, &format!("remove {size}?"))? {
        say(format_args!("{count} things would be removed, {size}"));
        return Ok(OK);
    }
    process::end_leftovers();
    if let Some(engine) = &engine {
        remove_containers(engine, &containers)?;
    }
    store.tidy();
    data.tidy();
    let freed = envs.gc(&catalog, Sweep::Done)?;
    let kept = freed.in_use + make_room(&home, &envs, spare)?;
    let still_there = half_made.iter().filter(|path| path.exists()).count();
    say(format_args!("{} things removed", count.saturating_sub(kept + still_there)));
    if kept + still_there > 0 {
        say(format_args!("{} kept, because they are used", kept + still_there));
    }
    Ok(OK)
}

/// Returns what must go until environments and data hold at most `limit`, least lately used first; what goes anyway is not
/// counted.
fn too_much(limit: u64, envs: &Envs, data: &DataStore, gone: &[String]) -> Result<Vec<Spare>> {
    let is_gone = |env: &UsedEnv| gone.contains(&format!("{}-{}", env.name, env.short));
    let built = envs.used()?.into_iter().filter(|env| !is_gone(env));
    let mut all = built.map(Spare::Env).collect::<Vec<_>>();
    for place in data.spare() {
        let bytes = size_bytes(place.folder());
        all.push(Spare::Data(place, bytes));
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.age()));
    let mut held = all.iter().map(Spare::bytes).sum::<u64>();
    let mut spare = Vec::new();
    for one in all {
        if held > limit && one.age() > IN_USE {
            held -= one.bytes();
            spare.push(one);
        }
    }
    Ok(spare)
}

/// Removes what is spare, unless a run goes on, which may need any of it; returns how much of it stays.
fn make_room(home: &Home, envs: &Envs, spare: Vec<Spare>) -> Result<usize> {
    if spare.is_empty() {
        return Ok(0);
    }
    let Some(_machine) = Lock::try_take(&home.run_lock()) else {
        say("a run goes on: nothing is removed for want of room");
        return Ok(spare.len());
    };
    let (mut chosen, mut kept) = (Vec::new(), 0);
    for one in spare {
        match one {
            Spare::Env(env) => chosen.push(env),
            Spare::Data(place, _) => {
                let shown = place.folder().display().to_string();
                match place.try_take()? {
                    Some(alone) => {
                        alone.remove().with_context(|| format!("cannot remove `{shown}`"))?;
                    }
                    None => kept += 1,
                }
            }
        }
    }
    Ok(kept + envs.remove_used(&chosen)?.in_use)
}
