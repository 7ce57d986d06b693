//! What rosetta gets to know of the defaults of a framework.

mod process;

use std::fs;

use process::{events, job, run};
use rosetta::defaults::{Labels, Report, loss};
use serde_json::{Value, json};

#[test]
#[ignore = "a program for the tests below"]
fn reporting_program() {
    let run = rosetta::start("Test", "1.0");
    let mut report = Report::new(&run, [("loss.takes", ["cnn", "x=1"])]);
    report.send(loss(|_, _: &Labels| Err("there is no loss".into())));
    report.read("sgd.rate", "must be stated");
    report.close();
    run.finish();
}

#[test]
#[ignore = "a program for the tests below"]
fn mistaken_program() {
    let run = rosetta::start("Test", "1.0");
    let report = Report::new(&run, [("typo", ["cnn", "x=1"])]);
    report.close();
}

#[test]
fn facts_say_how_and_what_overrides_them() {
    let folder = job("defaults", json!({}));
    let events = events(&run("reporting_program", &folder));
    let fact = |name: &str| -> &Value {
        &events.iter().find(|event| event["name"] == name).expect("it was sent")["value"]
    };
    let unknown = "none of the known";
    let takes = json!({"value": unknown, "how": "run", "override": ["cnn", "x=1"]});
    assert_eq!(fact("loss.takes"), &takes);
    assert_eq!(fact("loss.labels"), &json!({"value": unknown, "how": "run"}));
    assert_eq!(fact("sgd.rate"), &json!({"value": "must be stated", "how": "read"}));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_word_on_what_was_never_measured_is_an_error() {
    let folder = job("mistaken", json!({}));
    let output = run("mistaken_program", &folder);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("never measured: typo"), "{log}");
    assert_eq!(output.status.code(), Some(1));
    fs::remove_dir_all(folder).unwrap();
}
