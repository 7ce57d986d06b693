//! Results that are damaged, foreign, of another version or of a wrong clock: what can be read is shown, the rest named.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Done, Project, good, list};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// Returns a project with one run of two targets, both ok.
fn with_run() -> Project {
    let project = Project::new().harness("mine", &good()).harness("yours", &good());
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    project
}

fn only_run(project: &Project) -> PathBuf {
    let mut runs = list(&project.path("results/runs"));
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

/// Stores the first run's record of `mine` again, as a run of its own that began later, changed.
fn store(project: &Project, id: &str, started: &str, change: impl Fn(&mut Value)) {
    let mut runs = list(&project.path("results/runs"));
    runs.sort();
    let first = runs.iter().find(|run| run.join("tiny.mine.cpu.1").is_dir()).unwrap();
    let read = |path: PathBuf| -> Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut run = read(first.join("run.json"));
    (run["id"], run["started"], run["jobs"]) =
        (json!(id), json!(started), json!(["tiny.mine.cpu.1"]));
    let mut record = read(first.join("tiny.mine.cpu.1/record.json"));
    (record["run"], record["started"]) = (json!(id), json!(started));
    record["times"]["training"] = json!(55.5);
    change(&mut record);
    run["profile"] = record["profile"].clone();
    let folder = format!("results/runs/{id}");
    project.write(&format!("{folder}/run.json"), &format!("{run}\n"));
    project.write(&format!("{folder}/records.jsonl"), &format!("{record}\n"));
    project.write(&format!("{folder}/tiny.mine.cpu.1/record.json"), &format!("{record}\n"));
}

/// Stores a run an hour newer than any that this test began, whatever today is, and returns its day.
fn store_newer(project: &Project, change: impl Fn(&mut Value)) -> String {
    let started = Timestamp::now() + 1.hours();
    let id = started.strftime("%Y%m%dT%H%M%SZ-bbbb").to_string();
    store(project, &id, &started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), change);
    started.strftime("%Y-%m-%d").to_string()
}

fn table(project: &Project, args: &[&str]) -> Done {
    project.rosetta(&[&["table"], args].concat())
}

/// Returns the row of a target in the first table.
fn row(project: &Project, library: &str, args: &[&str]) -> Value {
    let done = table(project, &[args, &["--json"]].concat());
    let tables: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let rows = tables[0]["rows"].as_array().unwrap().clone();
    let found = rows.into_iter().find(|row| row["library"] == library);
    found.unwrap_or_else(|| panic!("no row {library} in {tables}"))
}

fn runs(project: &Project) -> (Option<i32>, Value, String) {
    let done = project.rosetta(&["list", "runs", "--json"]);
    let runs = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.code, runs, done.stderr)
}

#[test]
fn one_thing_that_cannot_be_read_hides_nothing_else_and_is_named_once() {
    let newer = r#"{"record": 2, "run": "x", "job": "tiny.mine.cpu.1"}"#;
    let cases: [(&str, &[u8], &str); 6] = [
        ("run.json", b"{\"run\": 1, \"id", "is damaged"),
        ("run.json", br#"{"run": 7, "id": "x"}"#, "run format 7; this rosetta reads format 1"),
        ("tiny.mine.cpu.1/record.json", b"{\"record\": 1, \"ru", "is damaged"),
        ("tiny.mine.cpu.1/record.json", newer.as_bytes(), "is of record format 2"),
        ("tiny.mine.cpu.1/record.json", b"[1]", "is not a record of rosetta"),
        ("tiny.mine.cpu.1/record.json", b"\xff\xfe", "is damaged"),
    ];
    for (file, bytes, what) in cases {
        let project = with_run();
        let run = only_run(&project);
        store(&project, "20261101T000000Z-aaaa", "2026-11-01T00:00:00Z", |record| {
            record["target"] = json!("third");
            record["title"] = json!("third");
        });
        if file != "run.json" {
            let lines = fs::read_to_string(run.join("records.jsonl")).unwrap();
            let yours = lines.lines().filter(|line| line.contains("tiny.yours.cpu.1"));
            let kept = yours.map(|line| format!("{line}\n")).collect::<String>();
            fs::write(run.join("records.jsonl"), kept).unwrap();
        }
        fs::write(run.join(file), bytes).unwrap();
        for args in [&["table", "--csv"][..], &["list", "runs"]] {
            let done = project.rosetta(args);
            assert_eq!(done.code, Some(1), "{file} {what}: {done:?}");
            let warnings = done.stderr.lines().filter(|line| line.contains("warning:"));
            assert_eq!(warnings.count(), 1, "{file} {what}: {done:?}");
            let line = done.stderr.lines().find(|line| line.contains("warning:")).unwrap();
            assert!(line.contains(file) && line.contains(what), "{done:?}");
            assert!(line.contains("; remove it") || line.contains("; use the rosetta"), "{line}");
            let expected = if args[0] == "table" { "third" } else { "20261101T000000Z-aaaa" };
            assert!(done.stdout.contains(expected), "{done:?}");
        }
        assert!(table(&project, &["--csv"]).stdout.contains("tiny,yours,75"), "{file}");
        let named = table(&project, &["--run", "20261101", "--csv"]);
        assert_eq!(named.code, Some(0), "another run has no trouble: {named:?}");
    }
}

#[test]
fn a_folder_in_place_of_a_file_is_named() {
    for file in ["run.json", "records.jsonl", "tiny.mine.cpu.1/record.json"] {
        let project = with_run();
        let run = only_run(&project);
        if file.contains('/') {
            fs::write(run.join("records.jsonl"), "").unwrap();
        }
        fs::remove_file(run.join(file)).unwrap();
        fs::create_dir(run.join(file)).unwrap();
        let done = table(&project, &["--csv"]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains(&format!("{file}`: is a folder, not a file")), "{done:?}");
        assert!(done.stdout.contains("tiny,yours,75"), "{done:?}");
        assert_eq!(project.rosetta(&["list", "runs"]).code, Some(1));
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_named_and_does_not_hang() {
    for file in ["run.json", "records.jsonl"] {
        let project = with_run();
        let path = only_run(&project).join(file);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let done = table(&project, &["--csv"]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains(&format!("{file}`: is not a regular file")), "{done:?}");
        assert!(done.stdout.contains("tiny,yours,75"), "{done:?}");
        assert_eq!(project.run(&["--no-check"]).code, Some(0), "the next run is not stopped");
    }
}

#[test]
fn a_state_of_a_future_version_is_named_with_its_line() {
    let project = with_run();
    let run = only_run(&project);
    let text = fs::read_to_string(run.join("records.jsonl")).unwrap();
    let lines = text.lines().map(|line| match line.contains("tiny.mine.cpu.1") {
        true => line.replacen("\"status\":\"ok\"", "\"status\":\"evicted\"", 1) + "\n",
        false => line.to_owned() + "\n",
    });
    fs::write(run.join("records.jsonl"), lines.collect::<String>()).unwrap();
    fs::remove_file(run.join("tiny.mine.cpu.1/record.json")).unwrap();
    let done = table(&project, &["--csv"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("records.jsonl:"), "{done:?}");
    assert!(done.stderr.contains("unknown variant `evicted`"), "{done:?}");
    assert!(done.stderr.contains("use the rosetta that wrote it"), "{done:?}");
    assert!(done.stdout.contains("tiny,yours,75"), "{done:?}");
}

/// Returns how many repeats were counted of each row of a CSV table.
fn repeats(text: &str) -> Vec<String> {
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let column = table.headers().unwrap().iter().position(|key| key == "n").unwrap();
    table.records().map(|row| row.unwrap()[column].to_owned()).collect()
}

#[test]
fn a_doubled_line_beside_a_torn_one_counts_once_and_the_torn_job_is_read() {
    let project = with_run();
    let path = only_run(&project).join("records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    fs::write(&path, format!("{}\n{}\n{}", lines[0], lines[0], &lines[1][..40])).unwrap();
    let done = table(&project, &["--csv"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    for line in ["tiny,mine,75", "tiny,yours,75"] {
        assert!(done.stdout.lines().any(|row| row.starts_with(line)), "{done:?}");
    }
    assert_eq!(repeats(&done.stdout), ["1", "1"], "{done:?}");
}

#[test]
fn what_a_killed_rosetta_left_is_mended_at_the_next_start() {
    let project = with_run();
    let run = only_run(&project);
    let path = run.join("records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    // One job was sealed and its line never written; the part of another record stayed.
    fs::write(&path, format!("{first}\n{}", &second[..second.len() / 2])).unwrap();
    fs::write(run.join("tiny.mine.cpu.1/.record.json.XyZ123"), "{\"rec").unwrap();
    assert_eq!(table(&project, &["--csv"]).stdout.lines().count(), 3, "readers see it at once");
    project.run(&["--no-check"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(!run.join("tiny.mine.cpu.1/.record.json.XyZ123").exists());
}

#[test]
fn a_copied_run_is_not_counted_twice() {
    let project = with_run();
    let run = only_run(&project);
    let copy = run.with_file_name("0-backup");
    let copied = std::process::Command::new("cp").arg("-r").arg(&run).arg(&copy).status().unwrap();
    assert!(copied.success());
    let done = table(&project, &["--csv"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("0-backup`: a copy of run"), "{done:?}");
    assert_eq!(repeats(&done.stdout), ["1", "1"], "{done:?}");
    assert_eq!(runs(&project).1.as_array().unwrap().len(), 1);
    assert_eq!(table(&project, &["--run", "latest", "--csv"]).code, Some(0));
}

#[test]
fn a_worse_newer_record_does_not_hide_a_good_one_and_is_told() {
    let fail = |status: &'static str| {
        move |record: &mut Value| {
            record["outcome"] = json!({"status": status, "reason": "it was so", "hint": null});
            record["times"]["training"] = json!(null);
        }
    };
    for status in ["failed", "cancelled", "skipped", "timed_out"] {
        let project = with_run();
        let good = row(&project, "mine", &[])["training_time_s"].clone();
        let day = store_newer(&project, fail(status));
        let row = row(&project, "mine", &[]);
        assert_eq!(row["training_time_s"], good, "{status}");
        let note = row["training_time_s_note"].as_str().unwrap();
        let words = status.replace('_', " ");
        let expected = format!("the newest attempt, of {day}, is not shown: {words}");
        assert!(note.contains(&expected), "{note}");
    }
    let project = with_run();
    store_newer(&project, |_| {});
    let better = row(&project, "mine", &[]);
    assert_eq!(better["training_time_s"], 55.5, "the newest of two good ones counts");
}

#[test]
fn an_untainted_result_stands_before_a_newer_tainted_one() {
    let project = with_run();
    // On a busy machine the first run may be tainted too: only a clean one is of use here.
    store(&project, "20261101T000000Z-aaaa", "2026-11-26T00:00:00Z", |record| {
        record["marks"] = json!([]);
        record["target"] = json!("third");
        record["title"] = json!("third");
    });
    let day = store_newer(&project, |record| {
        record["marks"] = json!(["tainted: a", "tainted: b"]);
        record["target"] = json!("third");
        record["title"] = json!("third");
        record["times"]["training"] = json!(99.0);
    });
    let row = row(&project, "third", &[]);
    assert_eq!(row["training_time_s"], 55.5);
    let note = row["training_time_s_note"].as_str().unwrap();
    assert!(note.contains(&format!("of {day}, is not shown: tainted: a")), "{note}");
}

#[test]
fn a_trial_at_smoke_does_not_hide_other_profiles() {
    let project = with_run();
    let good = row(&project, "mine", &[])["training_time_s"].clone();
    store_newer(&project, |record| {
        record["profile"] = json!("smoke");
    });
    assert_eq!(row(&project, "mine", &[])["training_time_s"], good);
    row(&project, "yours", &[]);
    let shown = table(&project, &[]).stdout;
    assert!(shown.contains("not shown: results of `--profile smoke` (1 target)"), "{shown}");
    assert_eq!(row(&project, "mine", &["--profile", "smoke"])["training_time_s"], 55.5);
}

#[test]
fn ones_own_installation_and_the_pinned_one_are_two_rows() {
    let project = with_run();
    store_newer(&project, |record| {
        record["env"]["provider"] = json!("venv");
    });
    assert_eq!(row(&project, "mine", &[])["training_time_s"], 55.5);
    assert_ne!(row(&project, "mine (system)", &[])["training_time_s"], 55.5);
}

#[test]
fn a_clock_that_was_ahead_hides_no_later_run_and_is_told() {
    let project = with_run();
    let now = row(&project, "mine", &[])["training_time_s"].clone();
    store(&project, "20990101T000000Z-ffff", "2099-01-01T00:00:00Z", |record| {
        let other = record.clone();
        *record = other;
    });
    assert_eq!(row(&project, "mine", &[])["training_time_s"], now);
    let (code, runs, _) = runs(&project);
    assert_eq!((code, &runs[0]["is_clock_ahead"]), (Some(0), &json!(true)));
    let latest = table(&project, &["--run", "latest", "--csv"]).stdout;
    assert!(!latest.contains("20990101T"), "{latest}");
    // Where it is the only result of a row it is shown, with a note.
    store(&project, "20990101T000000Z-ffff", "2099-01-01T00:00:00Z", |record| {
        record["target"] = json!("third");
        record["title"] = json!("third");
    });
    let shown = table(&project, &[]).stdout;
    let words = "run 20990101T000000Z-ffff began on 2099-01-01, which is in the future";
    assert!(shown.contains(words), "{shown}");
}

#[test]
fn times_that_cannot_be_are_missing_with_a_footnote_and_are_not_ranked() {
    let project = with_run();
    store_newer(&project, |record| {
        record["times"]["training"] = json!(-997.0);
        record["epochs"] = json!([{"epoch": 0, "loss": null, "seconds": null, "samples": 8}]);
    });
    let done = table(&project, &["--csv"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    let last = done.stdout.lines().last().unwrap();
    assert!(last.starts_with("tiny,mine,75,,"), "a row without a time is last: {last}");
    let note = row(&project, "mine", &[])["training_time_s_note"].clone();
    assert_eq!(note, "what was stored is not a valid number: -997");
}

#[test]
fn an_interrupted_run_is_listed_as_such_with_what_it_was_about() {
    let project = with_run();
    let run = only_run(&project);
    let (code, before, _) = runs(&project);
    assert_eq!(code, Some(0));
    let one = &before[0];
    assert_eq!(one["state"], "finished");
    assert_eq!(one["experiments"], json!(["tiny"]));
    assert_eq!(one["targets"], json!(["mine", "yours"]));
    assert_eq!((&one["jobs"], &one["ok"], &one["not_ok"]), (&json!(2), &json!(2), &json!(0)));
    assert!(one["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{one}");
    assert!(one["command"].as_array().unwrap().contains(&json!("run")), "{one}");
    let lines = fs::read_to_string(run.join("records.jsonl")).unwrap();
    fs::write(run.join("records.jsonl"), lines.lines().next().unwrap().to_owned() + "\n").unwrap();
    for job in ["tiny.mine.cpu.1", "tiny.yours.cpu.1"] {
        if !lines.lines().next().unwrap().contains(job) {
            fs::remove_file(run.join(job).join("record.json")).unwrap();
        }
    }
    assert_eq!(runs(&project).1[0]["state"], "interrupted");
    assert!(project.rosetta(&["list", "runs"]).stdout.contains("interrupted"));
    let experiments = project.rosetta(&["list", "experiments", "--json"]).stdout;
    let experiments: Value = serde_json::from_str(&experiments).unwrap();
    assert_eq!(experiments[0]["profiles"], json!(["quick", "smoke"]));
}

#[test]
fn a_run_that_goes_on_is_listed_as_running() {
    let slow = format!("sleep 30\n{}", good());
    let project = Project::new().harness("mine", &slow);
    let mut child = project.start(&["--no-check"]);
    let begin = std::time::Instant::now();
    while list(&project.path("results/runs")).is_empty() && begin.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let state = || runs(&project).1[0]["state"].clone();
    while state() != "running" && begin.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(state(), "running");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(), "interrupted");
}

#[test]
fn a_terminal_of_80_columns_breaks_no_word() {
    let project = with_run();
    let id = runs(&project).1[0]["run"].as_str().unwrap().to_owned();
    let cases: [(&[&str], &str); 4] = [
        (&["table"], "yours"),
        (&["list", "runs"], &id),
        (&["list", "targets"], "yours"),
        (&["env", "list"], "fake"),
    ];
    for (args, name) in cases {
        let done = Done::of(project.command(args).env("COLUMNS", "80").output().unwrap());
        assert_eq!(done.code, Some(0), "{done:?}");
        let widest = done.stdout.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{}", done.stdout);
        assert!(done.stdout.split_whitespace().any(|word| word == name), "{}", done.stdout);
    }
}

#[test]
fn a_spec_that_cannot_be_read_does_not_hide_results() {
    let project = with_run();
    project.write("specs/broken.yaml", "version: 1\nname: broken\nnonsense: 1\n");
    let done = table(&project, &["--csv"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("broken.yaml"), "{done:?}");
    assert!(done.stdout.contains("tiny,mine,75"), "{done:?}");
}

#[test]
fn the_time_to_list_runs_grows_with_their_number_and_not_with_its_square() {
    let project = with_run();
    let took = |count: usize| {
        for index in 0..count {
            let (id, day) =
                (format!("202511{:02}T{index:06}Z-aaaa", 1 + index % 28), 1 + index % 28);
            store(&project, &id, &format!("2025-11-{day:02}T00:00:00Z"), |_| {});
        }
        let begin = std::time::Instant::now();
        let (_, runs, _) = runs(&project);
        assert_eq!(runs.as_array().unwrap().len(), count + 1);
        begin.elapsed().as_secs_f64()
    };
    let (few, many) = (took(50), took(400));
    assert!(many < 32.0 * few + 1.0, "{few} s for 50 runs, {many} s for 400");
}
