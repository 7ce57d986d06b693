//! What differs between two installations and may be why one is slower.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Installation, number};
use crate::record::Record;
use crate::report::three_digits;

/// A rate below this share of the other's is another rate.
const LESS: f64 = 0.85;
/// The facts that have a sentence of their own.
const RATES: [&str; 3] = ["product_gflops", "convolution_gflops", "busy_cpus"];

/// Returns what may be why yours is slower, the likeliest first; nothing where it is not.
pub(super) fn suspects(pinned: &Installation, yours: &Installation, ratio: f64) -> Vec<String> {
    if ratio.is_nan() || ratio <= 1.0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(idle_cpus(&pinned.facts, &yours.facts));
    found.extend(threads(pinned, yours));
    let slower = |name: &str, what: &str| {
        let (theirs, ours) = (number(&pinned.facts, name)?, number(&yours.facts, name)?);
        (ours < LESS * theirs).then(|| {
            let [theirs, ours] = [theirs, ours].map(three_digits);
            format!("its {what} reaches {ours} GFLOP/s, the pinned one's {theirs}")
        })
    };
    let rates = [
        slower("product_gflops", "matrix product (BLAS)"),
        slower("convolution_gflops", "convolution"),
    ];
    let has_rates = number(&yours.facts, "product_gflops").is_some();
    let is_even = has_rates && rates.iter().all(Option::is_none) && found.is_empty();
    found.extend(rates.into_iter().flatten());
    found.extend(different_facts(&pinned.facts, &yours.facts));
    found.extend(different_versions(pinned, yours));
    if is_even && found.is_empty() {
        found.push(
            "its products and convolutions are as fast: look at what goes on around them, such as feeding and dispatch"
                .to_owned(),
        );
    }
    found
}

/// Says that fewer CPUs are busy in a matrix product.
fn idle_cpus(pinned: &BTreeMap<String, Value>, yours: &BTreeMap<String, Value>) -> Option<String> {
    let (theirs, ours) = (number(pinned, "busy_cpus")?, number(yours, "busy_cpus")?);
    (ours < LESS * theirs).then(|| {
        format!("it keeps {ours:.1} CPUs busy in a matrix product, the pinned one {theirs:.1}: threads are limited, or its build has none")
    })
}

/// Says that a job had fewer threads.
fn threads(pinned: &Installation, yours: &Installation) -> Option<String> {
    let seen = |side: &Installation| side.records.iter().filter_map(|r| r.cost.threads_seen).max();
    let (theirs, ours) = (seen(pinned)?, seen(yours)?);
    let allowed = yours.records.first()?.cost.threads_allowed;
    (ours < allowed && theirs >= allowed)
        .then(|| format!("its jobs had {ours} threads of {allowed}"))
}

/// Says what the builds tell of themselves and is not the same: `onednn: off in yours, on in the pinned one`.
fn different_facts(
    pinned: &BTreeMap<String, Value>,
    yours: &BTreeMap<String, Value>,
) -> Vec<String> {
    let names = pinned.keys().chain(yours.keys().filter(|name| !pinned.contains_key(*name)));
    let mut different = Vec::new();
    for name in names.filter(|name| !RATES.contains(&name.as_str())) {
        let (theirs, ours) = (pinned.get(name), yours.get(name));
        if theirs != ours {
            let (theirs, ours) = (told(theirs), told(ours));
            different.push(format!("{name}: `{ours}` in yours, `{theirs}` in the pinned one"));
        }
    }
    different
}

/// Returns a fact in words.
fn told(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "not set".to_owned(),
    }
}

fn different_versions(pinned: &Installation, yours: &Installation) -> Vec<String> {
    let (Some(theirs), Some(ours)) = (pinned.records.first(), yours.records.first()) else {
        return Vec::new();
    };
    let mut different = Vec::new();
    for (what, theirs, ours) in [
        ("version", &theirs.framework_version, &ours.framework_version),
        ("Python", interpreter(theirs), interpreter(ours)),
    ] {
        let [theirs, ours] = [theirs, ours].map(|version| version.as_deref().unwrap_or_default());
        if theirs != ours {
            different.push(format!("{what}: {ours} in yours, {theirs} in the pinned one"));
        }
    }
    different
}

fn interpreter(record: &Record) -> &Option<String> {
    record.env.as_ref().map_or(&None, |env| &env.interpreter)
}
