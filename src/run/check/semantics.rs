//! How a harness treats what a check without dropout hides.

use anyhow::{Result, anyhow};

use super::case::Case;
use super::part::{Dropout, FLOAT32, Outcomes, Part, STEPS};
use crate::check::{SAME, Semantic, Trace, probe, relative_max};
use crate::spec::{Precision, Task, Tolerance};

impl Case<'_> {
    /// Returns how the harness treats what a check without dropout hides.
    pub(super) fn semantics(&self, outcomes: &Outcomes, parts: &[Part]) -> Result<Vec<Semantic>> {
        let experiment = self.ours.job.experiment;
        let part = |name: &str| {
            let trace = outcomes.get(name).and_then(|outcome| outcome.as_ref().ok());
            trace.ok_or_else(|| anyhow!("the part `{name}` is missing"))
        };
        let initial = part("float32-0")?;
        let again = Again::of(self.ours.job.target.precision, &self.tolerance(FLOAT32));
        if experiment.spec.task == Task::Features {
            let apart = outputs_apart(initial, part("half-batches")?);
            return Ok(vec![Semantic {
                claim: "features do not depend on the batch they are computed in".to_owned(),
                seen: format!("{apart:.0e} apart"),
                is_so: apart <= self.tolerance(FLOAT32).outputs,
            }]);
        }
        let Some(dropout) = Dropout::of(experiment) else {
            let apart = losses_apart(part(&format!("float32-{STEPS}"))?, part("again")?);
            return Ok(vec![self.repeats("one seed repeats", apart, again)]);
        };
        let apart = outputs_apart(initial, part("predict")?);
        let mut found = vec![Semantic {
            claim: "prediction drops nothing".to_owned(),
            seen: format!("{apart:.0e} apart from no dropout"),
            is_so: apart <= again.outputs,
        }];
        for (which, rate) in dropout.rates.iter().enumerate() {
            let name = format!("dropout-{which}");
            let probe = parts.iter().filter(|part| part.name == name).collect::<Vec<_>>();
            if probe.is_empty() {
                continue; // There is no dropout, or no way to see it.
            }
            let theirs = self.kept(&[], &probe)?;
            let theirs = theirs[&name].as_ref().map_err(|why| anyhow!("{why}"))?;
            let layers = probe::layers(probe::see(theirs, self.material.batch_size)?, *rate);
            let seen = probe::see(part(&name)?, self.material.batch_size)?;
            found.extend(probe::judge(seen, layers, *rate, which));
            let is_so = probe::predicts_whole(part(&name)?);
            let seen = if is_so { "what was put in came out" } else { "something else came out" };
            found.push(Semantic {
                claim: format!("prediction passes on all of dropout {}", which + 1),
                seen: seen.to_owned(),
                is_so,
            });
        }
        let apart = losses_apart(part("seed")?, part("other-seed")?);
        found.push(Semantic {
            claim: "two seeds differ".to_owned(),
            seen: format!("losses {apart:.0e} apart"),
            is_so: apart > SAME,
        });
        found.push(self.repeats(
            "one seed repeats",
            losses_apart(part("seed")?, part("seed-again")?),
            again,
        ));
        Ok(found)
    }

    fn repeats(&self, claim: &str, apart: f64, again: Again) -> Semantic {
        let is_declared = !self.ours.job.target.deterministic;
        let mut seen = match apart {
            0.0 => "bit for bit".to_owned(),
            apart => format!("losses {apart:.0e} apart"),
        };
        if is_declared && apart > again.losses {
            seen += ", as declared";
        }
        Semantic { claim: claim.to_owned(), seen, is_so: apart <= again.losses || is_declared }
    }
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
    fn of(precision: Option<Precision>, tolerance: &Tolerance) -> Again {
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
    use super::{Again, SAME};
    use crate::spec::{Precision, Tolerance};

    #[test]
    fn only_what_rounds_on_purpose_may_differ_from_itself() {
        let exact = Again::of(None, &Tolerance::default());
        assert_eq!(exact, Again { outputs: SAME, losses: SAME });
        let precision = Precision::Tf32;
        let rounded = Again::of(Some(precision), &Tolerance::default().of(precision));
        assert!(rounded.outputs > 9e-4 && rounded.losses > 1e-5);
        assert!(rounded.outputs < 1e-1 && rounded.losses < 2e-2); // two seeds are 2e-2 apart
    }
}
