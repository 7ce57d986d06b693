//! What is different about the two sides of a row: possible causes of another time, and what changed beside the time.

use std::collections::{BTreeMap, BTreeSet};

use super::side::Row;
use crate::record::Record;

/// How many packages are named; of a whole environment the rest is counted.
const PACKAGES: usize = 3;
/// Accuracies of one framework that differ by less, in points, are the same.
const POINTS: f64 = 0.1;
/// Memory that differs by less than this share is the same,
const MEMORY: f64 = 0.1;
/// and so is memory that differs by fewer bytes: a small process gains or loses as much from one start to the next.
const MEMORY_FLOOR: f64 = 16.0 * (1 << 20) as f64;

/// Returns what differs and may be why a time changed, the likeliest first.
pub(super) fn causes(before: &Row, after: &Row) -> Vec<String> {
    let (then, now) = (before.told(), after.told());
    let mut causes = Vec::new();
    let mut differs = |what: &str, one: Option<&str>, other: Option<&str>| {
        if one != other {
            let [one, other] = [one, other].map(|word| word.unwrap_or("unknown"));
            causes.push(format!("{what} {one} → {other}"));
        }
    };
    let versions = [then, now].map(|record| record.framework_version.as_deref());
    let name = crate::table::name_without_version(&now.title);
    differs(&name, versions[0], versions[1]);
    let envs = [then, now].map(|record| record.env.as_ref());
    let interpreters = envs.map(|env| env?.interpreter.as_deref());
    differs("interpreter", interpreters[0], interpreters[1]);
    let threads = [then, now].map(|record| record.cost.threads_allowed.to_string());
    differs("threads", Some(&threads[0]), Some(&threads[1]));
    for (one, other) in then.machine.gpus.iter().zip(&now.machine.gpus) {
        differs("GPU driver", Some(&one.driver), Some(&other.driver));
    }
    let (one, other) = (&then.machine, &now.machine);
    differs("kernel", Some(&one.kernel), Some(&other.kernel));
    differs("system", Some(&one.os), Some(&other.os));
    differs("CPU governor", one.governor.as_deref(), other.governor.as_deref());
    let turbo = [then, now].map(|record| Some(if record.machine.turbo? { "on" } else { "off" }));
    differs("turbo", turbo[0], turbo[1]);
    let packages = packages(then, now);
    let digests = envs.map(|env| env?.digest.as_deref());
    if !packages.is_empty() {
        causes.push(packages);
    } else if digests[0] != digests[1] && versions[0] == versions[1] {
        causes.push("another build of the environment".to_owned());
    }
    let digests = [
        ("its harness", &then.inputs.harness_digest, &now.inputs.harness_digest),
        ("the experiment's spec", &then.inputs.spec_digest, &now.inputs.spec_digest),
    ];
    let changed = digests.iter().filter(|(_, one, other)| one != other);
    causes.extend(changed.map(|(what, ..)| format!("{what} was changed")));
    if then.rosetta != now.rosetta {
        causes.push(format!("rosetta {} → {}", revision(then), revision(now)));
    }
    causes
}

/// Returns the revision of rosetta that made a record, or its version.
fn revision(record: &Record) -> &str {
    let revision = record.rosetta.revision.as_deref().map(|r| r.get(..8).unwrap_or(r));
    revision.unwrap_or(&record.rosetta.version)
}

/// Returns the packages that differ, in words; the framework's own version is told already.
fn packages(then: &Record, now: &Record) -> String {
    let own = now.framework_version.as_deref();
    let (then, now) = (versions(then), versions(now));
    let mut words = Vec::new();
    for name in then.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let [before, after] = [&then, &now].map(|versions| versions.get(name).copied());
        if before != after && own != after {
            let [before, after] = [before, after].map(|version| version.unwrap_or("none"));
            words.push(format!("{name} {before} → {after}"));
        }
    }
    let more = words.len().saturating_sub(PACKAGES);
    let named = words.iter().take(PACKAGES).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} packages more") } else { named }
}

/// Returns the versions of an environment's packages, by their names.
fn versions(record: &Record) -> BTreeMap<&str, &str> {
    let packages = record.env.iter().flat_map(|env| &env.packages);
    packages.filter_map(|package| package.split_once("==")).collect()
}

fn size(bytes: f64) -> String {
    let (mib, gib) = (f64::from(1 << 20), f64::from(1 << 30));
    match bytes < gib {
        true => format!("{:.0} MiB", bytes / mib),
        false => format!("{:.2} GiB", bytes / gib),
    }
}

/// Returns what changed beside the time.
pub(super) fn besides(before: &Row, after: &Row) -> Vec<String> {
    let mut besides = Vec::new();
    if let (Some(then), Some(now)) = (accuracy(before), accuracy(after))
        && (then - now).abs() > POINTS
    {
        besides.push(format!("accuracy {then:.1} % → {now:.1} %"));
    }
    if let (Some(then), Some(now)) = (memory(before), memory(after))
        && (now / then > 1.0 + MEMORY || then / now > 1.0 + MEMORY)
        && (now - then).abs() > MEMORY_FLOOR
    {
        besides.push(format!("memory {} → {}", size(then), size(now)));
    }
    let [then, now] = [before, after].map(grade);
    if then != now {
        besides.push(format!("{then} → {now}"));
    }
    besides
}

/// Returns the accuracy of a row in percent.
fn accuracy(row: &Row) -> Option<f64> {
    row.median_of(|record| record.score.accuracy.map(|share| share * 100.0))
}

/// Returns the bytes of memory that a row took at most.
fn memory(row: &Row) -> Option<f64> {
    row.median_of(|record| record.cost.peak_rss_bytes.map(|bytes| bytes as f64))
}

fn grade(row: &Row) -> String {
    let equivalence = row.told().equivalence.as_ref();
    equivalence.map_or("unchecked".to_owned(), |found| found.words())
}
