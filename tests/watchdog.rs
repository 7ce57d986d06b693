//! What ends a job or a run early, and what starts a job once more: each with its words, its outcome and its traces.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Done, EPOCH, HELLO, Project, START, TRAIN, good, list, says};
use serde_json::Value;

/// Returns the record of a job whose name begins so.
fn record<'a>(records: &'a [Value], job: &str) -> &'a Value {
    let found =
        records.iter().find(|r| r["job"].as_str().is_some_and(|name| name.starts_with(job)));
    found.unwrap_or_else(|| panic!("no record of {job}: {records:?}"))
}

fn outcome(record: &Value) -> String {
    format!("{}: {}", record["outcome"]["status"].as_str().unwrap(), record["outcome"]["reason"])
}

fn only_run(project: &Project) -> PathBuf {
    let mut runs = list(&project.path("results/runs"));
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

#[test]
fn a_loss_that_is_lost_ends_the_job_at_once() {
    let step = r#""ev":"step","t":0.2,"epoch":0,"step":1,"steps":2,"loss":"#;
    let far = [format!("{step}2.5"), format!("{step}1e9")];
    let nan = [format!("{step}\"NaN\"")];
    let epoch = EPOCH.replace("0.5", "\"Infinity\"");
    let cases: [(Vec<&str>, &str); 3] = [
        (nan.iter().map(String::as_str).collect(), "the loss was NaN at step 1 of epoch 1"),
        (
            far.iter().map(String::as_str).collect(),
            "the loss rose from 2.5 to 1000000000 at step 1",
        ),
        (vec![&epoch], "the loss was inf at the end of epoch 1"),
    ];
    for (events, expected) in cases {
        let script = format!("{}sleep 60\n", says(&[&[START, HELLO, TRAIN], &events[..]].concat()));
        let project = Project::new().harness("a-lost", &script).harness("b-good", &good());
        let begin = Instant::now();
        let done = project.run(&["--no-check"]);
        let records = project.records();
        let found = outcome(record(&records, "tiny.a-lost"));
        assert!(found.starts_with("failed: ") && found.contains(expected), "{found}");
        assert!(begin.elapsed() < Duration::from_secs(20), "it was waited for: {done:?}");
        assert_eq!(record(&records, "tiny.b-good")["outcome"]["status"], "ok");
        assert_eq!(done.code, Some(1), "{done:?}");
    }
}

#[test]
fn a_silent_job_is_stalled_without_being_asked_for() {
    let help = Project::new().rosetta(&["run", "--help"]);
    let words = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("half its time limit, at least 10 minutes"), "{words}");
    let project = Project::new().harness("fake", &format!("{}sleep 60\n", says(&[START])));
    project.run(&["--no-check", "--stall-timeout", "300ms"]);
    assert!(outcome(&project.records()[0]).starts_with("stalled: \"it said nothing for 0.3 s"));
}

#[test]
fn a_budget_drops_what_matters_least_and_says_so() {
    let slow = format!("sleep 0.4\n{}", good());
    let project = Project::new().harness("a", &slow).harness("b", &slow);
    let done = project.run(&["--no-check", "--repeats", "4", "--budget", "2s"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = project.records();
    assert_eq!(records.len(), 8, "every job has a record: {done:?}");
    let (ran, dropped) = records.iter().partition::<Vec<_>, _>(|r| r["outcome"]["status"] == "ok");
    assert!(ran.len() >= 2 && !dropped.is_empty(), "{} ran: {done:?}", ran.len());
    let latest = ran.iter().map(|r| r["repeat"].as_u64().unwrap()).max().unwrap();
    let earliest = dropped.iter().map(|r| r["repeat"].as_u64().unwrap()).min().unwrap();
    assert!(latest <= earliest, "repeat {latest} ran, repeat {earliest} was dropped");
    for record in &dropped {
        let found = outcome(record);
        assert!(found.starts_with("skipped: ") && found.contains("budget of 2.0 s"), "{found}");
    }
    assert!(done.stderr.contains(&format!("{} dropped", dropped.len())), "{done:?}");
    let listed = project.rosetta(&["list", "runs"]);
    assert!(listed.stdout.contains("finished"), "a budget is not an interruption: {listed:?}");

    // What was dropped is done when somebody asks for it.
    let id = only_run(&project).file_name().unwrap().to_string_lossy().into_owned();
    let done = project.rosetta(&["run", "--resume", &id, "--budget", "1h"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = project.records();
    assert!(records.iter().all(|r| r["outcome"]["status"] == "ok"), "{records:?}");
    assert_eq!(records.len(), 8);
}

/// A program on PATH that hangs held rosetta for ever, silently.
#[test]
fn a_git_that_hangs_costs_the_revision_and_not_the_run() {
    let project = Project::new().harness("fake", &good());
    project.program("path/git", "sleep 300");
    let run = ["run", "--no-check", "--python", "./python", "--device", "cpu"];
    let mut command = project.command(&run);
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    command.env("PATH", path);
    let begun = Instant::now();
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("`git` does not answer"), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(project.records()[0]["rosetta"]["revision"], Value::Null);
}

#[test]
fn a_budget_ends_a_job_that_would_outlast_it() {
    let script = format!("{}sleep 60\n", says(&[START, HELLO]));
    let project = Project::new().harness("fake", &script);
    let begin = Instant::now();
    let done = project.run(&["--no-check", "--budget", "1s"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{done:?}");
    let found = outcome(&project.records()[0]);
    assert!(found.contains("budget of 1.0 s was used up while it ran"), "{found}");
}

#[test]
fn a_passing_cause_is_tried_again_and_every_attempt_is_kept() {
    // The first attempt is killed from outside, the second is left alone.
    let script = format!("[ -e again ] || {{ echo >again; kill -KILL $$; }}\n{}", good());
    let project = Project::new().harness("fake", &script);
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("once more (1 of 1): somebody killed it"), "{done:?}");
    let records = project.records();
    assert_eq!((records.len(), &records[0]["outcome"]["status"]), (1, &"ok".into()));
    let earlier = &records[0]["earlier"][0];
    assert_eq!(earlier["status"], "crashed", "{earlier}");
    let kept = only_run(&project).join("attempts/tiny.fake.cpu.1.1");
    let kept = fs::read_to_string(kept.join("record.json")).unwrap();
    assert!(kept.contains("SIGKILL"), "{kept}");

    // What does not pass is not tried again: a crash, a wrong exit code.
    for script in ["kill -SEGV $$", "exit 3"] {
        let project = Project::new().harness("fake", script);
        let done = project.run(&["--no-check", "--retries", "5"]);
        assert_eq!((done.code, &project.records()[0]["earlier"]), (Some(1), &Value::Array(vec![])));
        assert!(!only_run(&project).join("attempts").exists());
    }
    // One that never passes is given up, and nobody asked is nobody tried.
    for (retries, attempts) in [("2", 2), ("0", 0)] {
        let project = Project::new().harness("fake", "kill -KILL $$");
        let done = project.run(&["--no-check", "--retries", retries]);
        let records = project.records();
        assert_eq!((done.code, records.len()), (Some(1), 1), "{done:?}");
        assert!(outcome(&records[0]).contains("SIGKILL"));
        assert_eq!(records[0]["earlier"].as_array().unwrap().len(), attempts);
        assert_eq!(list(&only_run(&project).join("attempts")).len(), attempts);
    }
}

#[test]
fn a_tainted_job_is_measured_again_where_that_is_asked_for() {
    // The first attempt is stopped for a time.
    let stop = "[ -e again ] || { echo >again; (sleep 2; kill -CONT $$) & kill -STOP $$; }\n";
    let project = Project::new().harness("fake", &format!("{stop}{}sleep 0.3\n", good()));
    let done = project.run(&["--no-check", "--retry-tainted", "1"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = project.records();
    let earlier = records[0]["earlier"][0]["reason"].as_str().unwrap_or_default();
    assert!(earlier.contains("stopped for a time"), "{records:?}");
    assert!(!records[0]["marks"].to_string().contains("stopped for a time"), "{records:?}");
    assert!(only_run(&project).join("attempts/tiny.fake.cpu.1.1/record.json").exists());
}

#[test]
fn a_machine_that_is_not_quiet_is_waited_for_and_then_used() {
    let project = Project::new().harness("fake", &good());
    let busy = [(); 2].map(|()| Command::new("sh").args(["-c", "while :; do :; done"]).spawn());
    let done = project.run(&["--no-check", "--wait-quiet", "1s"]);
    for child in busy {
        let mut child = child.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("waiting until the machine is quiet: "), "{done:?}");
    assert!(done.stderr.contains("it is not: the job begins all the same"), "{done:?}");
}

#[test]
fn who_does_not_want_to_wait_for_another_run_need_not() {
    let project = Project::new().harness("fake", &good());
    fs::create_dir_all(project.path("home")).unwrap();
    let lock = fs::File::create(project.path("home/run.lock")).unwrap();
    lock.lock().unwrap();
    let done = project.run(&["--no-check", "--no-wait"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("another run uses this machine"), "{done:?}");
    assert!(list(&project.path("results/runs")).is_empty(), "nothing was begun");
}

/// Runs two frameworks on both devices; on the GPU a harness does `what` after its hello.
fn on_a_fake_gpu(what: &str) -> (Project, Done) {
    let cuda = HELLO.replace("\"cpu\"", "\"cuda\"");
    let script = format!(
        "case $ROSETTA_JOB in *.cuda.*)\n{}{what}\n{};; *) {};; esac\n",
        says(&[START, &cuda]),
        // What follows the two that were said.
        good().lines().skip(2).map(|line| format!("{line}\n")).collect::<String>(),
        good(),
    );
    let project = Project::new().harness("a", &script).harness("b", &script);
    project.write("gpu", "");
    let args = ["run", "--provider", "system", "--python", "./python", "--device", "cpu,cuda"];
    let mut command = project.command(&[&args[..], &["--no-check"]].concat());
    command.env("ROSETTA_NVML", project.fake_driver()).env("FAKE_NVML", project.path("gpu"));
    command.env("GPU", project.path("gpu"));
    let done = Done::of(command.args(["--env", "GPU"]).output().unwrap());
    (project, done)
}

#[test]
fn a_gpu_that_is_held_back_is_told_and_one_that_idles_is_not() {
    let project = Project::new().harness("a", &good());
    let driver = project.fake_driver();
    let doctor = |state: &str| {
        project.write("gpu", state);
        let mut command = project.command(&["doctor", "--json"]);
        command.env("ROSETTA_NVML", &driver).env("FAKE_NVML", project.path("gpu"));
        // Nothing of this machine's CPUs.
        command.env("ROSETTA_SYSTEM_ROOT", project.path("gpu"));
        let done = Done::of(command.output().unwrap());
        serde_json::from_str::<serde_json::Value>(&done.stdout).unwrap()
    };
    let told = doctor("");
    assert_eq!(told["machine"]["gpus"][0]["throttle"], "ThrottleReasons(GPU_IDLE)", "{told}");
    let held = told["held_back"].as_array().unwrap().iter();
    assert_eq!(
        held.filter(|held| held["what"].as_str().unwrap().contains("GPU")).count(),
        0,
        "{told}"
    );
    let told = doctor("slow");
    let held = told["held_back"].as_array().unwrap().iter();
    let words = held.map(|held| held["what"].as_str().unwrap()).filter(|what| what.contains("GPU"));
    assert_eq!(
        words.collect::<Vec<_>>(),
        [
            "Fake GPU is limited to 250 W, of 350 W by default",
            "the clocks of Fake GPU are held down by its power limit (`nvidia-smi -q -d POWER` tells more)",
            "the clocks of Fake GPU are held down by heat (hardware) (`nvidia-smi -q -d TEMPERATURE` tells more)",
        ]
    );
    assert!(format!("{told}").contains("sudo nvidia-smi -pl 350"), "{told}");
}

#[test]
fn a_lost_gpu_ends_its_jobs_and_those_of_the_cpu_go_on() {
    let cases = [
        ("printf 'xid 79' >$GPU; sleep 60", "Xid 79, it has fallen off the bus"),
        ("printf lost >$GPU; sleep 60", "the driver has lost it"),
        ("printf ecc >$GPU; sleep 60", "3 errors of its memory could not be corrected"),
    ];
    for (what, expected) in cases {
        let begin = Instant::now();
        let (project, done) = on_a_fake_gpu(what);
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: it was waited for: {done:?}");
        let records = project.records();
        assert_eq!(records.len(), 4, "{done:?}");
        for job in ["tiny.a.cpu", "tiny.b.cpu"] {
            assert_eq!(record(&records, job)["outcome"]["status"], "ok", "{done:?}");
        }
        let mut found = ["tiny.a.cuda", "tiny.b.cuda"].map(|job| outcome(record(&records, job)));
        found.sort();
        assert!(found[0].starts_with("failed: \"the GPU failed: "), "{found:?}");
        assert!(found[0].contains(expected), "{expected}: {found:?}");
        assert!(found[1].starts_with("skipped: \"the GPU failed in job `tiny."), "{found:?}");
        assert_eq!(done.code, Some(1), "{done:?}");
    }
    // A program's own fault is not the GPU's.
    let (project, done) = on_a_fake_gpu("printf 'xid 31' >$GPU; sleep 0.5");
    let records = project.records();
    assert!(records.iter().all(|r| r["outcome"]["status"] == "ok"), "{records:?} {done:?}");
}
