//! The same jobs on two sides in turn, so that whatever the machine does meanwhile hits both alike.
//!
//! Must not depend on what the two sides are compared for.

use anyhow::Result;

use super::budget::TimeBudget;
use super::check::Checked;
use super::jobs::run;
use super::notice::{Notice, Notify};
use super::session::Session;
use super::signals;
use crate::plan::{Job, Plan};
use crate::proof::Verdict;
use crate::record::Record;
use crate::report::three_digits;
use crate::request::Request;

/// One side: where its frameworks come from, and what to run there.
pub struct PairSide<'a> {
    /// What it is called where its jobs are shown.
    pub name: &'a str,
    pub session: &'a Session,
    pub request: &'a Request,
    pub plan: &'a Plan<'a>,
    /// What checks have found of its targets.
    pub verdicts: Vec<Verdict>,
}

/// What became of pairs: the records of both sides, in the order of the pairs.
#[derive(Debug, Default)]
pub struct Paired {
    pub records: [Vec<Record>; 2],
    pub is_interrupted: bool,
}

/// Runs one job so often on each side; who is first changes with each pair.
pub fn pairs(sides: [&PairSide; 2], job: [&Job; 2], count: u32, notify: Notify) -> Result<Paired> {
    // One run at a time on a machine: nobody else shall be timed meanwhile.
    let _machine = sides[0].session.machine(false, notify)?;
    let runtime = signals::runtime()?;
    let mut paired = Paired::default();
    for pair in 0..count {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let PairSide { name, session, request, verdicts, .. } = sides[side];
            let job = Job { repeat: pair + 1, ..job[side].clone() };
            let (experiment, title) = (job.experiment.name(), &job.target.title);
            let step = format!("{experiment} · {title} · pair {} of {count} · {name}", pair + 1);
            notify(Notice::StepStarted { name: &step });
            // Of what makes it ready only what fails is told.
            let notify_failure = |notice: Notice| {
                if let Notice::StepFailed { .. } = notice {
                    notify(notice);
                }
            };
            let plan = Plan { jobs: vec![job], ..Plan::default() };
            let no_limit = TimeBudget::begin(None);
            let checked = Checked { verdicts: verdicts.clone(), ..Checked::default() };
            let going = run(&plan, None, checked, request, no_limit, session, &notify_failure);
            let ended = runtime.block_on(going)?;
            notify(told(&step, ended.records.last()));
            paired.records[side].extend(ended.records);
            if ended.is_interrupted {
                paired.is_interrupted = true;
                return Ok(paired);
            }
        }
    }
    Ok(paired)
}

/// Returns what to say of a job that has ended.
fn told<'a>(step: &'a str, record: Option<&Record>) -> Notice<'a> {
    match record {
        Some(record) if record.is_whole() => {
            let seconds = record.times.training.or(record.times.predict);
            let took = seconds.map(|seconds| format!("{} s", three_digits(seconds)));
            Notice::StepDone { name: step, what: took.unwrap_or_default() }
        }
        record => {
            let why = record.map(|record| &record.outcome);
            let words = why.map(|it| it.reason.clone().unwrap_or(it.status.as_str().to_owned()));
            Notice::StepFailed { name: step, why: words.unwrap_or("interrupted".to_owned()) }
        }
    }
}
