//! What a client has installed into a prefix, whatever it says of it.
//!
//! Must not depend on which client it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::explicit::Package;
use crate::env::lockfile::normalised;
use crate::obstacle::Obstacle;

/// What conda and a requirements.lock may both bring: tools that no framework computes with.
const TOOLS: [&str; 3] = ["pip", "setuptools", "wheel"];

const ANOTHER: &str = "try another client with ROSETTA_CONDA=PATH";

/// Returns what is wrong with a prefix that has not exactly the packages of its lock.
pub(in crate::env) fn differs(root: &Path, packages: &[Package]) -> Option<Obstacle> {
    let notes = root.join("conda-meta");
    let found = names(&notes);
    let found = found.iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    let found = found.collect::<BTreeSet<_>>();
    let pinned = packages.iter().map(|package| package.stem().replace("%21", "!"));
    let pinned = pinned.collect::<BTreeSet<_>>();
    if let Some(missing) = pinned.difference(&found).next() {
        let shown = notes.display();
        let reason = format!(
            "the client ended well and has not installed `{missing}`: it is not in `{shown}`"
        );
        return Some(Obstacle::new(reason, ANOTHER));
    }
    let more = found.difference(&pinned).next()?;
    let reason = format!("the client has installed `{more}`, which the lock does not pin");
    Some(Obstacle::new(reason, ANOTHER))
}

/// Returns the Python package of conda's whose place one of a requirements.lock would take.
///
/// Names of packages do not tell: `tzdata` of conda's is a library, that of PyPI is none.
pub(in crate::env) fn twice(site: &Path, ours: &BTreeMap<String, String>) -> Option<Obstacle> {
    let found = names(site);
    let metadata = found.iter().filter_map(|name| {
        let name = name.strip_suffix(".dist-info").or_else(|| name.strip_suffix(".egg-info"))?;
        Some(normalised(name.split('-').next().unwrap_or(name)))
    });
    let mut both =
        metadata.filter(|name| ours.contains_key(name) && !TOOLS.contains(&name.as_str()));
    let name = both.next()?;
    let reason = format!(
        "conda's lock brings the Python package `{name}`, which requirements.lock pins too"
    );
    let hint = "leave to conda the interpreter and libraries that pip has not";
    Some(Obstacle::new(reason, hint))
}

fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).into_iter().flatten().flatten();
    listing.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
