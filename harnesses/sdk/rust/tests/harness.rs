//! What a harness may rely on when something goes wrong or makes noise.

mod process;

use std::fs;

use process::{events, job, run};
use serde_json::{Value, json};

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["ev"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "a harness for the tests below"]
fn noisy_harness() {
    let run = rosetta::start("Test", "1.0");
    println!("noise from the framework");
    run.phase("load");
    run.finish();
}

#[test]
#[ignore = "a harness for the tests below"]
fn failing_harness() {
    let run = rosetta::start("Test", "1.0");
    run.phase("load");
    run.data("x_rest");
}

#[test]
#[ignore = "a harness for the tests below"]
fn early_harness() {
    let run = rosetta::start("Test", "1.0");
    run.phase("load");
}

#[test]
fn standard_output_carries_events_only() {
    let folder = job("noise", json!({}));
    let output = run("noisy_harness", &folder);
    assert!(String::from_utf8_lossy(&output.stderr).contains("noise from the framework"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("noise from the framework"));
    assert_eq!(kinds(&events(&output)), ["start", "hello", "phase", "end"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_error_names_what_there_is_and_never_says_end() {
    let folder = job("error", json!({}));
    let output = run("failing_harness", &folder);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("no array `x_rest`; it has: x_test, x_train, y_train"), "{log}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(kinds(&events(&output)), ["start", "hello", "phase"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn who_leaves_early_never_says_end() {
    let folder = job("early", json!({}));
    assert_eq!(kinds(&events(&run("early_harness", &folder))), ["start", "hello", "phase"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn another_protocol_is_refused() {
    let folder = job("protocol", json!({"protocol": 2}));
    let output = run("early_harness", &folder);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("this SDK speaks protocol 1, the job 2"), "{log}");
    assert_eq!(kinds(&events(&output)), ["start"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn versions_come_from_the_lock_file() {
    let lock = "[[package]]\nname = \"burn\"\nversion = \"0.21.0\"\nsource = \"registry\"\n";
    assert_eq!(rosetta::locked(lock, "burn"), "0.21.0");
    assert_eq!(rosetta::locked(lock, "candle-core"), "unknown");
}
