//! Runs that are stored, and what lies about: shown, named, removed, and nothing that somebody needs.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::{Done, Project, good, list};
use serde_json::Value;

fn runs(project: &Project) -> Vec<PathBuf> {
    let mut runs = list(&project.path("results/runs"));
    runs.sort();
    runs
}

fn id(run: &std::path::Path) -> String {
    run.file_name().unwrap().to_string_lossy().into_owned()
}

/// Returns a project with so many runs of one target, which are all good.
fn nights(count: usize) -> Project {
    let project = Project::new().harness("fake", &good());
    for _ in 0..count {
        assert_eq!(project.run(&["--no-check"]).code, Some(0));
    }
    assert_eq!(runs(&project).len(), count);
    project
}

fn said(done: &Done, words: &str) {
    assert!(done.stderr.contains(words) || done.stdout.contains(words), "{words}: {done:?}");
}

#[test]
fn a_run_is_shown_with_its_jobs_and_called_by_its_label() {
    let project = Project::new().harness("a", &good()).harness("b", "echo broken >&2; exit 3");
    assert_eq!(project.run(&["--no-check"]).code, Some(1));
    let run = id(&runs(&project)[0]);
    let done = project.rosetta(&["runs", "label", "latest", "before-2.15"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let note = "the fan was \u{1b}[2J loud";
    assert_eq!(project.rosetta(&["runs", "note", &run, note]).code, Some(0));
    let done = project.rosetta(&["runs", "show", "before-2.15"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    for words in [
        &run,
        "finished, 2 of 2 jobs have ended, 1 ok",
        "before-2.15",
        "the fan was",
        "exit code 3",
    ] {
        said(&done, words);
    }
    assert!(!done.stdout.contains('\u{1b}'), "{done:?}");
    let done = project.rosetta(&["runs", "show", "latest", "--json"]);
    let shown: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&shown["label"], &shown["jobs"][1]["state"]),
        (&"before-2.15".into(), &"failed".into())
    );
    for command in [["list", "runs"], ["runs", "list"]] {
        said(&project.rosetta(&command), "before-2.15");
    }
    assert_eq!(project.rosetta(&["table", "--run", "before-2.15"]).code, Some(0));

    // A label is one run's alone, and can be taken away.
    assert_eq!(project.run(&["--no-check"]).code, Some(1));
    let done = project.rosetta(&["runs", "label", "latest", "before-2.15"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    said(&done, &format!("run `{run}` has the label `before-2.15`"));
    assert_eq!(project.rosetta(&["runs", "label", &run]).code, Some(0));
    let done = project.rosetta(&["runs", "show", "before-2.15"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    for wrong in ["latest", "2026", "a b", "../up", ""] {
        let done = project.rosetta(&["runs", "label", &run, wrong]);
        assert_eq!(done.code, Some(2), "{wrong}: {done:?}");
    }
}

#[test]
fn a_run_is_removed_when_somebody_agrees_and_nobody_holds_it() {
    let project = nights(2);
    let [first, second] = [0, 1].map(|index| runs(&project)[index].clone());
    said(&project.rosetta(&["runs", "remove", &id(&first), "--dry-run"]), "1 run would be removed");
    let done = project.rosetta(&["runs", "remove", &id(&first)]);
    assert_eq!(done.code, Some(2), "{done:?}");
    said(&done, "say `--yes` to agree beforehand");
    assert_eq!(runs(&project).len(), 2);
    let done = project.rosetta(&["runs", "remove", &id(&first), "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(runs(&project), std::slice::from_ref(&second));

    let held = fs::File::open(second.join("run.json")).unwrap();
    held.lock().unwrap();
    let done = project.rosetta(&["runs", "remove", "latest", "--yes"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    said(&done, "is going on: another rosetta holds it");
    assert!(second.exists());

    // What is not a run of these results is not touched.
    let other = nights(1);
    let elsewhere = runs(&other)[0].display().to_string();
    let done = project.rosetta(&["runs", "remove", &elsewhere, "--yes"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(runs(&other)[0].exists());
}

#[test]
fn pruning_leaves_what_a_table_shows_and_what_has_a_label() {
    let project = nights(3);
    // Of this target only the first of the later runs is good.
    project.write("harnesses/fake/tiny.py", "exit 3");
    for _ in 0..3 {
        assert_eq!(project.run(&["--no-check"]).code, Some(1));
    }
    let all = runs(&project);
    assert_eq!(project.rosetta(&["runs", "label", &id(&all[0]), "first"]).code, Some(0));
    let table = project.rosetta(&["table", "--json"]);
    let done = project.rosetta(&["runs", "prune", "--keep", "1", "--dry-run"]);
    said(&done, "3 runs would be removed");
    assert_eq!(runs(&project).len(), 6);
    let done = project.rosetta(&["runs", "prune", "--keep", "1", "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    // The first has a label, the third is the newest good one, the last is kept.
    assert_eq!(runs(&project), [all[0].clone(), all[2].clone(), all[5].clone()]);
    assert_eq!(project.rosetta(&["table", "--json"]).stdout, table.stdout);
    said(&project.rosetta(&["runs", "prune", "--yes"]), "there is no run to remove");
}

/// Makes a file seem to be of some hours ago.
fn age(path: &std::path::Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn what_killed_runs_have_left_is_told_and_removed() {
    let project = nights(1);
    let job = runs(&project)[0].join("tiny.fake.cpu.1");
    project.write("results/runs/.making-1/run.json", "{}");
    project.write("results/runs/.removing-2/run.json", "{}");
    project.write("home/data/orders/.making-3/part", "half");
    fs::write(job.join(".record.json.Xy1"), "half").unwrap();
    for name in [".making-1", ".removing-2"] {
        age(&project.path("results/runs").join(name), 1);
    }
    let left = [".making-1", ".removing-2", ".making-3", ".record.json.Xy1"];
    let done = project.rosetta(&["clean", "--dry-run"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    left.iter().for_each(|name| said(&done, name));
    assert!(job.join(".record.json.Xy1").exists(), "a trial removes nothing");
    let done = project.rosetta(&["clean", "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    said(&done, "4 things removed");
    assert!(list(&job).iter().all(|path| !path.display().to_string().contains("/.record")));
    assert_eq!(runs(&project).len(), 1);
    said(&project.rosetta(&["clean", "--dry-run"]), "there is nothing to remove");
    assert_eq!(project.rosetta(&["table"]).code, Some(0));
}

#[test]
fn a_disk_that_is_too_small_loses_what_was_not_used_for_longest() {
    let project = nights(1);
    let orders = list(&project.path("home/data/orders"));
    assert!(!orders.is_empty());
    let done = project.rosetta(&["clean", "--disk", "0", "--dry-run"]);
    said(&done, "there is nothing to remove");
    for order in list(&project.path("home/data/orders")) {
        age(&order.join("manifest.json"), 3);
    }
    let done = project.rosetta(&["clean", "--disk", "1G", "--dry-run"]);
    said(&done, "there is nothing to remove");
    let done = project.rosetta(&["clean", "--disk", "0", "--dry-run"]);
    said(&done, "too much for the disk: data orders/");
    let lock = fs::File::create(project.path("home/run.lock")).unwrap();
    lock.lock().unwrap();
    said(&project.rosetta(&["clean", "--disk", "0", "--yes"]), "a run goes on: nothing is removed");
    assert_eq!(list(&project.path("home/data/orders")).len(), orders.len());
    drop(lock);
    let done = project.rosetta(&["clean", "--disk", "0", "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(list(&project.path("home/data/orders")).is_empty(), "{done:?}");
    // What is gone is made again.
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    assert!(!list(&project.path("home/data/orders")).is_empty());
}

#[test]
fn an_environment_that_nobody_used_for_long_makes_room() {
    let project = Project::new().fake_uv().harness("fake", &good());
    let rosetta = |args: &[&str]| {
        let path = format!("{}:{}", project.path("path").display(), std::env::var("PATH").unwrap());
        Done::of(project.command(args).env("PATH", path).output().unwrap())
    };
    let done = rosetta(&["env", "build", "fake"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let envs = || {
        let mut envs = list(&project.path("home/envs"));
        envs.retain(|path| path.join("rosetta.json").exists());
        envs
    };
    let seal = envs().remove(0).join("rosetta.json");
    age(&seal, 3);
    said(&rosetta(&["clean", "--disk", "1G", "--dry-run"]), "there is nothing to remove");
    said(
        &rosetta(&["clean", "--disk", "0", "--dry-run"]),
        "too much for the disk: environment fake-",
    );
    // What a run holds stays.
    let held = fs::File::open(&seal).unwrap();
    held.lock_shared().unwrap();
    let done = rosetta(&["clean", "--disk", "0", "--yes"]);
    assert_eq!((done.code, envs().len()), (Some(0), 1), "{done:?}");
    said(&done, "1 kept, because they are used");
    drop(held);
    let done = rosetta(&["clean", "--disk", "0", "--yes"]);
    assert_eq!((done.code, envs().len()), (Some(0), 0), "{done:?}");
    assert_eq!(rosetta(&["env", "build", "fake"]).code, Some(0));
}
