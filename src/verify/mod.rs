//! Is an installation as fast as it should be: two sides that ran the same jobs in turn, and what both say of their builds →
//! a ratio, shares of what the machine can do, and suspects. Pure: must not depend on how anything was run or is drawn.

mod earlier;
mod held;
mod suspect;
mod work;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use self::earlier::Earlier;
pub use self::held::{HeldBack, held_back, held_back_gpus};
use crate::catalog::Device;
use crate::machine::Limits;
use crate::proof::Grade;
use crate::record::Record;
use crate::spec::Task;
use crate::stats::{self, median};

/// What one side is and did.
#[derive(Debug)]
pub struct Installation {
    /// All repeats of the job, in the order of the pairs.
    pub records: Vec<Record>,
    /// What its `speed.*` said, if the framework has one.
    pub facts: BTreeMap<String, Value>,
}

/// What was found of one job.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub experiment: String,
    pub title: String,
    pub device: String,
    pub pairs: usize,
    pub threads: u32,
    /// Time of yours / time of the pinned one: the median of the pairs.
    pub ratio: f64,
    /// The smallest and the largest, from five pairs on the 95 % interval of the median.
    pub ratio_low: f64,
    pub ratio_high: f64,
    pub verdict: Speed,
    /// Why nothing can be said.
    pub reason: Option<String>,
    pub pinned: Numbers,
    pub yours: Numbers,
    /// The fastest matrix product or convolution that was seen, in GFLOP/s.
    pub peak_gflops: Option<f64>,
    /// What the pinned environment took before on hardware like this.
    pub earlier: Option<Earlier>,
    /// What may be why, the likeliest first.
    pub suspects: Vec<String>,
    /// What keeps both from being faster.
    pub machine: Vec<String>,
}

/// The numbers of one side.
#[derive(Debug, Default, Serialize)]
pub struct Numbers {
    pub version: String,
    /// Median of the training; of an image, where nothing is trained.
    pub seconds: Option<f64>,
    /// What the job computed in a second, in GFLOP/s.
    pub gflops: Option<f64>,
    /// The same as a share of the peak.
    pub share_of_peak: Option<f64>,
    pub product_gflops: Option<f64>,
    pub convolution_gflops: Option<f64>,
    pub grade: Option<Grade>,
}

/// What is said of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speed {
    AsFast,
    Faster,
    Slower,
    NotComparable,
}

impl Speed {
    pub fn words(self) -> &'static str {
        match self {
            Speed::AsFast => "as fast as the pinned one",
            Speed::Faster => "faster than the pinned one",
            Speed::Slower => "slower than the pinned one",
            Speed::NotComparable => "not comparable",
        }
    }

    /// Whether nothing need be looked at.
    pub fn is_fine(self) -> bool {
        matches!(self, Speed::AsFast | Speed::Faster)
    }
}

/// Judges the same job of both sides; a ratio within the tolerance is none. `before` has records of whatever was run before,
/// `limits` are those of the machine.
pub fn judge(
    pinned: &Installation,
    yours: &Installation,
    before: &[Record],
    limits: &Limits,
    tolerance: f64,
) -> Finding {
    let of = pinned.records.first().or(yours.records.first());
    let (experiment, title) =
        of.map(|one| (one.experiment.clone(), one.title.clone())).unwrap_or_default();
    let ratios = paired(pinned, yours);
    let mut sorted = ratios.clone();
    let ratio = median(&mut sorted).unwrap_or(f64::NAN);
    let (low, high) = match stats::summarise(&ratios).and_then(|summary| summary.interval) {
        Some(interval) if ratios.len() >= stats::ENOUGH_FOR_INTERVAL => interval,
        _ => (sorted.first().copied().unwrap_or(ratio), sorted.last().copied().unwrap_or(ratio)),
    };
    let rates = [&pinned.facts, &yours.facts]
        .into_iter()
        .flat_map(|facts| ["product_gflops", "convolution_gflops"].map(|name| number(facts, name)));
    let peak = rates.flatten().reduce(f64::max);
    let reason = not_comparable(pinned, yours, &ratios);
    let verdict = match &reason {
        Some(_) => Speed::NotComparable,
        None if ratio > 1.0 + tolerance && low > 1.0 => Speed::Slower,
        None if ratio < 1.0 / (1.0 + tolerance) && high < 1.0 => Speed::Faster,
        None => Speed::AsFast,
    };
    let (theirs, ours) = (numbers(pinned, peak), numbers(yours, peak));
    let earlier = pinned.records.first().and_then(|like| Earlier::of(before, like));
    let earlier = earlier.map(|earlier| earlier.beside(theirs.seconds, ours.seconds));
    Finding {
        experiment,
        title,
        device: of.map(|one| one.device.to_string()).unwrap_or_default(),
        pairs: ratios.len(),
        threads: of.map_or(0, |one| one.cost.threads_allowed),
        ratio,
        ratio_low: low,
        ratio_high: high,
        verdict,
        reason,
        pinned: theirs,
        yours: ours,
        peak_gflops: peak,
        suspects: suspect::suspects(pinned, yours, ratio),
        machine: disturbed(pinned, yours)
            .into_iter()
            .chain(earlier.as_ref().and_then(|earlier| earlier.of_machine(tolerance)))
            .chain(of.map(|one| of_machine(one, limits)).unwrap_or_default())
            .collect(),
        earlier,
    }
}

/// Returns time of yours / time of the pinned one for each pair of which both have a time: of those that nothing disturbed, or
/// of all where there is none.
fn paired(pinned: &Installation, yours: &Installation) -> Vec<f64> {
    let pairs = pinned.records.iter().zip(&yours.records);
    let ratio = |(theirs, ours): (&Record, &Record)| Some(seconds(ours)? / seconds(theirs)?);
    let calm = pairs.clone().filter(|(theirs, ours)| !theirs.is_tainted() && !ours.is_tainted());
    let calm = calm.filter_map(ratio).collect::<Vec<_>>();
    if calm.is_empty() { pairs.filter_map(ratio).collect() } else { calm }
}

/// Returns what to say of pairs that something disturbed.
fn disturbed(pinned: &Installation, yours: &Installation) -> Option<String> {
    let all = pinned.records.len().min(yours.records.len());
    let pairs = pinned.records.iter().zip(&yours.records);
    let count = pairs.filter(|(theirs, ours)| theirs.is_tainted() || ours.is_tainted()).count();
    let why = |side: &Installation| side.records.iter().flat_map(|r| r.marks.clone()).next();
    let why = why(pinned).or_else(|| why(yours)).unwrap_or_default();
    (count > 0).then(|| {
        let left = if count == all { "counted all the same" } else { "not counted" };
        format!("{count} of {all} pairs were disturbed, {left} ({why})")
    })
}

/// Returns what a job took that ran to its end.
fn seconds(record: &Record) -> Option<f64> {
    record.seconds().filter(|_| record.is_whole())
}

fn not_comparable(pinned: &Installation, yours: &Installation, ratios: &[f64]) -> Option<String> {
    let sides = [("the pinned one", pinned), ("yours", yours)];
    for (name, side) in sides {
        let failed = side.records.iter().find(|record| !record.is_whole());
        if let Some(record) = failed {
            let (status, reason) = (record.outcome.status.as_str(), &record.outcome.reason);
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            return Some(format!("{name} {status}{reason}"));
        }
        if grade(side) == Some(Grade::Different) {
            return Some(format!("{name} does not compute the same experiment"));
        }
    }
    ratios.is_empty().then(|| "no pair has two times".to_owned())
}

/// Returns what of the machine of a job holds both sides back, in words.
fn of_machine(job: &Record, limits: &Limits) -> Vec<String> {
    let mut found = held_back(&job.machine, limits);
    if job.device == Device::Cuda {
        found.extend(held_back_gpus(&job.machine.gpus));
    }
    found.iter().map(HeldBack::words).collect()
}

fn grade(side: &Installation) -> Option<Grade> {
    Some(side.records.first()?.equivalence.as_ref()?.grade)
}

fn numbers(side: &Installation, peak: Option<f64>) -> Numbers {
    let seconds = median(&mut side.records.iter().filter_map(seconds).collect::<Vec<_>>());
    let gflops = side.records.first().zip(seconds).and_then(|(record, seconds)| {
        let work = match record.task {
            Task::Classification => {
                let rows = record.epochs.iter().map(|epoch| epoch.samples).sum();
                work::of_training(&record.experiment, rows)
            }
            Task::Features => work::of_row(&record.experiment),
        };
        Some(work? / seconds / 1e9)
    });
    let version = side.records.first().and_then(|record| record.framework_version.clone());
    Numbers {
        version: version.unwrap_or_default(),
        seconds,
        gflops,
        share_of_peak: gflops.zip(peak).map(|(gflops, peak)| gflops / peak),
        product_gflops: number(&side.facts, "product_gflops"),
        convolution_gflops: number(&side.facts, "convolution_gflops"),
        grade: grade(side),
    }
}

fn number(facts: &BTreeMap<String, Value>, name: &str) -> Option<f64> {
    facts.get(name)?.as_f64().filter(|number| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests;
