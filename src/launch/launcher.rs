//! What each kind of place can do: run a job to its end.
//!
//! Must not depend on any kind of place.

use std::pin::Pin;

use anyhow::Result;
use tokio::sync::watch;

use super::finished::Finished;
use crate::event::Line;
use crate::process::{Cancel, Launch};

/// A job under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Finished>> + 'a>>;

/// A place where jobs run: this machine, later the nodes of a cluster.
pub trait Launcher {
    /// Runs a job to its end, hands on each line of its standard output, and returns how it went. However it ends, none
    /// of its processes is left. Fails only if rosetta itself cannot go on.
    ///
    /// Lines come as they are written where the place can stream them, with the time of their arrival; otherwise all at
    /// the end, with the stamps that the place has put on them. A change of `cancel` stops the job.
    fn run<'a>(
        &'a self,
        launch: &'a Launch,
        cancel: &'a mut watch::Receiver<Cancel>,
        on_line: &'a mut dyn FnMut(Line),
    ) -> Running<'a>;
}
