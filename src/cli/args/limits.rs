//! Arguments that limit a run: what ends it or its jobs early, and what is tried again. Types only.

use std::time::Duration;

use clap::Args;

use crate::quantity::{parse_bytes, parse_duration};

const LIMITS: &str = "Limits";

/// What ends a job or a run early, and what is tried again.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = LIMITS)]
pub struct LimitArgs {
    /// Time limit of each job, as 90s, 1h30m or 1.5h [default: the profile's]
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// End a job that has said nothing for this long [default: half its time limit, at least 10 minutes]
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub stall_timeout: Option<Duration>,
    /// End a job whose processes use more memory than this, as 8G or 500M
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub memory_limit: Option<u64>,
    /// Time of the run as a whole, as 6h: what it does not suffice for is dropped, later repeats first
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub budget: Option<Duration>,
    /// Start a job once more that was killed from outside, or for which the machine had no room, this often
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// Measure a job once more that something disturbed, this often
    #[arg(long, value_name = "TIMES", default_value_t = 0, hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retry_tainted: u32,
    /// Wait before each job until others leave the machine alone, at most this long
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub wait_quiet: Option<Duration>,
    /// Fail where another run uses the machine, instead of waiting for its end
    #[arg(long)]
    pub no_wait: bool,
}
