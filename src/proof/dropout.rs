//! What the loss of the dropout probe tells of dropout; [`crate::material::dropout_probe`] makes its
//! inputs.
//!
//! With large inputs the loss is log(1 + dropped paths), and its mean gives the share of what is
//! kept. With small ones it is linear in the logits, and its mean gives theirs, next to those of
//! the prediction: a GELU halves what is small. Must not depend on who runs the network.

use anyhow::{Context, Result, ensure};

use crate::arrays::Floats;
use crate::material::dropout_probe::{EPOCHS, LARGE, SMALL};
use crate::proof::trace::Trace;
use crate::proof::verdict::Semantic;

/// Less than this share of a small number would be lost in the rounding of a loss.
const MIN_GAIN: f64 = 0.01;
/// Standard deviations that a share or mean may be off.
const SPREAD: f64 = 4.5;

/// What the loss tells of dropout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSeen {
    /// Share of the paths that were whole.
    pub kept: f64,
    /// Mean of the small number that came through, in units of what the prediction makes of it.
    pub mean: f64,
    pub paths: usize,
    /// Rows that each of both follows from.
    pub rows: f64,
}

/// Reads what a run of the probe shows.
pub fn see(trace: &Trace, batch_size: u64) -> Result<DropoutSeen> {
    let outputs = trace.outputs.as_ref().context("it has no outputs")?;
    let classes = *outputs.shape.last().context("its outputs have no shape")?;
    ensure!(trace.losses.len() == 2 * EPOCHS, "it has {} losses", trace.losses.len());
    let of = |first: usize| trace.losses.iter().skip(first).step_by(2).sum::<f64>() / EPOCHS as f64;
    let paths = classes - 1;
    let slope = f64::from(SMALL) * paths as f64 / classes as f64;
    let mean = ((classes as f64).ln() - of(1)) / slope / small_gain(outputs).unwrap_or(f64::NAN);
    let rows = (EPOCHS as u64 * batch_size) as f64;
    Ok(DropoutSeen { kept: kept_share(of(0), paths), mean, paths, rows })
}

/// Returns mean and variance of log(1 + dropped) when each of `paths` is kept with a probability:
/// the number of those dropped is binomial, P(d) = C(paths, d) (1 − kept)^d kept^(paths − d).
fn loss_of(kept: f64, paths: usize) -> (f64, f64) {
    let (mut mean, mut square, mut ways) = (0.0, 0.0, 1.0);
    for dropped in 0..=paths {
        let odds = ways
            * (1.0 - kept).powi(i32::try_from(dropped).unwrap_or(i32::MAX))
            * kept.powi(i32::try_from(paths - dropped).unwrap_or(i32::MAX));
        let loss = (1.0 + dropped as f64).ln();
        mean += odds * loss;
        square += odds * loss * loss;
        ways *= (paths - dropped) as f64 / (dropped + 1) as f64;
    }
    (mean, square - mean * mean)
}

/// Returns the share at which the mean loss is what was seen, by bisection: the mean falls as the
/// share grows, and 60 halvings leave less than a float64 can tell.
fn kept_share(loss: f64, paths: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if loss_of(middle, paths).0 > loss {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Whether the numbers come through in prediction: a large one untouched, a small one at all.
pub fn predicts_whole(trace: &Trace) -> bool {
    let Some(outputs) = &trace.outputs else { return false };
    let Some(&width) = outputs.shape.last() else { return false };
    let (large, _) = outputs.values.split_at(outputs.values.len() / 2);
    let is_large = large.chunks(width).all(|row| {
        let (last, paths) = row.split_last().unwrap_or((&0.0, &[]));
        last.abs() < 1e-3 && paths.iter().all(|value| (value + f64::from(LARGE)).abs() < 1e-3)
    });
    is_large && small_gain(outputs).is_some_and(|gain| gain > MIN_GAIN)
}

/// Returns what the prediction makes of a small number, in units of it.
fn small_gain(outputs: &Floats) -> Option<f64> {
    let width = *outputs.shape.last().filter(|width| **width > 1)?;
    let (_, small) = outputs.values.split_at(outputs.values.len() / 2);
    let logits = small.chunks(width).flat_map(|row| &row[..width - 1]);
    let (sum, count) = logits.fold((0.0, 0), |(sum, count), logit| (sum - logit, count + 1));
    (count > 0).then(|| sum / f64::from(count) / f64::from(SMALL))
}

/// Returns how often a path goes through dropout of `rate`, as the reference shows it: kept is
/// (1 − rate)^layers.
pub fn layers(reference: DropoutSeen, rate: f64) -> i32 {
    let layers = (reference.kept.ln() / (1.0 - rate).ln()).round();
    // A share of zero would ask for infinitely many.
    layers.clamp(0.0, 64.0) as i32
}

/// Returns what is claimed of dropout at `rate`, and whether it is so.
///
/// The mean loss of n rows has the standard deviation √(variance / n); divided by the slope of the
/// mean loss it is that of the share. A number that is kept with probability p and divided by p has
/// the variance 1/p − 1.
pub(super) fn claims(seen: DropoutSeen, layers: i32, rate: f64, which: usize) -> [Semantic; 2] {
    let expected = (1.0 - rate).powi(layers);
    let (loss, variance) = loss_of(expected, seen.paths);
    let slope = (loss - loss_of(expected + 1e-4, seen.paths).0) / 1e-4;
    let spread = SPREAD * (variance / seen.rows).sqrt() / slope;
    let mean_spread = SPREAD * ((1.0 / expected - 1.0) / (seen.rows * seen.paths as f64)).sqrt();
    let times = if layers == 1 { String::new() } else { format!(", {layers} times,") };
    let name = format!("dropout {} of {rate}{times}", which + 1);
    [
        Semantic {
            claim: format!("{name} keeps {:.1} % while training", expected * 100.0),
            seen: format!("{:.1} ± {:.1} %", seen.kept * 100.0, spread * 100.0),
            is_so: (seen.kept - expected).abs() <= spread,
        },
        Semantic {
            claim: format!("{name} keeps the mean"),
            seen: format!("{:.2} ± {:.2} of it", seen.mean, mean_spread),
            is_so: (seen.mean - 1.0).abs() <= mean_spread,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::{DropoutSeen, claims, kept_share, layers, loss_of};

    fn seen(kept: f64, mean: f64) -> DropoutSeen {
        DropoutSeen { kept, mean, paths: 9, rows: 96.0 }
    }

    #[test]
    fn the_share_follows_from_the_mean_loss() {
        for kept in [0.1, 0.42, 0.5625, 0.99] {
            assert!((kept_share(loss_of(kept, 9).0, 9) - kept).abs() < 1e-9);
        }
        // One path: the loss is log 2 or 0.
        let (mean, variance) = loss_of(0.25, 1);
        assert!((mean - 0.75 * 2f64.ln()).abs() < 1e-12);
        assert!((variance - 0.75 * 0.25 * 2f64.ln().powi(2)).abs() < 1e-12);
    }

    #[test]
    fn dropout_that_is_right_is_said_to_be() {
        assert_eq!(layers(seen(0.58, 1.0), 0.25), 2);
        assert_eq!(layers(seen(0.47, 1.0), 0.5), 1);
        assert!(claims(seen(0.59, 1.1), 2, 0.25, 0).iter().all(|semantic| semantic.is_so));
    }

    #[test]
    fn a_rate_that_means_keep_and_a_missing_scale_are_found() {
        let [rate, mean] = claims(seen(0.0625, 1.0), 2, 0.25, 0);
        assert!(!rate.is_so && mean.is_so);
        let [rate, mean] = claims(seen(0.5625, 0.5625), 2, 0.25, 0);
        assert!(rate.is_so && !mean.is_so);
        let [rate, _] = claims(seen(1.0, 1.0), 1, 0.5, 1);
        assert!(!rate.is_so);
        let [rate, _] = claims(seen(0.42, 1.0), 2, 0.25, 0); // three times, not twice
        assert!(!rate.is_so);
    }
}
