//! What a line that a job prints goes through on its way to the log and to its record: it is searched for credentials
//! ([`mask`]) and read as an event ([`event`]).
//!
//! A crate of its own, of which rosetta has nothing but these two modules: a compiler optimises crate by crate, and the rate
//! at which lines are taken in is the one thing here whose speed is counted in events and not in jobs.

pub mod event;
pub mod mask;
