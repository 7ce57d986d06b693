//! The tensors of ResNet-50 v1.5 up to its pool, in torchvision's naming and order, and the recipe that
//! makes them where no trained ones are on the machine.
//!
//! Kernels are He normal, factors and summands of the batch norms uniform. The running statistics are
//! those that the activations have: mean and variance of every channel are followed through the network
//! by formula, as if they were normal and independent, so that all activations keep unit scale without a
//! pass of data. The last norm of a block is small, as the formula's small errors would double with
//! each block otherwise. Must not depend on where arrays are kept.

use std::f64::consts::{LN_2, PI};

use anyhow::Result;

use crate::data::chance::Key;

/// Receives name, shape and values of one tensor.
pub type Write<'a> = dyn FnMut(&str, &[usize], &[f32]) -> Result<()> + 'a;

/// Version of [`make`]: raised with every change of a number that it makes.
pub const RECIPE: &str = "resnet50 1";

/// Ranges of factor and summand of a batch norm, and of the last one in a block.
const FACTOR: [f64; 2] = [0.8, 1.2];
const SUMMAND: [f64; 2] = [0.1, 0.3];
const LAST_FACTOR: [f64; 2] = [0.2, 0.3];
const LAST_SUMMAND: [f64; 2] = [-0.05, 0.05];
/// Mean and variance of the maximum of nine standard normal numbers, as in a pool of 3x3.
const POOLED: [f64; 2] = [1.48501, 0.35735];

/// A convolution and its batch norm.
struct Unit {
    convolution: String,
    norm: String,
    /// (out, in, height, width)
    kernel: [usize; 4],
    is_last: bool,
}

struct Block {
    branch: [Unit; 3],
    /// Where the number of channels changes.
    shortcut: Option<Unit>,
}

fn unit(convolution: String, norm: String, kernel: [usize; 4], is_last: bool) -> Unit {
    Unit { convolution, norm, kernel, is_last }
}

fn stem() -> Unit {
    unit("conv1".to_owned(), "bn1".to_owned(), [64, 3, 7, 7], false)
}

/// Returns the unit of a block's branch with the number `n`, from 1.
fn of_branch(block: &str, n: usize, kernel: [usize; 4]) -> Unit {
    unit(format!("{block}.conv{n}"), format!("{block}.bn{n}"), kernel, n == 3)
}

fn of_shortcut(block: &str, kernel: [usize; 4]) -> Unit {
    unit(format!("{block}.downsample.0"), format!("{block}.downsample.1"), kernel, false)
}

fn blocks() -> Vec<Block> {
    let (mut blocks, mut channels) = (Vec::new(), 64);
    for (stage, count) in (0..).zip([3, 4, 6, 3]) {
        let width = 64 << stage;
        for number in 0..count {
            let block = format!("layer{}.{number}", stage + 1);
            let branch = [
                of_branch(&block, 1, [width, channels, 1, 1]),
                of_branch(&block, 2, [width, width, 3, 3]),
                of_branch(&block, 3, [4 * width, width, 1, 1]),
            ];
            let shortcut = (number == 0).then(|| of_shortcut(&block, [4 * width, channels, 1, 1]));
            blocks.push(Block { branch, shortcut });
            channels = 4 * width;
        }
    }
    blocks
}

impl Unit {
    /// Returns names and shapes of kernel, factor, summand, running mean and running variance.
    fn tensors(&self) -> [(String, Vec<usize>); 5] {
        let norm = |part: &str| (format!("{}.{part}", self.norm), vec![self.kernel[0]]);
        [
            (format!("{}.weight", self.convolution), self.kernel.to_vec()),
            norm("weight"),
            norm("bias"),
            norm("running_mean"),
            norm("running_var"),
        ]
    }
}

/// Returns names and shapes of all tensors in the order of the forward pass.
pub fn shapes() -> Vec<(String, Vec<usize>)> {
    let in_blocks =
        blocks().into_iter().flat_map(|block| block.branch.into_iter().chain(block.shortcut));
    std::iter::once(stem()).chain(in_blocks).flat_map(|unit| unit.tensors()).collect()
}

/// Mean and variance of each channel.
#[derive(Clone)]
struct Channels {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// Hands over all tensors in the order of the forward pass.
pub fn make(key: &Key, write: &mut Write) -> Result<()> {
    // Pixels are uniform in [0, 1).
    let pixels = Channels { mean: vec![0.5; 3], variance: vec![1.0 / 12.0; 3] };
    let Channels { mean, variance } = make_unit(&stem(), &pixels, key, write)?;
    let pooled =
        mean.iter().zip(&variance).map(|(mean, variance)| mean + POOLED[0] * variance.sqrt());
    let mean = pooled.collect();
    let variance = variance.iter().map(|variance| POOLED[1] * variance).collect();
    let mut input = Channels { mean, variance };
    for Block { branch: [first, second, third], shortcut } in blocks() {
        let inner = make_unit(&first, &input, key, write)?.rectified();
        let inner = make_unit(&second, &inner, key, write)?.rectified();
        let branch = make_unit(&third, &inner, key, write)?;
        if let Some(shortcut) = shortcut {
            input = make_unit(&shortcut, &input, key, write)?;
        }
        input = branch.plus(&input).rectified();
    }
    Ok(())
}

/// Hands over the tensors of a unit and returns what comes out of its batch norm.
fn make_unit(unit: &Unit, input: &Channels, key: &Key, write: &mut Write) -> Result<Channels> {
    let names = unit.tensors();
    let [out, channels, height, width] = unit.kernel;
    let fan_in = channels * height * width;
    let deviation = (2.0 / fan_in as f64).sqrt();
    let mut stream = key.named_stream(&names[0].0);
    let kernel =
        (0..out * fan_in).map(|_| (deviation * stream.normal()) as f32).collect::<Vec<_>>();
    let uniform = |name: &str, [low, high]: [f64; 2]| {
        let mut stream = key.named_stream(name);
        (0..out).map(|_| stream.uniform(low, high) as f32).collect::<Vec<_>>()
    };
    let (factors, summands) =
        if unit.is_last { (LAST_FACTOR, LAST_SUMMAND) } else { (FACTOR, SUMMAND) };
    let (factor, summand) = (uniform(&names[1].0, factors), uniform(&names[2].0, summands));
    let (mut mean, mut variance) = (Vec::with_capacity(out), Vec::with_capacity(out));
    for kernel in kernel.chunks_exact(fan_in) {
        let fields = kernel.chunks_exact(height * width);
        let (mut sum, mut squares) = (0.0, 0.0);
        for ((field, mean), variance) in fields.zip(&input.mean).zip(&input.variance) {
            let field = field.iter().map(|weight| f64::from(*weight));
            sum += mean * field.clone().sum::<f64>();
            squares += variance * field.map(|weight| weight * weight).sum::<f64>();
        }
        mean.push(sum as f32);
        variance.push(squares as f32);
    }
    let values = [&kernel, &factor, &summand, &mean, &variance];
    for ((name, shape), values) in names.iter().zip(values) {
        write(name, shape, values)?;
    }
    let factor = factor.into_iter().map(f64::from);
    Ok(Channels {
        mean: summand.into_iter().map(f64::from).collect(),
        variance: factor.map(|factor| factor * factor).collect(),
    })
}

impl Channels {
    fn plus(&self, other: &Channels) -> Channels {
        let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        Channels {
            mean: sum(&self.mean, &other.mean),
            variance: sum(&self.variance, &other.variance),
        }
    }

    /// Returns mean and variance of max(0, x) for normal x.
    fn rectified(&self) -> Channels {
        let each = self.mean.iter().zip(&self.variance).map(|(mean, variance)| {
            let deviation = variance.sqrt();
            let a = mean / deviation;
            let density = exp(-a * a / 2.0) / (2.0 * PI).sqrt();
            let above = normal_share(a, density);
            let rectified = mean * above + deviation * density;
            let square = (mean * mean + variance) * above + mean * deviation * density;
            (rectified, square - rectified * rectified)
        });
        let (mean, variance) = each.unzip();
        Channels { mean, variance }
    }
}

/// Returns the share of a standard normal below `a` (Abramowitz and Stegun 26.2.17, seven digits).
fn normal_share(a: f64, density: f64) -> f64 {
    const TERMS: [f64; 5] = [0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
    let t = 1.0 / (1.0 + 0.2316419 * a.abs());
    let tail = density * TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    if a < 0.0 { tail } else { 1.0 - tail }
}

/// Returns e to a moderate power by its series: the platform's own may differ in the last bit.
fn exp(x: f64) -> f64 {
    let halvings = (x / LN_2).round().clamp(-1000.0, 1000.0);
    let rest = x - halvings * LN_2;
    let series = (1..18).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    series * f64::from_bits(((1023 + halvings as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::{Channels, exp, normal_share, shapes};

    #[test]
    fn parameters_are_those_of_torchvision() {
        let tensors = shapes();
        assert_eq!(tensors.len(), 265);
        let parameters = tensors.iter().filter(|(name, _)| !name.contains("running"));
        let count = parameters.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>();
        assert_eq!(count, 23_508_032);
        let names = tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        assert_eq!(names[..2], ["conv1.weight", "bn1.weight"]);
        assert!(names.contains(&"layer4.0.downsample.1.running_var"));
    }

    #[test]
    fn rectified_normals_have_these_moments() {
        let channels = Channels { mean: vec![0.0, 1.0, -2.0], variance: vec![1.0, 4.0, 1.0] };
        let rectified = channels.rectified();
        // E and V of max(0, N): m Φ + s φ and (m² + v) Φ + m s φ − E².
        let expected = [(0.39894228, 0.34084506), (1.3955931, 2.2137628), (0.0084907, 0.0056963)];
        for ((mean, variance), found) in
            expected.into_iter().zip(rectified.mean.iter().zip(&rectified.variance))
        {
            assert!((found.0 - mean).abs() < 2e-6, "{} {mean}", found.0);
            assert!((found.1 - variance).abs() < 2e-6, "{} {variance}", found.1);
        }
        for x in [-30.0, -1.0, -0.1, 0.0, 2.5] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-14);
        }
        assert!((normal_share(1.0, exp(-0.5) / 2.506628274631) - 0.841344746).abs() < 1e-7);
    }
}
