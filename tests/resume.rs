//! `rosetta run --resume`: whatever ends a run, what was sealed stays, nothing is done twice, nothing is lost.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::{Done, Project, good, list};
use serde_json::Value;

/// Returns a project of five targets that all are ok, each after a short while.
fn five() -> Project {
    let wait = format!("sleep 0.05\n{}", good());
    let names = ["a", "b", "c", "d", "e"];
    names.into_iter().fold(Project::new(), |project, name| project.harness(name, &wait))
}

fn only_run(project: &Project) -> PathBuf {
    let mut runs = list(&project.path("results/runs"));
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

fn resume(project: &Project, more: &[&str]) -> Done {
    project.rosetta(&[&["run", "--resume"], more].concat())
}

/// Returns the records of the only run by job, and asserts that each job has one, in its folder and in the lines.
fn records(project: &Project) -> BTreeMap<String, Value> {
    let run = only_run(project);
    let text = fs::read_to_string(run.join("records.jsonl")).unwrap_or_default();
    let mut records = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}"));
        let job = record["job"].as_str().unwrap().to_owned();
        let sealed = fs::read_to_string(run.join(&job).join("record.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&sealed).unwrap(), record, "{job}");
        assert!(records.insert(job, record).is_none(), "a job stands twice: {text}");
    }
    records
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let project = five().harness("f", "sleep 100");
    let mut child = project.start(&["--no-check", "--repeats", "2"]);
    // Whatever the order: the job that sleeps is under way when it is interrupted.
    let slow =
        || list(&project.path("results/runs")).iter().any(|run| run.join("tiny.f.cpu.1").exists());
    while !slow() {
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let before = records(&project);
    assert_eq!(before["tiny.f.cpu.1"]["outcome"]["status"], "cancelled");
    let listed = project.rosetta(&["list", "runs"]);
    assert!(listed.stdout.contains("interrupted"), "{listed:?}");

    project.write(
        "harnesses/f/tiny.py",
        &good().replace("{good}", &project.path("good.npy").to_string_lossy()),
    );
    let done = resume(&project, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("goes on: ") && done.stderr.contains("12 ok"), "{done:?}");
    let after = records(&project);
    assert_eq!(after.len(), 12);
    for (job, record) in &before {
        if record["outcome"]["status"] == "ok" {
            assert_eq!(&after[job], record, "a sealed job was done again");
        }
    }
    assert!(after.values().all(|record| record["outcome"]["status"] == "ok"), "{after:?}");
    // What the attempt that was cut short left is kept.
    assert!(only_run(&project).join("attempts/tiny.f.cpu.1.1/record.json").exists());
    let listed = project.rosetta(&["list", "runs"]);
    assert!(listed.stdout.contains("finished"), "{listed:?}");

    let id = only_run(&project).file_name().unwrap().to_string_lossy().into_owned();
    let done = resume(&project, &[]);
    assert!(
        done.code == Some(2) && done.stderr.contains("no run that was interrupted"),
        "{done:?}"
    );
    let done = resume(&project, &[&id]);
    assert!(done.code == Some(2) && done.stderr.contains("is finished: all of its 12"), "{done:?}");
    let done = resume(&project, &["latest", "-f", "a"]);
    assert!(done.code == Some(2) && done.stderr.contains("cannot be used with"), "{done:?}");
}

#[test]
fn a_run_that_cannot_go_on_says_why_and_stays_as_it_is() {
    let project = five();
    let done = project.run(&["--no-check", "--env", "SOME_TOKEN=x"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let run = only_run(&project);
    let cut = |jobs: usize| {
        let text = fs::read_to_string(run.join("records.jsonl")).unwrap();
        let kept = text.lines().take(jobs).map(|line| format!("{line}\n")).collect::<String>();
        for line in text.lines().skip(jobs) {
            let record: Value = serde_json::from_str(line).unwrap();
            fs::remove_dir_all(run.join(record["job"].as_str().unwrap())).unwrap();
        }
        fs::write(run.join("records.jsonl"), kept).unwrap();
    };
    cut(3);
    let before = fs::read_to_string(run.join("records.jsonl")).unwrap();
    let refused = |words: &str, more: &[&str]| {
        let done = resume(&project, more);
        assert!(done.code == Some(2) && done.stderr.contains(words), "{words}: {done:?}");
        assert_eq!(fs::read_to_string(run.join("records.jsonl")).unwrap(), before);
    };
    refused("was given the secret `SOME_TOKEN`, which is not stored", &[]);

    let asked = fs::read_to_string(run.join("run.json")).unwrap();
    let change = |from: &str, to: &str| {
        assert!(asked.contains(from), "{asked}");
        fs::write(run.join("run.json"), asked.replacen(from, to, 1)).unwrap();
    };
    let host = serde_json::from_str::<Value>(&asked).unwrap()["machine"]["host"].to_string();
    change(&format!("\"host\":{host}"), "\"host\":\"elsewhere\"");
    refused("is of another machine", &["--env", "SOME_TOKEN=x"]);
    change("\"request\":", "\"was\":");
    refused("does not say what was asked for", &["--env", "SOME_TOKEN=x"]);
    fs::write(run.join("run.json"), &asked).unwrap();

    let left = serde_json::from_str::<Value>(&asked).unwrap();
    let left = left["jobs"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    let target = left.split('.').nth(1).unwrap().to_owned();
    let harness = project.path(&format!("harnesses/{target}"));
    fs::rename(&harness, project.path("aside")).unwrap();
    refused(&format!("its job `{left}` cannot be planned any more"), &["--env", "SOME_TOKEN=x"]);
    fs::rename(project.path("aside"), &harness).unwrap();

    let lock = fs::File::open(run.join("run.json")).unwrap();
    lock.lock().unwrap();
    let id = run.file_name().unwrap().to_str().unwrap();
    refused("another rosetta holds it", &[id, "--env", "SOME_TOKEN=x"]);
    drop(lock);

    let done = resume(&project, &["--env", "SOME_TOKEN=x"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(records(&project).len(), 5);
}

/// Power loss at any byte of the lines, and between a sealed record and its line.
#[test]
fn lines_that_were_cut_at_any_byte_are_whole_again_when_the_run_goes_on() {
    let project = five();
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let run = only_run(&project);
    let whole = records(&project);
    let text = fs::read(run.join("records.jsonl")).unwrap();
    let jobs = serde_json::from_slice::<Value>(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let last = jobs["jobs"][4].as_str().unwrap().to_owned();
    let steps = (text.len() - 2_500..text.len()).step_by(311);
    for length in steps.chain([0, 1, text.len() - 1, text.len()]) {
        // The last job was under way: its folder has no record yet.
        let _ = fs::remove_file(run.join(&last).join("record.json"));
        let mut file = fs::File::create(run.join("records.jsonl")).unwrap();
        let end = text.len() - text.split_inclusive(|b| *b == b'\n').next_back().unwrap().len();
        file.write_all(&text[..length.min(end)]).unwrap();
        drop(file);
        let done = resume(&project, &[]);
        assert_eq!(done.code, Some(0), "{length}: {done:?}");
        let after = records(&project);
        assert_eq!(after.len(), 5, "{length}");
        for (job, record) in after.iter().filter(|(job, _)| **job != last) {
            assert_eq!(record, &whole[job], "{length}: a sealed job was done again");
        }
    }
}

/// The short form of `.ci/soak.py`: killed at a random moment, resumed, nothing lost, nothing twice.
#[test]
fn a_killed_run_goes_on() {
    let project = five();
    let (mut random, mut kills) = (12_345_u32, 0);
    for _ in 0..4 {
        let _ = fs::remove_dir_all(project.path("results/runs"));
        let args = [
            "run",
            "--provider",
            "system",
            "--python",
            "./python",
            "--device",
            "cpu",
            "--no-check",
        ];
        let mut command = project.command(&args);
        for attempt in 0.. {
            assert!(attempt < 30, "it never ends");
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // A busy machine needs longer for anything: each attempt has more time than the last.
            let milliseconds = u64::from(random >> 16) % 300 + 20 + attempt * 100;
            std::thread::sleep(Duration::from_millis(milliseconds));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
            command = match list(&project.path("results/runs")).is_empty() {
                true => project.command(&args),
                false => project.command(&["run", "--resume"]),
            };
            // It may have been killed after its last job.
            if !list(&project.path("results/runs")).is_empty() && all_are_sealed(&project) {
                break;
            }
        }
        let listed = project.rosetta(&["list", "runs", "--json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!((&listed[0]["state"], &listed[0]["ok"]), (&"finished".into(), &5.into()));
    }
    assert!(kills > 0);
}

fn all_are_sealed(project: &Project) -> bool {
    let listed = project.rosetta(&["list", "runs", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    listed[0]["state"] == "finished"
}
