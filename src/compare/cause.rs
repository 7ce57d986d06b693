//! What is different about the two sides of a row: possible causes of another time, and what changed beside the time.

use std::collections::BTreeMap;

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
    let version = |record: &'_ Record| record.framework_version.clone();
    let name = crate::table::name_without_version(&now.title);
    differs(&name, version(then).as_deref(), version(now).as_deref());
    fn env<'a>(
        record: &'a Record,
        of: impl Fn(&'a crate::record::EnvIdentity) -> Option<&'a str>,
    ) -> Option<&'a str> {
        record.env.as_ref().and_then(of)
    }
    differs(
        "interpreter",
        env(then, |e| e.interpreter.as_deref()),
        env(now, |e| e.interpreter.as_deref()),
    );
    let threads = |record: &Record| record.cost.threads_allowed.to_string();
    differs("threads", Some(&threads(then)), Some(&threads(now)));
    for (one, other) in then.machine.gpus.iter().zip(&now.machine.gpus) {
        differs("GPU driver", Some(&one.driver), Some(&other.driver));
    }
    let (one, other) = (&then.machine, &now.machine);
    differs("kernel", Some(&one.kernel), Some(&other.kernel));
    differs("system", Some(&one.os), Some(&other.os));
    differs("CPU governor", one.governor.as_deref(), other.governor.as_deref());
    let turbo = |record: &Record| record.machine.turbo.map(|on| if on { "on" } else { "off" });
    differs("turbo", turbo(then), turbo(now));
    let packages = packages(then, now);
    let is_other_env = env(then, |e| e.digest.as_deref()) != env(now, |e| e.digest.as_deref());
    let is_other_version = version(then) != version(now);
    if !packages.is_empty() {
        causes.push(packages);
    } else if is_other_env && !is_other_version {
        causes.push("another build of the environment".to_owned());
    }
    let digests = [
        ("its harness", &then.inputs.harness_digest, &now.inputs.harness_digest),
        ("the experiment's spec", &then.inputs.spec_digest, &now.inputs.spec_digest),
    ];
    let changed = digests.iter().filter(|(_, one, other)| one != other);
    causes.extend(changed.map(|(what, ..)| format!("{what} was changed")));
    if then.rosetta != now.rosetta {
        let words = |record: &Record| {
            let revision = record.rosetta.revision.as_deref().map(|r| r.get(..8).unwrap_or(r));
            revision.unwrap_or(&record.rosetta.version).to_owned()
        };
        causes.push(format!("rosetta {} → {}", words(then), words(now)));
    }
    causes
}

/// Returns the packages that differ, in words; the framework's own version is told already.
fn packages(then: &Record, now: &Record) -> String {
    fn versions(record: &Record) -> BTreeMap<&str, &str> {
        let packages = record.env.iter().flat_map(|env| &env.packages);
        packages.filter_map(|package| package.split_once("==")).collect()
    }
    let (then, now_versions) = (versions(then), versions(now));
    let names = then.keys().chain(now_versions.keys()).collect::<std::collections::BTreeSet<_>>();
    let changed = names.into_iter().filter(|name| then.get(**name) != now_versions.get(**name));
    let is_own = |name: &str| now.framework_version.as_deref() == now_versions.get(name).copied();
    let words = changed.filter(|name| !is_own(name)).map(|name| {
        let version = |of: &BTreeMap<&str, &str>| of.get(*name).map_or("none", |v| *v).to_owned();
        format!("{name} {} → {}", version(&then), version(&now_versions))
    });
    let words = words.collect::<Vec<_>>();
    let more = words.len().saturating_sub(PACKAGES);
    let named = words.iter().take(PACKAGES).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} packages more") } else { named }
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
    let accuracy = |row: &Row| row.median_of(|r| r.score.accuracy.map(|share| share * 100.0));
    if let (Some(then), Some(now)) = (accuracy(before), accuracy(after))
        && (then - now).abs() > POINTS
    {
        besides.push(format!("accuracy {then:.1} % → {now:.1} %"));
    }
    let memory = |row: &Row| row.median_of(|r| r.cost.peak_rss_bytes.map(|bytes| bytes as f64));
    if let (Some(then), Some(now)) = (memory(before), memory(after))
        && (now / then > 1.0 + MEMORY || then / now > 1.0 + MEMORY)
        && (now - then).abs() > MEMORY_FLOOR
    {
        besides.push(format!("memory {} → {}", size(then), size(now)));
    }
    let grade = |row: &Row| {
        row.told().equivalence.as_ref().map_or("unchecked".to_owned(), |found| found.words())
    };
    if grade(before) != grade(after) {
        besides.push(format!("{} → {}", grade(before), grade(after)));
    }
    besides
}
