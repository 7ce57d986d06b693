//! `rosetta history`: a year of nights, of which the level changes twice.

mod common;

use std::fs;

use common::{Project, good, list};
use serde_json::Value;

/// Copies the only run of a project into nights of these training times, each with its version of the framework.
fn nights(project: &Project, times: &[(f64, &str)]) {
    let run = list(&project.path("results/runs")).remove(0);
    let id = run.file_name().unwrap().to_str().unwrap().to_owned();
    let text = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    let (asked, records) = (text("run.json"), text("records.jsonl"));
    fs::remove_dir_all(&run).unwrap();
    for (night, (seconds, version)) in times.iter().enumerate() {
        let day = format!("2026{:02}{:02}", night / 28 + 1, night % 28 + 1);
        let (name, date) = (
            format!("{day}T020000Z-0000"),
            format!("2026-{:02}-{:02}", night / 28 + 1, night % 28 + 1),
        );
        let mut record: Value = serde_json::from_str(records.trim()).unwrap();
        record["run"] = name.clone().into();
        record["started"] = format!("{date}T02:00:00Z").into();
        record["times"]["training"] = (*seconds).into();
        record["framework_version"] = (*version).into();
        let mut asked: Value = serde_json::from_str(&asked).unwrap();
        assert_eq!(asked["id"], id);
        asked["id"] = name.clone().into();
        asked["started"] = format!("{date}T02:00:00Z").into();
        project.write(&format!("results/runs/{name}/run.json"), &format!("{asked}\n"));
        project.write(&format!("results/runs/{name}/records.jsonl"), &format!("{record}\n"));
    }
}

#[test]
fn a_history_has_its_changes_and_what_differed_then() {
    let project = Project::new().harness("fake", &good());
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let wiggle = |night: usize| 1.0 + 0.01 * ((night * 37 % 7) as f64 - 3.0) / 3.0;
    let mut times = (0..60)
        .map(|night| match night {
            0..20 => (8.0 * wiggle(night), "2.14"),
            20..40 => (9.6 * wiggle(night), "2.15"),
            _ => (7.0 * wiggle(night), "2.16"),
        })
        .collect::<Vec<_>>();
    times[10].0 = 30.0;
    nights(&project, &times);
    let done = project.rosetta(&["history", "tiny", "fake"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let text = &done.stdout;
    assert!(
        text.starts_with("tiny: fake (system) · cpu · quick, seconds of the training\n2026-01-01 "),
        "{text}"
    );
    assert!(text.contains("▁▁▁") && text.contains('█') && text.contains("60 nights, "), "{text}");
    let changes = text.lines().filter(|line| line.contains("times as long")).collect::<Vec<_>>();
    assert_eq!(changes.len(), 2, "{text}");
    assert!(changes[0].starts_with("2026-01-21: 8 → 9.6"), "{text}");
    assert!(
        changes[0].contains("1.20 times as long; fake 2.14 → 2.15; run 20260121T020000Z"),
        "{text}"
    );
    assert!(changes[1].contains("fake 2.15 → 2.16"), "{text}");

    let done = project.rosetta(&["history", "tiny", "fake", "--json"]);
    let shown: Value = serde_json::from_str(&done.stdout).unwrap();
    let rows = shown[0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 60, "{shown}");
    let changed = rows.iter().filter(|row| !row["times_as_long"].is_null()).count();
    assert_eq!(changed, 2, "{shown}");
    let csv = project.rosetta(&["history", "tiny", "fake", "--csv"]).stdout;
    assert_eq!(csv.lines().count(), 61, "{csv}");

    // The index gives the same the second time, and a larger tolerance fewer changes.
    let done = project.rosetta(&["history", "tiny", "fake", "--tolerance", "25%"]);
    assert_eq!(done.stdout.matches("times as long").count(), 1, "{done:?}");
    let done = project.rosetta(&["history", "tiny", "nobody"]);
    assert!(done.code == Some(2) && done.stderr.contains("unknown framework `nobody`"), "{done:?}");
    let done = project.rosetta(&["history", "tiny", "fake", "--profile", "smoke"]);
    assert!(
        done.code == Some(2) && done.stderr.contains("there is no number of `fake`"),
        "{done:?}"
    );
}

#[test]
fn a_history_of_few_nights_says_that_they_are_few() {
    let project = Project::new().harness("fake", &good());
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    project.write("harnesses/fake/tiny.py", "exit 3");
    assert_eq!(project.run(&["--no-check"]).code, Some(1));
    let done = project.rosetta(&["history", "tiny", "fake", "--all"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("1 night, 0.0100 to 0.0100, the last 0.0100; 1 more without a number"),
        "{done:?}"
    );
    assert!(done.stdout.contains("too few nights to tell a change of level"), "{done:?}");
}
