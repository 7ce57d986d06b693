//! Classification losses: what they take for outputs and labels. May not know any framework.

use super::{Properties, Result, UNKNOWN, are_close, attempt, chance::Chance, floats, properties};
use crate::Array;

/// Class numbers (n,) or one-hot (n, classes), to be handed over as numbers of type `dtype`.
#[derive(Clone, Debug)]
pub struct Labels {
    pub shape: Vec<usize>,
    pub numbers: Vec<i64>,
    /// `int32`, `int64` or `float32`.
    pub dtype: &'static str,
}

const CLASSES: usize = 3;
const NUMBERS: [usize; 5] = [2, 0, 1, 1, 0];
const KINDS: [&str; 2] = ["class numbers", "one-hot"];

impl Labels {
    fn new(kind: &str, dtype: &'static str) -> Labels {
        let numbers = NUMBERS.iter().map(|&number| number as i64);
        if kind == "class numbers" {
            return Labels { shape: vec![NUMBERS.len()], numbers: numbers.collect(), dtype };
        }
        let row = |number| (0..CLASSES as i64).map(move |class| (class == number) as i64);
        let shape = vec![NUMBERS.len(), CLASSES];
        Labels { shape, numbers: numbers.flat_map(row).collect(), dtype }
    }
}

/// Measures a classification loss: `call(outputs, labels)` returns a number or an array.
pub fn loss(call: impl Fn(Array, &Labels) -> Result<Array>) -> Properties {
    let mut taken = Vec::new();
    for kind in KINDS {
        for dtype in ["int32", "int64", "float32"] {
            let labels = Labels::new(kind, dtype);
            if let Some(found) = attempt(|| call(probabilities(), &labels)).and_then(meant) {
                taken.push((kind, dtype, found));
            }
        }
    }
    let Some(&(kind, _, (takes, reduction))) = taken.first() else {
        let names = ["loss.takes", "loss.labels", "loss.label_type", "loss.reduction"];
        return properties(names.map(|name| (name, UNKNOWN)));
    };
    let is_taken = |one: &&str| taken.iter().any(|(kind, ..)| kind == one);
    let kinds: Vec<_> = KINDS.into_iter().filter(is_taken).collect();
    let types = taken.iter().filter(|(one, ..)| *one == kind).map(|(_, dtype, _)| *dtype);
    properties([
        ("loss.takes", takes),
        ("loss.labels", &kinds.join(", ")),
        ("loss.label_type", &types.collect::<Vec<_>>().join(", ")),
        ("loss.reduction", reduction),
    ])
}

/// Returns probabilities, which are as good logits as any.
fn probabilities() -> Array {
    let mut p = floats(&Chance::new(3).normals(&[NUMBERS.len(), CLASSES]));
    for row in p.chunks_mut(CLASSES) {
        let sum: f64 = row.iter().map(|value| value.exp()).sum();
        row.iter_mut().for_each(|value| *value = value.exp() / sum);
    }
    Array::new([NUMBERS.len(), CLASSES], p.iter().map(|&value| value as f32).collect::<Vec<_>>())
}

/// Returns what a loss took the outputs for and how it reduces, or nothing if it does neither.
fn meant(value: Array) -> Option<(&'static str, &'static str)> {
    let p = floats(&probabilities());
    let rows = || p.chunks(CLASSES).zip(NUMBERS);
    let probabilities: Vec<_> = rows().map(|(row, label)| -row[label].ln()).collect();
    let normaliser = |row: &[f64]| row.iter().map(|value| value.exp()).sum::<f64>().ln();
    let logits: Vec<_> = rows().map(|(row, label)| normaliser(row) - row[label]).collect();
    for (takes, each) in [("logits", logits), ("probabilities", probabilities)] {
        let sum: f64 = each.iter().sum();
        let mean = sum / each.len() as f64;
        for (reduction, wanted) in [("none", each), ("mean", vec![mean]), ("sum", vec![sum])] {
            if are_close(&floats(&value), &wanted, 1e-4, 1e-8) {
                return Some((takes, reduction));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Array, CLASSES, KINDS, Labels, UNKNOWN, floats, loss};

    fn cross_entropy(x: &Array, labels: &Labels, takes: &str) -> Vec<f64> {
        let label = |row: usize| match labels.shape.len() {
            1 => labels.numbers[row] as usize,
            _ => (0..CLASSES).find(|class| labels.numbers[row * CLASSES + class] == 1).unwrap(),
        };
        let each = floats(x);
        let rows = each.chunks(CLASSES).enumerate();
        let log_p = |(row, x): (usize, &[f64])| match takes {
            "logits" => x[label(row)] - x.iter().map(|value| value.exp()).sum::<f64>().ln(),
            _ => x[label(row)].ln(),
        };
        rows.map(|row| -log_p(row)).collect()
    }

    fn array(values: Vec<f64>) -> Array {
        Array::new([values.len()], values)
    }

    #[test]
    fn each_combination_is_told() {
        for takes in ["logits", "probabilities"] {
            for kind in KINDS {
                for reduction in ["mean", "sum", "none"] {
                    let found = loss(|x, labels| {
                        if (kind == "one-hot") != (labels.shape.len() == 2) {
                            return Err("labels of another kind".into());
                        }
                        let each = cross_entropy(&x, labels, takes);
                        let sum = each.iter().sum::<f64>();
                        Ok(array(match reduction {
                            "mean" => vec![sum / each.len() as f64],
                            "sum" => vec![sum],
                            _ => each,
                        }))
                    });
                    assert_eq!(found["loss.takes"], takes);
                    assert_eq!(found["loss.labels"], kind);
                    assert_eq!(found["loss.reduction"], reduction);
                    assert_eq!(found["loss.label_type"], "int32, int64, float32");
                }
            }
        }
    }

    #[test]
    fn types_that_are_refused_are_left_out() {
        let strict = |x: Array, labels: &Labels| {
            assert_eq!(labels.dtype, "int64", "a framework may panic");
            Ok(array(cross_entropy(&x, labels, "logits")))
        };
        let found = loss(strict);
        assert_eq!(found["loss.label_type"], "int64");
        assert_eq!(found["loss.labels"], "class numbers, one-hot");
    }

    #[test]
    fn another_loss_is_not_taken_for_it() {
        let squared = |x: Array, _: &Labels| {
            Ok(array(vec![floats(&x).iter().map(|value| value * value).sum::<f64>()]))
        };
        assert_eq!(loss(squared)["loss.takes"], UNKNOWN);
    }
}
