//! One job where it runs: a process is started, watched, measured and stopped with all its descendants.
//!
//! Must not depend on frameworks, specs, or what becomes of an event.
//!
//! A launcher writes an [`Order`] and starts a shim with it, wherever the job shall run; the shim starts the process (see
//! `shim`) and says in a [`Done`] how that went. What the process writes on its standard output passes the shim by: nothing
//! stands between the harness and the clock of whoever reads it, through an `Intake` and a `Log`.

mod builder;
mod done;
mod environment;
pub(crate) mod handover;
mod intake;
pub(crate) mod kernel;
mod leftover;
mod log;
mod order;
mod shim;
mod site;
mod splitter;
mod tree;
mod watch;

use std::time::Duration;

pub use builder::{BUILDER, builder_main, guarded};
pub use done::{DONE, Done, Exit};
pub use environment::{Environment, is_secret};
pub use intake::LineCounts;
pub(crate) use intake::{Intake, Taken};
pub use kernel::survive_file_limits;
pub use leftover::{end_leftovers, is_of_a_dead_rosetta, leftovers};
pub(crate) use log::Log;
pub use order::{Cancel, Launch, Order};
pub use shim::{SHIM, TAG, serve, shim_main};
pub use splitter::{LONGEST_LINE, Piece, Splitter};
pub(crate) use tree::{ended_foundlings, is_stopped, tagged};

/// What stands for a longer time: sums of times stay within the clock's range.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
