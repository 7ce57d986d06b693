//! Two traces → how far they are apart, quantity by quantity, in the order of the computation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arrays::Floats;
use crate::proof::trace::Trace;
use crate::spec::Tolerance;

/// What a program computed with each of the parts of a check.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    /// No step: outputs with the initial weights.
    pub initial: Arc<Trace>,
    /// One step at learning rate 1: its update is the gradient, negated.
    pub gradient: Option<Arc<Trace>>,
    /// All steps.
    pub trained: Option<Arc<Trace>>,
}

/// The initial weights, in forward order.
pub type Given = [(String, Floats)];

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Names and shapes of the weights.
    Parameters,
    /// The weights before training, as the framework hands them out.
    InitialWeights,
    /// What a layer computes with the initial weights; compared only where the outputs differ.
    Activation,
    /// Logits or features with the initial weights.
    Outputs,
    /// The loss of a step.
    Loss,
    /// The gradient of the first step by one array.
    Gradient,
    /// What all steps changed of one array.
    ArrayUpdate,
    /// What all steps changed of all arrays.
    Update,
    /// Logits after training.
    TrainedOutputs,
}

impl Quantity {
    /// Returns the words that a person reads.
    pub fn words(self) -> &'static str {
        match self {
            Quantity::Parameters => "parameters",
            Quantity::InitialWeights => "initial weights",
            Quantity::Activation => "activation",
            Quantity::Outputs => "outputs before training",
            Quantity::Loss => "loss",
            Quantity::Gradient => "gradient of the first step",
            Quantity::ArrayUpdate => "update of an array",
            Quantity::Update => "update of all weights",
            Quantity::TrainedOutputs => "outputs after training",
        }
    }
}

/// How far one quantity is from the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub quantity: Quantity,
    /// The array or the step.
    pub of: Option<String>,
    /// Relative error; infinite where there is nothing to compare.
    #[serde(with = "maybe_infinite")]
    pub error: f64,
    pub tolerance: f64,
    /// What is wrong, where a number cannot say it.
    pub note: Option<String>,
}

impl Difference {
    pub fn is_within(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// Returns the tolerance of float64: no room for a hidden difference.
pub fn float64_tolerance() -> Tolerance {
    let all = 1e-9;
    Tolerance { outputs: all, loss: all, gradient: all, update: all, trained: all }
}

/// What is wrong with an array that is not there.
const MISSING: &str = "the harness has no such weight in `run.final_weights`";

/// Weights are stored as they were given; float32 of a float64 copy is the same float32.
const COPIED: f64 = 1e-7;

/// An array's update may be further off than that of all: a small one drowns in rounding.
const ARRAY_SLACK: f64 = 3.0;

/// Returns every difference of `ours` from `theirs`, in the order of the computation, as far as
/// both computed it.
pub fn compare(
    ours: &Traces,
    theirs: &Traces,
    given: &Given,
    tolerance: &Tolerance,
) -> Vec<Difference> {
    let mut found = Vec::new();
    parameters(ours, theirs, given, &mut found);
    if found.iter().any(|difference| !difference.is_within()) {
        return found; // Nothing further down has the shape to be compared.
    }
    let outputs = (&ours.initial.outputs, &theirs.initial.outputs);
    let outputs = outputs_apart(Quantity::Outputs, outputs, tolerance.outputs);
    if !outputs.is_within() {
        activations(&ours.initial, &theirs.initial, tolerance.outputs, &mut found);
    }
    found.push(outputs);
    let trained = ours.trained.as_ref().zip(theirs.trained.as_ref());
    if let Some((one, two)) = trained {
        losses(one, two, tolerance.loss, &mut found);
    }
    if let (Some(one), Some(two)) = (&ours.gradient, &theirs.gradient) {
        for (name, start) in given {
            let (Some(a), Some(b)) = (one.weights.get(name), two.weights.get(name)) else {
                continue;
            };
            let error = update_error([(a, b, start)]);
            let of = Some(name.clone());
            let (quantity, tolerance, note) = (Quantity::Gradient, tolerance.gradient, None);
            found.push(Difference { quantity, of, error, tolerance, note });
        }
    }
    if let Some((one, two)) = trained {
        updates(one, two, given, tolerance.update, &mut found);
        let outputs = (&one.outputs, &two.outputs);
        found.push(outputs_apart(Quantity::TrainedOutputs, outputs, tolerance.trained));
    }
    found
}

fn parameters(ours: &Traces, theirs: &Traces, given: &Given, found: &mut Vec<Difference>) {
    let (ours, theirs) = (&ours.initial.weights, &theirs.initial.weights);
    if ours.is_empty() && theirs.is_empty() {
        return; // The harness hands out no weights: it trains nothing.
    }
    let mut wrong = |of: &str, note: String| {
        found.push(Difference {
            quantity: Quantity::Parameters,
            of: Some(of.to_owned()),
            error: f64::INFINITY,
            tolerance: 0.0,
            note: Some(note),
        });
    };
    for name in ours.keys().filter(|name| given.iter().all(|(known, _)| known != *name)) {
        wrong(name, "the experiment has no such weight".to_owned());
    }
    for (name, start) in given {
        match ours.get(name) {
            None => wrong(name, MISSING.to_owned()),
            Some(array) if array.shape != start.shape => {
                wrong(name, format!("its shape is {:?}, not {:?}", array.shape, start.shape));
            }
            Some(_) => {}
        }
    }
    if !found.is_empty() {
        return;
    }
    let count = Difference {
        quantity: Quantity::Parameters,
        of: None,
        error: 0.0,
        tolerance: 0.0,
        note: Some(format!("{} arrays, {} numbers", given.len(), numbers(given))),
    };
    found.push(count);
    for (name, start) in given {
        found.push(Difference {
            quantity: Quantity::InitialWeights,
            of: Some(name.clone()),
            error: relative_max(&ours[name].values, &start.values),
            tolerance: COPIED,
            note: None,
        });
    }
}

/// Returns how many numbers the arrays hold.
fn numbers(given: &Given) -> usize {
    given.iter().map(|(_, array)| array.values.len()).sum()
}

fn outputs_apart(
    quantity: Quantity,
    (ours, theirs): (&Option<Floats>, &Option<Floats>),
    tolerance: f64,
) -> Difference {
    let (error, note) = match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.shape == theirs.shape => {
            (relative_max(&ours.values, &theirs.values), None)
        }
        (Some(ours), Some(theirs)) => {
            let note = format!("the shape is {:?}, not {:?}", ours.shape, theirs.shape);
            (f64::INFINITY, Some(note))
        }
        _ => (f64::INFINITY, Some("there are none".to_owned())),
    };
    Difference { quantity, of: None, error, tolerance, note }
}

/// Compares the layers that both name, in our order. They tell where a difference begins, not
/// whether there is one: a layout of their own condemns nobody whose outputs are right.
fn activations(ours: &Trace, theirs: &Trace, tolerance: f64, found: &mut Vec<Difference>) {
    for (name, array) in &ours.activations {
        let Some((_, right)) = theirs.activations.iter().find(|(known, _)| known == name) else {
            continue;
        };
        let both = (Some(array.clone()), Some(right.clone()));
        let apart = outputs_apart(Quantity::Activation, (&both.0, &both.1), tolerance);
        found.push(Difference { of: Some(name.clone()), ..apart });
    }
}

fn losses(ours: &Trace, theirs: &Trace, tolerance: f64, found: &mut Vec<Difference>) {
    if ours.losses.len() != theirs.losses.len() {
        let note = format!("{} steps, not {}", ours.losses.len(), theirs.losses.len());
        found.push(Difference {
            quantity: Quantity::Loss,
            of: None,
            error: f64::INFINITY,
            tolerance,
            note: Some(note),
        });
        return;
    }
    for (step, (a, b)) in ours.losses.iter().zip(&theirs.losses).enumerate() {
        let error = ((a - b) / b).abs();
        let of = Some(format!("step {}", step + 1));
        found.push(Difference { quantity: Quantity::Loss, of, error, tolerance, note: None });
    }
}

fn updates(
    ours: &Trace,
    theirs: &Trace,
    given: &Given,
    tolerance: f64,
    found: &mut Vec<Difference>,
) {
    let mut arrays = Vec::new();
    for (name, start) in given {
        let (Some(a), Some(b)) = (ours.weights.get(name), theirs.weights.get(name)) else {
            let note = Some(MISSING.to_owned());
            let (quantity, of) = (Quantity::ArrayUpdate, Some(name.clone()));
            found.push(Difference { quantity, of, error: f64::INFINITY, tolerance, note });
            return;
        };
        found.push(Difference {
            quantity: Quantity::ArrayUpdate,
            of: Some(name.clone()),
            error: update_error([(a, b, start)]),
            tolerance: if tolerance > 1e-6 { tolerance * ARRAY_SLACK } else { tolerance },
            note: None,
        });
        arrays.push((a, b, start));
    }
    let error = update_error(arrays);
    let quantity = Quantity::Update;
    found.push(Difference { quantity, of: None, error, tolerance, note: None });
}

/// Returns ‖(a − s) − (b − s)‖ / ‖b − s‖ over arrays (ours a, theirs b, start s).
///
/// The update is compared, not the weights: next to the start, errors of it would vanish.
fn update_error<'a>(arrays: impl IntoIterator<Item = (&'a Floats, &'a Floats, &'a Floats)>) -> f64 {
    let (mut apart, mut size) = (0.0, 0.0);
    for (ours, theirs, start) in arrays {
        for ((a, b), s) in ours.values.iter().zip(&theirs.values).zip(&start.values) {
            apart += (a - b) * (a - b);
            size += (b - s) * (b - s);
        }
    }
    ratio(f64::sqrt(apart), f64::sqrt(size))
}

/// Returns max |a − b| / max |b|.
pub fn relative_max(ours: &[f64], theirs: &[f64]) -> f64 {
    let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, nan_max);
    ratio(apart, theirs.iter().map(|b| b.abs()).fold(0.0, nan_max))
}

/// The larger one; a NaN is never lost.
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Where the reference is 0, any difference at all is infinite.
fn ratio(apart: f64, size: f64) -> f64 {
    match (apart, size) {
        (apart, _) if apart.is_nan() => f64::INFINITY,
        (0.0, _) => 0.0,
        _ => apart / size,
    }
}

/// JSON has no infinity; a verdict says it as text.
mod maybe_infinite {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => serializer.serialize_some(value),
            false => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{Given, Quantity, Traces, compare, float64_tolerance};
    use crate::arrays::Floats;
    use crate::proof::trace::Trace;

    pub fn floats(values: &[f64]) -> Floats {
        Floats { shape: vec![values.len()], values: values.to_vec() }
    }

    pub fn start() -> Vec<(String, Floats)> {
        vec![("a".to_owned(), floats(&[1.0, 2.0])), ("b".to_owned(), floats(&[3.0]))]
    }

    fn trace(outputs: &[f64], losses: &[f64], change: f64) -> Trace {
        let moved = |(name, array): &(String, Floats)| {
            let values = array.values.iter().map(|v| v + change).collect::<Vec<_>>();
            (name.clone(), floats(&values))
        };
        Trace {
            outputs: Some(floats(outputs)),
            losses: losses.to_vec(),
            weights: start().iter().map(moved).collect(),
            ..Trace::default()
        }
    }

    pub fn traces() -> Traces {
        Traces {
            initial: trace(&[0.5, -0.5], &[], 0.0).into(),
            gradient: Some(trace(&[0.4, -0.4], &[0.7], -0.1).into()),
            trained: Some(trace(&[0.3, -0.3], &[0.7, 0.6], -0.3).into()),
        }
    }

    pub fn edit(trace: &mut Option<Arc<Trace>>) -> &mut Trace {
        Arc::make_mut(trace.as_mut().unwrap())
    }

    fn first(ours: &Traces, given: &Given) -> Option<(Quantity, Option<String>)> {
        let found = compare(ours, &traces(), given, &float64_tolerance());
        let first = found.into_iter().find(|difference| !difference.is_within());
        first.map(|difference| (difference.quantity, difference.of))
    }

    #[test]
    fn the_same_numbers_differ_nowhere() {
        assert_eq!(first(&traces(), &start()), None);
        let all = compare(&traces(), &traces(), &start(), &float64_tolerance());
        // Count, 2 arrays, outputs, 2 losses, 2 gradients, 2 updates, their sum, outputs.
        assert_eq!(all.len(), 12);
        assert!(all.iter().all(|difference| difference.error == 0.0));
    }

    #[test]
    fn what_differs_first_in_the_computation_is_found_first() {
        let mut ours = traces();
        edit(&mut ours.trained).weights.insert("b".to_owned(), floats(&[2.6]));
        assert_eq!(first(&ours, &start()), Some((Quantity::ArrayUpdate, Some("b".to_owned()))));
        edit(&mut ours.gradient).weights.insert("b".to_owned(), floats(&[2.8]));
        assert_eq!(first(&ours, &start()), Some((Quantity::Gradient, Some("b".to_owned()))));
        edit(&mut ours.trained).losses[1] = 0.61;
        assert_eq!(first(&ours, &start()), Some((Quantity::Loss, Some("step 2".to_owned()))));
        Arc::make_mut(&mut ours.initial).outputs = Some(floats(&[0.5, f64::NAN]));
        assert_eq!(first(&ours, &start()), Some((Quantity::Outputs, None)));
        Arc::make_mut(&mut ours.initial).weights.insert("a".to_owned(), floats(&[2.0, 1.0]));
        assert_eq!(first(&ours, &start()), Some((Quantity::InitialWeights, Some("a".to_owned()))));
        Arc::make_mut(&mut ours.initial).weights =
            BTreeMap::from([("a".to_owned(), floats(&[2.0, 1.0]))]);
        assert_eq!(first(&ours, &start()), Some((Quantity::Parameters, Some("b".to_owned()))));
    }

    #[test]
    fn the_first_layer_that_differs_is_named_only_where_the_outputs_differ() {
        let with = |first: f64, second: &[f64], output: f64| {
            let mut traces = traces();
            Arc::make_mut(&mut traces.initial).activations = vec![
                ("ours alone".to_owned(), floats(&[first])),
                ("block1.attention".to_owned(), floats(&[first])),
                ("block1.out".to_owned(), floats(second)),
            ];
            Arc::make_mut(&mut traces.initial).outputs = Some(floats(&[output, -0.5]));
            traces
        };
        let mut theirs = with(1.0, &[2.0, 3.0], 0.5);
        Arc::make_mut(&mut theirs.initial).activations.remove(0);
        let first = |ours: &Traces| {
            let found = compare(ours, &theirs, &start(), &float64_tolerance());
            let first = found.into_iter().find(|difference| !difference.is_within());
            first.map(|found| (found.quantity, found.of.unwrap_or_default(), found.note))
        };
        let found = |of: &str, note: Option<&str>| {
            Some((Quantity::Activation, of.to_owned(), note.map(str::to_owned)))
        };
        assert_eq!(first(&with(1.1, &[2.2, 3.0], 0.6)), found("block1.attention", None));
        assert_eq!(first(&with(1.0, &[2.2, 3.0], 0.6)), found("block1.out", None));
        let shape = Some("the shape is [1], not [2]");
        assert_eq!(first(&with(1.0, &[2.2], 0.6)), found("block1.out", shape));
        let of = String::new();
        assert_eq!(first(&with(1.0, &[2.0, 3.0], 0.6)), Some((Quantity::Outputs, of, None)));
        assert_eq!(first(&with(1.1, &[2.2], 0.5)), None);
    }

    #[test]
    fn an_update_next_to_a_large_weight_is_not_hidden_by_it() {
        let mut ours = traces();
        edit(&mut ours.trained).weights.insert("b".to_owned(), floats(&[2.7 + 3e-9]));
        assert_eq!(first(&ours, &start()), Some((Quantity::ArrayUpdate, Some("b".to_owned()))));
    }
}
