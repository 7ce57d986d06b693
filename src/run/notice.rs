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
    /// What the next job waits for, or has waited for in vain.
    NotQuiet {
        why: String,
        limit: Duration,
        is_over: bool,
    },
    /// The running job ended by a cause that passes, or was disturbed: it begins once more.
    Again {
        job: &'a Job<'a>,
        number: u32,
        of: u32,
        why: &'a str,
    },
    JobFinished(&'a Record),
    /// All jobs of an experiment are done, and those of another one follow.
    ExperimentDone(&'a [Record]),
}

/// Receives what a run says, from several threads.
pub type Notify<'a> = &'a (dyn Fn(Notice) + Sync);
