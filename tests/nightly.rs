//! `rosetta nightly`: what a person reads in the morning, and what cron gets.

mod common;

use std::fs;

use common::{Done, Project, good, list};
use serde_json::Value;

const NIGHT: [&str; 8] =
    ["nightly", "--provider", "system", "--python", "./python", "--device", "cpu", "--no-check"];

fn night(project: &Project, more: &[&str]) -> Done {
    project.rosetta(&[&NIGHT[..], more].concat())
}

/// Makes a harness say that its framework is of a version and that the training began at this second of the job; it ends at 0.21.
fn says(project: &Project, name: &str, version: &str, began: &str) {
    let good = good().replace("{good}", &project.path("good.npy").to_string_lossy());
    let train = "\"t\":0.2,\"name\":\"train\"";
    assert!(good.contains(train) && good.contains("1.2.3"));
    let script = good.replace("1.2.3", version).replace(train, &train.replace("0.2", began));
    project.write(&format!("harnesses/{name}/tiny.py"), &script);
}

fn newest_run(project: &Project) -> std::path::PathBuf {
    list(&project.path("results/runs")).into_iter().max().unwrap()
}

#[test]
fn a_pair_of_nights_that_are_alike_says_no_change_and_a_slower_version_is_named() {
    let project = Project::new().harness("mine", &good()).harness("yours", &good());
    let first = night(&project, &[]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        first.stdout.lines().next().unwrap().ends_with(": nothing to compare with yet"),
        "{first:?}"
    );

    let same = night(&project, &[]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.lines().next().unwrap().ends_with(": no change"), "{same:?}");
    assert!(same.stdout.contains("10 ok, 0 not ok, 0 skipped in"), "{same:?}");

    says(&project, "mine", "2.0.0", "0.19");
    let slower = night(&project, &["--notify", "cat >told"]);
    assert_eq!(slower.code, Some(1), "{slower:?}");
    let headline = slower.stdout.lines().next().unwrap();
    assert!(headline.ends_with(": 1 slower, 1 the same"), "{headline}");
    let line = slower
        .stdout
        .lines()
        .find(|line| line.contains("tiny · mine (system) · cpu: slower"))
        .unwrap();
    assert!(line.contains("2 times as long [2, 2], 0.0100 → 0.0200"), "{line}");
    assert!(
        line.contains("mine 1.2.3 → 2.0.0") && line.contains("its harness was changed"),
        "{line}"
    );
    assert!(!slower.stdout.contains("yours"), "{slower:?}");
    assert!(slower.stdout.contains("\n  mine 1.2.3 → 2.0.0 (1 row)\n"), "{slower:?}");

    let run = newest_run(&project);
    for told in [project.path("told"), run.join("summary.txt")] {
        assert_eq!(fs::read_to_string(told).unwrap(), slower.stdout);
    }
    let json: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(json["headline"], "1 slower, 1 the same");
    let changes = json["changes"][0]["rows"].as_array().unwrap();
    assert_eq!((changes.len(), &changes[0]["change"]), (2, &"slower".into()));
    let markdown = fs::read_to_string(run.join("summary.md")).unwrap();
    assert!(markdown.contains("| mine") && markdown.contains("A tiny experiment"), "{markdown}");

    // A version that does nothing to the times is named too.
    says(&project, "yours", "9.0.0", "0.2");
    let other = night(&project, &[]);
    assert_eq!(other.code, Some(0), "{other:?}");
    let headline = other.stdout.lines().next().unwrap();
    assert!(headline.ends_with(": no change of results"), "{headline}");
    assert!(other.stdout.contains("\n  yours 1.2.3 → 9.0.0 (1 row)\n"), "{other:?}");

    // The next night is compared with that one: what stays slow is not told again.
    let after = night(&project, &[]);
    assert_eq!(after.code, Some(0), "{after:?}");
    assert!(after.stdout.lines().next().unwrap().ends_with(": no change"), "{after:?}");
}

#[test]
fn a_job_that_fails_is_told_with_its_reason_and_the_next_good_night_mends_it() {
    let project = Project::new().harness("mine", &good()).harness("yours", &good());
    assert_eq!(night(&project, &["-r", "1"]).code, Some(0));
    project.write("harnesses/mine/tiny.py", "echo 'ValueError: no such layer' >&2\nexit 1\n");
    let broken = night(&project, &["-r", "1"]);
    assert_eq!(broken.code, Some(1), "{broken:?}");
    let headline = broken.stdout.lines().next().unwrap();
    assert!(headline.ends_with(": 1 broken, 1 the same; 1 job is not ok"), "{headline}");
    assert!(
        broken.stdout.contains("\nNot ok:\n  tiny · mine · cpu: failed; exit code 1"),
        "{broken:?}"
    );
    assert!(broken.stdout.contains("ValueError: no such layer"), "{broken:?}");
    says(&project, "mine", "1.2.3", "0.2");
    let mended = night(&project, &["-r", "1"]);
    assert_eq!(mended.code, Some(0), "{mended:?}");
    // The last good result is from before it broke.
    assert!(mended.stdout.lines().next().unwrap().ends_with(": no change"), "{mended:?}");
    // What was not run is not gone.
    let fewer = night(&project, &["-r", "1", "-f", "mine"]);
    assert!(fewer.stdout.lines().next().unwrap().ends_with(": no change"), "{fewer:?}");
}

#[test]
fn a_program_that_cannot_be_told_is_named_and_nothing_is_lost() {
    let project = Project::new().harness("mine", &good());
    for (command, why) in [("exit 3", "exit status: 3"), ("no-such-program", "exit status: 127")] {
        let done = night(&project, &["-r", "1", "--notify", command]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(
            done.stderr.contains(&format!("warning: `--notify {command}`: it ended with {why}")),
            "{done:?}"
        );
        assert!(newest_run(&project).join("summary.txt").exists());
    }
    // One that reads nothing is told all the same.
    let done = night(&project, &["-r", "1", "--notify", "test -s \"$ROSETTA_SUMMARY\""]);
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn a_night_with_a_budget_says_what_was_dropped_and_is_no_alarm() {
    let slow = format!("sleep 0.5\n{}", good());
    let project = Project::new().harness("mine", &slow).harness("yours", &slow);
    let done = night(&project, &["--budget", "3s", "--repeats", "9"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let headline = done.stdout.lines().next().unwrap();
    assert!(headline.contains("nothing to compare with yet; "), "{headline}");
    assert!(headline.ends_with(" jobs were dropped"), "{headline}");
    let summary = fs::read_to_string(newest_run(&project).join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let (ok, dropped) = (summary["ok"].as_u64().unwrap(), summary["dropped"].as_u64().unwrap());
    assert_eq!((ok + dropped, &summary["skipped"]), (18, &0.into()), "{summary}");
    assert!(done.stdout.contains(&format!("{ok} ok, 0 not ok, 0 skipped, {dropped} dropped in ")));
}
