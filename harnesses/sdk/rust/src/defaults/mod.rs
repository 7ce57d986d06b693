//! What a framework does unless it is told otherwise: measured, not looked up.
//!
//! A framework's `defaults.rs` makes its layers, losses and optimisers with their defaults and
//! hands them over as functions of arrays. Each function here runs them and derives properties
//! from what comes out; a [`Report`] sends them. It measures what `rosetta.defaults` of the Python
//! SDK does and says it in the same words. May not know any framework.

mod chance;
mod decay;
mod gru;
mod images;
mod initialiser;
mod loss;
mod number;
mod optimiser;
mod transformer;
mod values;

use std::{
    collections::BTreeMap,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::json;

pub use self::{
    decay::{Decaying, clipping, decay},
    gru::{Gru, gru},
    images::{Layer, Layout, convolution, dense, pooling, shorthand},
    initialiser::{embedding, recurrent},
    loss::{Labels, loss},
    optimiser::{adam, momentum, padding_row, words},
    transformer::{attention, gelu, layer_norm},
    values::{dropout, seeds, types},
};
use crate::{Array, Run, array::Values, fail};

/// What a measurement says that cannot tell.
pub const UNKNOWN: &str = "none of the known";
/// What is said of a setting that has no default.
pub const MUST_BE_STATED: &str = "must be stated";
/// What is said of an input that a framework does not take.
pub const REFUSED: &str = "refused";

/// What a framework's function returns, or why it refuses.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// A layer as a function.
pub type Call = Box<dyn Fn(Array) -> Result<Array>>;
/// Names and values.
pub type Properties = BTreeMap<&'static str, String>;

/// Sends properties as facts of a run.
pub struct Report<'a> {
    run: &'a Run,
    overrides: BTreeMap<&'a str, [&'a str; 2]>,
    sent: Vec<String>,
}

impl<'a> Report<'a> {
    /// `overrides` names, for a property, a harness and the text in it by which the default is
    /// overridden; rosetta looks for the text.
    pub fn new<const N: usize>(run: &'a Run, overrides: [(&'a str, [&'a str; 2]); N]) -> Self {
        Report { run, overrides: overrides.into(), sent: Vec::new() }
    }

    /// Sends what was measured.
    pub fn send(&mut self, properties: Properties) {
        for (name, value) in &properties {
            self.fact(name, value, "run");
        }
    }

    /// Sends what could only be read, from a signature or a document, and not run.
    pub fn read(&mut self, name: &str, value: &str) {
        self.fact(name, value, "read");
    }

    fn fact(&mut self, name: &str, value: &str, how: &str) {
        let mut fact = json!({"value": value, "how": how});
        if let Some(place) = self.overrides.get(name) {
            fact["override"] = json!(place);
        }
        self.run.fact(name, fact);
        self.sent.push(name.to_owned());
    }

    /// Ends the process if there are words on properties that were never measured.
    pub fn close(self) {
        let is_idle = |name: &&&str| !self.sent.iter().any(|sent| sent == **name);
        let idle: Vec<_> = self.overrides.keys().filter(is_idle).copied().collect();
        if !idle.is_empty() {
            fail(format!("never measured: {}", idle.join(", ")));
        }
    }
}

/// Returns what a framework answers, or nothing where it refuses, by an error or a panic.
fn attempt<T>(call: impl FnOnce() -> Result<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()?.ok()
}

fn floats(array: &Array) -> Vec<f64> {
    match &array.values {
        Values::F32(all) => all.iter().map(|&value| value.into()).collect(),
        Values::F64(all) => all.clone(),
        Values::I32(all) => all.iter().map(|&value| value.into()).collect(),
    }
}

/// Says whether all of `found` are within a share and an amount of what is wanted.
fn are_close(found: &[f64], wanted: &[f64], share: f64, amount: f64) -> bool {
    let is_close = |(f, w): (&f64, &f64)| (f - w).abs() <= amount + share * w.abs();
    found.len() == wanted.len() && found.iter().zip(wanted).all(is_close)
}

fn properties<const N: usize>(named: [(&'static str, &str); N]) -> Properties {
    named.map(|(name, value)| (name, value.to_owned())).into()
}
