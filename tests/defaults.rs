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
    let not_built = project.rosetta(&["defaults", "--measure"]);
    assert_eq!(not_built.code, Some(2), "{not_built:?}");
    assert!(not_built.stderr.contains("fake is left out: its environment is not built"));
}

/// Returns what a measuring of a target stores, with two properties.
fn stored(target: &str, padding: &str, day: &str) -> String {
    format!(
        r#"{{"defaults":1,"target":"{target}","title":"{target}","version":"1.2.3","measured":"{day}T10:00:00Z",
        "machine":{{"host":"","cpu":"","cores":1,"memory_bytes":1,"memory_limit_bytes":null,"kernel":"","os":"",
        "governor":null,"turbo":null,"load":0.5,"gpus":[]}},"rosetta":{{"version":"0.1.0","revision":null}},
        "facts":[{{"name":"conv.padding","value":{{"value":"{padding}","how":"run"}}}},
        {{"name":"conv.stride","value":{{"value":"1","how":"run"}}}},
        {{"name":"gru.biases","value":{{"value":"2","how":"run"}}}}]}}"#
    )
}

#[test]
fn what_is_stored_is_shown_at_once_and_one_s_own_first() {
    let project = project(&[]).harness("other", "").harness("third", "");
    for name in ["other", "third"] {
        project.write(&format!("harnesses/{name}/defaults.py"), "exit 1\n");
    }
    let nothing = project.rosetta(&["defaults"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(
        nothing.stderr.contains("`rosetta defaults --measure fake other third`"),
        "{nothing:?}"
    );
    project.write("results/reference/defaults/fake.json", &stored("fake", "valid", "2026-01-01"));
    project.write("results/reference/defaults/other.json", &stored("other", "same", "2026-01-02"));
    project.write("results/defaults/fake.json", &stored("fake", "same", "2026-03-04"));
    let all = project.rosetta(&["defaults"]);
    assert_eq!(all.code, Some(0), "{all:?}");
    assert!(
        all.stdout
            .contains("fake 1.2.3 (measured on 2026-03-04), other 1.2.3 (measured on 2026-01-02)"),
        "{all:?}"
    );
    let group = project.rosetta(&["defaults", "GRU", "other"]).stdout;
    assert!(group.contains("Biases") && !group.contains("Padding"), "{group}");
    let missing = project.rosetta(&["defaults", "fake", "third"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("not stored: third"), "{missing:?}");
}

#[test]
fn nobody_leaves_a_table_in_silence() {
    let project = project(&[]).harness("other", "").harness("third", "");
    for name in ["other", "third"] {
        project.write(&format!("harnesses/{name}/defaults.py"), "exit 1\n");
    }
    let without = stored("other", "same", "2026-03-04").replace("gru.biases", "sgd.rate");
    project.write("results/defaults/fake.json", &stored("fake", "same", "2026-03-04"));
    project.write("results/defaults/other.json", &without);
    let shown = project.rosetta(&["defaults", "gru", "--markdown"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("| other                | –      |"), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("not stored: third; measure it: `rosetta defaults --measure third`"),
        "{}",
        shown.stdout
    );
}

#[test]
fn only_what_differs_is_shown_on_request() {
    let project = project(&[]).harness("other", "");
    project.write("harnesses/other/defaults.py", "exit 1\n");
    project.write("results/defaults/fake.json", &stored("fake", "same", "2026-03-04"));
    let padded = stored("other", "none", "2026-03-04");
    let padded = padded
        .replace(r#""value":"none","how":"run""#, r#""value":"none","how":"run","not_needed":"x""#);
    project.write("results/defaults/other.json", &padded);
    let differ = project.rosetta(&["defaults", "--diff"]);
    assert_eq!(differ.code, Some(0), "{differ:?}");
    assert!(differ.stdout.contains("Padding") && !differ.stdout.contains("Stride"), "{differ:?}");
    assert!(!differ.stdout.contains("Biases"), "{differ:?}");
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
