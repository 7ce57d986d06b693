//! Collects until every job has a record, or somebody does not want to wait any longer: tasks go on then.
//!
//! Must not depend on what a pass does.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::collect::{Collector, Pass};
use crate::process::Cancel;
use crate::run::signals;
use crate::spec::Experiment;

/// How a following ended.
pub struct Followed {
    pub last: Pass,
    /// Somebody interrupted it; the tasks go on.
    pub is_interrupted: bool,
}

impl Collector<'_> {
    /// Collects again and again, and says after each pass how far it is. Slurm is asked once in each interval of the launcher's
    /// file, however many tasks there are.
    pub fn follow(&mut self, experiments: &[Experiment], tell: &dyn Fn(&Pass)) -> Result<Followed> {
        let runtime = signals::runtime()?;
        runtime.block_on(async {
            let mut cancel = signals::listen()?;
            let (mut asks_accounts, interval) = (false, self.launcher().poll);
            loop {
                let pass = self.pass(experiments, asks_accounts)?;
                tell(&pass);
                // Each call has an interval of its own.
                let calls = 1 + u32::from(asks_accounts) + u32::from(pass.submitted > 0);
                asks_accounts = !asks_accounts && pass.late > 0;
                let is_interrupted = *cancel.borrow() != Cancel::No;
                if pass.is_finished() || is_interrupted {
                    return Ok(Followed { last: pass, is_interrupted });
                }
                let rest = interval.max(Duration::from_secs(1)) * calls;
                tokio::select! {
                    () = sleep(rest) => {}
                    _ = cancel.changed() => {}
                }
            }
        })
    }
}
