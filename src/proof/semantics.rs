//! How a harness treats what a check without dropout hides: dropout, seeds, batches.
//!
//! Must not depend on how the numbers were made.

use anyhow::{Result, anyhow};

use crate::plan::Job;
use crate::proof::cause::SAME;
use crate::proof::compare::relative_max;
use crate::proof::dropout::{claims, layers, predicts_whole, see};
use crate::proof::judge::{Evidence, tolerance};
use crate::proof::part::{Dropout, FLOAT32, Outcomes, STEPS, dropout_part};
use crate::proof::trace::Trace;
use crate::proof::verdict::Semantic;
use crate::spec::{Precision, Task, Tolerance};

/// Returns how the harness treats what a check without dropout hides.
pub(super) fn semantics(evidence: &Evidence) -> Result<Vec<Semantic>> {
    let (experiment, ours) = (evidence.job.experiment, evidence.ours);
    if experiment.spec.task == Task::Features {
        return Ok(vec![batch(evidence.job, ours)?]);
    }
    let is_deterministic = evidence.job.target.deterministic;
    let again = Again::of(evidence.job);
    let Some(dropout) = Dropout::of(experiment) else {
        let trained = part(ours, &format!("float32-{STEPS}"))?;
        let apart = losses_apart(trained, part(ours, "again")?);
        return Ok(vec![repeats(apart, again, is_deterministic)]);
    };
    let apart = outputs_apart(part(ours, "float32-0")?, part(ours, "predict")?);
    let mut found = vec![Semantic {
        claim: "prediction drops nothing".to_owned(),
        seen: format!("{apart:.0e} apart from no dropout"),
        is_so: apart <= again.outputs,
    }];
    for (which, rate) in dropout.rates.iter().enumerate() {
        // One that is not there was not probed, nor one that cannot be seen.
        if evidence.probed.contains_key(&dropout_part(which)) {
            found.extend(probed(evidence, which, *rate)?);
        }
    }
    let seed = part(ours, "seed")?;
    let apart = losses_apart(seed, part(ours, "other-seed")?);
    found.push(Semantic {
        claim: "two seeds differ".to_owned(),
        seen: format!("losses {apart:.0e} apart"),
        is_so: apart > SAME,
    });
    found.push(repeats(losses_apart(seed, part(ours, "seed-again")?), again, is_deterministic));
    Ok(found)
}

/// Returns whether features are those of each row alone.
pub(super) fn batch(job: &Job, ours: &Outcomes) -> Result<Semantic> {
    let apart = outputs_apart(part(ours, "float32-0")?, part(ours, "half-batches")?);
    Ok(Semantic {
        claim: "features do not depend on the batch they are computed in".to_owned(),
        seen: format!("{apart:.0e} apart"),
        is_so: apart <= tolerance(FLOAT32, job).outputs,
    })
}

/// Returns what the probe of one dropout shows.
fn probed(evidence: &Evidence, which: usize, rate: f64) -> Result<Vec<Semantic>> {
    let name = dropout_part(which);
    let theirs = see(part(evidence.probed, &name)?, evidence.batch_size)?;
    let ours = part(evidence.ours, &name)?;
    let seen = see(ours, evidence.batch_size)?;
    let mut found = claims(seen, layers(theirs, rate), rate, which).to_vec();
    let is_so = predicts_whole(ours);
    let seen = if is_so { "what was put in came out" } else { "something else came out" };
    found.push(Semantic {
        claim: format!("prediction passes on all of dropout {}", which + 1),
        seen: seen.to_owned(),
        is_so,
    });
    Ok(found)
}

fn part<'a>(outcomes: &'a Outcomes, name: &str) -> Result<&'a Trace> {
    match outcomes.get(name) {
        Some(Ok(trace)) => Ok(trace),
        Some(Err(why)) => Err(anyhow!("{why}")),
        None => Err(anyhow!("the part `{name}` is missing")),
    }
}

fn repeats(apart: f64, again: Again, is_deterministic: bool) -> Semantic {
    let mut seen = match apart {
        0.0 => "bit for bit".to_owned(),
        apart => format!("losses {apart:.0e} apart"),
    };
    if !is_deterministic && apart > again.losses {
        seen += ", as declared";
    }
    let claim = "one seed repeats".to_owned();
    Semantic { claim, seen, is_so: apart <= again.losses || !is_deterministic }
}

/// How far the same computation may be from itself.
///
/// A GPU may take another algorithm the second time, as cuDNN's search does. In float32 that was not
/// seen to matter; what rounds to fewer bits is off by as much as its tolerance for being right: with
/// TF32, a CNN of PyTorch 2.11 on an H100 predicted 9e-4 and lost 1e-5 apart from itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Again {
    outputs: f64,
    losses: f64,
}

impl Again {
    fn of(job: &Job) -> Again {
        Again::with(job.target.precision, &tolerance(FLOAT32, job))
    }

    fn with(precision: Option<Precision>, tolerance: &Tolerance) -> Again {
        match precision {
            None => Again { outputs: SAME, losses: SAME },
            Some(_) => Again { outputs: tolerance.outputs, losses: tolerance.loss },
        }
    }
}

fn outputs_apart(one: &Trace, two: &Trace) -> f64 {
    match (&one.outputs, &two.outputs) {
        (Some(a), Some(b)) if a.shape == b.shape => relative_max(&a.values, &b.values),
        _ => f64::INFINITY,
    }
}

fn losses_apart(one: &Trace, two: &Trace) -> f64 {
    match one.losses.len() == two.losses.len() {
        true => relative_max(&one.losses, &two.losses),
        false => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_repeats_or_is_declared_not_to() {
        let cases = [
            (0.0, true, "bit for bit", true),
            (1e-7, true, "losses 1e-7 apart", true),
            (1e-3, true, "losses 1e-3 apart", false),
            (1e-3, false, "losses 1e-3 apart, as declared", true),
        ];
        for (apart, is_deterministic, seen, is_so) in cases {
            let exact = Again::with(None, &Tolerance::default());
            let found = repeats(apart, exact, is_deterministic);
            assert_eq!((found.seen.as_str(), found.is_so), (seen, is_so));
        }
    }

    #[test]
    fn only_what_rounds_on_purpose_may_differ_from_itself() {
        let exact = Again::with(None, &Tolerance::default());
        assert_eq!(exact, Again { outputs: SAME, losses: SAME });
        let precision = Precision::Tf32;
        let rounded = Again::with(Some(precision), &Tolerance::default().of(precision));
        assert!(rounded.outputs > 9e-4 && rounded.losses > 1e-5);
        assert!(rounded.outputs < 1e-1 && rounded.losses < 2e-2); // two seeds are 2e-2 apart
    }
}
