//! The fields of `specs/NAME.yaml`, as they are written.
//!
//! Must not depend on what a value must be beyond its type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::setting::SettingsSchema;
use crate::spec::{Profile, Setting, Source, WeightsSpec};
use crate::yaml::Spanned;

/// One experiment, as written in `specs/NAME.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta experiment")]
pub struct Spec {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// The file's name without `.yaml`.
    pub name: String,
    /// Heading of the experiment's table.
    pub title: String,
    /// What a harness does and how the host scores it.
    pub task: Task,
    /// Seed of initial weights, batch order and dropout.
    pub seed: u64,
    /// Where the arrays come from.
    pub data: DataSpec,
    /// What a harness reads as `run.config`. Training needs `batch_size` and `epochs`.
    #[schemars(with = "SettingsSchema")]
    pub settings: BTreeMap<String, Spanned<Setting>>,
    /// Settings that a check replaces, such as dropout.
    #[serde(default)]
    #[schemars(with = "SettingsSchema")]
    pub check: BTreeMap<String, Spanned<Setting>>,
    /// Settings with which the first update is a multiple of the gradient, such as an ε of Adam
    /// that is far larger than it. A check compares gradients with them; with `optimizer: sgd` it
    /// needs none.
    #[serde(default)]
    #[schemars(with = "SettingsSchema")]
    pub gradient: BTreeMap<String, Spanned<Setting>>,
    /// The target that a check compares with [default: numpy].
    #[schemars(with = "Option<String>")]
    pub reference: Option<Spanned<String>>,
    /// How far a check in float32 may be from the reference.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Initial weights, in forward order.
    #[serde(default)]
    pub initial_weights: WeightsSpec,
    /// Sizes to run the experiment at.
    pub profiles: BTreeMap<String, Profile>,
    /// Bands that an accuracy must fall into.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// What a harness does with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Train, then predict logits (rows, classes); scored by accuracy.
    Classification,
    /// Predict features (rows, width) with given weights; scored by speed.
    Features,
}

/// Where the arrays `x_train`, `y_train`, `x_test`, `y_test` come from: exactly one of both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A data set that rosetta knows: `rosetta data list`.
    #[schemars(with = "Option<String>")]
    pub dataset: Option<Spanned<String>>,
    /// `.npy` files of your own, by array name, relative to the spec.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PathBuf>")]
    pub files: BTreeMap<String, Spanned<PathBuf>>,
    /// With `files`: floating inputs are divided by this number.
    pub divide_by: Option<f64>,
}

/// A band for the accuracy of one profile on one kind of data.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    #[schemars(with = "String")]
    pub profile: Spanned<String>,
    pub source: Source,
    /// Lowest and highest accuracy, from 0 to 1.
    pub accuracy: [f64; 2],
}

/// Relative errors that rounding to float32 explains; docs/equivalence.md tells how each is measured.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Of logits or features with the initial weights.
    pub outputs: f64,
    /// Of the loss of each step.
    pub loss: f64,
    /// Of the gradient of the first step.
    pub gradient: f64,
    /// Of all that the steps have changed; a single array may be three times as far.
    pub update: f64,
    /// Of logits with the trained weights.
    pub trained: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { outputs: 1e-5, loss: 1e-4, gradient: 2e-2, update: 3e-2, trained: 1e-2 }
    }
}

/// What a target rounds to where it computes in less than float32, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 10 bits of mantissa in products.
    Tf32,
    /// bfloat16: 7 bits of mantissa and one implied.
    Bf16,
}

impl Precision {
    pub fn as_str(self) -> &'static str {
        match self {
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Returns the unit roundoff, half a unit in the last place: TF32 keeps 10 bits of the mantissa
    /// (NVIDIA, "NVIDIA A100 Tensor Core GPU Architecture"), bfloat16 7 and an implied one (Intel,
    /// "BFLOAT16 – Hardware Numerics Definition").
    pub fn roundoff(self) -> f64 {
        match self {
            Precision::Tf32 => f64::exp2(-11.0),
            Precision::Bf16 => f64::exp2(-8.0),
        }
    }
}

impl Tolerance {
    /// Returns what rounding to `precision` explains, where rounding to float32 explains `self`.
    ///
    /// Outputs may be off by ten to twenty times the [`Precision::roundoff`], 5e-4 and 4e-3, a loss,
    /// which is a mean, by two; an update by more, as Adam divides by small gradients.
    pub fn of(self, precision: Precision) -> Tolerance {
        let floor = match precision {
            Precision::Tf32 => {
                Tolerance { outputs: 1e-2, loss: 1e-3, gradient: 5e-2, update: 1e-1, trained: 5e-2 }
            }
            Precision::Bf16 => {
                Tolerance { outputs: 5e-2, loss: 1e-2, gradient: 2e-1, update: 3e-1, trained: 2e-1 }
            }
        };
        Tolerance {
            outputs: self.outputs.max(floor.outputs),
            loss: self.loss.max(floor.loss),
            gradient: self.gradient.max(floor.gradient),
            update: self.update.max(floor.update),
            trained: self.trained.max(floor.trained),
        }
    }
}
