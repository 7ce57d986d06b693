//! `rosetta runs cancel`.

use std::process::ExitCode;

use anyhow::Result;

use super::{on_a_cluster, tell};
use crate::cli::{OK, WRONG_INPUT};
use crate::cluster::{Ledger, Slurm, name};
use crate::hint::{report, say};
use crate::project::Project;
use crate::request::FrameworksFrom;
use crate::run::{Collector, Session};
use crate::store::Store;

/// Cancels what is left of a run. What has ended is taken in; the rest has the outcome `cancelled` once Slurm has let go of it.
pub fn cancel(project: &Project, store: &Store, named: &str) -> Result<ExitCode> {
    let run = on_a_cluster(store, named)?;
    let ledger = Ledger::of(&run.folder);
    ledger.plan()?;
    // Written first: a task that starts now does nothing.
    ledger.cancel()?;
    let cancelled = Slurm.cancel(&name(&run.id), &[]);
    let id = &run.id;
    if run.is_running {
        say(format_args!(
            "run {id} is cancelled; the rosetta that collects it ends when Slurm has let go of its tasks"
        ));
    } else {
        let session = Session::open(project, store, FrameworksFrom::default())?;
        let mut collector = Collector::open(&session, id, &run.folder)?;
        let pass = collector.pass(&project.experiments()?, true)?;
        tell(id, &run.folder, &pass);
        if !pass.is_finished() {
            say(format_args!(
                "run {id} is cancelled; `rosetta runs collect {id}` ends it when Slurm has let go of its tasks"
            ));
        }
    }
    match cancelled {
        Ok(()) => Ok(OK),
        Err(error) => {
            report(&error);
            Ok(WRONG_INPUT.into())
        }
    }
}
