//! What `run --resume` relies on after a power cut: `records.jsonl` cut at every byte of its tail, sealed records, `run.json`.
//!
//! A run has no journal beside these: what was planned is in run.json, which is there whole before the first job; what was
//! finished is in record.json, which appears whole; what is in neither was under way.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Project, good, list};
use rosetta::record::Record;
use rosetta::store::Store;
use serde_json::Value;

/// A finished run of three jobs.
struct Finished {
    project: Project,
    run: PathBuf,
    lines: Vec<String>,
}

impl Finished {
    fn new() -> Finished {
        let names = ["a", "b", "c"];
        let project = names.into_iter().fold(Project::new(), |p, name| p.harness(name, &good()));
        assert_eq!(project.run(&["--no-check"]).code, Some(0));
        let run = list(&project.path("results/runs")).remove(0);
        let text = fs::read_to_string(run.join("records.jsonl")).unwrap();
        let lines = text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines.len(), 3);
        Finished { project, run, lines }
    }

    fn store(&self) -> Store {
        Store::at(self.project.path("results"))
    }

    fn id(&self) -> String {
        self.run.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Returns where the record of the last line is sealed.
    fn last_sealed(&self) -> PathBuf {
        self.run.join(record(&self.lines[2]).job).join("record.json")
    }
}

fn record(line: &str) -> Record {
    serde_json::from_str(line).unwrap()
}

/// Whether a cut is one of those after which files are written again, which waits for the disk: some, and all at the ends.
fn is_written_again(cut: usize, begin: usize, end: usize) -> bool {
    cut.is_multiple_of(29) || cut < begin + 3 || cut + 3 > end
}

fn jobs_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| record(line).job).collect()
}

#[test]
fn a_tail_that_was_cut_at_any_byte_loses_nothing_that_was_sealed() {
    let finished = Finished::new();
    let (store, id) = (finished.store(), finished.id());
    let path = finished.run.join("records.jsonl");
    let whole = finished.lines.concat();
    let begin = whole.len() - finished.lines[2].len();
    for cut in begin..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let reading = store.read().unwrap();
        assert_eq!(reading.troubles, [], "{cut}");
        assert_eq!(reading.runs[0].records.len(), 3, "{cut}");
        if !is_written_again(cut, begin, whole.len()) {
            continue;
        }
        // The same is put into the lines for good by whoever opens the run again.
        drop(store.reopen(&id, &finished.run).unwrap());
        assert_eq!(jobs_of(&path).len(), 3, "{cut}");
        assert_eq!(fs::read_to_string(&path).unwrap(), whole, "{cut}");
    }
}

#[test]
fn a_job_that_was_not_sealed_is_done_again_whatever_its_line_looks_like() {
    let finished = Finished::new();
    let (store, id) = (finished.store(), finished.id());
    let path = finished.run.join("records.jsonl");
    let whole = finished.lines.concat();
    let begin = whole.len() - finished.lines[2].len();
    fs::remove_file(finished.last_sealed()).unwrap();
    // A line is written after its record is sealed: without one there is at most a part of the line.
    for cut in begin..whole.len() - 1 {
        fs::write(&path, &whole[..cut]).unwrap();
        let reading = store.read().unwrap();
        assert_eq!(reading.runs[0].records.len(), 2, "{cut}");
        if !is_written_again(cut, begin, whole.len()) {
            continue;
        }
        let folder = store.reopen(&id, &finished.run).unwrap();
        folder.seal(&record(&finished.lines[2])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole, "{cut}: no half line stays");
        fs::remove_file(finished.last_sealed()).unwrap();
    }
}

#[test]
fn a_damaged_record_or_run_is_named_and_the_others_are_shown() {
    let finished = Finished::new();
    let store = finished.store();
    let sealed = finished.last_sealed();
    let text = fs::read(&sealed).unwrap();
    fs::write(finished.run.join("records.jsonl"), finished.lines[..2].concat()).unwrap();
    for cut in (0..text.len() - 1).step_by(17) {
        fs::write(&sealed, &text[..cut]).unwrap();
        let reading = store.read().unwrap();
        assert_eq!((reading.runs[0].records.len(), reading.troubles.len()), (2, 1), "{cut}");
    }
    fs::write(&sealed, &text).unwrap();
    let path = finished.run.join("run.json");
    let text = fs::read(&path).unwrap();
    for cut in (0..text.len() - 1).step_by(17) {
        fs::write(&path, &text[..cut]).unwrap();
        let reading = store.read().unwrap();
        assert_eq!((reading.runs[0].records.len(), reading.troubles.len()), (3, 1), "{cut}");
    }
    // Such a run cannot go on, and says so.
    let done = finished.project.rosetta(&["run", "--resume", &finished.id()]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("does not say what was asked for"), "{done:?}");
}

#[test]
fn what_was_planned_is_on_disk_before_the_first_job_begins() {
    let look = "cat \"$ROSETTA_JOB\" >/dev/null; cp \"${ROSETTA_JOB%/*}/../run.json\" seen.json\n";
    let project = Project::new().harness("a", &format!("{look}{}", good()));
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let seen = fs::read_to_string(project.path("harnesses/a/seen.json")).unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["jobs"], serde_json::json!(["tiny.a.cpu.1"]));
    assert_eq!(seen["request"]["repeats"], 1);
}
