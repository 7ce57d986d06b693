//! Names what weights were drawn from. May not know which layer they are of.

use super::{Layer, Properties, Result, floats, number::general, properties};
use crate::Array;

#[derive(Clone, Copy)]
struct Fans {
    inputs: f64,
    outputs: f64,
}

impl Fans {
    /// Returns the fans of a kernel (out, in, ...).
    fn of(kernel: &Array) -> Fans {
        let field: usize = kernel.shape[2..].iter().product();
        let [inputs, outputs] = [1, 0].map(|axis| (kernel.shape[axis] * field) as f64);
        Fans { inputs, outputs }
    }
}

/// Names the initialiser of the kernels of two layers of different shapes.
pub(super) fn kernel(layers: &[Layer; 2]) -> String {
    named(layers.each_ref().map(|layer| (&layer.kernel, Fans::of(&layer.kernel))))
}

/// Names the initialiser of the biases, whose fans are those of the kernels.
pub(super) fn bias(layers: &[Layer; 2]) -> String {
    let [first, second] = layers;
    match (&first.bias, &second.bias) {
        (Some(a), Some(b)) => named([(a, Fans::of(&first.kernel)), (b, Fans::of(&second.kernel))]),
        _ => "no bias".into(),
    }
}

/// Measures an embedding; `make(rows, width)` returns its table (rows, width).
pub fn embedding(make: impl Fn(usize, usize) -> Result<Array>) -> Result<Properties> {
    // So large that two digits of a scale come out the same where each run draws anew.
    let tables = [make(4000, 100)?, make(1000, 400)?];
    // A table is a kernel from a one-hot of a row number: its fan-in are the rows.
    let fans =
        |table: &Array| Fans { inputs: table.shape[0] as f64, outputs: table.shape[1] as f64 };
    let name = named(tables.each_ref().map(|table| (table, fans(table))));
    let name = name.replace("fan_in", "rows").replace("fan_out", "width");
    Ok(properties([("embedding.initialiser", &name)]))
}

/// Names the initialiser of a GRU's recurrent kernel.
///
/// `make(units)` returns it (out, units), with as many gates as are one parameter.
pub fn recurrent(make: impl Fn(usize) -> Result<Array>) -> Result<Properties> {
    let kernels = [make(60)?, make(150)?];
    let name = named(kernels.each_ref().map(|kernel| (kernel, Fans::of(kernel))));
    Ok(properties([("gru.initialiser", &name)]))
}

/// Kind of distribution, what scales it, its variance times that, and the name.
const NAMES: [(&str, &str, f64, &str); 8] = [
    ("normal", "fan_in", 1.0, "lecun_normal"),
    ("normal", "fan_in", 2.0, "he_normal"),
    ("normal", "fan_mean", 1.0, "glorot_normal"),
    ("uniform", "fan_in", 1.0, "lecun_uniform"),
    ("uniform", "fan_in", 2.0, "he_uniform"),
    ("uniform", "fan_in", 1.0 / 3.0, "uniform(±1/√fan_in)"),
    ("uniform", "fan_mean", 1.0, "glorot_uniform"),
    ("uniform", "fan_out", 1.0 / 3.0, "uniform(±1/√fan_out)"),
];

/// Names what two arrays were drawn from.
///
/// The kind of distribution is that which fits both; the scale is the rule that gives both
/// variances. What has no name is told in numbers.
fn named(samples: [(&Array, Fans); 2]) -> String {
    let arrays = samples.map(|(array, _)| floats(array));
    let all = |is_so: fn(&Vec<f64>) -> bool| arrays.iter().all(is_so);
    if all(|array| array.iter().all(|value| *value == 0.0)) {
        return "zeros".into();
    }
    if all(|array| array.iter().all(|value| *value == array[0])) {
        return format!("constant {}", general(arrays[0][0], 3));
    }
    if samples.iter().all(|(array, _)| is_orthogonal(array)) {
        return "orthogonal".into();
    }
    let deviations = arrays.each_ref().map(|array| deviation(array));
    let numbers = |digits| deviations.map(|value| general(value, digits)).join(" and ");
    let [first, second] = arrays.each_ref().map(|array| distribution(array));
    let Some(kind) = first.filter(|_| first == second) else {
        return format!("unnamed, deviations {}", numbers(3));
    };
    let size = arrays.iter().map(Vec::len).min().unwrap_or(1) as f64;
    // Four deviations of what is measured: some frameworks cannot be seeded, and draw anew.
    let noise = 8.0 / size.sqrt();
    let fits = fits(deviations, samples.map(|(_, fans)| fans), noise);
    let (shape, cut) = match kind {
        Kind::Uniform => ("uniform", ""),
        Kind::Normal => ("normal", ""),
        Kind::TruncatedNormal => ("normal", " (truncated)"),
    };
    let is_named = |rule: &str, gain: f64| {
        fits.iter().any(|fit| fit.0 == rule && (fit.1 / gain - 1.0).abs() < noise)
    };
    let known = NAMES.iter().filter(|(s, rule, gain, _)| *s == shape && is_named(rule, *gain));
    let mut names: Vec<_> = known.map(|(.., name)| format!("{name}{cut}")).collect();
    names.sort();
    if !names.is_empty() {
        return names.join(" or "); // more than one where all kernels are square
    }
    let kind = if cut.is_empty() { shape } else { "truncated normal" };
    match (&fits[..], shape) {
        ([("constant", gain)], "uniform") => {
            format!("{kind}(±{})", general((3.0 * gain).sqrt(), 2))
        }
        ([("constant", gain)], _) => format!("{kind}(0, {})", general(gain.sqrt(), 2)),
        ([(rule, gain)], _) => format!("{kind}, variance {}/{rule}", general(*gain, 2)),
        _ => format!("{kind}, deviations {}", numbers(2)),
    }
}

/// What a variance is divided by.
type Scale = fn(Fans) -> f64;

/// Returns the rules that give both deviations, each with its variance times its scale.
fn fits(deviations: [f64; 2], fans: [Fans; 2], noise: f64) -> Vec<(&'static str, f64)> {
    let rules: [(_, Scale); 4] = [
        ("constant", |_| 1.0),
        ("fan_in", |fans| fans.inputs),
        ("fan_out", |fans| fans.outputs),
        ("fan_mean", |fans| (fans.inputs + fans.outputs) / 2.0),
    ];
    let gains =
        |scale: fn(Fans) -> f64| [0, 1].map(|k| deviations[k] * deviations[k] * scale(fans[k]));
    let measured = rules.map(|(rule, scale)| (rule, gains(scale)));
    let fitting = measured.into_iter().filter(|(_, [a, b])| (a / b - 1.0).abs() < noise);
    fitting.map(|(rule, [a, b])| (rule, (a * b).sqrt())).collect()
}

/// Tells whether the shorter side's vectors are orthonormal.
fn is_orthogonal(array: &Array) -> bool {
    let &[rows, columns] = &array.shape[..] else { return false };
    let values = floats(array);
    let (short, long) = (rows.min(columns), rows.max(columns));
    let at = |vector: usize, k: usize| match rows > columns {
        true => values[k * columns + vector],
        false => values[vector * columns + k],
    };
    let product = |a, b| (0..long).map(|k| at(a, k) * at(b, k)).sum::<f64>();
    let is_one = |a, b| (product(a, b) - if a == b { 1.0 } else { 0.0 }).abs() < 1e-4;
    (0..short).all(|a| (a..short).all(|b| is_one(a, b)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let square = |value: &f64| (value - mean) * (value - mean);
    (values.iter().map(square).sum::<f64>() / values.len() as f64).sqrt()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Uniform,
    Normal,
    TruncatedNormal,
}

/// What is left of a normal distribution's deviation when it is cut off at two of them.
const TRUNCATED: f64 = 0.8796256610342398;

/// Returns what samples are drawn from, or nothing: by extremes, then by Kolmogorov and Smirnov.
fn distribution(samples: &[f64]) -> Option<Kind> {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let step = (samples.len() / 20_000).max(1);
    let samples: Vec<_> = samples.into_iter().step_by(step).collect();
    let (n, deviation) = (samples.len() as f64, deviation(&samples));
    if mean(&samples).abs() > 5.0 * deviation / n.sqrt() {
        return None;
    }
    let x: Vec<_> = samples.iter().map(|sample| sample / deviation).collect();
    let reach = x.iter().fold(0f64, |reach, x| reach.max(x.abs()));
    let [low, high] = [-2.0, 2.0].map(phi);
    let (kind, cdf): (_, &dyn Fn(f64) -> f64) = if reach < 1.8 {
        (Kind::Uniform, &|x| 0.5 + x / (2.0 * 3f64.sqrt()))
    } else if reach < 2.0 / TRUNCATED + 0.02 {
        (Kind::TruncatedNormal, &|x| (phi(x * TRUNCATED) - low) / (high - low))
    } else {
        (Kind::Normal, &phi)
    };
    let distances = x.iter().enumerate().map(|(k, x)| {
        let share = cdf(*x).clamp(0.0, 1.0);
        (share - k as f64 / n).abs().max((share - (k + 1) as f64 / n).abs())
    });
    let distance = distances.fold(0.0, f64::max);
    Some(kind).filter(|_| distance < 2.2 / n.sqrt()) // the same draw fails 1 in 10,000 times
}

/// Returns the share of a normal distribution below `x`.
pub(super) fn phi(x: f64) -> f64 {
    // The error function by Abramowitz and Stegun 7.1.26, to 1.5e-7.
    let y = x.abs() / 2f64.sqrt();
    let t = 1.0 / (1.0 + 0.3275911 * y);
    let terms = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
    let sum = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    let half = (1.0 - sum * (-y * y).exp()) / 2.0;
    0.5 + half.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::{Array, Fans, Kind, Layer, distribution, embedding, kernel, named, recurrent};
    use crate::defaults::chance::Chance;

    /// Returns a number of deviation 1.
    fn draw(kind: Kind, chance: &mut Chance) -> f64 {
        match kind {
            Kind::Uniform => (2.0 * chance.uniform() - 1.0) * 3f64.sqrt(),
            Kind::Normal => chance.normal(),
            Kind::TruncatedNormal => loop {
                let x = chance.normal();
                if x.abs() < 2.0 {
                    return x / super::TRUNCATED;
                }
            },
        }
    }

    fn drawn(kind: Kind, shape: [usize; 2], variance: f64, chance: &mut Chance) -> Array {
        let mut next = || (draw(kind, chance) * variance.sqrt()) as f32;
        Array::new(shape, (0..shape[0] * shape[1]).map(|_| next()).collect::<Vec<_>>())
    }

    fn layer(kernel: Array) -> Layer {
        Layer { call: Box::new(Ok), kernel, bias: None }
    }

    /// A variance from fan-in and fan-out.
    type Variance = fn(f64, f64) -> f64;

    fn name(kind: Kind, variance: Variance) -> String {
        let mut chance = Chance::new(5);
        kernel(&[[300, 200], [100, 800]].map(|shape: [usize; 2]| {
            let variance = variance(shape[1] as f64, shape[0] as f64);
            layer(drawn(kind, shape, variance, &mut chance))
        }))
    }

    #[test]
    fn each_name_is_given_to_what_it_means() {
        let cases: [(_, Variance, _); 13] = [
            (Kind::Uniform, |i, o| 2.0 / (i + o), "glorot_uniform"),
            (Kind::Normal, |i, o| 2.0 / (i + o), "glorot_normal"),
            (Kind::Uniform, |i, _| 1.0 / i, "lecun_uniform"),
            (Kind::Uniform, |i, _| 2.0 / i, "he_uniform"),
            (Kind::Uniform, |i, _| 1.0 / (3.0 * i), "uniform(±1/√fan_in)"),
            (Kind::Uniform, |_, o| 1.0 / (3.0 * o), "uniform(±1/√fan_out)"),
            (Kind::Normal, |i, _| 1.0 / i, "lecun_normal"),
            (Kind::Normal, |i, _| 2.0 / i, "he_normal"),
            (Kind::TruncatedNormal, |i, _| 1.0 / i, "lecun_normal (truncated)"),
            (Kind::TruncatedNormal, |i, _| 2.0 / i, "he_normal (truncated)"),
            (Kind::Uniform, |_, _| 0.05 * 0.05 / 3.0, "uniform(±0.05)"),
            (Kind::Normal, |_, _| 1e-4, "normal(0, 0.01)"),
            (Kind::Normal, |i, _| 1.5 / i, "normal, variance 1.5/fan_in"),
        ];
        for (kind, variance, wanted) in cases {
            assert_eq!(name(kind, variance), wanted);
        }
    }

    #[test]
    fn what_has_no_name_is_told_in_numbers() {
        let mixed = name(Kind::Normal, |i, o| 1.0 / (i * o));
        assert!(mixed.starts_with("normal, deviations 0.0041"), "{mixed}");
        let mut chance = Chance::new(6);
        let mut exponential = || -(1.0 - chance.uniform()).ln();
        let one_sided: Vec<_> = (0..20_000).map(|_| exponential()).collect();
        let peaked: Vec<_> = (0..20_000).map(|_| exponential() - exponential()).collect();
        assert_eq!([distribution(&one_sided), distribution(&peaked)], [None, None]);
    }

    #[test]
    fn constants_and_orthogonal_kernels_are_no_draws() {
        let pair = |value: fn(usize, usize) -> f32| {
            let make = |size: usize| {
                let values = (0..3 * size * size).map(|k| value(k / size, k % size));
                Array::new([3 * size, size], values.collect::<Vec<_>>())
            };
            let (first, second) = (make(20), make(30));
            named([(&first, Fans::of(&first)), (&second, Fans::of(&second))])
        };
        assert_eq!(pair(|_, _| 0.0), "zeros");
        assert_eq!(pair(|_, _| 1.0), "constant 1");
        assert_eq!(pair(|i, j| if i == 3 * j + 1 { -1.0 } else { 0.0 }), "orthogonal");
    }

    #[test]
    fn square_kernels_leave_the_rule_open() {
        let mut chance = Chance::new(7);
        let kernels = [60, 150].map(|u| drawn(Kind::Normal, [u, u], 1.0 / u as f64, &mut chance));
        let found = recurrent(|units| Ok(kernels[(units == 150) as usize].clone())).unwrap();
        assert_eq!(found["gru.initialiser"], "glorot_normal or lecun_normal");
    }

    #[test]
    fn a_bias_may_be_absent() {
        let zeros = || layer(Array::new([4, 3], vec![0f32; 12]));
        assert_eq!(super::bias(&[zeros(), zeros()]), "no bias");
    }

    #[test]
    fn an_embedding_is_scaled_by_its_width() {
        let make = |rows, width| {
            let chance = &mut Chance::new(8 + rows as u64);
            Ok(drawn(Kind::Normal, [rows, width], 1.0 / width as f64, chance))
        };
        let found = embedding(make).unwrap();
        assert_eq!(found["embedding.initialiser"], "normal, variance 1/width");
    }
}
