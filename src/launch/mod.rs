//! Where jobs run: one [`Launcher`] for each kind of place.
//!
//! Must not depend on what a line means, nor on what becomes of a job that has ended.
//!
//! A launcher gets a [`Launch`](crate::process::Launch), which says what is wanted, has a shim of `process` carry it out
//! where the job shall run, and returns a [`Finished`]. What belongs to that place (machine, disturbances, GPUs, CPUs,
//! inherited variables) is taken there, by the shim.

mod environment;
mod finished;
mod launcher;
mod local;
mod pipe;
mod shim;

pub use environment::{environment, masked, shown, variables};
pub use finished::Finished;
pub use launcher::{Launcher, Running};
pub use local::Local;
