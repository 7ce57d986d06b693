//! Medians and their bootstrap intervals. Must not depend on files, or what the numbers mean.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// A summary of repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub median: f64,
    /// 95 % percentile-bootstrap interval of the median; absent for fewer than three values.
    pub interval: Option<(f64, f64)>,
    pub count: usize,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

/// Returns the summary of `values`, or nothing if there are none.
///
/// The bootstrap draws with a fixed seed: the same records give the same table.
pub fn summarise(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    let median = median(&mut sorted)?;
    let interval = (values.len() >= 3).then(|| bootstrap(values));
    Some(Summary { median, interval, count: values.len() })
}

/// Returns the median; the mean of the middle two for an even count.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Returns the `q` quantile (0 to 1) of sorted values by linear interpolation, as NumPy does.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64))
}

/// How many times as large the values of one side are as those of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioOfMedians {
    pub median: f64,
    /// From five values on each side the 95 % percentile-bootstrap interval of the ratio of the medians; with fewer, the
    /// smallest and the largest ratio of two single values.
    pub low: f64,
    pub high: f64,
    /// How many values the smaller side has.
    pub count: usize,
}

/// From this many values on, their bootstrap is more than their range.
pub const ENOUGH_FOR_INTERVAL: usize = 5;

/// Returns the ratio of the medians of `these` and `those`, which were not measured in pairs; nothing where a side is empty.
pub fn ratio_of_medians(these: &[f64], those: &[f64]) -> Option<RatioOfMedians> {
    let ratio = median(&mut these.to_vec())? / median(&mut those.to_vec())?;
    let count = these.len().min(those.len());
    if count < ENOUGH_FOR_INTERVAL {
        let low = smallest(these)? / largest(those)?;
        let high = largest(these)? / smallest(those)?;
        return Some(RatioOfMedians { median: ratio, low, high, count });
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let ratios = (0..RESAMPLES).filter_map(|_| {
        let this = median_of_resample(these, &mut random)?;
        Some(this / median_of_resample(those, &mut random)?)
    });
    let (low, high) = interval(ratios.collect());
    Some(RatioOfMedians { median: ratio, low, high, count })
}

fn smallest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

/// Returns the median of the ratios of pairs, each measured one soon after the other, and its interval: from five pairs on the
/// 95 % percentile bootstrap, with fewer the range of the ratios. Nothing where there is no pair.
pub fn median_of_ratios(pairs: &[(f64, f64)]) -> Option<RatioOfMedians> {
    let mut ratios = pairs.iter().map(|(this, that)| this / that).collect::<Vec<_>>();
    let (ratio, count) = (median(&mut ratios)?, pairs.len());
    let (low, high) = match count < ENOUGH_FOR_INTERVAL {
        true => (ratios[0], ratios[count - 1]),
        false => bootstrap(&ratios),
    };
    Some(RatioOfMedians { median: ratio, low, high, count })
}

fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let medians = (0..RESAMPLES).filter_map(|_| median_of_resample(values, &mut random));
    interval(medians.collect())
}

/// Returns the median of as many draws from `values` as there are of them.
fn median_of_resample(values: &[f64], random: &mut ChaCha8Rng) -> Option<f64> {
    let count = values.len() as u64;
    // The bias of this remainder is below 2^-50 for any count of repeats.
    let drawn = values.iter().map(|_| values[(random.next_u64() % count) as usize]);
    median(&mut drawn.collect::<Vec<_>>())
}

/// Returns the ends of the middle 95 % of what the resamples gave.
fn interval(mut resampled: Vec<f64>) -> (f64, f64) {
    resampled.sort_by(f64::total_cmp);
    let at = |q| quantile(&resampled, q).unwrap_or(f64::NAN);
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::{median, median_of_ratios, quantile, summarise};

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn ratios_of_pairs_do_not_care_for_what_both_share() {
        // Each pair is slower than the one before, by the same for both.
        let pairs = (1..=6).map(|n| (f64::from(n) * 2.0, f64::from(n))).collect::<Vec<_>>();
        let ratio = median_of_ratios(&pairs).unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high, ratio.count), (2.0, 2.0, 2.0, 6));
        let few = median_of_ratios(&[(1.0, 1.0), (3.0, 2.0), (1.8, 2.0)]).unwrap();
        assert_eq!((few.median, few.low, few.high), (1.0, 0.9, 1.5));
        assert_eq!(median_of_ratios(&[]), None);
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // numpy.quantile([1, 2, 4, 8], [0.5, 0.9]) == [3.0, 6.8]
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&sorted, 0.5), Some(3.0));
        assert!((quantile(&sorted, 0.9).unwrap() - 6.8).abs() < 1e-12);
    }

    #[test]
    fn intervals_enclose_the_median_and_need_three_values() {
        assert_eq!(summarise(&[1.0, 2.0]).unwrap().interval, None);
        let summary = summarise(&[10.0, 11.0, 12.0, 10.5, 11.5]).unwrap();
        let (low, high) = summary.interval.unwrap();
        assert!(low <= summary.median && summary.median <= high && low >= 10.0 && high <= 12.0);
    }
}
