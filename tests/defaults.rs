//! `rosetta defaults`, with shell scripts that say what a framework would.

mod common;

use common::{Done, END, HELLO, Project, START, says};

fn fact(name: &str, value: &str) -> String {
    format!(r#""ev":"fact","t":0.2,"name":"{name}","value":{value}"#)
}

/// Returns a project with one framework whose harness pads, and what its program says of that.
fn project(facts: &[String]) -> Project {
    let project = Project::new().harness("fake", "# a harness\nconv pad=1\n");
    let mut events = vec![START, HELLO];
    events.extend(facts.iter().map(String::as_str));
    events.push(END);
    project.write("harnesses/fake/defaults.py", &says(&events));
    project
}

fn measure(project: &Project, args: &[&str]) -> Done {
    project.rosetta(&[&["defaults", "--python", "./python"], args].concat())
}

#[test]
fn a_conflict_is_shown_with_the_line_that_overrides_it() {
    let padding = r#"{"value":"none","how":"run","override":["tiny","pad=1"]}"#;
    let rate = r#"{"value":"0.01","how":"read"}"#;
    let project = project(&[fact("conv.padding", padding), fact("sgd.rate", rate)]);
    let done = measure(&project, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    for line in [
        " the experiments want   same ",
        " fake                   none (1) ",
        "(1) harnesses/fake/tiny.py:2  pad=1",
        "0.01*",
        "* read from the signature, not run",
    ] {
        assert!(done.stdout.contains(line), "{line}\n{}", done.stdout);
    }
    let markdown = measure(&project, &["fake", "--markdown"]);
    assert!(markdown.stdout.contains("| fake                 | none (1) |"), "{markdown:?}");
    assert!(markdown.stdout.contains("\nfake 1.2.3  \n"), "{markdown:?}");
    let json = measure(&project, &["--json"]).stdout;
    let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(json[0]["answer"]["overridden"]["path"], "harnesses/fake/tiny.py");
}

#[test]
fn a_text_that_left_the_harness_is_a_fault() {
    let gone = r#"{"value":"none","how":"run","override":["tiny","padding=1"]}"#;
    let done = measure(&project(&[fact("conv.padding", gone)]), &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let fault = "fault: fake: `conv.padding`: `padding=1` does not stand in harnesses/fake/tiny.py";
    assert!(done.stderr.contains(fault), "{done:?}");
}

#[test]
fn a_program_that_fails_leaves_the_others_be() {
    let padding = fact("conv.padding", r#"{"value":"same","how":"run"}"#);
    let project = project(&[padding]).harness("broken", "");
    let script = says(&[START, HELLO]) + "echo 'no such layer' >&2\nexit 3\n";
    project.write("harnesses/broken/defaults.py", &script);
    let done = measure(&project, &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains(" fake                   same "), "{done:?}");
    assert!(!done.stdout.contains("broken"), "{done:?}");
    assert!(done.stderr.contains("exit code 3: no such layer; its log is "), "{done:?}");
}

#[test]
fn only_frameworks_with_such_a_program_can_be_measured() {
    let project = project(&[]).harness("plain", "");
    let unknown = measure(&project, &["fak"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("did you mean `fake`?"), "{unknown:?}");
    let plain = measure(&project, &["plain"]);
    assert_eq!(plain.code, Some(2), "{plain:?}");
    assert!(plain.stderr.contains("nothing measures the defaults of `plain`"), "{plain:?}");
    let not_built = project.rosetta(&["defaults"]);
    assert_eq!(not_built.code, Some(2), "{not_built:?}");
    assert!(not_built.stderr.contains("fake is left out: its environment is not built"));
}

#[test]
fn the_program_is_no_harness_of_an_experiment() {
    let project = project(&[]);
    let listed = project.rosetta(&["list", "frameworks", "--json"]).stdout;
    assert!(listed.contains("\"tiny\"") && !listed.contains("defaults"), "{listed}");
    let wide = format!("x = '{}'\n", "x".repeat(80));
    project.write("harnesses/fake/defaults.py", &wide);
    let found = project.rosetta(&["lint"]).stdout;
    assert!(found.contains("defaults.py:1: 86 columns; at most 80"), "{found}");
    assert!(!found.contains("defaults.py:1: missing"), "{found}");
    let job = project.rosetta(&["job", "defaults"]).stdout;
    let job = serde_json::from_str::<serde_json::Value>(&job).unwrap();
    assert_eq!((&job["experiment"], &job["seed"]), (&"defaults".into(), &1.into()));
}
