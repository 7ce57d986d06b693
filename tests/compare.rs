//! `rosetta compare` on stored results: which sides there are, what is said, and how it ends.

mod common;

use std::fs;

use common::{Done, Project, good, list};
use serde_json::{Value, json};

/// Stores a run of one target with these times, as if it had run that day.
fn store(project: &Project, day: &str, seconds: &[f64], change: impl Fn(&mut Value)) -> String {
    let first = list(&project.path("results/runs")).into_iter().min().unwrap();
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(first.join(name)).unwrap()).unwrap()
    };
    let id = format!("{}T020000Z-0000", day.replace('-', ""));
    let started = format!("{day}T02:00:00Z");
    let mut run = read("run.json");
    let jobs = (1..=seconds.len()).map(|repeat| format!("tiny.mine.cpu.{repeat}"));
    (run["id"], run["started"], run["jobs"]) =
        (json!(id), json!(started), json!(jobs.collect::<Vec<_>>()));
    let mut lines = String::new();
    for (index, seconds) in seconds.iter().enumerate() {
        let mut record = read("tiny.mine.cpu.1/record.json");
        (record["run"], record["started"]) = (json!(id), json!(started));
        record["job"] = json!(format!("tiny.mine.cpu.{}", index + 1));
        record["times"]["training"] = json!(seconds);
        record["marks"] = json!([]);
        change(&mut record);
        lines += &format!("{record}\n");
    }
    project.write(&format!("results/runs/{id}/run.json"), &format!("{run}\n"));
    project.write(&format!("results/runs/{id}/records.jsonl"), &lines);
    id
}

/// Returns a project with nights of 1 to 4 November 2026; only the last is slower.
fn with_nights() -> Project {
    let project = Project::new().harness("mine", &good());
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let first = list(&project.path("results/runs")).remove(0);
    let moved = project.path("results/runs/20261001T000000Z-0000");
    fs::rename(&first, &moved).unwrap();
    let asked = fs::read_to_string(moved.join("run.json")).unwrap();
    let mut run: Value = serde_json::from_str(&asked).unwrap();
    (run["id"], run["started"]) = (json!("20261001T000000Z-0000"), json!("2026-10-01T00:00:00Z"));
    fs::write(moved.join("run.json"), run.to_string()).unwrap();
    store(&project, "2026-11-01", &[10.0, 10.1, 9.9, 10.0, 10.0], |_| ());
    store(&project, "2026-11-02", &[10.1, 10.0, 9.9, 10.2, 10.0], |_| ());
    store(&project, "2026-11-03", &[1.0], |record| {
        record["outcome"] = json!({"status": "failed", "reason": "exit code 1", "hint": null});
    });
    store(&project, "2026-11-04", &[12.0, 12.1, 11.9, 12.0, 12.2], |record| {
        record["framework_version"] = json!("2.0");
    });
    project
}

fn compare(project: &Project, args: &[&str]) -> Done {
    project.rosetta(&[&["compare"], args].concat())
}

fn rows(done: &Done) -> Vec<Value> {
    let tables: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    tables
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|table| table["rows"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn the_newest_run_is_compared_with_the_last_good_one() {
    let project = with_nights();
    let done = compare(&project, &["--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let rows = rows(&done);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["change"], "slower", "{rows:?}");
    assert_eq!((&rows[0]["before"], &rows[0]["after"]), (&json!(10.0), &json!(12.0)));
    assert!((rows[0]["time_ratio"].as_f64().unwrap() - 1.2).abs() < 1e-9, "{rows:?}");
    assert!(rows[0]["differs"].as_str().unwrap().contains("mine 1.2.3 → 2.0"), "{rows:?}");
    assert!(done.stderr.contains("→ 20261104T020000Z-0000: 1 slower"), "{done:?}");

    assert_eq!(compare(&project, &["--fail-above", "10%"]).code, Some(1));
    assert_eq!(compare(&project, &["--fail-above", "30"]).code, Some(0));
    assert_eq!(compare(&project, &["--tolerance", "30%", "--fail-above", "10%"]).code, Some(0));
}

#[test]
fn sides_are_runs_days_and_folders() {
    let project = with_nights();
    let change = |args: &[&str]| {
        let done = compare(&project, &[args, &["--json"]].concat());
        rows(&done)[0]["change"].as_str().unwrap().to_owned()
    };
    assert_eq!(change(&["20261101", "20261102"]), "the same");
    assert_eq!(change(&["2026-11-02", "latest"]), "slower");
    assert_eq!(change(&["latest", "2026-11-02"]), "faster");
    assert_eq!(change(&["20261102", "20261103"]), "broken: failed: exit code 1");
    assert_eq!(change(&["20261103", "20261104"]), "mended");
    let run = project.path("results/runs/20261101T020000Z-0000");
    assert_eq!(change(&[run.to_str().unwrap(), "latest"]), "slower");
    assert_eq!(change(&[project.path("results").to_str().unwrap(), "20261101"]), "faster");
    assert_eq!(compare(&project, &["20261102", "20261103", "--fail-above", "50%"]).code, Some(1));
    // A change for the better, or nothing to see, is never red.
    assert_eq!(compare(&project, &["latest", "20261102", "--fail-above", "0"]).code, Some(0));
}

#[test]
fn what_is_the_same_is_counted_and_shown_on_request() {
    let project = with_nights();
    let done = compare(&project, &["20261101", "20261102"]);
    assert!(done.code == Some(0) && !done.stdout.contains("mine"), "{done:?}");
    assert!(done.stderr.contains("1 the same"), "{done:?}");
    let done = compare(&project, &["20261101", "20261102", "--all"]);
    assert!(done.stdout.contains("mine"), "{done:?}");
    let done = compare(&project, &["20261101", "20261104", "--markdown"]);
    assert!(done.stdout.contains("| mine") && done.stdout.contains("slower"), "{done:?}");
}

#[test]
fn a_side_that_is_not_there_is_an_error_with_the_next_step() {
    let project = Project::new().harness("mine", &good());
    let done = compare(&project, &[]);
    assert!(done.code == Some(2) && done.stderr.contains("there is no run yet"), "{done:?}");
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let cases: [(&[&str], &str); 6] = [
        (&[], "there is no run of this machine before"),
        (&["2020-01-01"], "there is no run of 2020-01-01 or before"),
        (&["nonsense"], "unknown run `nonsense`"),
        (&["latest", "-e", "nonsense"], "unknown experiment `nonsense`"),
        (&["latest", "--tolerance", "many"], "invalid percentage `many`"),
        (&["reference"], "unknown run `reference`"),
    ];
    for (args, words) in cases {
        let done = compare(&project, args);
        assert!(done.code == Some(2) && done.stderr.contains(words), "{args:?}: {done:?}");
    }
}
