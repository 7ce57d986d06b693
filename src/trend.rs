//! A number, night by night → where its level changed. Pure: must not depend on what the number is of.
//!
//! Optimal partitioning with the cost of a normal mean (Jackson et al. 2005; PELT is the same with pruning, which a few hundred
//! nights do not need), on logarithms, since noise grows with the number. One night that stands alone is no change of level: a
//! median of three takes it out, and leaves a step where it is.

use crate::stats::median;

/// The fewest nights that are a level.
const FEWEST: usize = 3;
/// What a change must gain, in variances of the noise times the logarithm of the number of nights. With 6, a normal noise that
/// the median of three has made smaller gives a change in two of 1,000 series of 20 to 200 nights (see the tests).
const PENALTY: f64 = 6.0;
/// The least standard deviation that is believed: no machine repeats itself better than to 0.2 %.
const LEAST_NOISE: f64 = 0.002;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelChange {
    /// The first night of the new level.
    pub at: usize,
    /// Medians of the nights before, since the change before this one, and after, until the next.
    pub before: f64,
    pub after: f64,
}

/// Returns the changes of level by more than a share, of positive numbers in the order in which they were measured.
pub fn changes(values: &[f64], tolerance: f64) -> Vec<LevelChange> {
    let logs = values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    if logs.len() < 2 * FEWEST || logs.iter().any(|log| !log.is_finite()) {
        return Vec::new();
    }
    let smooth = median_of_three(&logs);
    let penalty = PENALTY * noise(&logs).powi(2) * (logs.len() as f64).ln();
    let mut starts = partition(&smooth, penalty);
    // A change that is too small to matter joins its neighbours, the smallest first.
    loop {
        let levels = levels(values, &starts);
        let sizes = levels.windows(2).map(|pair| (pair[1] / pair[0]).ln().abs());
        let smallest = sizes.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        match smallest {
            Some((index, size)) if size < tolerance.ln_1p() => drop(starts.remove(index + 1)),
            _ => {
                let pairs = levels.windows(2).zip(&starts[1..]);
                let change = |(pair, at): (&[f64], &usize)| LevelChange {
                    at: *at,
                    before: pair[0],
                    after: pair[1],
                };
                return pairs.map(change).collect();
            }
        }
    }
}

/// Returns the median of each part that begins at one of `starts`.
fn levels(values: &[f64], starts: &[usize]) -> Vec<f64> {
    let last = values.len();
    let ends = starts.iter().skip(1).chain([&last]);
    let parts = starts.iter().zip(ends).map(|(start, end)| &values[*start..*end]);
    parts.filter_map(|part| median(&mut part.to_vec())).collect()
}

fn median_of_three(values: &[f64]) -> Vec<f64> {
    let last = values.len() - 1;
    let around = |index: usize| {
        let middle = index.clamp(1, last - 1);
        let mut three = [values[middle - 1], values[middle], values[middle + 1]];
        three.sort_by(f64::total_cmp);
        three[1]
    };
    (0..values.len()).map(around).collect()
}

/// Returns the standard deviation of the noise, by what follows on each other: a few steps do not count.
fn noise(logs: &[f64]) -> f64 {
    let mut steps = logs.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect::<Vec<_>>();
    // 1.4826 makes a median of absolute values the deviation of a normal noise; a difference has twice its variance.
    let deviation = median(&mut steps).unwrap_or_default() * 1.4826 / std::f64::consts::SQRT_2;
    deviation.max(LEAST_NOISE)
}

/// Returns where the parts begin into which the values fall with the least cost, each with a level of its own.
fn partition(values: &[f64], penalty: f64) -> Vec<usize> {
    let mut sums = vec![(0.0, 0.0)];
    for value in values {
        let (sum, squares) = sums[sums.len() - 1];
        sums.push((sum + value, squares + value * value));
    }
    let cost = |start: usize, end: usize| {
        let (sum, squares) = (sums[end].0 - sums[start].0, sums[end].1 - sums[start].1);
        (squares - sum * sum / (end - start) as f64).max(0.0)
    };
    // best[end]: the least cost of what is before `end`, and where its last part begins.
    let mut best = vec![(f64::INFINITY, 0); values.len() + 1];
    best[0] = (-penalty, 0);
    for end in FEWEST..=values.len() {
        for start in 0..=end - FEWEST {
            let total = best[start].0 + cost(start, end) + penalty;
            if total < best[end].0 {
                best[end] = (total, start);
            }
        }
    }
    let mut starts = Vec::new();
    let mut end = values.len();
    while end > 0 {
        end = best[end].1;
        starts.push(end);
    }
    starts.reverse();
    starts
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha8Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    use super::changes;

    /// Returns nights around these levels, with a noise of this share.
    fn nights(levels: &[(usize, f64)], noise: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        // The sum of twelve is near enough to normal, with a variance of 1.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let levels = levels.iter().flat_map(|(count, level)| vec![*level; *count]);
        levels.map(|level| level * (1.0 + noise * normal())).collect()
    }

    #[test]
    fn noise_alone_is_no_change() {
        let mut alarms = 0;
        for seed in 0..1_000 {
            let count = 20 + (seed as usize % 10) * 20;
            let noise = [0.005, 0.02, 0.05][seed as usize % 3];
            // Without a tolerance: the penalty alone decides.
            let found = changes(&nights(&[(count, 10.0)], noise, seed), 0.0);
            alarms += usize::from(!found.is_empty());
        }
        assert!(alarms <= 2, "{alarms} of 1,000");
    }

    #[test]
    fn a_step_of_ten_percent_is_found_where_it_is() {
        let mut missed = 0;
        for seed in 0..200 {
            let values = nights(&[(20, 10.0), (15, 11.0)], 0.02, seed);
            let found = changes(&values, 0.05);
            let is_there = found.len() == 1 && found[0].at.abs_diff(20) <= 2;
            missed += usize::from(!is_there);
        }
        assert!(missed <= 2, "{missed} of 200");
    }

    #[test]
    fn levels_come_and_go_and_one_slow_night_does_not_count() {
        let mut values = nights(&[(10, 5.0), (8, 7.0), (12, 5.0)], 0.01, 7);
        values[4] = 20.0;
        values[25] = 0.5;
        let found = changes(&values, 0.05);
        assert_eq!(found.iter().map(|one| one.at).collect::<Vec<_>>(), [10, 18]);
        assert!((found[0].before - 5.0).abs() < 0.1 && (found[0].after - 7.0).abs() < 0.1);
    }

    #[test]
    fn too_little_to_tell_is_no_change() {
        assert_eq!(changes(&[], 0.05), []);
        assert_eq!(changes(&[1.0, 1.0, 9.0, 9.0, 9.0], 0.05), []);
        assert_eq!(changes(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0], 0.05).len(), 1);
        assert_eq!(changes(&[5.0; 40], 0.05), []);
        assert_eq!(changes(&[1.0, 1.0, 1.0, f64::NAN, 2.0, 2.0, 2.0], 0.05), []);
        // Beyond the noise, and still too small to matter.
        let values = nights(&[(30, 10.0), (30, 10.3)], 0.003, 3);
        assert_eq!((changes(&values, 0.05).len(), changes(&values, 0.01).len()), (0, 1));
    }
}
