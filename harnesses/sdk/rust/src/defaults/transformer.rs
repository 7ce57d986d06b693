//! Layer norm, GELU and attention. May not know any framework.

use std::f64::consts::PI;

use super::{
    Properties, Result, UNKNOWN, are_close, chance::Chance, decay::one_digit, floats,
    initialiser::phi, properties,
};
use crate::Array;

const ROW: [f64; 8] = [-3.0, -1.0, 0.0, 2.0, 1.0, -2.0, 2.0, 1.0]; // of mean 0
const SCALES: [f64; 6] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

/// What a row is divided by, from its variance and epsilon, and epsilon from what it was.
type NormForm = (&'static str, fn(f64, f64) -> f64, fn(f64, f64) -> f64);

const NORM_FORMS: [NormForm; 2] = [
    ("inside the root", |v, e| (v + e).sqrt(), |v, by| by * by - v),
    ("outside the root", |v, e| v.sqrt() + e, |v, by| by - v.sqrt()),
];

/// Measures a layer norm over the last axis: `call` maps (n, 8) to the same.
pub fn layer_norm(call: impl Fn(Array) -> Result<Array>) -> Result<Properties> {
    let x = SCALES.iter().flat_map(|scale| ROW.map(|x| (scale * x) as f32)).collect::<Vec<_>>();
    let y = floats(&call(Array::new([SCALES.len(), ROW.len()], x))?);
    let ratios = SCALES.iter().zip(y.chunks(ROW.len())).map(|(scale, y)| y[0] / (scale * ROW[0]));
    let ratios = ratios.collect::<Vec<_>>();
    let squares = ROW.iter().map(|x| x * x).sum::<f64>();
    for (over, count) in [("n", 8.0), ("n - 1", 7.0)] {
        let variances = SCALES.map(|scale| scale * scale * squares / count);
        for (placement, divisor, epsilon_of) in NORM_FORMS {
            // Where it weighs most.
            let epsilon = epsilon_of(variances[SCALES.len() - 1], 1.0 / ratios[SCALES.len() - 1]);
            if are_close(&variances.map(|v| 1.0 / divisor(v, epsilon)), &ratios, 1e-4, 1e-8) {
                return Ok(properties([
                    ("norm.epsilon", &one_digit(epsilon)),
                    ("norm.placement", placement),
                    ("norm.variance", over),
                ]));
            }
        }
    }
    Ok(properties(["norm.epsilon", "norm.placement", "norm.variance"].map(|name| (name, UNKNOWN))))
}

/// A formula by its name.
type GeluForm = (&'static str, fn(f64) -> f64);

/// Measures which formula a GELU is: `call` maps (n,) to the same.
pub fn gelu(call: impl Fn(Array) -> Result<Array>) -> Result<Properties> {
    let x: Vec<_> = (-12..=12).map(|quarters| f64::from(quarters) / 4.0).collect();
    let given = x.iter().map(|x| *x as f32).collect::<Vec<_>>();
    let y = floats(&call(Array::new([x.len()], given))?);
    let forms: [GeluForm; 3] = [
        ("by erf", |x| x * phi(x)),
        ("by tanh", |x| 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())),
        ("by a sigmoid", |x| x / (1.0 + (-1.702 * x).exp())),
    ];
    let is_form = |(_, form): &GeluForm| {
        are_close(&y, &x.iter().map(|x| form(*x)).collect::<Vec<_>>(), 0.0, 2e-5)
    };
    let found = forms.into_iter().find(is_form);
    Ok(properties([("gelu.form", found.map_or(UNKNOWN, |(name, _)| name))]))
}

/// Keys in the attention that is measured, of which the last is masked for each query.
const KEYS: usize = 4;

/// Measures attention: `call(x, mask)` maps (1, 4, 8) to the same.
///
/// `mask` has an entry for each key of each query. `biases` are the names of the projections that
/// have one.
pub fn attention(
    call: impl Fn(Array, &[bool]) -> Result<Array>,
    biases: &[&str],
) -> Result<Properties> {
    let mask: [bool; KEYS * KEYS] = std::array::from_fn(|at| at % KEYS == KEYS - 1);
    let x = Chance::new(6).normals(&[1, KEYS, ROW.len()]);
    let seen_from = |values: Vec<f64>| -> Result<Vec<f64>> {
        let values = values.into_iter().map(|x| x as f32).collect::<Vec<_>>();
        let y = call(Array::new(x.shape.clone(), values), &mask)?;
        Ok(floats(&y)[..ROW.len()].to_vec()) // by the first query
    };
    let before = seen_from(floats(&x))?;
    let mut is_seen = [false; 2];
    for (is_seen, key) in is_seen.iter_mut().zip([1, KEYS - 1]) {
        let mut other = floats(&x);
        other[key * ROW.len()..][..ROW.len()].iter_mut().for_each(|x| *x += 1.0);
        *is_seen = !are_close(&seen_from(other)?, &before, 1e-5, 1e-5);
    }
    let meaning = match is_seen {
        [true, false] => "leaves out",
        [false, true] => "lets see",
        _ => UNKNOWN,
    };
    let order = ["query", "key", "value", "output"];
    let there = order.into_iter().filter(|one| biases.contains(one)).collect::<Vec<_>>();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Ok(properties([("attention.mask", meaning), ("attention.biases", &there)]))
}

#[cfg(test)]
mod tests {
    use super::{
        Array, GeluForm, KEYS, NORM_FORMS, Result, UNKNOWN, attention, floats, gelu, layer_norm,
        phi,
    };

    fn mapped(x: Array, one: impl Fn(f64) -> f64) -> Result<Array> {
        let values = floats(&x).into_iter().map(|x| one(x) as f32).collect::<Vec<_>>();
        Ok(Array::new(x.shape, values))
    }

    #[test]
    fn each_layer_norm_has_its_name() {
        for (over, count) in [("n", 8.0), ("n - 1", 7.0)] {
            for (placement, divisor, _) in NORM_FORMS {
                for (epsilon, name) in [(1e-3, "1e-03"), (1e-5, "1e-05"), (1e-6, "1e-06")] {
                    let norm = |row: &[f64]| {
                        let mean = row.iter().sum::<f64>() / 8.0;
                        let v = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                        let by = divisor(v, epsilon);
                        row.iter().map(|x| ((x - mean) / by) as f32).collect::<Vec<_>>()
                    };
                    let call = |x: Array| {
                        Ok(Array::new(
                            [6, 8],
                            floats(&x).chunks(8).flat_map(norm).collect::<Vec<_>>(),
                        ))
                    };
                    let found = layer_norm(call).unwrap();
                    let found =
                        ["norm.epsilon", "norm.placement", "norm.variance"].map(|key| &found[key]);
                    assert_eq!(found, [name, placement, over]);
                }
            }
        }
        assert_eq!(layer_norm(|x| mapped(x, f64::tanh)).unwrap()["norm.variance"], UNKNOWN);
    }

    #[test]
    fn a_gelu_is_told_by_its_formula() {
        let tanh = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x / (1.0 + (-2.0 * inner).exp())
        };
        let forms: [GeluForm; 4] = [
            ("by erf", |x| x * phi(x)),
            ("by tanh", tanh),
            ("by a sigmoid", |x| x / (1.0 + (-1.702 * x).exp())),
            (UNKNOWN, |x| x.max(0.0)),
        ];
        for (name, form) in forms {
            assert_eq!(gelu(|x| mapped(x, form)).unwrap()["gelu.form"], name);
        }
    }

    /// Attends to what is seen with equal weights for each key.
    fn mean_of(x: &Array, is_seen: impl Fn(usize) -> bool) -> Array {
        let (x, mut y) = (floats(x), vec![0f32; KEYS * 8]);
        for (at, y) in y.iter_mut().enumerate() {
            let keys = (0..KEYS).filter(|key| is_seen(at / 8 * KEYS + key));
            *y = keys.map(|key| x[key * 8 + at % 8] as f32).sum();
        }
        Array::new([1, KEYS, 8], y)
    }

    #[test]
    fn a_mask_lets_see_or_leaves_out() {
        let found = attention(|x, mask| Ok(mean_of(&x, |at| mask[at])), &["output", "query"]);
        let found = found.unwrap();
        let both = [&found["attention.mask"], &found["attention.biases"]];
        assert_eq!(both, ["lets see", "query, output"]);
        let found = attention(|x, mask| Ok(mean_of(&x, |at| !mask[at])), &[]).unwrap();
        let both = [&found["attention.mask"], &found["attention.biases"]];
        assert_eq!(both, ["leaves out", "none"]);
        let blind = attention(|x, _| Ok(mean_of(&x, |_| true)), &[]).unwrap();
        assert_eq!(blind["attention.mask"], UNKNOWN);
    }
}
