//! What the jobs of one experiment are given: data, initial weights, batch order, settings.
//!
//! Must not depend on frameworks, on processes, or on what becomes of the numbers.

pub mod dropout_probe;
mod prepare;

pub use self::prepare::{Material, Settings, Size};
