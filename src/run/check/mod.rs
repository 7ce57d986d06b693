//! The loop of a check: each target computes a few steps from the same weights on the same
//! batches, and so does the reference; [`crate::proof`] judges what both stored.
//!
//! The harnesses are those of a run, in the mode `check` of the protocol. A check is not timed:
//! several go on at once. What the reference computes is cached under `checks/` of rosetta's home,
//! by a digest of all that it follows from.

mod bench;
mod cache;
mod case;
mod compute;
mod imports;
mod reference;
mod search;
#[cfg(test)]
mod tests;

pub use self::bench::{CheckSettings, Checked, at_once, check, threads};
