//! Traces → a verdict: how far two programs are apart, what that usually comes from, and the grade.
//!
//! Must not depend on how the numbers were made. A cause that only another computation could tell
//! is a [`Clue`]; who computes hands its [`Cause`] back.

use anyhow::Result;

use crate::plan::Job;
use crate::proof::cause::{Cause, NOT_TRAINED, recognise, rounding};
use crate::proof::compare::{Difference, Given, Quantity, Traces, compare, float64_tolerance};
use crate::proof::part::{FLOAT64, Outcomes, numbers, traces};
use crate::proof::semantics::{batch, semantics};
use crate::proof::verdict::{Compared, Equivalence, Grade, Semantic, Verdict, sentence};
use crate::spec::{Task, Tolerance};
use crate::variant::{Stage, Variants};

/// What two programs computed.
pub struct Evidence<'a> {
    /// The target's job.
    pub job: &'a Job<'a>,
    /// The types that were computed in, float64 first.
    pub dtypes: &'a [&'static str],
    pub ours: &'a Outcomes,
    /// What the reference computed in the best type that it has.
    pub theirs: &'a Traces,
    /// What the reference computed of the dropout probe, part by part; empty where it shows nothing.
    pub probed: &'a Outcomes,
    pub given: &'a Given,
    pub batch_size: u64,
}

/// What the numbers tell.
#[derive(Debug)]
pub struct Judged {
    pub compared: Vec<Compared>,
    pub semantics: Vec<Semantic>,
    /// Where to look for the cause: the first that leads to one counts.
    pub clues: Vec<Clue>,
}

/// What may be the cause of the first difference in one type.
#[derive(Debug)]
pub struct Clue {
    pub dtype: &'static str,
    /// What the numbers themselves tell.
    pub told: Option<Cause>,
    /// Where a variant of the reference would show that fits better; none where `told` is all.
    pub stages: &'static [Stage],
}

/// Compares what two programs computed.
pub fn judge(evidence: &Evidence) -> Result<Judged> {
    let mut judged = Judged { compared: Vec::new(), semantics: Vec::new(), clues: Vec::new() };
    for &dtype in evidence.dtypes {
        let ours = traces(dtype, evidence.ours);
        let tolerance = tolerance(dtype, evidence.job);
        let differences = compare(&ours, evidence.theirs, evidence.given, &tolerance);
        let compared = Compared { dtype: dtype.to_owned(), differences };
        if let Some(first) = compared.first() {
            // Wrong mathematics would have been seen in float64.
            let early = match (judged.compared.is_empty(), judged.clues.is_empty()) {
                (true, _) => batch_statistics(evidence)?,
                (false, true) => rounding(first),
                (false, false) => None,
            };
            judged.clues.push(match early {
                Some(cause) => Clue { dtype, told: Some(cause), stages: &[] },
                None => clue(dtype, first, &ours, evidence),
            });
        }
        judged.compared.push(compared);
    }
    if judged.clues.is_empty() {
        judged.semantics = semantics(evidence)?;
    }
    Ok(judged)
}

/// Returns what the numbers tell of a difference, and where else its cause may be.
fn clue(dtype: &'static str, first: &Difference, ours: &Traces, evidence: &Evidence) -> Clue {
    let told = recognise(first, ours, evidence.theirs, evidence.given);
    let is_final = told.as_ref().is_some_and(|cause| cause.name != NOT_TRAINED);
    let stages: &[Stage] = match (first.quantity, first.of.as_deref()) {
        _ if is_final => &[],
        (Quantity::Parameters | Quantity::InitialWeights, _) => &[],
        (Quantity::Activation | Quantity::Outputs, _) => &[Stage::Forward],
        (Quantity::Loss, Some("step 1")) => &[Stage::Loss],
        _ => &[Stage::Update, Stage::Loss],
    };
    Clue { dtype, told, stages }
}

/// Returns the tolerance of a job in a type: what rounds on purpose is allowed more.
pub fn tolerance(dtype: &str, job: &Job) -> Tolerance {
    match dtype {
        FLOAT64 => float64_tolerance(),
        _ => {
            let stated = job.experiment.spec.tolerance;
            job.target.precision.map_or(stated, |precision| stated.of(precision))
        }
    }
}

/// Whether two programs agree, as far as both computed.
pub fn fits(ours: &Traces, theirs: &Traces, given: &Given, tolerance: &Tolerance) -> bool {
    compare(ours, theirs, given, tolerance).iter().all(Difference::is_within)
}

/// Returns the cause of features that change with the batch they are computed in.
fn batch_statistics(evidence: &Evidence) -> Result<Option<Cause>> {
    let experiment = evidence.job.experiment;
    if experiment.spec.task != Task::Features {
        return Ok(None);
    }
    let semantic = batch(evidence.job, evidence.ours)?;
    Ok((!semantic.is_so).then(|| Cause {
        name: "batch_statistics".to_owned(),
        says: format!(
            "features depend on their batch ({}): batch normalisation is in training mode",
            semantic.seen
        ),
        lines: Vec::new(),
    }))
}

/// Returns the cause of a job that failed over a shape, if its log shows a known number.
fn shape(log: &str, variants: &Variants, experiment: &str) -> Option<Cause> {
    let numbers = log.split(|c: char| !c.is_ascii_digit()).collect::<Vec<_>>();
    for variant in &variants.variants {
        let shown = variant.shows.get(experiment).map(u64::to_string);
        if shown.is_some_and(|shown| numbers.contains(&shown.as_str())) {
            let (name, says) = (variant.name.value.clone(), variant.says.clone());
            return Some(Cause { name, says, lines: Vec::new() });
        }
    }
    None
}

impl Judged {
    /// Returns the verdict on a target's job, of which `blank` says who it is.
    pub fn verdict(self, job: &Job, cause: Option<Cause>, blank: Verdict) -> Verdict {
        let Judged { compared, semantics, .. } = self;
        let mut verdict = Verdict { compared, semantics, ..blank };
        if let Some((dtype, first)) = verdict.first() {
            let mut reason = sentence(dtype, first);
            if let Some(cause) = &cause {
                reason = format!("{}; {reason}", cause.says);
            }
            verdict.cause = cause;
            verdict.equivalence = different(job, reason);
        } else if let Some(wrong) = verdict.semantics.iter().find(|semantic| !semantic.is_so) {
            verdict.equivalence = different(job, wrong.sentence());
        } else {
            let has_float64 = verdict.compared.iter().any(|compared| compared.dtype == FLOAT64);
            verdict.equivalence = same(job, has_float64);
        }
        verdict
    }
}

/// Returns the verdict on a target whose part `name` failed; a `log` may show a shape that is a
/// known variant's.
pub fn failed(
    job: &Job,
    (name, why): (&str, &str),
    log: &str,
    variants: &Variants,
    blank: Verdict,
) -> Verdict {
    let cause = shape(log, variants, job.experiment.name());
    let says = cause.as_ref().map(|cause| format!("{}; ", cause.says)).unwrap_or_default();
    let reason = format!("{says}its job `{name}` failed: {why}");
    let grade = if cause.is_some() { Grade::Different } else { Grade::Unchecked };
    let equivalence = Equivalence { grade, ..Equivalence::unchecked(reason) };
    Verdict { cause, equivalence, ..blank }
}

/// Returns the variants that a target declares.
pub fn declared(job: &Job) -> Vec<String> {
    job.target.variants.get(job.experiment.name()).cloned().unwrap_or_default()
}

fn same(job: &Job, has_float64: bool) -> Equivalence {
    let variants = declared(job);
    let grade = match (variants.is_empty(), has_float64) {
        (false, _) => Grade::Variant,
        (true, true) => Grade::Exact,
        (true, false) => Grade::Close,
    };
    let precision = job.target.precision;
    Equivalence { grade, variants, reason: None, is_declared: false, precision }
}

/// Returns what is said of a target that differs: what it declares, or what was found.
fn different(job: &Job, found: String) -> Equivalence {
    let declared = job.target.differences.get(job.experiment.name());
    Equivalence {
        grade: Grade::Different,
        variants: Vec::new(),
        reason: Some(declared.cloned().unwrap_or(found)),
        is_declared: declared.is_some(),
        precision: job.target.precision,
    }
}

/// Returns the framework's version, as any of the parts says it.
pub fn framework_version(outcomes: &Outcomes) -> Option<String> {
    outcomes.keys().find_map(|part| numbers(outcomes, part)?.version.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::arrays::Floats;
    use crate::catalog::{Device, Framework, FrameworkSpec};
    use crate::proof::compare::tests::{edit, floats, start, traces as right};
    use crate::proof::part::tests::experiment;
    use crate::proof::part::{FLOAT32, dtypes};
    use crate::proof::trace::Trace;
    use crate::yaml;

    /// Returns a framework with one target that declares this.
    fn framework(declares: &str) -> Framework {
        let text = format!(
            "version: 1\nname: ours\ntitle: Ours\nlanguage: python\nera: current\n\
             targets: [{{name: ours, title: Ours, env: {{}}{declares}}}]\n"
        );
        Framework {
            folder: "/ours".into(),
            spec: yaml::parse::<FrameworkSpec>("framework.yaml".as_ref(), &text).unwrap(),
            harnesses: BTreeMap::new(),
            defaults: None,
            speed: None,
            variants: Variants::default(),
        }
    }

    /// Returns the numbers of all parts of a check without dropout, in both types.
    fn outcomes(double: &Traces, single: &Traces) -> Outcomes {
        let mut outcomes = Outcomes::new();
        for (dtype, traces) in [(FLOAT64, double), (FLOAT32, single)] {
            outcomes.insert(format!("{dtype}-0"), Ok(traces.initial.clone()));
            let [gradient, trained] = [&traces.gradient, &traces.trained].map(Option::as_ref);
            outcomes.insert(format!("{dtype}-gradient"), Ok(gradient.unwrap().clone()));
            outcomes.insert(format!("{dtype}-5"), Ok(trained.unwrap().clone()));
        }
        let again = single.trained.clone().unwrap();
        outcomes.insert("again".to_owned(), Ok(again));
        outcomes
    }

    fn blank(job: &Job) -> Verdict {
        Verdict::blank(job, String::new(), "theirs", Equivalence::unchecked(""))
    }

    fn with_outputs(values: &[f64]) -> Traces {
        let mut traces = right();
        Arc::make_mut(&mut traces.initial).outputs = Some(floats(values));
        traces
    }

    /// Returns grade, reason and cause, without those that must be computed.
    fn judged(declares: &str, double: &Traces, single: &Traces, is_double: bool) -> Verdict {
        let (framework, experiment) =
            (framework(declares), experiment("classification", "{optimizer: sgd}", "{}"));
        let (target, profile) = (&framework.spec.targets[0], "check".to_owned());
        let (experiment, device, repeat) = (&experiment, Device::Cpu, 1);
        let job = Job { experiment, framework: &framework, target, device, profile, repeat };
        let (given, theirs) = (start(), right());
        let evidence = Evidence {
            job: &job,
            dtypes: dtypes(is_double),
            ours: &outcomes(double, single),
            theirs: &theirs,
            probed: &Outcomes::new(),
            given: &given,
            batch_size: 4,
        };
        let mut judged = judge(&evidence).unwrap();
        let told = judged.clues.iter_mut().find_map(|clue| clue.told.take());
        judged.verdict(&job, told, blank(&job))
    }

    #[test]
    fn the_grade_follows_from_the_numbers_and_from_what_is_declared() {
        let (same, near) = (right(), with_outputs(&[0.5 + 1e-7, -0.5]));
        let far = with_outputs(&[0.6, -0.5]);
        let declares = ", differences: {tiny: it is its own}";
        let variant = ", variants: {tiny: [longer_loss]}";
        let cases = [
            ("", &same, &near, true, Grade::Exact, ""),
            ("", &same, &near, false, Grade::Close, ""),
            (variant, &same, &near, true, Grade::Variant, ""),
            ("", &near, &near, true, Grade::Different, "outputs before training in float64"),
            ("", &far, &far, false, Grade::Different, "outputs before training in float32"),
            (declares, &far, &far, true, Grade::Different, "it is its own"),
            // What is declared says nothing of a target that agrees.
            (declares, &same, &near, true, Grade::Exact, ""),
        ];
        for (declares, double, single, is_double, grade, reason) in cases {
            let verdict = judged(declares, double, single, is_double).equivalence;
            let found = verdict.reason.unwrap_or_default();
            assert_eq!(verdict.grade, grade, "{declares} {found}");
            assert!(found.starts_with(reason), "{reason}: {found}");
        }
    }

    #[test]
    fn what_float64_does_not_see_is_rounding() {
        let verdict = judged("", &right(), &with_outputs(&[0.5003, -0.5]), true);
        assert_eq!(verdict.cause.unwrap().name, "reduced_precision");
        assert!(
            verdict.equivalence.reason.unwrap().contains("; outputs before training in float32")
        );
    }

    #[test]
    fn what_float64_sees_too_is_not_rounding() {
        // Where nothing explained the difference in float64, float32 said that float64 agreed.
        let wrong = with_outputs(&[0.5003, -0.5]);
        let verdict = judged("", &wrong, &wrong, true);
        assert_eq!(verdict.cause, None);
        assert!(
            verdict.equivalence.reason.unwrap().starts_with("outputs before training in float64")
        );
    }

    #[test]
    fn the_quantity_tells_where_a_variant_may_fit() {
        let difference = |quantity, of: Option<&str>| Difference {
            quantity,
            of: of.map(str::to_owned),
            error: 1.0,
            tolerance: 0.1,
            note: None,
        };
        let cases: [(_, _, &[Stage]); 5] = [
            (Quantity::Parameters, None, &[]),
            (Quantity::Outputs, None, &[Stage::Forward]),
            (Quantity::Loss, Some("step 1"), &[Stage::Loss]),
            (Quantity::Loss, Some("step 2"), &[Stage::Update, Stage::Loss]),
            (Quantity::Update, None, &[Stage::Update, Stage::Loss]),
        ];
        let (framework, experiment) =
            (framework(""), experiment("classification", "{optimizer: sgd}", "{}"));
        let (target, profile) = (&framework.spec.targets[0], "check".to_owned());
        let (experiment, device, repeat) = (&experiment, Device::Cpu, 1);
        let job = Job { experiment, framework: &framework, target, device, profile, repeat };
        let (given, mut ours) = (start(), right());
        // Numbers that no known cause explains.
        edit(&mut ours.trained).losses = vec![0.9, 0.8];
        edit(&mut ours.gradient).weights.insert("b".to_owned(), floats(&[1.0]));
        let evidence = Evidence {
            job: &job,
            dtypes: dtypes(false),
            ours: &Outcomes::new(),
            theirs: &right(),
            probed: &Outcomes::new(),
            given: &given,
            batch_size: 4,
        };
        for (quantity, of, stages) in cases {
            let found = clue(FLOAT32, &difference(quantity, of), &ours, &evidence);
            assert_eq!((found.told, found.stages), (None, stages), "{quantity:?}");
        }
    }

    #[test]
    fn a_shape_in_a_log_is_a_known_variant() {
        let text = "version: 1\nvariants:\n  - {name: valid, is: mistake, stage: shape, \
                    says: it pads nothing, shows: {tiny: 2704}}\n";
        let variants = yaml::parse::<Variants>("variants.yaml".as_ref(), text).unwrap();
        let cases = [("expected 6400, got 2704", true), ("expected 6400, got 27040", false)];
        for (log, is_known) in cases {
            assert_eq!(shape(log, &variants, "tiny").is_some(), is_known, "{log}");
        }
        assert!(shape("2704", &variants, "other").is_none());
    }

    #[test]
    fn features_that_change_with_their_batch_are_named_at_once() {
        let experiment = experiment("features", "{}", "{}");
        let framework = framework("");
        let (target, profile) = (&framework.spec.targets[0], "check".to_owned());
        let (experiment, device, repeat) = (&experiment, Device::Cpu, 1);
        let job = Job { experiment, framework: &framework, target, device, profile, repeat };
        let features = |value: f64| Trace {
            outputs: Some(Floats { shape: vec![1, 2], values: vec![value, 2.0] }),
            ..Trace::default()
        };
        let theirs = Traces { initial: features(1.0).into(), ..Traces::default() };
        let ours = [("float32-0", features(1.5)), ("half-batches", features(1.4))];
        let ours = ours.map(|(name, trace)| (name.to_owned(), Ok(trace.into()))).into();
        let evidence = Evidence {
            job: &job,
            dtypes: dtypes(false),
            ours: &ours,
            theirs: &theirs,
            probed: &Outcomes::new(),
            given: &[],
            batch_size: 4,
        };
        let judged = judge(&evidence).unwrap();
        assert_eq!(judged.clues[0].told.as_ref().unwrap().name, "batch_statistics");
    }
}
