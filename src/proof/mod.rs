//! Equivalence: whether two programs that trained from the same weights on the same batches
//! computed the same numbers.
//!
//! A pipeline of pure steps: a list of [`part`]s → the [`trace`]s that two programs left of them →
//! [`judge`], which says how far they are apart → a [`verdict`], known by its [`key`]. Must not
//! depend on how the numbers were made: `run` computes and remembers them.

mod cause;
mod compare;
mod dropout;
pub mod judge;
pub mod key;
pub mod part;
pub mod report;
mod semantics;
mod suspect;
mod trace;
mod verdict;

pub use self::cause::Cause;
pub use self::compare::{Difference, Given, Quantity, Traces};
pub use self::dropout::predicts_whole;
pub use self::suspect::suspects;
pub use self::trace::{Trace, given};
pub use self::verdict::{Compared, Equivalence, Grade, Semantic, VERSION, Verdict, sentence};
