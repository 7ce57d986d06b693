//! `rosetta verify` on a pinned environment and an interpreter of the user's that are shell scripts.

mod common;

use common::{Done, END, EPOCH, HELLO, OUTPUTS, PREDICT, Project, START, TRAIN, list, says};
use serde_json::Value;

/// A harness and a `speed.py`; both are slower where the interpreter says so, as the user's does.
fn project() -> Project {
    let (slow, fast) = (PREDICT.replace("0.22", "0.42"), PREDICT);
    let late =
        |text: &str| text.replace("0.24", "0.44").replace("0.23", "0.43").replace("0.25", "0.45");
    let script = format!(
        "if [ \"$SLOW\" ]; then\n{}else\n{}fi\n",
        says(&[
            START,
            HELLO,
            TRAIN,
            &EPOCH.replace("0.21", "0.41"),
            &slow,
            &late(OUTPUTS),
            &late(END)
        ]),
        says(&[START, HELLO, TRAIN, EPOCH, fast, OUTPUTS, END]),
    );
    // The order in which the two sides run stands in a file.
    let script = format!("echo \"${{SLOW:-0}}\" >>../../order\n{script}");
    let project = Project::new().harness("fake", &script).fake_uv();
    let facts = |rate: &str, onednn: &str| {
        let fact = |name: &str, value: &str| {
            format!(r#""ev":"fact","t":0.2,"name":"{name}","value":{value}"#)
        };
        says(&[START, HELLO, &fact("product_gflops", rate), &fact("onednn", onednn), END])
    };
    let speed = format!(
        "if [ \"$SLOW\" ]; then\n{}else\n{}fi\n",
        facts("20.5", r#""off""#),
        facts("41", r#""on""#)
    );
    project.write("harnesses/fake/speed.py", &speed);
    let python = std::fs::read_to_string(project.path("python")).unwrap();
    let python = python.replace("#!/bin/sh\n", "");
    project.program("slow", &format!("export SLOW=1\n{}", python.replace("/python\"", "/slow\"")));
    project
}

fn verify(project: &Project, python: &str, more: &[&str]) -> Done {
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let args = [&["verify", "-f", "fake", "--python", python, "--pairs", "2", "--no-check"], more]
        .concat();
    Done::of(project.command(&args).env("PATH", path).output().unwrap())
}

#[test]
fn a_slow_installation_is_told_with_what_may_be_why() {
    let project = project();
    let done = verify(&project, "./slow", &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in [
        "tiny · fake · cpu: yours is slower than the pinned one",
        "times as long, in 2 pairs",
        "suspect: its matrix product (BLAS) reaches 20.5 GFLOP/s, the pinned one's 41",
        "suspect: onednn: `off` in yours, `on` in the pinned one",
        "peak: 41 GFLOP/s, the fastest of these",
    ] {
        assert!(done.stdout.contains(words), "no `{words}` in {done:?}");
    }
    assert!(list(&project.path("results/runs")).is_empty(), "no table shows its runs");
    let apart = list(&project.path("results/apart"));
    assert_eq!(list(&apart[0].join("runs")).len(), 4, "two pairs");
    assert_eq!(project.read("order"), "0\n1\n1\n0\n", "who is first changes with each pair");
    assert_eq!(project.rosetta(&["list", "runs", "--json"]).stdout, "[]\n");
}

#[test]
fn one_that_is_as_fast_passes() {
    let project = project();
    let done = verify(&project, "./python", &["--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let found = serde_json::from_str::<Value>(&done.stdout).unwrap();
    assert_eq!(found[0]["verdict"], "as_fast", "{found}");
    assert_eq!(found[0]["suspects"].as_array().map(Vec::len), Some(0));
    assert_eq!(found[0]["pairs"], 2);
}

#[test]
fn what_cannot_be_verified_is_said() {
    let project = project();
    let done = verify(&project, "./nowhere", &[]);
    assert!(done.code == Some(2) && done.stderr.contains("there is no program"), "{done:?}");
    let done = project.rosetta(&["verify", "-f", "fake"]);
    assert!(done.code == Some(2) && done.stderr.contains("--python"), "{done:?}");
    project.write("harnesses/fake/speed.py", "exit 3");
    let done = verify(&project, "./python", &[]);
    assert_eq!(done.code, Some(0), "its times are there all the same: {done:?}");
    assert!(done.stderr.contains("✗ speed of fake") && !done.stdout.contains("peak"), "{done:?}");
}

/// Each of its two sides has a session of its own, which reads the catalog.
#[test]
fn a_file_that_cannot_be_read_is_told_once() {
    let project = project();
    project.write("harnesses/other/framework.yaml", "version: 1\nnmae: other\n");
    let done = verify(&project, "./python", &[]);
    assert_eq!(
        done.stderr.matches("nmae").count(),
        2,
        "the error, and the line that it quotes: {done:?}"
    );
}
