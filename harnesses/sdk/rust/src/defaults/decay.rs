//! Weight decay, and clipping by a norm. May not know any framework.

use super::{Properties, Result, UNKNOWN, floats, number::power, properties};
use crate::Array;

const RATE: f64 = 0.125; // exact in binary, and unlike any default
const DECAY: f64 = 0.0078125;

/// An optimiser as a function of weights, gradients, a rate and a decay: the weights after each.
pub type Decaying<'a> = &'a dyn Fn(&[f32], &[Vec<f32>], f64, f64) -> Result<Vec<Vec<f32>>>;

/// Measures weight decay of Adam and of AdamW.
///
/// Either may be missing where there is no such optimiser, or where it has no decay.
pub fn decay(adam: Option<Decaying>, adamw: Option<Decaying>) -> Result<Properties> {
    let (by_adam, by_adamw) = (decay_form(adam)?, decay_form(adamw)?);
    let is_left_alone = [by_adam, by_adamw].contains(&"none");
    Ok(properties([
        ("decay.adam", by_adam),
        ("decay.adamw", by_adamw),
        ("decay.biases", if is_left_alone { "left alone" } else { "decay too" }),
    ]))
}

/// Returns how a weight that has no gradient decays; it is one of an array with one axis.
fn decay_form(descend: Option<Decaying>) -> Result<&'static str> {
    let Some(descend) = descend else { return Ok("not there") };
    let after = descend(&[1.0; 2], &[vec![0.0; 2]], RATE, DECAY)?;
    let moved = 1.0 - f64::from(after[0][0]);
    let forms = [
        ("none", 0.0),
        ("in the gradient", RATE), // of which Adam takes the sign alone
        ("decoupled, times the rate", RATE * DECAY),
        ("decoupled, by itself", DECAY),
    ];
    // An epsilon of 1e-5 takes a thousandth off the sign.
    let is_form = |(_, size): &(&str, f64)| (moved - size).abs() < 1e-6 + 1e-2 * size;
    Ok(forms.into_iter().find(is_form).map_or(UNKNOWN, |(name, _)| name))
}

/// Measures clipping by a norm: `clip(gradients, limit)` returns the two clipped arrays.
pub fn clipping(clip: impl Fn([Array; 2], f64) -> Result<[Array; 2]>) -> Result<Properties> {
    let unit = 2f64.powi(-12); // exact in binary, and so small that a 1e-8 is seen beside it
    let array = |shape: &[usize], values: &[f64]| {
        Array::new(shape, values.iter().map(|times| (times * unit) as f32).collect::<Vec<_>>())
    };
    let limit = 2.0 * unit;
    let clipped = clip([array(&[2], &[3.0, 0.0]), array(&[1, 1], &[4.0])], limit)?;
    let [first, second] =
        clipped.map(|array| floats(&array).into_iter().fold(0.0, |most, g| g.abs().max(most)));
    let is_limit = |size: f64| (size - limit).abs() < 5e-2 * limit;
    let found = match first / second {
        _ if is_limit(first) && is_limit(second) => Some(("each by itself", 3.0 * unit)),
        ratio if (ratio - 0.75).abs() < 1e-3 && first < 3.0 * unit => {
            Some(("all together", 5.0 * unit))
        }
        _ => None,
    };
    Ok(match found {
        Some((of, norm)) => {
            let added = limit * 3.0 * unit / first - norm;
            properties([("clip.of", of), ("clip.epsilon", &epsilon(added))])
        }
        None => properties([("clip.of", UNKNOWN), ("clip.epsilon", UNKNOWN)]),
    })
}

/// Names a small number that is added, seen through float32.
fn epsilon(value: f64) -> String {
    if value.abs() < 2e-9 { "none".into() } else { one_digit(value) }
}

/// Returns a number as Python's `%.0e` has it.
pub(super) fn one_digit(value: f64) -> String {
    let text = format!("{value:.0e}");
    let (digit, exponent) = text.split_once('e').expect("`e` formats with an exponent");
    format!("{digit}{}", power(exponent.parse().expect("an exponent is a number")))
}

#[cfg(test)]
mod tests {
    use super::{Array, Properties, UNKNOWN, clipping, decay, floats};

    /// A weight, a rate and a decay → the weight afterwards.
    type DecayForm = (&'static str, fn(f64, f64, f64) -> f64);

    #[test]
    fn each_form_of_decay_has_its_name() {
        let forms: [DecayForm; 5] = [
            ("none", |w, _, _| w),
            ("in the gradient", |w, rate, decay| w - rate * decay / (decay + 1e-5)),
            ("decoupled, times the rate", |w, rate, decay| w - rate * decay * w),
            ("decoupled, by itself", |w, _, decay| w - decay * w),
            (UNKNOWN, |w, _, _| w + 1.0),
        ];
        for (name, form) in forms {
            let descend = |w: &[f32], _: &[Vec<f32>], rate, decay| {
                Ok(vec![w.iter().map(|&w| form(w.into(), rate, decay) as f32).collect()])
            };
            let found = decay(None, Some(&descend)).unwrap();
            assert_eq!([&found["decay.adam"], &found["decay.adamw"]], ["not there", name]);
            let biases = if name == "none" { "left alone" } else { "decay too" };
            assert_eq!(found["decay.biases"], biases);
        }
    }

    fn clipped(is_each: bool, epsilon: f64) -> Properties {
        let norm = |array: &Array| floats(array).iter().map(|g| g * g).sum::<f64>().sqrt();
        let clip = |gradients: [Array; 2], limit: f64| {
            let all = gradients.iter().map(norm).fold(0.0, f64::hypot);
            Ok(gradients.map(|array| {
                let norm = if is_each { norm(&array) } else { all };
                let values = floats(&array).into_iter().map(|g| g * limit / (norm + epsilon));
                let values = values.map(|g| g as f32).collect::<Vec<_>>();
                Array::new(array.shape, values)
            }))
        };
        clipping(clip).unwrap()
    }

    #[test]
    fn a_norm_is_of_all_or_of_each() {
        for (is_each, of) in [(true, "each by itself"), (false, "all together")] {
            for (epsilon, name) in [(0.0, "none"), (1e-8, "1e-08"), (1e-6, "1e-06")] {
                let found = clipped(is_each, epsilon);
                assert_eq!([&found["clip.of"], &found["clip.epsilon"]], [of, name]);
            }
        }
        assert_eq!(clipping(|gradients, _| Ok(gradients)).unwrap()["clip.of"], UNKNOWN);
    }
}
