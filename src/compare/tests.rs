use super::{ComparedRow, Comparison, Question, RowChange, Side, compare};
use crate::proof::Grade;
use crate::record::{EnvIdentity, Outcome, Record, Status};
use crate::report::Format;
use crate::spec::Source;
use crate::stats::median;
use crate::table::tests::record;

/// Returns the repeats of one job in one run.
fn repeats(run: &str, target: &str, seconds: &[f64]) -> Vec<Record> {
    let one = |(index, seconds): (usize, &f64)| {
        let mut one = record("cnn", target, *seconds);
        (one.run, one.job) = (run.to_owned(), format!("cnn.{target}.cpu.{index}"));
        one.cost.peak_rss_bytes = Some(1 << 30);
        one
    };
    seconds.iter().enumerate().map(one).collect()
}

fn compared(before: Vec<Record>, after: Vec<Record>) -> Comparison {
    let sides = (Side::new("old", before), Side::new("new", after));
    compare(&sides.0, &sides.1, &Question::default())
}

fn only(comparison: Comparison) -> ComparedRow {
    assert_eq!(comparison.rows.len(), 1);
    comparison.rows.into_iter().next().unwrap()
}

/// Returns times around `middle`, as a machine with that noise has them: a linear congruential generator, fixed.
fn noisy(middle: f64, noise: f64, seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // The sum of three is near enough to a bell, within three standard deviations.
    (0..count).map(|_| middle * (1.0 + noise * 2.0 * (next() + next() + next() - 1.5))).collect()
}

#[test]
fn a_slowdown_of_ten_percent_is_found_and_the_same_twice_raises_no_alarm() {
    for seed in 0..40 {
        let before = repeats("1", "jax", &noisy(10.0, 0.02, seed, 5));
        let same = repeats("2", "jax", &noisy(10.0, 0.02, seed + 1000, 5));
        let slow = repeats("2", "jax", &noisy(11.0, 0.02, seed + 2000, 5));
        let row = only(compared(before.clone(), same));
        assert_eq!(row.verdict.change, RowChange::Same, "{seed}: {row:?}");
        let row = only(compared(before.clone(), slow.clone()));
        assert_eq!(row.verdict.change, RowChange::Slower, "{seed}: {row:?}");
        let row = only(compared(slow, before));
        assert_eq!(row.verdict.change, RowChange::Faster, "{seed}: {row:?}");
    }
}

#[test]
fn few_repeats_need_a_larger_change_and_agreement() {
    let change = |before: &[f64], after: &[f64]| {
        only(compared(repeats("1", "jax", before), repeats("2", "jax", after))).verdict.change
    };
    assert_eq!(change(&[10.0], &[10.9]), RowChange::Same);
    assert_eq!(change(&[10.0], &[11.2]), RowChange::Slower);
    assert_eq!(change(&[11.2], &[10.0]), RowChange::Faster);
    assert_eq!(change(&[10.0, 12.0, 10.0], &[11.5, 11.5, 11.5]), RowChange::Same, "one was slower");
    assert_eq!(change(&[10.0, 10.1, 10.0], &[11.5, 11.4, 11.5]), RowChange::Slower);
}

#[test]
fn the_interval_is_that_of_the_ratio_of_medians() {
    let (then, now) = ([10.0, 10.2, 9.9, 10.1, 10.0], [11.0, 11.3, 10.9, 11.1, 11.2]);
    let row = only(compared(repeats("1", "jax", &then), repeats("2", "jax", &now)));
    let ratio = row.verdict.ratio.unwrap();
    assert_eq!(
        ratio.median,
        median(&mut now.to_vec()).unwrap() / median(&mut then.to_vec()).unwrap()
    );
    // All resamples lie between the extreme ratios.
    assert!(ratio.low >= 10.9 / 10.2 && ratio.high <= 11.3 / 9.9 && ratio.low < ratio.median);
    assert_eq!(ratio.count, 5);
}

#[test]
fn the_newest_good_run_of_a_row_stands_for_a_side() {
    let mut records = repeats("1", "jax", &[10.0]);
    let mut tainted = repeats("2", "jax", &[20.0]);
    tainted[0].marks.push("tainted: in a test".to_owned());
    let mut failed = repeats("3", "jax", &[0.0]);
    failed[0].outcome = Outcome::because(Status::Crashed, "SIGSEGV");
    records.extend(tainted);
    records.extend(failed);
    let row = only(compared(records, repeats("4", "jax", &[10.1])));
    assert_eq!((row.values.0, row.verdict.change), (Some(10.0), RowChange::Same));
}

#[test]
fn what_cannot_be_compared_says_why() {
    let why = |change: &dyn Fn(&mut Record)| {
        let mut after = repeats("2", "jax", &[30.0]);
        change(&mut after[0]);
        let row = only(compared(repeats("1", "jax", &[10.0]), after));
        (row.verdict.change, row.verdict.reason.unwrap_or_default())
    };
    let machine = why(&|r| r.machine.cores = 64);
    assert_eq!(machine.0, RowChange::NotComparable);
    assert!(machine.1.starts_with("another machine: 0 cores of"), "{machine:?}");
    assert_eq!(why(&|r| r.inputs.source = Some(Source::Real)).1, "other data");
    let disturbed = why(&|r| r.marks.push("tainted: the hypervisor took 9 %".to_owned()));
    let expected = "now it was disturbed: the hypervisor took 9 %".to_owned();
    assert_eq!(disturbed, (RowChange::NotComparable, expected));
    assert_eq!(why(&|r| r.times.training = None).1, "one of the two has no time");
    let different = why(&|r| r.equivalence.as_mut().unwrap().grade = Grade::Different);
    assert_eq!(different.0, RowChange::Broken);
    let failed = why(&|r| r.outcome = Outcome::because(Status::Failed, "exit code 1"));
    assert_eq!(failed, (RowChange::Broken, "failed: exit code 1".to_owned()));
}

#[test]
fn rows_come_and_go_and_are_mended() {
    let mut before = repeats("1", "gone", &[1.0]);
    let mut failed = repeats("1", "mended", &[1.0]);
    failed[0].outcome = Outcome::because(Status::Failed, "exit code 1");
    before.extend(failed.clone());
    failed[0].target = "worse".to_owned();
    before.extend(failed.clone());
    let mut after = repeats("2", "new", &[1.0]);
    after.extend(repeats("2", "mended", &[1.0]));
    failed[0].run = "2".to_owned();
    after.extend(failed);
    let comparison = compared(before, after);
    assert_eq!(comparison.summary(), "1 gone, 1 mended, 1 new, 1 still broken");
    assert!(!comparison.is_worse_by(0.1));
}

#[test]
fn causes_are_named_the_likeliest_first() {
    let env = |packages: &[&str], digest: &str| EnvIdentity {
        name: "jax".to_owned(),
        provider: "venv".to_owned(),
        digest: Some(digest.to_owned()),
        lock_digest: None,
        interpreter: Some("3.12.3".to_owned()),
        packages: packages.iter().map(|package| (*package).to_owned()).collect(),
        ..EnvIdentity::default()
    };
    let (mut before, mut after) = (repeats("1", "jax", &[10.0]), repeats("2", "jax", &[20.0]));
    before[0].title = "JAX (Flax)".to_owned();
    after[0].title = "JAX (Flax)".to_owned();
    before[0].framework_version = Some("0.11.2".to_owned());
    after[0].framework_version = Some("0.12.0".to_owned());
    before[0].env = Some(env(&["jax==0.11.2", "numpy==2.3.0", "old==1"], "a"));
    after[0].env = Some(env(&["jax==0.12.0", "numpy==2.4.0", "new==1"], "b"));
    after[0].machine.kernel = "6.2".to_owned();
    after[0].cost.threads_allowed = 1;
    after[0].score.accuracy = Some(0.5);
    after[0].cost.peak_rss_bytes = Some(3 << 30);
    let comparison = compared(before, after);
    assert!(comparison.is_worse_by(0.5) && !comparison.is_worse_by(1.5));
    let row = only(comparison);
    assert_eq!(
        row.causes,
        [
            "JAX (Flax) 0.11.2 → 0.12.0",
            "threads 2 → 1",
            "kernel  → 6.2",
            "new none → 1, numpy 2.3.0 → 2.4.0, old 1 → none",
        ]
    );
    assert_eq!(row.besides, ["accuracy 77.5 % → 50.0 %", "memory 1.00 GiB → 3.00 GiB"]);
}

#[test]
fn memory_is_told_where_it_differs_by_a_tenth_and_by_what_a_user_would_see() {
    let told = |mib: [u64; 2]| {
        let (mut before, mut after) = (repeats("1", "jax", &[10.0]), repeats("2", "jax", &[10.0]));
        before[0].cost.peak_rss_bytes = Some(mib[0] << 20);
        after[0].cost.peak_rss_bytes = Some(mib[1] << 20);
        only(compared(before, after)).besides
    };
    assert!(told([3, 4]).is_empty(), "a page here and there is no change");
    assert!(told([1000, 1090]).is_empty());
    assert_eq!(told([100, 120]), ["memory 100 MiB → 120 MiB"]);
    assert_eq!(told([120, 100]), ["memory 120 MiB → 100 MiB"]);
}

#[test]
fn tables_leave_out_what_is_the_same_unless_asked() {
    let mut before = repeats("1", "jax", &[10.0]);
    before.extend(repeats("1", "torch", &[10.0]));
    let mut after = repeats("2", "jax", &[20.0]);
    after.extend(repeats("2", "torch", &[10.0]));
    let comparison = compared(before, after);
    assert_eq!(comparison.summary(), "1 slower, 1 the same");
    let markdown = Format::Markdown.write(&comparison.grids(false));
    assert!(markdown.contains("jax") && !markdown.contains("torch"), "{markdown}");
    assert!(Format::Json.write(&comparison.grids(true)).contains("torch"));
}
