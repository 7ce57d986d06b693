//! Optimisers: momentum and Adam, from the steps they take. May not know any framework.

use super::{
    Properties, REFUSED, Result, UNKNOWN, are_close, attempt,
    chance::Chance,
    floats,
    number::{general, power},
    properties,
};
use crate::Array;

/// Weights after each of some gradients.
type Path = Vec<Vec<f32>>;

const RATE: f64 = 0.125; // exact in binary, and unlike any default
const MOMENTUM: f64 = 0.75;

/// Measures SGD with momentum: `descend(weights, gradients, rate, momentum)`.
///
/// It returns the weights after each of the gradients. One that has no momentum ignores it.
pub fn momentum(
    descend: impl Fn(&[f32], &[Vec<f32>], f64, f64) -> Result<Path>,
) -> Result<Properties> {
    let gradients = [[1.0, 1.0], [1.0, -2.0], [1.0, 4.0], [1.0, 0.5]].map(Vec::from);
    let start = [0.0; 2];
    let steps = steps(&start, descend(&start, &gradients, RATE, MOMENTUM)?, RATE);
    let huge = [1e6, -1e6];
    let after = steps_of_one(descend(&start, &[huge.to_vec()], RATE, 0.0)?, RATE);
    let is_free = are_close(&after, &huge.map(f64::from), 1e-4, 0.0);
    Ok(properties([
        ("sgd.momentum", &momentum_form(&steps, &gradients)),
        ("sgd.clipping", if is_free { "none" } else { UNKNOWN }),
    ]))
}

/// Returns how far each gradient went, in units of the rate.
fn steps(start: &[f32], path: Path, rate: f64) -> Vec<Vec<f64>> {
    let mut before = start.to_vec();
    let mut step = |after: Vec<f32>| {
        let moved = before.iter().zip(&after).map(|(b, a)| (f64::from(*b) - f64::from(*a)) / rate);
        let moved = moved.collect();
        before = after;
        moved
    };
    path.into_iter().map(&mut step).collect()
}

fn steps_of_one(path: Path, rate: f64) -> Vec<f64> {
    steps(&[0.0; 2], path, rate).remove(0)
}

/// How a gradient enters: its share in the velocity in the first step and later, and whether the
/// step looks ahead by a velocity.
struct Form {
    name: String,
    decay: f64,
    first: f64,
    later: f64,
    is_nesterov: bool,
}

fn momentum_form(steps: &[Vec<f64>], gradients: &[Vec<f32>]) -> String {
    // Whatever the second gradient enters with besides 1 is dampening.
    let second = f64::from(gradients[1][1]);
    let dampening = 1.0 - (steps[1][1] - MOMENTUM * steps[0][1]) / second;
    let share = 1.0 - MOMENTUM;
    let form = |name: &str, decay, first, later, is_nesterov| Form {
        name: name.into(),
        decay,
        first,
        later,
        is_nesterov,
    };
    let dampened = format!("dampening {}", general(dampening, 2));
    let late = format!("{dampened} after the first step");
    let forms = [
        form("none", 0.0, 1.0, 1.0, false),
        form("classical", MOMENTUM, 1.0, 1.0, false),
        form("Nesterov", MOMENTUM, 1.0, 1.0, true),
        form("unit gain", MOMENTUM, share, share, false),
        form("Nesterov, unit gain", MOMENTUM, share, share, true),
        form(&late, MOMENTUM, 1.0, 1.0 - dampening, false),
        form(&dampened, MOMENTUM, 1.0 - dampening, 1.0 - dampening, false),
    ];
    let found = forms.into_iter().find(|form| form.gives(steps, gradients));
    found.map_or(UNKNOWN.into(), |form| form.name)
}

impl Form {
    fn gives(&self, steps: &[Vec<f64>], gradients: &[Vec<f32>]) -> bool {
        let mut velocity = [0.0; 2];
        steps.iter().zip(gradients).enumerate().all(|(t, (step, gradient))| {
            let share = if t == 0 { self.first } else { self.later };
            let wanted = [0, 1].map(|k| {
                let gradient = share * f64::from(gradient[k]);
                velocity[k] = self.decay * velocity[k] + gradient;
                if self.is_nesterov { gradient + self.decay * velocity[k] } else { velocity[k] }
            });
            are_close(step, &wanted, 1e-3, 1e-4)
        })
    }
}

const ADAM_RATE: f64 = 1.0 / 1024.0;
const BETAS: [f64; 2] = [0.9, 0.999];
const ADAM_STEPS: usize = 6;

const AFTER: &str = "after the correction";
const BEFORE: &str = "before the correction";
const INSIDE: &str = "inside the root";
const OUTSIDE: &str = "outside the root";
const BOTH: &str = "both moments";

/// A step from both moments, what corrects them, and epsilon.
type AdamForm = fn(f64, f64, f64, f64, f64) -> f64;

const ADAM_FORMS: [(&str, &str, AdamForm); 5] = [
    (AFTER, BOTH, |m, v, c1, c2, e| m / c1 / ((v / c2).sqrt() + e)),
    (BEFORE, BOTH, |m, v, c1, c2, e| m / c1 * c2.sqrt() / (v.sqrt() + e)),
    (INSIDE, BOTH, |m, v, c1, c2, e| m / c1 / (v / c2 + e).sqrt()),
    (INSIDE, "none", |m, v, _, _, e| m / (v + e).sqrt()),
    (OUTSIDE, "none", |m, v, _, _, e| m / (v.sqrt() + e)),
];

/// Measures Adam: `descend(weights, gradients, rate, betas)`, all else by default.
pub fn adam(
    descend: impl Fn(&[f32], &[Vec<f32>], f64, [f64; 2]) -> Result<Path>,
) -> Result<Properties> {
    // The smaller a gradient, the more of a step is epsilon's.
    let sizes = (-10..=0).map(|power| 10f64.powi(power));
    let mut chance = Chance::new(4);
    let mut draw = || sizes.clone().map(|size| (size * (1.0 + chance.uniform())) as f32).collect();
    let gradients: [Vec<f32>; ADAM_STEPS] = std::array::from_fn(|_| draw());
    let start = vec![0.0; gradients[0].len()];
    let moved = steps(&start, descend(&start, &gradients, ADAM_RATE, BETAS)?, ADAM_RATE).concat();
    let mut found: Option<(f64, String, &str, &str)> = None;
    for (placement, correction, form) in ADAM_FORMS {
        for (exponent, digit) in (-12..0).flat_map(|e| [1, 2, 5].map(|digit| (e, digit))) {
            let epsilon = f64::from(digit) * 10f64.powi(exponent);
            let error = distance(&moved, &adam_steps(&gradients, epsilon, form).concat());
            if error < 2e-3 && found.as_ref().is_none_or(|(least, ..)| error < *least) {
                let epsilon = format!("{digit}{}", power(exponent));
                found = Some((error, epsilon, placement, correction));
            }
        }
    }
    let still = descend(&[1.0; 3], &[vec![0.0; 3]], ADAM_RATE, BETAS)?;
    let decay = steps(&[1.0; 3], still, ADAM_RATE)[0][0];
    let (_, epsilon, placement, correction) =
        found.unwrap_or((0.0, UNKNOWN.into(), UNKNOWN, UNKNOWN));
    Ok(properties([
        ("adam.epsilon", &epsilon),
        ("adam.placement", placement),
        ("adam.correction", correction),
        ("adam.decay", &decay_form(decay)),
    ]))
}

/// With no gradient a plain decay moves by its own size, one within the gradient by 1.
fn decay_form(moved: f64) -> String {
    match moved {
        _ if moved.abs() < 1e-4 => "none".into(),
        _ if moved > 0.5 => "in the gradient".into(),
        _ => format!("{} of the weight", general(moved, 2)),
    }
}

fn distance(found: &[f64], wanted: &[f64]) -> f64 {
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0f64, |a, b| a.max(b.abs()));
    let apart = most(&mut found.iter().zip(wanted).map(|(found, wanted)| found - wanted));
    apart / most(&mut wanted.iter().copied())
}

fn adam_steps(gradients: &[Vec<f32>], epsilon: f64, form: AdamForm) -> Vec<Vec<f64>> {
    let (mut m, mut v) = (vec![0.0; gradients[0].len()], vec![0.0; gradients[0].len()]);
    let mut step = |(t, gradient): (i32, &Vec<f32>)| {
        let mut one = |(k, gradient): (usize, f64)| {
            m[k] = BETAS[0] * m[k] + (1.0 - BETAS[0]) * gradient;
            v[k] = BETAS[1] * v[k] + (1.0 - BETAS[1]) * gradient * gradient;
            form(m[k], v[k], 1.0 - BETAS[0].powi(t), 1.0 - BETAS[1].powi(t), epsilon)
        };
        gradient.iter().map(|&g| f64::from(g)).enumerate().map(&mut one).collect()
    };
    (1..).zip(gradients).map(&mut step).collect()
}

/// Measures what Adam does to words that a batch lacks, or has twice.
///
/// `train(batches)` trains an embedding of 4 rows on its sum, without weight decay, and returns
/// its table after each of the batches, which are row numbers.
pub fn words(train: impl Fn(&[Vec<u32>]) -> Result<Vec<Array>>) -> Properties {
    let tables = attempt(|| train(&[vec![3], vec![0, 0, 1], vec![2]]));
    let Some(tables) = tables else {
        return properties([("adam.absent", REFUSED), ("adam.twice", REFUSED)]);
    };
    let [before, after, later] = [0, 1, 2].map(|k| floats(&tables[k]));
    let width = before.len() / 4;
    let moved = |row: usize| {
        let values = row * width..(row + 1) * width;
        values.map(|k| (after[k] - before[k]).abs()).sum::<f64>()
    };
    // The step does not depend on the size of a gradient, but on how its square came about.
    let ratio = moved(0) / moved(1);
    let way = match ratio {
        _ if (ratio - 1.0).abs() < 0.01 => "summed, squared",
        _ if (ratio - 2f64.sqrt()).abs() < 0.01 => "squared, summed",
        _ => UNKNOWN,
    };
    // A word that was seen once goes on by its momentum.
    let is_moved = (0..2 * width).all(|k| later[k] != after[k]);
    let absent = if is_moved { "moves on" } else { "stays" };
    properties([("adam.absent", absent), ("adam.twice", way)])
}

/// Measures whether row 0 of an embedding learns: `train(batches)` as for [`words`].
pub fn padding_row(train: impl Fn(&[Vec<u32>]) -> Result<Vec<Array>>) -> Result<Properties> {
    let tables = train(&[vec![1, 2], vec![0, 1]])?;
    let [before, after] = [0, 1].map(|k| floats(&tables[k]));
    let width = before.len() / 4;
    let is_still = are_close(&after[..width], &before[..width], 1e-5, 1e-8);
    let word = if is_still { "stays as it is" } else { "learns as any other" };
    Ok(properties([("embedding.padding", word)]))
}

#[cfg(test)]
mod tests {
    use super::{
        ADAM_FORMS, AdamForm, Array, Chance, Path, Properties, REFUSED, Result, UNKNOWN, adam,
        floats, momentum, padding_row, words,
    };

    /// A fake SGD.
    #[derive(Clone, Copy)]
    struct Sgd {
        is_nesterov: bool,
        first: f64,
        later: f64,
        clip: f64,
        has_momentum: bool,
    }

    const CLASSICAL: Sgd =
        Sgd { is_nesterov: false, first: 1.0, later: 1.0, clip: 1e9, has_momentum: true };

    impl Sgd {
        fn descend(&self, w: &[f32], gradients: &[Vec<f32>], rate: f64, momentum: f64) -> Path {
            let momentum = if self.has_momentum { momentum } else { 0.0 };
            let (mut w, mut velocity) = (w.to_vec(), vec![0.0; w.len()]);
            let mut path = Vec::new();
            for (t, gradient) in gradients.iter().enumerate() {
                for k in 0..w.len() {
                    let share = if t == 0 { self.first } else { self.later };
                    let g = share * f64::from(gradient[k]).clamp(-self.clip, self.clip);
                    velocity[k] = momentum * velocity[k] + g;
                    let ahead = g + momentum * velocity[k];
                    w[k] -= (rate * if self.is_nesterov { ahead } else { velocity[k] }) as f32;
                }
                path.push(w.clone());
            }
            path
        }

        fn measured(self) -> Properties {
            momentum(|w, g, rate, momentum| Ok(self.descend(w, g, rate, momentum))).unwrap()
        }
    }

    #[test]
    fn each_form_of_momentum_has_its_name() {
        let unit = Sgd { first: 0.25, later: 0.25, ..CLASSICAL };
        let cases = [
            (CLASSICAL, "classical"),
            (Sgd { has_momentum: false, ..CLASSICAL }, "none"),
            (Sgd { is_nesterov: true, ..CLASSICAL }, "Nesterov"),
            (unit, "unit gain"),
            (Sgd { is_nesterov: true, ..unit }, "Nesterov, unit gain"),
            (Sgd { later: 0.9, ..CLASSICAL }, "dampening 0.1 after the first step"),
            (Sgd { first: 0.9, later: 0.9, ..CLASSICAL }, "dampening 0.1"),
            (Sgd { first: 0.7, later: 0.9, ..CLASSICAL }, UNKNOWN),
        ];
        for (fake, name) in cases {
            assert_eq!(fake.measured()["sgd.momentum"], name);
        }
    }

    #[test]
    fn clipping_is_noticed() {
        assert_eq!(CLASSICAL.measured()["sgd.clipping"], "none");
        assert_eq!(Sgd { clip: 10.0, ..CLASSICAL }.measured()["sgd.clipping"], UNKNOWN);
    }

    /// Measures a fake Adam of `form`, with a decay of its own and one in the gradient.
    fn measured(form: AdamForm, epsilon: f64, decay: f64, coupled: f64) -> Properties {
        let descend = |w: &[f32], gradients: &[Vec<f32>], rate: f64, betas: [f64; 2]| {
            let (mut w, mut m, mut v) = (w.to_vec(), vec![0.0; w.len()], vec![0.0; w.len()]);
            let mut path = Vec::new();
            for (t, gradient) in (1..).zip(gradients) {
                for k in 0..w.len() {
                    let g = f64::from(gradient[k]) + coupled * f64::from(w[k]);
                    m[k] = betas[0] * m[k] + (1.0 - betas[0]) * g;
                    v[k] = betas[1] * v[k] + (1.0 - betas[1]) * g * g;
                    let [c1, c2] = betas.map(|beta| 1.0 - beta.powi(t));
                    let step = form(m[k], v[k], c1, c2, epsilon) + decay * f64::from(w[k]);
                    w[k] = (f64::from(w[k]) - rate * step) as f32;
                }
                path.push(w.clone());
            }
            Ok(path)
        };
        adam(descend).unwrap()
    }

    #[test]
    fn each_adam_has_its_name() {
        for (placement, correction, form) in ADAM_FORMS {
            for (epsilon, name) in [(1e-8, "1e-08"), (1e-7, "1e-07"), (1e-3, "1e-03")] {
                let found = measured(form, epsilon, 0.0, 0.0);
                assert_eq!(found["adam.placement"], placement);
                assert_eq!(found["adam.correction"], correction);
                assert_eq!(found["adam.epsilon"], name);
                assert_eq!(found["adam.decay"], "none");
            }
        }
    }

    #[test]
    fn another_optimiser_is_not_taken_for_adam() {
        assert_eq!(measured(|m, _, _, _, _| m.signum(), 1e-8, 0.0, 0.0)["adam.placement"], UNKNOWN);
        let half: AdamForm = |m, v, c1, _, e| m / c1 / (v.sqrt() + e);
        assert_eq!(measured(half, 1e-8, 0.0, 0.0)["adam.correction"], UNKNOWN);
    }

    #[test]
    fn decay_is_decoupled_or_in_the_gradient() {
        let (.., form) = ADAM_FORMS[0];
        assert_eq!(measured(form, 1e-8, 0.01, 0.0)["adam.decay"], "0.01 of the weight");
        assert_eq!(measured(form, 1e-8, 0.0, 0.01)["adam.decay"], "in the gradient");
    }

    /// An embedding of 4 words of width 1, trained by a fake Adam without correction.
    fn trained(batches: &[Vec<u32>], is_lazy: bool, squares_first: bool) -> Result<Vec<Array>> {
        let mut w = floats(&Chance::new(2).normals(&[4]));
        let (mut m, mut v) = ([0.0; 4], [0.0; 4]);
        let mut tables = Vec::new();
        for batch in batches {
            for row in 0..4 {
                let g = batch.iter().filter(|word| **word == row as u32).count() as f64;
                if is_lazy && g == 0.0 {
                    continue;
                }
                m[row] = 0.9 * m[row] + 0.1 * g;
                v[row] = 0.999 * v[row] + 0.001 * if squares_first { g } else { g * g };
                w[row] -= 0.1 * m[row] / (f64::sqrt(v[row]) + 1e-8);
            }
            tables.push(Array::new([4, 1], w.clone()));
        }
        Ok(tables)
    }

    #[test]
    fn words_that_a_batch_lacks_or_repeats() {
        let plain = words(|batches| trained(batches, false, false));
        assert_eq!(plain["adam.absent"], "moves on");
        assert_eq!(plain["adam.twice"], "summed, squared");
        let odd = words(|batches| trained(batches, true, true));
        assert_eq!(odd["adam.absent"], "stays");
        assert_eq!(odd["adam.twice"], "squared, summed");
        let refuses = words(|_| Err("no rows".into()));
        assert_eq!([&refuses["adam.absent"], &refuses["adam.twice"]], [REFUSED, REFUSED]);
    }

    #[test]
    fn a_row_for_padding_may_stay() {
        for (moves, name) in [(1f32, "learns as any other"), (0.0, "stays as it is")] {
            let train = |batches: &[Vec<u32>]| {
                let table = |batch: &Vec<u32>| {
                    let moved = if batch.contains(&0) { moves } else { 0.0 };
                    Array::new([4, 2], vec![1.0 + moved; 8])
                };
                Ok(batches.iter().map(table).collect())
            };
            assert_eq!(padding_row(train).unwrap()["embedding.padding"], name);
        }
    }
}
