//! The wire protocol of docs/protocol.md: what can be said (`kind`), how a line becomes it (`parse`, with a one-pass
//! way in `quick`), numbers that JSON has not (`number`), what got lost on the way (`sequence`), and how much may be said
//! (`budget`).
//!
//! Must not depend on where a line comes from or what becomes of an event.
//!
//! A line is an event if it is a JSON object that has `ev` and `v`. Everything else is chatter: a warning of a C library
//! must not end a job. What claims to be an event and is not is rejected with a reason. Unknown fields are passed over
//! here and stay in the stored line; an unknown kind keeps all of its fields.

mod budget;
mod kind;
mod number;
mod parse;
mod quick;
mod sequence;

pub use budget::OutputBudget;
pub use kind::{Event, Line, PROTOCOL, Stamped};
pub use parse::parse;
pub use sequence::Sequence;
