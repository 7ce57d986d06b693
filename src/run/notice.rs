//! What a run says while it goes on. Must not depend on how it is shown.

use std::time::Duration;

use crate::event::Event;
use crate::material::Material;
use crate::plan::Job;
use crate::progress::Progress;
use crate::record::Record;

/// What a run, a check or a measuring of defaults says while it goes on.
pub enum Notice<'a> {
    /// A long step begins: an environment, a data set, a check.
    StepStarted {
        name: &'a str,
    },
    StepProgress {
        name: &'a str,
        progress: Progress,
    },
    StepDone {
        name: &'a str,
        what: String,
    },
    StepFailed {
        name: &'a str,
        why: String,
    },
    /// Another run must end first.
    Waiting {
        process: Option<u32>,
    },
    /// Processes were ended that a run had left which was killed together with its shim.
    Swept {
        processes: usize,
    },
    /// What is to run could not be checked first.
    NotChecked(&'a anyhow::Error),
    /// Job `index` (from 0) of `total` begins; it and those after it take about so long, if that is known.
    JobStarted {
        index: usize,
        total: usize,
        left: Option<Duration>,
        job: &'a Job<'a>,
        material: &'a Material,
    },
    JobEvent(&'a Event),
    JobFinished(&'a Record),
}

/// Receives what a run says, from several threads.
pub type Notify<'a> = &'a (dyn Fn(Notice) + Sync);
