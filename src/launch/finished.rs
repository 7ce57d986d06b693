//! What there is to know of a job that has ended, wherever it ran.
//!
//! Must not depend on any kind of place.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::gpu;
use crate::machine::Machine;
use crate::process::{Done, Exit, LineCounts, Taken};

/// What there is to know of a process that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    pub exit: Exit,
    /// From the launch, the zero of every stamp, to the start of the process.
    pub started: Duration,
    /// From the start of the process to its end.
    pub wall: Duration,
    /// From the start of the process to its first event.
    pub first_event: Option<Duration>,
    /// User and system time of the whole tree.
    pub cpu_seconds: f64,
    pub user_seconds: f64,
    pub system_seconds: f64,
    /// The largest sum over the tree in a sample, and at least `max_rss_bytes`.
    pub peak_rss_bytes: u64,
    /// The largest resident set of one process, by the kernel.
    pub max_rss_bytes: u64,
    pub samples: u32,
    /// The most threads and processes of the tree at one time.
    pub threads_seen: u32,
    pub processes_seen: u32,
    pub cpus_allowed: BTreeSet<usize>,
    /// How many processes outlived the job and were killed.
    pub left_behind: u32,
    /// How often the kernel killed for want of memory on that machine meanwhile.
    pub oom_kills: u64,
    /// The machine that it ran on, when it began; absent if its shim was lost and of a job that is not measured.
    pub machine: Option<Machine>,
    /// What disturbed it, if something did.
    pub disturbance: Option<String>,
    /// What was used of the GPUs meanwhile; absent of a job of the CPU and where there is no GPU.
    pub gpu: Option<gpu::Usage>,
    pub lines: LineCounts,
    /// Standard output ended within a line.
    pub truncated_tail: bool,
    /// Why the first rejected line was rejected.
    pub first_rejection: Option<String>,
    /// The last lines of standard error.
    pub last_words: Vec<String>,
}

impl Finished {
    /// Joins what the shim says with what came of the streams; `started` is the time from the launch to the start.
    pub(super) fn new(
        done: Done,
        started: Duration,
        taken: Taken,
        last_words: Vec<String>,
    ) -> Finished {
        Finished {
            exit: done.exit,
            started,
            wall: Duration::from_secs_f64(done.wall_seconds.max(0.0)),
            first_event: taken.first_event.map(|at| at.saturating_sub(started)),
            cpu_seconds: done.user_seconds + done.system_seconds,
            user_seconds: done.user_seconds,
            system_seconds: done.system_seconds,
            peak_rss_bytes: done.peak_rss_bytes,
            max_rss_bytes: done.max_rss_bytes,
            samples: done.samples,
            threads_seen: done.threads_seen,
            processes_seen: done.processes_seen,
            cpus_allowed: done.cpus_allowed,
            left_behind: done.left_behind,
            oom_kills: done.oom_kills,
            machine: done.machine,
            disturbance: done.disturbance,
            gpu: done.gpu,
            lines: taken.counters,
            truncated_tail: taken.truncated_tail,
            first_rejection: taken.first_rejection,
            last_words,
        }
    }
}
