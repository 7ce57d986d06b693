//! A network made so that its loss tells what dropout does: a few numbers go through it, each on
//! a path of its own.
//!
//! Kernels pass the first channel on at their centre, dense layers their first inputs, the last of
//! them negated; all else is zero. Each pixel of size a that enters makes one logit −a, or 0 if
//! dropout has hit its path; the label is a class without a path, whose logit is 0. What the loss
//! then tells is read by the proof. Must not depend on who runs the network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Material;
use crate::data::{ArrayFile, BatchOrder, Dataset, Dtype, NpyWriter, Weights};
use crate::spec::{Setting, Source};

/// Epochs of one step with large inputs and one with small ones.
pub const EPOCHS: usize = 4;
pub const LARGE: f32 = 50.0;
pub const SMALL: f32 = 0.01;
/// Steps that the probe takes.
pub const STEPS: u64 = 2 * EPOCHS as u64;

/// Names and shapes of the weights of a network, in forward order.
type WeightShapes = [(String, Vec<usize>)];

/// Returns the material of the probe, whose files are written below `folder`, unless no path can
/// go through a network with weights of these shapes.
pub fn material(folder: &Path, like: &Material, shapes: &WeightShapes) -> Result<Option<Material>> {
    let Some(paths) = find_paths(like, shapes) else { return Ok(None) };
    let rows = 2 * usize::try_from(like.batch_size)?;
    let weights = write_weights(folder, &paths, shapes)?;
    let arrays = write_arrays(folder, &paths, like, rows)?;
    let order = folder.join("order.npy");
    let each = (0..EPOCHS).flat_map(|_| 0..rows as u32);
    write_integers(&order, Dtype::Uint32, &[EPOCHS, rows], each)?;
    let mut settings = like.settings.clone();
    settings.insert("epochs".to_owned(), Setting::Int(EPOCHS as i64));
    settings.insert("learning_rate".to_owned(), Setting::Float(0.0));
    // What is cached of the reference has never been told apart by the inputs of the probe.
    let (digest, source) = (String::new(), Source::Own);
    let name = "probe".to_owned();
    Ok(Some(Material {
        profile: like.profile.clone(),
        settings,
        dataset: Dataset { name, source, arrays, digest: digest.clone() },
        weights,
        order: Some(BatchOrder { path: order, digest }),
        train_rows: rows,
        test_rows: rows,
        batch_size: like.batch_size,
        epochs: EPOCHS as u64,
    }))
}

/// Writes weights that pass each path on.
fn write_weights(folder: &Path, through: &Paths, shapes: &WeightShapes) -> Result<Weights> {
    let folder = folder.join("weights");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    for (name, shape) in shapes {
        let mut values = vec![0.0; shape.iter().product()];
        match shape[..] {
            [_, input] => {
                let sign = if name == through.last { -1.0 } else { 1.0 };
                (0..through.paths).for_each(|path| values[path * input + path] = sign);
            }
            [_, _, ref kernel @ ..] => {
                let middle = kernel.iter().map(|size| size / 2).collect::<Vec<_>>();
                values[place(&middle, kernel)] = 1.0;
            }
            _ => {}
        }
        write_floats(&folder.join(format!("{name}.npy")), shape, &values)?;
    }
    let names = shapes.iter().map(|(name, _)| name.clone()).collect();
    Ok(Weights { folder, names, digest: String::new(), source: Source::Own })
}

/// Writes inputs and labels: a batch of large numbers, then one of small ones.
fn write_arrays(
    folder: &Path,
    through: &Paths,
    like: &Material,
    rows: usize,
) -> Result<BTreeMap<String, ArrayFile>> {
    let sample = &like.dataset.arrays["x_train"].shape[1..];
    let length = sample.iter().product::<usize>();
    let mut values = vec![0.0; rows * length];
    for (row, values) in values.chunks_mut(length).enumerate() {
        let size = if row < rows / 2 { LARGE } else { SMALL };
        through.places.iter().for_each(|place| values[*place] = size);
    }
    let label = u32::try_from(through.paths)?;
    let mut arrays = BTreeMap::new();
    for name in ["train", "test"] {
        let path = folder.join(format!("x_{name}.npy"));
        let shape = [&[rows], sample].concat();
        write_floats(&path, &shape, &values)?;
        let inputs = ArrayFile { path, shape, dtype: Dtype::Float32, divide_by: None };
        arrays.insert(format!("x_{name}"), inputs);
        let path = folder.join(format!("y_{name}.npy"));
        write_integers(&path, Dtype::Int32, &[rows], std::iter::repeat_n(label, rows))?;
        let labels = ArrayFile { path, shape: vec![rows], dtype: Dtype::Int32, divide_by: None };
        arrays.insert(format!("y_{name}"), labels);
    }
    Ok(arrays)
}

/// The ways of the numbers through a network.
struct Paths<'a> {
    /// The layer that they end in.
    last: &'a str,
    paths: usize,
    /// Where in a sample each of them begins.
    places: Vec<usize>,
}

fn find_paths<'a>(like: &Material, shapes: &'a WeightShapes) -> Option<Paths<'a>> {
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
fn places(sample: &[usize], shapes: &WeightShapes, paths: usize) -> Option<Vec<usize>> {
    let convolution = shapes.iter().rfind(|(_, shape)| shape.len() > 2);
    let Some((_, kernel)) = convolution else {
        return (sample.iter().product::<usize>() >= paths).then(|| (0..paths).collect());
    };
    let dense = shapes.iter().find(|(_, shape)| shape.len() == 2);
    let inputs = dense.map_or(0, |(_, shape)| shape[1]);
    let map = sample.get(1..).filter(|map| map.len() + 2 == kernel.len())?;
    // A map of height × width shrinks to one of height/pool × width/pool.
    let area = (inputs / kernel[0]).max(1);
    let widest = *map.iter().max()?;
    let shrunk = |pool: &usize| map.iter().map(|size| size / pool).product::<usize>();
    let pool = (1..=widest).find(|pool| shrunk(pool) == area)?;
    (area >= paths).then(|| (0..paths).map(|path| pool_of(path, map, pool)).collect())
}

/// Returns where in a map the pool with a number begins.
fn pool_of(number: usize, map: &[usize], pool: usize) -> usize {
    let mut rest = number;
    let mut at = vec![0; map.len()];
    for (axis, size) in map.iter().map(|size| size / pool).enumerate().rev() {
        at[axis] = rest % size * pool;
        rest /= size;
    }
    place(&at, map)
}

/// Returns where an element of an array is, in C order.
fn place(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |place, (at, size)| place * size + at)
}

fn write_floats(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    let mut writer = NpyWriter::create(path, Dtype::Float32, shape)?;
    writer.write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())?;
    writer.finish().map(drop)
}

fn write_integers(
    path: &Path,
    dtype: Dtype,
    shape: &[usize],
    values: impl Iterator<Item = u32>,
) -> Result<()> {
    let mut writer = NpyWriter::create(path, dtype, shape)?;
    writer.write(&values.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
    writer.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::places;

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
}
