//! Which rows are faster than which, as far as their repeats tell. Must not depend on columns' texts.
//!
//! A row has the rank 1 + the number of rows that are surely faster: the ratio of its times to theirs has an interval above 1.
//! Rows of one rank have a sign of equality: `=2`. Repeats of one run are paired, for a block of a run has each target once, in
//! an order of its own, so that what disturbs a block disturbs all alike; rows of different runs are not.

use std::collections::BTreeMap;

use crate::catalog::Device;
use crate::record::Record;
use crate::spec::Task;
use crate::stats::{self, RatioOfMedians, median};
use crate::table::group::Group;

/// The fewest repeats of which two halves are compared.
const HALVES: usize = 4;
/// The fewest rows that give a noise floor.
const ROWS: usize = 3;

/// Seconds of a job, by its run and repeat.
type SecondsByRepeat<'a> = BTreeMap<(&'a str, u32), f64>;

fn times<'a>(group: &Group<'a>, device: Option<Device>) -> SecondsByRepeat<'a> {
    let time =
        |record: &&'a Record| Some(((record.run.as_str(), record.repeat), record.seconds()?));
    group.counted(device).iter().filter_map(time).collect()
}

/// Returns the only device by whose times rows are ranked, where a row may have several.
fn device(groups: &[Group]) -> Option<Device> {
    let is_of_features = groups.first()?.first().task == Task::Features;
    let has = |device| groups.iter().any(|group| !times(group, Some(device)).is_empty());
    is_of_features.then(|| if has(Device::Cuda) { Device::Cuda } else { Device::Cpu })
}

/// Gives each row that has a time its rank: `1`, `=2`.
pub(super) fn rank(groups: &mut [Group]) {
    let device = device(groups);
    let times = groups.iter().map(|group| times(group, device)).collect::<Vec<_>>();
    let rank = |own: &SecondsByRepeat| {
        let ratios = times.iter().filter_map(|other| ratio(own, other));
        (!own.is_empty()).then(|| 1 + ratios.filter(|ratio| ratio.low > 1.0).count())
    };
    let ranks = times.iter().map(rank).collect::<Vec<_>>();
    for (group, rank) in groups.iter_mut().zip(&ranks) {
        group.rank = rank.map(|own| {
            let is_shared = ranks.iter().filter(|other| **other == Some(own)).count() > 1;
            format!("{}{own}", if is_shared { "=" } else { "" })
        });
    }
}

/// Returns how many times as long one takes as another.
fn ratio(own: &SecondsByRepeat, other: &SecondsByRepeat) -> Option<RatioOfMedians> {
    let pairs = own.iter().filter_map(|(key, time)| Some((*time, *other.get(key)?)));
    let pairs = pairs.collect::<Vec<_>>();
    // Few of many repeats say less than all, even if those are not paired.
    match 2 * pairs.len() >= own.len().min(other.len()) {
        true => stats::median_of_ratios(&pairs),
        false => {
            let values = |times: &SecondsByRepeat| times.values().copied().collect::<Vec<_>>();
            stats::ratio_of_medians(&values(own), &values(other))
        }
    }
}

/// Returns by how much two halves of the repeats of one and the same row differ: what differs by less may be noise.
pub(super) fn noise_floor(groups: &[Group]) -> Option<String> {
    let device = device(groups);
    let mut differences = Vec::new();
    for group in groups {
        let times = times(group, device).into_values().collect::<Vec<_>>();
        if times.len() >= HALVES {
            let half = |from| times.iter().skip(from).step_by(2).copied().collect::<Vec<_>>();
            let [even, odd] = [0, 1].map(|from| median(&mut half(from)));
            differences.extend(even.zip(odd).map(|(even, odd)| (even / odd).ln().abs().exp_m1()));
        }
    }
    let rows = differences.len();
    let largest = differences.into_iter().reduce(f64::max).filter(|_| rows >= ROWS)?;
    Some(format!(
        "noise floor: two halves of the repeats of one row, which are the same program, differ by up to {:.1} % ({rows} rows)",
        largest * 100.0
    ))
}
