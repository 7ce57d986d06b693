//! Where a data set came from. Must not depend on how it is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a data set came from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The authors' archive, digest verified.
    Real,
    /// A well-formed archive whose digest is not the authors'.
    Unverified,
    /// The twin made from the seed.
    Synthetic,
    /// Files of a user's own experiment.
    Own,
}

impl Source {
    /// Returns the word used in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Real => "real",
            Source::Unverified => "unverified",
            Source::Synthetic => "synthetic",
            Source::Own => "own",
        }
    }
}
