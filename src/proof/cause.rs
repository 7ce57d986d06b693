//! What usually causes a difference, where the numbers themselves tell.
//!
//! Other causes are recognised by computing them: see [`crate::variant`].

use serde::{Deserialize, Serialize};

use crate::arrays::Floats;
use crate::proof::compare::{Difference, Given, Quantity, Traces, relative_max};
use crate::proof::trace::Trace;
use crate::spec::Precision;

/// A recognised cause of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub name: String,
    /// What is so, as a clause.
    pub says: String,
    /// Lines of the reference, before and after, that would make it agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<(String, String)>,
}

impl Cause {
    fn new(name: &str, says: impl Into<String>) -> Cause {
        Cause { name: name.to_owned(), says: says.into(), lines: Vec::new() }
    }
}

/// The cause that another may explain: a variant without that array.
pub const NOT_TRAINED: &str = "array_not_trained";

/// How near two numbers must be for one to explain the other, beside float32's rounding.
const NEAR: f64 = 1e-3;
/// The same computation may differ by this much in float32.
pub const SAME: f64 = 1e-6;

/// Returns what the numbers tell of the difference that was `found` first.
pub fn recognise(
    found: &Difference,
    ours: &Traces,
    theirs: &Traces,
    given: &Given,
) -> Option<Cause> {
    match found.quantity {
        Quantity::Parameters => None,
        Quantity::InitialWeights => initial(found, ours, given),
        Quantity::Activation | Quantity::Outputs => outputs(ours, theirs),
        Quantity::Loss => dropped(ours, theirs)
            .or_else(|| unmoved(ours, theirs, given))
            .or_else(|| decay(ours, theirs, given)),
        Quantity::TrainedOutputs => unmoved(ours, theirs, given),
        Quantity::Gradient | Quantity::ArrayUpdate | Quantity::Update => {
            unmoved(ours, theirs, given).or_else(|| decay(ours, theirs, given))
        }
    }
}

/// Returns the cause of a difference in float32 where float64 agreed: the mathematics is right, so
/// it is the arithmetic. Sums of products whose factors are rounded are off by a few times the
/// [`Precision::roundoff`]; 16 times is a guess that the numbers seen on an H100 lie well within.
pub fn rounding(found: &Difference) -> Option<Cause> {
    let (tf32, bfloat16) = (Precision::Tf32.roundoff(), Precision::Bf16.roundoff());
    let is_forward =
        matches!(found.quantity, Quantity::Activation | Quantity::Outputs | Quantity::Loss);
    if !is_forward || found.error > 16.0 * bfloat16 {
        return None;
    }
    let kind = if found.error > 16.0 * tf32 { "bfloat16" } else { "TF32" };
    let says = format!(
        "float64 agrees, so it is the arithmetic: factors are rounded to fewer bits than float32 has, \
         as with {kind}"
    );
    Some(Cause::new("reduced_precision", says))
}

/// Returns kernels in each of whose fields the value at (y, x) is the one that stood at `from(y, x)`.
fn moved(
    kernels: &[f64],
    (height, width): (usize, usize),
    from: impl Fn(usize, usize) -> (usize, usize),
) -> Vec<f64> {
    let mut moved = Vec::with_capacity(kernels.len());
    for field in kernels.chunks((height * width).max(1)) {
        for y in 0..height {
            for x in 0..width {
                let (y, x) = from(y, x);
                moved.push(field[y * width + x]);
            }
        }
    }
    moved
}

/// Weights that are handed out otherwise than they were given.
fn initial(found: &Difference, ours: &Traces, given: &Given) -> Option<Cause> {
    let name = found.of.as_deref()?;
    let (_, start) = given.iter().find(|(known, _)| known == name)?;
    let found = ours.initial.weights.get(name)?;
    let is = |values: &[f64]| relative_max(&found.values, values) < NEAR;
    if let [_, _, height, width] = start.shape[..] {
        let fields = (height, width);
        if is(&moved(&start.values, fields, |y, x| (height - 1 - y, width - 1 - x))) {
            return Some(Cause::new("kernel_flipped", format!("`{name}` is stored flipped")));
        }
        if height == width && is(&moved(&start.values, fields, |y, x| (x, y))) {
            let says = format!("height and width of `{name}` are exchanged");
            return Some(Cause::new("kernel_transposed", says));
        }
    }
    if let [rows, columns] = start.shape[..]
        && rows == columns
    {
        let turned =
            (0..rows * columns).map(|k| start.values[(k % columns) * columns + k / columns]);
        if is(&turned.collect::<Vec<_>>()) {
            return Some(Cause::new("kernel_transposed", format!("`{name}` is transposed")));
        }
    }
    if start.shape[0] % 3 == 0 {
        let blocks = start.values.chunks(start.values.len() / 3).collect::<Vec<_>>();
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            if is(&order.map(|block: usize| blocks[block]).concat()) {
                let says = format!("the three gates of `{name}` are in another order");
                return Some(Cause::new("gate_order", says));
            }
        }
    }
    let says = format!("`{name}` is not what the harness was given");
    Some(Cause::new("initial_weights_not_used", says))
}

/// Outputs that are a function of the right logits.
fn outputs(ours: &Traces, theirs: &Traces) -> Option<Cause> {
    let (ours, theirs) = (ours.initial.outputs.as_ref()?, theirs.initial.outputs.as_ref()?);
    let ([_, width], true) = (&theirs.shape[..], ours.shape == theirs.shape) else { return None };
    let log_softmax = theirs.values.chunks(*width).flat_map(|row| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = row.iter().map(|value| (value - largest).exp()).sum::<f64>();
        row.iter().map(move |value| value - largest - sum.ln())
    });
    let log_softmax = log_softmax.collect::<Vec<_>>();
    let softmax = log_softmax.iter().map(|value| value.exp()).collect::<Vec<_>>();
    if relative_max(&ours.values, &softmax) < NEAR {
        let says = "the model ends with a softmax, which belongs to the loss";
        return Some(Cause::new("softmax_in_the_model", says));
    }
    if relative_max(&ours.values, &log_softmax) < NEAR {
        let says = "the model ends with a logarithm of the softmax, which belongs to the loss";
        return Some(Cause::new("log_softmax_in_the_model", says));
    }
    None
}

/// A first loss of log(classes) although the logits are not all alike: nothing gets through.
fn dropped(ours: &Traces, theirs: &Traces) -> Option<Cause> {
    let classes = *theirs.initial.outputs.as_ref()?.shape.last()? as f64;
    let is_even = |traces: &Traces| {
        let loss = traces.trained.as_ref().and_then(|trace| trace.losses.first());
        loss.is_some_and(|loss| (loss - classes.ln()).abs() < SAME)
    };
    (is_even(ours) && !is_even(theirs)).then(|| {
        let says =
            "nothing gets through in training: a dropout rate of 0 is taken for the share to keep";
        Cause::new("dropout_rate_is_kept_share", says)
    })
}

/// Arrays that stay where they were although the reference's move.
fn unmoved(ours: &Traces, theirs: &Traces, given: &Given) -> Option<Cause> {
    let (last, right) = (ours.trained.as_ref()?, theirs.trained.as_ref()?);
    let moves = |trace: &Trace, name: &str, start: &Floats| {
        trace.weights.get(name).is_some_and(|array| array.values != start.values)
    };
    let still =
        given.iter().filter(|(name, start)| moves(right, name, start) && !moves(last, name, start));
    let still = still.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    let (first, moving) = (still.first()?, given.len() - still.len());
    if moving == 0 {
        return Some(Cause::new("nothing_is_trained", "no weight changes in training"));
    }
    let is_below = given.iter().take(still.len()).all(|(name, _)| still.contains(&name.as_str()));
    if is_below {
        let says = format!("gradients are zero below `{}`", given[still.len()].0);
        return Some(Cause::new("zero_gradients", says));
    }
    let says = format!("`{first}` is not trained ({} of {} arrays)", still.len(), given.len());
    Some(Cause::new(NOT_TRAINED, says))
}

/// Gradients that are too large by a multiple of the weights.
fn decay(ours: &Traces, theirs: &Traces, given: &Given) -> Option<Cause> {
    let (ours, theirs) = (ours.gradient.as_ref()?, theirs.gradient.as_ref()?);
    let (mut along, mut size, mut apart) = (0.0, 0.0, 0.0);
    let pairs = given.iter().filter_map(|(name, start)| {
        Some((ours.weights.get(name)?, theirs.weights.get(name)?, start))
    });
    for (a, b, start) in pairs {
        for ((a, b), s) in a.values.iter().zip(&b.values).zip(&start.values) {
            // At learning rate 1 the update is the gradient, negated.
            let more = b - a;
            along += more * s;
            size += s * s;
            apart += more * more;
        }
    }
    let factor = along / size;
    let rest = (apart - factor * along).max(0.0);
    let explains = apart > 0.0 && rest / apart < 1e-2;
    explains.then(|| {
        let says = format!("gradients have {factor:.1e} times the weights added (weight decay)");
        Cause::new("weight_decay", says)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{recognise, rounding};
    use crate::arrays::Floats;
    use crate::proof::compare::tests::{edit, floats, start, traces};
    use crate::proof::compare::{Difference, Quantity, Traces, compare, float64_tolerance};

    /// Returns the cause of what differs first.
    fn cause(ours: &Traces, theirs: &Traces, given: &[(String, Floats)]) -> Option<String> {
        let all = compare(ours, theirs, given, &float64_tolerance());
        let first = all.iter().find(|difference| !difference.is_within()).unwrap();
        recognise(first, ours, theirs, given).map(|cause| cause.name)
    }

    #[test]
    fn numbers_of_fewer_bits_are_told_from_wrong_mathematics() {
        // 5.7e-4 and 8.2e-4: a CNN and a ResNet-50 of PyTorch 2.11 with TF32 on an H100.
        let cases = [(5.7e-4, Some("TF32")), (8.2e-4, Some("TF32")), (2e-2, Some("bfloat16"))];
        for (error, expected) in cases.into_iter().chain([(0.5, None)]) {
            let (of, note) = (None, None);
            let quantity = Quantity::Outputs;
            let found = Difference { quantity, of, error, tolerance: 1e-5, note };
            let cause = rounding(&found);
            assert_eq!(cause.is_some(), expected.is_some(), "{error}");
            let says = cause.map(|cause| cause.says).unwrap_or_default();
            assert!(says.ends_with(expected.unwrap_or_default()), "{error}: {says}");
        }
    }

    #[test]
    fn a_softmax_in_the_model_is_told_from_its_outputs() {
        let logits = |values: [f64; 3]| Floats { shape: vec![1, 3], values: values.to_vec() };
        let mut theirs = traces();
        Arc::make_mut(&mut theirs.initial).outputs = Some(logits([1.0, 2.0, 3.0]));
        let sum = 1f64.exp() + 2f64.exp() + 3f64.exp();
        for (name, of) in [
            ("softmax_in_the_model", (|x: f64, sum: f64| x.exp() / sum) as fn(f64, f64) -> f64),
            ("log_softmax_in_the_model", |x, sum| x - sum.ln()),
        ] {
            let mut ours = theirs.clone();
            Arc::make_mut(&mut ours.initial).outputs =
                Some(logits([1.0, 2.0, 3.0].map(|x| of(x, sum))));
            assert_eq!(cause(&ours, &theirs, &start()).as_deref(), Some(name));
        }
    }

    #[test]
    fn gradients_that_are_zero_below_a_layer_are_named() {
        let mut ours = traces();
        for trace in [&mut ours.gradient, &mut ours.trained].map(edit) {
            trace.weights.insert("a".to_owned(), floats(&[1.0, 2.0]));
        }
        assert_eq!(cause(&ours, &traces(), &start()).as_deref(), Some("zero_gradients"));
        let found = compare(&ours, &traces(), &start(), &float64_tolerance());
        let first = found.iter().find(|difference| !difference.is_within()).unwrap();
        let says = recognise(first, &ours, &traces(), &start()).unwrap().says;
        assert_eq!(says, "gradients are zero below `b`");
    }

    #[test]
    fn nothing_trained_is_named() {
        let mut ours = traces();
        for trace in [&mut ours.gradient, &mut ours.trained].map(edit) {
            trace.weights = start().into_iter().collect();
        }
        assert_eq!(cause(&ours, &traces(), &start()).as_deref(), Some("nothing_is_trained"));
    }

    #[test]
    fn weight_decay_is_told_from_gradients_along_the_weights() {
        let mut ours = traces();
        let gradient = edit(&mut ours.gradient);
        for (name, start) in start() {
            let array = gradient.weights.get_mut(&name).unwrap();
            array.values.iter_mut().zip(&start.values).for_each(|(a, s)| *a -= 0.01 * s);
        }
        assert_eq!(cause(&ours, &traces(), &start()).as_deref(), Some("weight_decay"));
        // The loss of the second step shows it before the gradient does.
        edit(&mut ours.trained).losses[1] += 1e-6;
        assert_eq!(cause(&ours, &traces(), &start()).as_deref(), Some("weight_decay"));
    }

    #[test]
    fn weights_in_another_order_are_told_from_those_not_used() {
        let names = |values: &[f64]| {
            let array = Floats { shape: vec![values.len(), 1], values: values.to_vec() };
            vec![("gates".to_owned(), array)]
        };
        let given = names(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let with = |values: &[f64]| {
            let mut traces = traces();
            Arc::make_mut(&mut traces.initial).weights = names(values).into_iter().collect();
            traces
        };
        let theirs = with(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let swapped = with(&[3.0, 4.0, 1.0, 2.0, 5.0, 6.0]);
        assert_eq!(cause(&swapped, &theirs, &given).as_deref(), Some("gate_order"));
        let own = with(&[0.1, 0.7, 0.2, 0.4, 0.9, 0.3]);
        assert_eq!(cause(&own, &theirs, &given).as_deref(), Some("initial_weights_not_used"));
    }
}
