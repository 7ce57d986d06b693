//! Initial weights as a spec describes them, and what a tensor must be to be filled.
//!
//! Must not depend on how numbers are drawn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::yaml::Spanned;

/// Initial weights: a recipe that rosetta knows, or tensors one by one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsSpec {
    /// `resnet50`: imported weights where there are some, else made from the seed.
    pub recipe: Option<WeightsRecipe>,
    #[serde(default)]
    pub tensors: Vec<TensorSpec>,
}

/// Weights that are too many to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightsRecipe {
    Resnet50,
}

/// One initial weight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Canonical shape: kernels (out, in, height, width), dense (out, in).
    pub shape: Vec<usize>,
    pub init: Init,
    /// Half-width of `uniform`, standard deviation of `normal`.
    pub scale: Option<f64>,
    /// Number of equal blocks along the first axis that are initialised apart, as gates of a GRU.
    #[serde(default = "one")]
    pub blocks: usize,
}

fn one() -> usize {
    1
}

/// How a tensor is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    Zeros,
    Ones,
    /// U(−l, l), l = √(6 / (fan_in + fan_out)).
    GlorotUniform,
    /// N(0, 2 / fan_in).
    HeNormal,
    /// U(−scale, scale).
    Uniform,
    /// N(0, scale²).
    Normal,
}

impl TensorSpec {
    /// Returns why it cannot be filled, if it cannot.
    pub(super) fn problem(&self) -> Option<String> {
        let elements = self.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        let is_scaled = matches!(self.init, Init::Uniform | Init::Normal);
        let has_fans = matches!(self.init, Init::GlorotUniform | Init::HeNormal);
        if self.shape.is_empty() || self.shape.contains(&0) {
            Some("`shape` needs at least one size, and none may be 0".to_owned())
        } else if elements.is_none_or(|n| n > 1 << 30) {
            Some(format!("`shape` has more than {} elements", 1 << 30))
        } else if is_scaled != self.scale.is_some() {
            Some("`scale` belongs to `uniform` and `normal`, which need it".to_owned())
        } else if self.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            Some("`scale` must be a positive number".to_owned())
        } else if has_fans && self.shape.len() < 2 {
            Some("`init` needs a shape of two or more axes".to_owned())
        } else if self.blocks == 0 || !self.shape[0].is_multiple_of(self.blocks) {
            Some(format!("`blocks` must divide the first axis, {}", self.shape[0]))
        } else {
            None
        }
    }
}
