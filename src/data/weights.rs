//! Initial weights and batch orders from the experiment's seed.
//!
//! Weight NAME has its own stream, so that adding one leaves the others as they are; epoch `e` is
//! stream `e` of the order's key. Must not depend on where arrays are kept.

use anyhow::Result;

use crate::data::chance::{Key, Stream};
use crate::data::npy::Dtype;
use crate::data::resnet50;
use crate::data::sealed::Making;
use crate::progress::{Progress, Report};
use crate::spec::{Init, TensorSpec};

/// Version of the recipes below: raised with every change of a number that they make.
const RECIPE: &str = "weights 1";
pub const ORDER_RECIPE: &str = "order 1";

/// Returns what tells weights apart: everything that a number of them follows from.
pub fn recipe(tensors: &[TensorSpec], seed: u64) -> String {
    let mut recipe = format!("{RECIPE} seed {seed}");
    for tensor in tensors {
        let (name, scale) = (&tensor.name.value, tensor.scale.unwrap_or(0.0));
        let (shape, init, blocks) = (&tensor.shape, tensor.init, tensor.blocks);
        recipe += &format!(", {name} {shape:?} {init:?} {scale} {blocks}");
    }
    recipe
}

/// Writes the weights that an experiment lists.
pub fn make(tensors: &[TensorSpec], seed: u64, making: &mut Making, report: Report) -> Result<()> {
    let key = Key::new("weights", seed);
    for tensor in tensors {
        let name = &tensor.name.value;
        report(Progress::Doing(format!("making {name}")));
        let values = initial(tensor, &mut key.named_stream(name));
        write(making, name, &tensor.shape, &values)?;
    }
    Ok(())
}

/// Writes ResNet-50 weights that nobody trained.
pub fn make_resnet50(seed: u64, making: &mut Making, report: Report) -> Result<()> {
    resnet50::make(&Key::new("weights", seed), &mut |name, shape, values| {
        report(Progress::Doing(format!("making {name}")));
        write(making, name, shape, values)
    })
}

fn write(making: &mut Making, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
    making.array(name, Dtype::Float32, shape, None, |writer| {
        for values in values.chunks(1 << 16) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
            writer.write(&bytes)?;
        }
        Ok(())
    })
}

/// Returns the values of a tensor, block after block.
fn initial(tensor: &TensorSpec, stream: &mut Stream) -> Vec<f32> {
    let count = tensor.shape.iter().product::<usize>();
    let scale = tensor.scale.unwrap_or(1.0);
    let (fan_in, fan_out) = fans(&tensor.shape, tensor.blocks);
    let mut uniform =
        |limit: f64| (0..count).map(|_| stream.uniform(-limit, limit) as f32).collect();
    match tensor.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::GlorotUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
        Init::Uniform => uniform(scale),
        Init::HeNormal => normals(count, (2.0 / fan_in).sqrt(), stream),
        Init::Normal => normals(count, scale, stream),
    }
}

fn normals(count: usize, deviation: f64, stream: &mut Stream) -> Vec<f32> {
    (0..count).map(|_| (deviation * stream.normal()) as f32).collect()
}

/// Returns fan-in and fan-out of one block: (out, in, height, width) has in·h·w and out·h·w.
fn fans(shape: &[usize], blocks: usize) -> (f64, f64) {
    let size = |axis: usize| shape.get(axis).copied().unwrap_or(1) as f64;
    let field = shape.iter().skip(2).map(|size| *size as f64).product::<f64>();
    (size(1) * field, size(0) / blocks as f64 * field)
}

/// Writes the order in which rows are visited: uint32 (epochs, rows), a permutation per epoch.
pub fn make_order(seed: u64, epochs: usize, rows: usize, making: &mut Making) -> Result<()> {
    let key = Key::new("order", seed);
    let rows_u32 = u32::try_from(rows)?;
    making.array("order", Dtype::Uint32, &[epochs, rows], None, |writer| {
        for epoch in 0..epochs {
            let mut order = (0..rows_u32).collect::<Vec<_>>();
            key.stream(epoch as u64).shuffle(&mut order);
            let bytes = order.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<_>>();
            writer.write(&bytes)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::{fans, initial};
    use crate::data::chance::Key;
    use crate::spec::TensorSpec;
    use crate::yaml;

    fn tensor(text: &str) -> TensorSpec {
        yaml::parse(std::path::Path::new("tensor.yaml"), text).unwrap()
    }

    fn values(text: &str) -> Vec<f32> {
        initial(&tensor(text), &mut Key::new("weights", 1).named_stream("w"))
    }

    #[test]
    fn fans_are_those_of_kernels() {
        assert_eq!(fans(&[50, 3, 3, 3], 1), (27.0, 450.0));
        assert_eq!(fans(&[512, 6400], 1), (6400.0, 512.0));
        assert_eq!(fans(&[300, 125], 3), (125.0, 100.0));
    }

    #[test]
    fn values_have_the_spread_of_their_recipe() {
        let cases = [
            ("{name: w, shape: [100, 200], init: glorot_uniform}", (2.0f64 / 300.0).sqrt(), true),
            ("{name: w, shape: [300, 100], init: glorot_uniform, blocks: 3}", 0.1, true),
            ("{name: w, shape: [20000], init: uniform, scale: 0.05}", 0.05 / 3f64.sqrt(), true),
            ("{name: w, shape: [100, 200], init: he_normal}", 0.1, false),
            ("{name: w, shape: [20000], init: normal, scale: 2.0}", 2.0, false),
        ];
        for (text, deviation, is_uniform) in cases {
            let values = values(text);
            let squares = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            let found = (squares / values.len() as f64).sqrt();
            assert!((found / deviation - 1.0).abs() < 0.03, "{text}: {found}");
            let largest = values.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
            assert_eq!(largest <= deviation * 3f64.sqrt() * 1.000_001, is_uniform, "{text}");
        }
        assert_eq!(values("{name: w, shape: [2], init: zeros}"), [0.0, 0.0]);
        assert_eq!(values("{name: w, shape: [1], init: ones}"), [1.0]);
    }

    #[test]
    fn longer_tensors_begin_alike() {
        let short = values("{name: w, shape: [10], init: normal, scale: 1.0}");
        let long = values("{name: w, shape: [20], init: normal, scale: 1.0}");
        assert_eq!(short, long[..10]);
    }
}
