use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Finding, Installation, Speed, judge};
use crate::machine::{Limits, Machine};
use crate::proof::{Equivalence, Grade};
use crate::record::{Outcome, Record, Status};
use crate::table::tests::record;

const FACTS: [(&str, f64); 3] =
    [("product_gflops", 50.0), ("convolution_gflops", 40.0), ("busy_cpus", 2.0)];

/// Returns an installation whose jobs took so long.
fn side(seconds: &[f64], change: impl Fn(&mut Record), more: &[(&str, Value)]) -> Installation {
    let facts = FACTS.iter().map(|(name, rate)| ((*name).to_owned(), json!(rate)));
    let mut facts = facts.collect::<BTreeMap<_, _>>();
    facts.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let one = |seconds: &f64| {
        let mut one = record("cnn", "pytorch", *seconds);
        one.cost.threads_seen = Some(4);
        change(&mut one);
        one
    };
    Installation { records: seconds.iter().map(one).collect(), facts }
}

fn plain(seconds: &[f64]) -> Installation {
    side(seconds, |_| (), &[("onednn", json!("on"))])
}

fn judged(yours: &Installation) -> Finding {
    judge(&plain(&[10.0, 10.1, 9.9, 10.0, 10.2]), yours, &[], &Limits::default(), 0.1)
}

#[test]
fn what_is_within_the_tolerance_is_as_fast() {
    for (seconds, expected) in [
        ([10.4, 10.2, 10.1, 10.3, 10.5], Speed::AsFast),
        ([12.0, 12.3, 11.9, 12.2, 12.4], Speed::Slower),
        ([8.0, 8.3, 7.9, 8.2, 8.4], Speed::Faster),
        // Slower in the median, and not in every pair.
        ([12.0, 9.3, 11.9, 9.2, 12.4], Speed::AsFast),
    ] {
        let found = judged(&plain(&seconds));
        assert_eq!(found.verdict, expected, "{seconds:?}: {found:?}");
        assert_eq!(found.pairs, 5);
    }
}

#[test]
fn one_that_is_as_fast_has_no_suspects() {
    let yours = side(&[9.9; 5], |_| (), &[("onednn", json!("off"))]);
    assert_eq!(judged(&yours).suspects, Vec::<String>::new());
}

#[test]
fn suspects_are_what_differs_the_likeliest_first() {
    let more = [
        ("busy_cpus", json!(1.0)),
        ("product_gflops", json!(26.0)),
        ("convolution_gflops", json!(39.0)),
        ("onednn", json!("off")),
        ("variable OMP_NUM_THREADS", json!("1")),
    ];
    let change = |one: &mut Record| one.framework_version = Some("0.9".to_owned());
    let suspects = judged(&side(&[20.0; 5], change, &more)).suspects;
    let expected = [
        "it keeps 1.0 CPUs busy in a matrix product, the pinned one 2.0",
        "its matrix product (BLAS) reaches 26 GFLOP/s",
        "onednn: `off` in yours, `on` in the pinned one",
        "variable OMP_NUM_THREADS: `1` in yours, `not set` in the pinned one",
        "version: 0.9 in yours, 1.0 in the pinned one",
    ];
    assert_eq!(suspects.len(), expected.len(), "{suspects:?}");
    for (found, expected) in suspects.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    let suspects = judged(&plain(&[20.0; 5])).suspects;
    assert!(suspects[0].contains("feeding and dispatch"), "{suspects:?}");
}

#[test]
fn a_share_of_the_peak_follows_from_the_work() {
    let change = |one: &mut Record| {
        one.epochs = vec![serde_json::from_value(
            json!({"epoch": 0, "loss": 1.0, "seconds": 1.0, "first_step_seconds": 0.1, "samples": 1000}),
        )
        .unwrap()];
    };
    let pinned = side(&[10.0; 5], change, &[("convolution_gflops", json!(80.0))]);
    let found = judge(&pinned, &pinned, &[], &Limits::default(), 0.1);
    // 6 x 62,264,320 x 1000 rows in 10 s.
    let gflops = found.yours.gflops.unwrap();
    assert!((gflops - 37.358_592).abs() < 1e-6, "{gflops}");
    assert_eq!(found.peak_gflops, Some(80.0));
    assert!((found.yours.share_of_peak.unwrap() - gflops / 80.0).abs() < 1e-12);
}

#[test]
fn what_failed_or_is_another_experiment_is_not_compared() {
    let failed = |one: &mut Record| one.outcome = Outcome::because(Status::Crashed, "SIGSEGV");
    let other = |one: &mut Record| {
        let (variants, reason, precision) = (Vec::new(), None, None);
        let grade = Grade::Different;
        one.equivalence =
            Some(Equivalence { grade, variants, reason, is_declared: false, precision });
    };
    for (yours, words) in [
        (side(&[10.0; 5], failed, &[]), "yours crashed: SIGSEGV"),
        (side(&[10.0; 5], other, &[]), "yours does not compute the same experiment"),
        (side(&[], |_| (), &[]), "no pair has two times"),
    ] {
        let found = judged(&yours);
        assert_eq!(found.verdict, Speed::NotComparable);
        assert_eq!(found.reason.as_deref(), Some(words));
        assert!(!found.verdict.is_fine());
    }
}

#[test]
fn a_pair_that_was_disturbed_does_not_count() {
    let mut yours = plain(&[10.0, 30.0, 10.1, 10.2, 9.9]);
    yours.records[1].marks = vec!["tainted: other processes used 40 % of the CPU time".to_owned()];
    let found = judged(&yours);
    assert_eq!((found.pairs, found.verdict), (4, Speed::AsFast));
    assert!(found.ratio_high < 1.1, "{found:?}");
    assert!(found.machine[0].starts_with("1 of 5 pairs were disturbed, not counted"), "{found:?}");
}

#[test]
fn what_was_run_before_on_like_hardware_tells_of_the_machine() {
    let machine = Machine { cpu: "a CPU".to_owned(), cores: 2, ..Machine::default() };
    let here = |one: &mut Record| one.machine = machine.clone();
    let at = |day: &str, seconds: f64, change: &dyn Fn(&mut Record)| {
        let mut one = record("cnn", "pytorch", seconds);
        here(&mut one);
        (one.run, one.started) = (format!("run of {day}"), format!("{day}T10:00:00Z"));
        change(&mut one);
        one
    };
    let before = [
        at("2026-11-20", 4.0, &|_| ()),
        at("2026-11-21", 5.0, &|_| ()),
        // Newer, and not alike, or not to be trusted.
        at("2026-11-22", 1.0, &|one| one.machine.cpu = "another".to_owned()),
        at("2026-11-22", 1.0, &|one| one.machine.cores = 4),
        at("2026-11-22", 1.0, &|one| one.profile = "full".to_owned()),
        at("2026-11-22", 1.0, &|one| one.cost.threads_allowed = 1),
        at("2026-11-22", 1.0, &|one| one.marks = vec!["tainted: other work".to_owned()]),
        at("2026-11-22", 1.0, &|one| one.outcome.status = Status::Failed),
        at("2026-11-22", 1.0, &|one| one.target = "jax".to_owned()),
    ];
    let (pinned, yours) = (side(&[10.0; 5], here, &[]), side(&[11.0; 5], here, &[]));
    let found = judge(&pinned, &yours, &before, &Limits::default(), 0.2);
    let earlier = found.earlier.unwrap();
    assert_eq!((earlier.day.as_str(), earlier.seconds), ("2026-11-21", 5.0));
    assert_eq!((earlier.pinned_ratio, earlier.yours_ratio), (Some(2.0), Some(2.2)));
    let expected = "the pinned one takes 2.00 times as long as on like hardware on 2026-11-21";
    assert!(found.machine[0].starts_with(expected), "{:?}", found.machine);
    // As fast as it was: nothing is said of the machine.
    let found = judge(&side(&[5.1; 5], here, &[]), &yours, &before, &Limits::default(), 0.2);
    assert!(!found.machine.iter().any(|why| why.contains("like hardware")), "{:?}", found.machine);
    assert_eq!(judge(&pinned, &yours, &before[2..], &Limits::default(), 0.2).earlier, None);
}
