//! A network made so that its loss tells what dropout does: a few numbers go through it, each on
//! a path of its own.
//!
//! Kernels pass the first channel on at their centre, dense layers their first inputs, the last of
//! them negated; all else is zero. Each pixel of size a that enters makes one logit −a, or 0 if
//! dropout has hit its path; the label is a class without a path, whose logit is 0. With a large a
//! the loss is log(1 + dropped paths), and its mean gives the share of what is kept. With a small
//! a it is linear in the logits, and its mean gives theirs, next to those of the prediction: a
//! GELU halves what is small. May not know who runs the network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::arrays::Floats;
use crate::check::Semantic;
use crate::check::trace::Trace;
use crate::data::{ArrayFile, Dataset, Dtype, NpyWriter, Order, Weights};
use crate::jobfile::Material;
use crate::spec::{Setting, Source};

/// Epochs of one step with large inputs and one with small ones.
const EPOCHS: usize = 4;
const LARGE: f32 = 50.0;
const SMALL: f32 = 0.01;
/// Less than this share of a small number would be lost in the rounding of a loss.
const MIN_GAIN: f64 = 0.01;
/// Standard deviations that a share or mean may be off.
const SPREAD: f64 = 4.5;

/// Steps that the probe takes.
pub const STEPS: u64 = 2 * EPOCHS as u64;

/// Returns the material of the probe, whose files are written below `folder`, unless no path can
/// go through a network with weights of these shapes.
pub fn material(
    folder: &Path,
    like: &Material,
    shapes: &[(String, Vec<usize>)],
) -> Result<Option<Material>> {
    let Some(Paths { last, paths, places }) = find_paths(like, shapes) else { return Ok(None) };
    let batch = usize::try_from(like.batch_size)?;
    let weights = folder.join("weights");
    fs::create_dir_all(&weights).with_context(|| format!("cannot make `{}`", weights.display()))?;
    for (name, shape) in shapes {
        let mut values = vec![0.0; shape.iter().product()];
        match shape[..] {
            [_, input] => {
                let sign = if name == last { -1.0 } else { 1.0 };
                (0..paths).for_each(|path| values[path * input + path] = sign);
            }
            [_, _, ref kernel @ ..] => {
                let middle = kernel.iter().map(|size| size / 2).collect::<Vec<_>>();
                values[place(&middle, kernel)] = 1.0;
            }
            _ => {}
        }
        write(&weights.join(format!("{name}.npy")), shape, &values)?;
    }
    let mut arrays = BTreeMap::new();
    let sample = &like.dataset.arrays["x_train"].shape[1..];
    let (sizes, rows) = ([LARGE, SMALL], 2 * batch);
    for name in ["train", "test"] {
        let length = sample.iter().product::<usize>();
        let mut values = vec![0.0; rows * length];
        for (row, values) in values.chunks_mut(length).enumerate() {
            places.iter().for_each(|place| values[*place] = sizes[row / batch]);
        }
        let shape = [&[rows], sample].concat();
        let path = folder.join(format!("x_{name}.npy"));
        write(&path, &shape, &values)?;
        let (dtype, divide_by) = (Dtype::Float32, None);
        arrays.insert(format!("x_{name}"), ArrayFile { path, shape, dtype, divide_by });
        let path = folder.join(format!("y_{name}.npy"));
        let label = u32::try_from(paths)?;
        integers(&path, Dtype::Int32, &[rows], std::iter::repeat_n(label, rows))?;
        let (dtype, shape) = (Dtype::Int32, vec![rows]);
        arrays.insert(format!("y_{name}"), ArrayFile { path, shape, dtype, divide_by: None });
    }
    let order = folder.join("order.npy");
    let each = (0..EPOCHS).flat_map(|_| 0..rows as u32);
    integers(&order, Dtype::Uint32, &[EPOCHS, rows], each)?;
    let mut settings = like.settings.clone();
    settings.insert("epochs".to_owned(), Setting::Int(EPOCHS as i64));
    settings.insert("learning_rate".to_owned(), Setting::Float(0.0));
    let digest = String::new();
    Ok(Some(Material {
        profile: like.profile.clone(),
        settings,
        dataset: Dataset {
            name: "probe".to_owned(),
            source: Source::Own,
            arrays,
            digest: digest.clone(),
        },
        weights: Weights {
            folder: weights,
            names: shapes.iter().map(|(name, _)| name.clone()).collect(),
            digest: digest.clone(),
            source: Source::Own,
        },
        order: Some(Order { path: order, digest }),
        train_rows: rows,
        test_rows: rows,
        batch_size: like.batch_size,
        epochs: EPOCHS as u64,
    }))
}

/// The ways of the numbers through a network.
struct Paths<'a> {
    /// The layer that they end in.
    last: &'a str,
    paths: usize,
    /// Where in a sample each of them begins.
    places: Vec<usize>,
}

fn find_paths<'a>(like: &Material, shapes: &'a [(String, Vec<usize>)]) -> Option<Paths<'a>> {
    let x = like.dataset.arrays.get("x_train")?;
    // Whole numbers are tokens, which no number can be given through.
    let is_number = x.dtype.is_float() || x.divide_by.is_some();
    let dense = shapes.iter().filter(|(_, shape)| shape.len() == 2);
    let (last, shape) = dense.clone().next_back()?;
    let paths = shape[0].checked_sub(1).filter(|paths| *paths > 0 && is_number)?;
    let is_wide = |(_, shape): &(String, Vec<usize>)| shape.iter().all(|size| *size >= paths);
    let places = places(&x.shape[1..], shapes, paths)?;
    dense.clone().all(is_wide).then_some(Paths { last, paths, places })
}

/// Returns where in a sample (channels, then its other axes) the paths begin, so that they stay
/// apart in every pool and end at the first inputs of the first dense layer.
fn places(sample: &[usize], shapes: &[(String, Vec<usize>)], paths: usize) -> Option<Vec<usize>> {
    let convolution = shapes.iter().rfind(|(_, shape)| shape.len() > 2);
    let Some((_, kernel)) = convolution else {
        return (sample.iter().product::<usize>() >= paths).then(|| (0..paths).collect());
    };
    let dense = shapes.iter().find(|(_, shape)| shape.len() == 2);
    let inputs = dense.map_or(0, |(_, shape)| shape[1]);
    let map = sample.get(1..).filter(|map| map.len() + 2 == kernel.len())?;
    // A map of height × width shrinks to one of height/pool × width/pool.
    let area = (inputs / kernel[0]).max(1);
    let shrunk = |pool: usize| map.iter().map(move |size| size / pool);
    let widest = *map.iter().max()?;
    let pool = (1..=widest).find(|pool| shrunk(*pool).product::<usize>() == area)?;
    let begin = |path: usize| {
        let mut rest = path;
        let mut at = vec![0; map.len()];
        for (axis, size) in shrunk(pool).enumerate().rev() {
            at[axis] = rest % size * pool;
            rest /= size;
        }
        place(&at, map)
    };
    (area >= paths).then(|| (0..paths).map(begin).collect())
}

/// Returns where an element of an array is, in C order.
fn place(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |place, (at, size)| place * size + at)
}

fn write(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    let mut writer = NpyWriter::create(path, Dtype::Float32, shape)?;
    writer.write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())?;
    writer.finish().map(drop)
}

fn integers(
    path: &Path,
    dtype: Dtype,
    shape: &[usize],
    values: impl Iterator<Item = u32>,
) -> Result<()> {
    let mut writer = NpyWriter::create(path, dtype, shape)?;
    writer.write(&values.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
    writer.finish().map(drop)
}

/// What the loss tells of dropout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Share of the paths that were whole.
    pub kept: f64,
    /// Mean of the small number that came through, in units of what the prediction makes of it.
    pub mean: f64,
    pub paths: usize,
    /// Rows that each of both follows from.
    pub rows: f64,
}

/// Reads what a run of the probe shows.
pub fn see(trace: &Trace, batch_size: u64) -> Result<Seen> {
    let outputs = trace.outputs.as_ref().context("it has no outputs")?;
    let classes = *outputs.shape.last().context("its outputs have no shape")?;
    ensure!(trace.losses.len() == 2 * EPOCHS, "it has {} losses", trace.losses.len());
    let of = |first: usize| trace.losses.iter().skip(first).step_by(2).sum::<f64>() / EPOCHS as f64;
    let paths = classes - 1;
    let slope = f64::from(SMALL) * paths as f64 / classes as f64;
    let mean = ((classes as f64).ln() - of(1)) / slope / small_gain(outputs).unwrap_or(f64::NAN);
    let rows = (EPOCHS as u64 * batch_size) as f64;
    Ok(Seen { kept: kept_share(of(0), paths), mean, paths, rows })
}

/// Returns mean and variance of log(1 + dropped) when each of `paths` is kept with a probability.
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

/// Returns the share at which the mean loss is what was seen.
fn kept_share(loss: f64, paths: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        // The more is kept, the smaller the loss.
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

/// Returns how often a path goes through dropout of `rate`, as the reference shows it.
pub fn layers(reference: Seen, rate: f64) -> i32 {
    let layers = (reference.kept.ln() / (1.0 - rate).ln()).round();
    // A share of zero would ask for infinitely many.
    layers.clamp(0.0, 64.0) as i32
}

/// Returns what is claimed of dropout at `rate`, and whether it is so.
pub fn judge(seen: Seen, layers: i32, rate: f64, which: usize) -> [Semantic; 2] {
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
    use super::{Seen, judge, kept_share, layers, loss_of, places};

    fn seen(kept: f64, mean: f64) -> Seen {
        Seen { kept, mean, paths: 9, rows: 96.0 }
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
    fn paths_stay_apart_in_the_pools() {
        let shapes = [("conv", vec![100, 50, 3, 3]), ("dense", vec![512, 6400])];
        let shapes = shapes.map(|(name, shape)| (name.to_owned(), shape));
        let places = places(&[3, 32, 32], &shapes, 9).unwrap();
        assert_eq!(places, [0, 4, 8, 12, 16, 20, 24, 28, 4 * 32]);
    }

    #[test]
    fn paths_go_through_convolutions_of_any_number_of_axes_or_of_none() {
        let shapes = |kernel: Vec<usize>, inputs: usize| {
            let shapes = [("conv", kernel), ("dense", vec![64, inputs])];
            shapes.map(|(name, shape)| (name.to_owned(), shape))
        };
        assert_eq!(places(&[3, 64], &shapes(vec![32, 16, 5], 512), 3), Some(vec![0, 4, 8]));
        assert_eq!(places(&[9], &shapes(vec![32], 9), 3), Some(vec![0, 1, 2]));
        // A global mean leaves one place, and other axes than the kernel's none.
        assert_eq!(places(&[3, 64], &shapes(vec![32, 16, 5], 32), 3), None);
        assert_eq!(places(&[3, 64], &shapes(vec![32, 16, 5, 5], 512), 3), None);
    }

    #[test]
    fn dropout_that_is_right_is_said_to_be() {
        assert_eq!(layers(seen(0.58, 1.0), 0.25), 2);
        assert_eq!(layers(seen(0.47, 1.0), 0.5), 1);
        assert!(judge(seen(0.59, 1.1), 2, 0.25, 0).iter().all(|semantic| semantic.is_so));
    }

    #[test]
    fn a_rate_that_means_keep_and_a_missing_scale_are_found() {
        let [rate, mean] = judge(seen(0.0625, 1.0), 2, 0.25, 0);
        assert!(!rate.is_so && mean.is_so);
        let [rate, mean] = judge(seen(0.5625, 0.5625), 2, 0.25, 0);
        assert!(rate.is_so && !mean.is_so);
        let [rate, _] = judge(seen(1.0, 1.0), 1, 0.5, 1);
        assert!(!rate.is_so);
        let [rate, _] = judge(seen(0.42, 1.0), 2, 0.25, 0); // three times, not twice
        assert!(!rate.is_so);
    }
}
