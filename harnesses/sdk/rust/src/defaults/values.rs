//! Dropout, element types and seeds. May not know any framework.

use super::{Layer, Properties, REFUSED, Result, UNKNOWN, attempt, floats, properties};
use crate::Array;

/// Measures dropout of rate 0.2: functions of an array, told to train and to predict.
///
/// `untold` is the same layer told nothing, if that can be.
pub fn dropout(
    untold: Option<&dyn Fn(Array) -> Result<Array>>,
    training: impl Fn(Array) -> Result<Array>,
    prediction: impl Fn(Array) -> Result<Array>,
) -> Result<Properties> {
    let ones = || Array::new([100, 100], vec![1f32; 10_000]);
    let (y, p) = (floats(&training(ones())?), floats(&prediction(ones())?));
    let passed: Vec<_> = y.iter().copied().filter(|value| *value != 0.0).collect();
    let kept = passed.len() as f64 / y.len() as f64;
    let scale = passed.iter().sum::<f64>() / passed.len().max(1) as f64;
    let meant = match kept {
        _ if (kept - 0.8).abs() < 0.03 => "dropped",
        _ if (kept - 0.2).abs() < 0.03 => "kept",
        _ => UNKNOWN,
    };
    let predicted = p.iter().sum::<f64>() / p.len() as f64;
    let scaling = match scale {
        _ if (scale * kept - 1.0).abs() < 0.05 => "up in training",
        1.0 if (predicted - kept).abs() < 0.05 => "down in prediction",
        1.0 => "never",
        _ => UNKNOWN,
    };
    let word = |y: &[f64]| if y.contains(&0.0) { "drops" } else { "passes on" };
    let mut found = properties([
        ("dropout.rate", meant),
        ("dropout.scaling", scaling),
        ("dropout.prediction", word(&p)),
    ]);
    if let Some(untold) = untold {
        found.insert("dropout.untold", word(&floats(&untold(ones())?)).into());
    }
    Ok(found)
}

/// Measures types: `make(inputs, outputs)` returns a dense [`Layer`].
///
/// It is given float32 and float64; `convert` returns what type an int64 array gets, in the
/// framework's words.
pub fn types(
    make: impl Fn(usize, usize) -> Result<Layer>,
    convert: impl Fn(&[i64]) -> Result<String>,
) -> Result<Properties> {
    let layer = make(4, 3)?;
    let wide = attempt(|| (layer.call)(Array::new([2, 4], vec![1f64; 8])));
    let wide = wide.map(|y| format!("gives {}", y.values.dtype()));
    let whole = attempt(|| convert(&[1, 2])).and_then(|name| type_name(&name));
    let whole = whole.map(|name| format!("becomes {name}"));
    Ok(properties([
        ("type.parameters", layer.kernel.values.dtype()),
        ("type.float64", wide.as_deref().unwrap_or(REFUSED)),
        ("type.int64", whole.as_deref().unwrap_or(REFUSED)),
    ]))
}

/// Returns NumPy's name of a type that Rust calls `i64` and a framework perhaps `I64`.
fn type_name(word: &str) -> Option<String> {
    let (kind, bits) = word.split_at_checked(1)?;
    let kind = match kind.to_ascii_lowercase().as_str() {
        "i" => "int",
        "u" => "uint",
        "f" => "float",
        _ => return None,
    };
    bits.parse::<u8>().ok().map(|bits| format!("{kind}{bits}"))
}

/// Measures whether `draw(seed)`, an array of random numbers, follows from the seed.
pub fn seeds(draw: impl Fn(u64) -> Result<Array>) -> Properties {
    let drawn = attempt(|| Ok([draw(7)?, draw(7)?, draw(8)?]));
    let word = match drawn {
        None => REFUSED,
        Some([first, _, other]) if first == other => "has no effect",
        Some([first, again, _]) if first == again => "same numbers",
        Some(_) => "other numbers",
    };
    properties([("seed", word)])
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{
        Array, Layer, Properties, REFUSED, Result, UNKNOWN, dropout, floats, seeds, types,
    };
    use crate::{Values, defaults::chance::Chance};

    fn scaled(x: Array, mut factor: impl FnMut() -> f64) -> Result<Array> {
        let values: Vec<_> = floats(&x).iter().map(|x| (x * factor()) as f32).collect();
        Ok(Array::new(x.shape, values))
    }

    fn measured(dropped: f64, scale: Option<f64>, predict: f64) -> Properties {
        let chance = RefCell::new(Chance::new(1));
        let keep = 1.0 - dropped;
        let factor = || match chance.borrow_mut().uniform() < keep {
            true => scale.unwrap_or(1.0 / keep),
            false => 0.0,
        };
        dropout(None, |x| scaled(x, factor), |x| scaled(x, || predict)).unwrap()
    }

    #[test]
    fn a_rate_is_dropped_or_kept() {
        assert_eq!(measured(0.2, None, 1.0)["dropout.rate"], "dropped");
        assert_eq!(measured(0.8, None, 1.0)["dropout.rate"], "kept");
        assert_eq!(measured(0.5, None, 1.0)["dropout.rate"], UNKNOWN);
    }

    #[test]
    fn scaling_is_placed() {
        assert_eq!(measured(0.2, None, 1.0)["dropout.scaling"], "up in training");
        assert_eq!(measured(0.2, Some(1.0), 0.8)["dropout.scaling"], "down in prediction");
        assert_eq!(measured(0.2, Some(1.0), 1.0)["dropout.scaling"], "never");
    }

    #[test]
    fn what_happens_untold_is_seen_or_left_open() {
        let drops = |x| scaled(x, || 0.0);
        let untold = |untold| dropout(Some(untold), drops, Ok).unwrap();
        assert_eq!(untold(&Ok)["dropout.untold"], "passes on");
        assert_eq!(untold(&drops)["dropout.untold"], "drops");
        assert_eq!(measured(0.2, None, 1.0).get("dropout.untold"), None);
    }

    fn typed(call: fn(Array) -> Result<Array>, word: &'static str) -> Properties {
        let kernel = || Array::new([3, 4], vec![0f32; 12]);
        let make = |_, _| Ok(Layer { call: Box::new(call), kernel: kernel(), bias: None });
        types(make, |_| Ok(word.into())).unwrap()
    }

    #[test]
    fn float64_is_kept_cast_or_refused() {
        assert_eq!(typed(Ok, "i64")["type.float64"], "gives float64");
        let cast = |x| scaled(x, || 1.0);
        assert_eq!(typed(cast, "i64")["type.float64"], "gives float32");
        let strict = |x: Array| match x.values {
            Values::F64(_) => panic!("float32 is wanted"),
            _ => Ok(x),
        };
        assert_eq!(typed(strict, "i64")["type.float64"], REFUSED);
        assert_eq!(typed(strict, "i64")["type.parameters"], "float32");
    }

    #[test]
    fn a_type_is_found_in_the_words_of_a_framework() {
        for (word, name) in [("I64", "int64"), ("i32", "int32"), ("F32", "float32")] {
            assert_eq!(typed(Ok, word)["type.int64"], format!("becomes {name}"));
        }
        assert_eq!(typed(Ok, "Bool")["type.int64"], REFUSED);
    }

    #[test]
    fn seeds_are_the_same_other_refused_or_nothing() {
        let drawn = |seed| Ok(Chance::new(seed).normals(&[9]));
        assert_eq!(seeds(drawn)["seed"], "same numbers");
        let chance = RefCell::new(Chance::new(1));
        assert_eq!(seeds(|_| Ok(chance.borrow_mut().normals(&[9])))["seed"], "other numbers");
        assert_eq!(seeds(|_| drawn(1))["seed"], "has no effect");
        assert_eq!(seeds(|_| Err("there is no seed".into()))["seed"], REFUSED);
    }
}
