//! The index of results: what is remembered of runs is what their files say, whatever has become of them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Project, good, list};
use serde_json::{Value, json};

/// Returns a project with a run of two targets whose files are settled, and the index that was made of it.
fn with_index() -> (Project, PathBuf) {
    let project = Project::new().harness("mine", &good()).harness("yours", &good());
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    std::thread::sleep(Duration::from_millis(2100));
    let before = seen(&project);
    let index = list(&project.path("home/indexes")).remove(0);
    let stored: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    assert_eq!(stored["runs"].as_object().unwrap().len(), 1, "the run is not in the index");
    assert_eq!(seen(&project), before);
    (project, index)
}

const COMMANDS: [&[&str]; 4] = [
    &["table"],
    &["table", "--all-machines", "--json"],
    &["list", "runs"],
    &["list", "runs", "--json"],
];

/// Returns all that tables and lists say: of a terminal, and for programs.
fn seen(project: &Project) -> Vec<(Option<i32>, String, String)> {
    let done = COMMANDS.map(|args| project.rosetta(args));
    done.map(|done| (done.code, done.stdout, done.stderr)).to_vec()
}

/// Asserts that with the index as it was before, all is said as from the files alone, and returns that.
fn same_without(
    project: &Project,
    index: &Path,
    before: &[u8],
) -> Vec<(Option<i32>, String, String)> {
    // Each command may write it anew: all four are asked with the old one.
    let ask = |prepare: &dyn Fn()| {
        COMMANDS.map(|args| {
            prepare();
            let done = project.rosetta(args);
            (done.code, done.stdout, done.stderr)
        })
    };
    let with = ask(&|| fs::write(index, before).unwrap());
    let without = ask(&|| drop(fs::remove_file(index)));
    assert_eq!(with, without);
    with.to_vec()
}

#[test]
fn a_change_of_any_file_is_seen() {
    let (project, index) = with_index();
    let before = fs::read(&index).unwrap();
    let run = list(&project.path("results/runs")).remove(0);
    let lines = fs::read_to_string(run.join("records.jsonl")).unwrap();
    let slower = lines.replace("\"training\":", "\"training\":9");
    assert_ne!(slower, lines);
    // Same length: only the times of the file tell.
    let other_title = lines.replace("\"title\":\"mine\"", "\"title\":\"MINE\"");
    assert!(other_title.len() == lines.len() && other_title != lines);
    let torn = &lines[..lines.len() - 40];
    for content in [&slower, &other_title, torn, "", "[1]\n", &lines] {
        fs::write(run.join("records.jsonl"), content).unwrap();
        same_without(&project, &index, &before);
    }
    let asked = fs::read_to_string(run.join("run.json")).unwrap();
    for content in [asked.replace("\"smoke\"", "\"quick\""), "{".to_owned(), asked] {
        fs::write(run.join("run.json"), &content).unwrap();
        same_without(&project, &index, &before);
    }
}

#[test]
fn runs_that_come_and_go_are_seen() {
    let (project, index) = with_index();
    let before = fs::read(&index).unwrap();
    let run = list(&project.path("results/runs")).remove(0);
    let copy = project.path("results/runs/a-copy");
    fs::create_dir_all(&copy).unwrap();
    for file in ["run.json", "records.jsonl"] {
        fs::copy(run.join(file), copy.join(file)).unwrap();
    }
    let with = same_without(&project, &index, &before);
    assert!(with[2].2.contains("is not counted twice"), "{with:?}");
    let moved = project.path("kept");
    fs::rename(&run, &moved).unwrap();
    same_without(&project, &index, &before);
    fs::remove_dir_all(&copy).unwrap();
    let none = seen(&project);
    assert!(none[0].2.contains("there are no results"), "{none:?}");
    fs::rename(&moved, &run).unwrap();
    same_without(&project, &index, &before);
}

#[test]
fn a_job_that_was_sealed_and_not_written_into_the_lines_is_seen() {
    let (project, index) = with_index();
    let before = fs::read(&index).unwrap();
    let run = list(&project.path("results/runs")).remove(0);
    let sealed = fs::read_to_string(run.join("tiny.mine.cpu.1/record.json")).unwrap();
    let mut record: Value = serde_json::from_str(&sealed).unwrap();
    (record["job"], record["target"], record["title"]) =
        (json!("tiny.third.cpu.1"), json!("third"), json!("third"));
    fs::create_dir(run.join("tiny.third.cpu.1")).unwrap();
    fs::write(run.join("tiny.third.cpu.1/record.json"), format!("{record}\n")).unwrap();
    let with = same_without(&project, &index, &before);
    assert!(with[0].1.contains("third"), "{with:?}");
}

#[test]
fn an_index_that_is_damaged_or_cannot_be_kept_does_no_harm() {
    let (project, index) = with_index();
    let expected = seen(&project);
    let whole = fs::read_to_string(&index).unwrap();
    let mut other: Value = serde_json::from_str(&whole).unwrap();
    other["names"] = json!([]);
    let no_names = other.to_string();
    let mut other: Value = serde_json::from_str(&whole).unwrap();
    other["index"] = json!("0 of 0.0.0");
    for content in ["", "{", &whole[..whole.len() / 2], &no_names, &other.to_string()] {
        fs::write(&index, content).unwrap();
        assert_eq!(seen(&project), expected, "{content}");
    }
    fs::remove_file(&index).unwrap();
    fs::remove_dir(index.parent().unwrap()).unwrap();
    fs::write(index.parent().unwrap(), "in the way").unwrap();
    assert_eq!(seen(&project), expected);
}

/// An index of results that nobody has read for a month stayed in the home for ever, as those of removed folders.
#[test]
fn indexes_that_were_not_written_for_long_are_removed() {
    let (project, index) = with_index();
    let old = index.with_file_name("0123456789abcdef.json");
    let young = index.with_file_name("fedcba9876543210.json");
    for (path, days) in [(&old, 40), (&young, 20)] {
        fs::copy(&index, path).unwrap();
        let age = Duration::from_secs(days * 24 * 60 * 60);
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    seen(&project);
    assert!(old.exists(), "only who writes an index sweeps");
    fs::remove_dir_all(list(&project.path("results/runs")).remove(0)).unwrap();
    seen(&project);
    assert!(!old.exists() && young.exists() && index.exists());
}
