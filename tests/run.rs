//! `rosetta run` on harnesses that are shell scripts: each way a job can end, and what is kept.

mod common;

use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{
    Done, EPOCH, HELLO, OUTPUTS, PREDICT, Project, RIGHT, START, TINY, TRAIN, computes, good, list,
    says, with_reference,
};
use serde_json::Value;

#[test]
fn an_experiment_of_ones_own_needs_a_spec_and_a_harness_and_no_rust() {
    let project = Project::new().harness("mine", &good());
    let done = project.run(&["--markdown"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("### A tiny experiment"), "{done:?}");
    assert!(done.stdout.contains("| mine "), "{done:?}");
    assert!(done.stdout.contains("| 75 ") || done.stdout.contains(" 75 |"), "{done:?}");
    let record = &project.records()[0];
    assert_eq!(record["score"]["accuracy"], 0.75);
    assert_eq!(record["times"]["training"], 0.01);
    assert_eq!(record["framework_version"], "1.2.3");
    assert_eq!(record["inputs"]["source"], "own");
    assert_eq!(record["env"]["provider"], "system");
    assert_eq!(record["env"]["packages"][0], "fakelib==1.2.3");
    let sealed = list(&list(&project.path("results/runs"))[0].join("tiny.mine.cpu.1"));
    assert!(sealed.iter().any(|path| path.ends_with("record.json")), "{sealed:?}");
}

#[test]
fn an_interpreter_of_ones_own_runs_no_compiled_program() {
    let project = Project::new().harness("a-script", &good());
    project.write(
        "envs/crate/env.yaml",
        "version: 1\nname: crate\nprovider: cargo\nmanifest: harnesses/b-crate/Cargo.toml\n",
    );
    project.write(
        "harnesses/b-crate/framework.yaml",
        "version: 1\nname: b-crate\ntitle: b-crate\nlanguage: rust\nera: current\n\
         targets:\n  - {name: b-crate, title: b-crate, env: {cpu: crate}, starter: true}\n",
    );
    project.write("harnesses/b-crate/tiny.rs", "fn main() {}");
    let done = project.run(&["--markdown"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = project.records();
    let status = |target: &str| {
        let record = records.iter().find(|record| record["target"] == target).unwrap();
        record["outcome"]["status"].as_str().unwrap()
    };
    // Its crate has no Cargo.toml, so it cannot be built; the interpreter is not asked to run it.
    assert_eq!((status("a-script"), status("b-crate")), ("ok", "skipped"));
}

#[test]
fn a_failure_is_an_outcome_and_the_other_jobs_go_on() {
    let project = Project::new().harness("a-bad", "exit 3").harness("b-good", &good());
    let done = project.run(&[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let mut outcomes =
        project.records().iter().map(|r| r["outcome"]["status"].to_string()).collect::<Vec<_>>();
    outcomes.sort();
    assert_eq!(outcomes, ["\"failed\"", "\"ok\""]);
    assert!(done.stdout.contains("a-bad on cpu: failed; exit code 3"), "{done:?}");
    assert!(done.stderr.contains("1 ok, 1 not ok"), "{done:?}");
}

#[test]
fn each_way_to_end_has_its_outcome() {
    let cases: [(&str, String, &str, &str); 14] = [
        ("exit code", "echo oops >&2; exit 7".into(), "failed", "exit code 7: oops"),
        ("signal", "kill -SEGV $$".into(), "crashed", "SIGSEGV"),
        ("nothing", "true".into(), "failed", "without saying hello"),
        ("no end", says(&[START, HELLO, OUTPUTS]), "failed", "without saying that everything"),
        ("no outputs", says(&[START, HELLO, r#""ev":"end","t":1"#]), "failed", "without outputs"),
        (
            "NaN loss",
            good().replace(r#""loss":0.5"#, r#""loss":"NaN""#),
            "failed",
            "the loss was NaN at the end of epoch 1",
        ),
        ("lost file", good().replace("{good}", "/nowhere.npy"), "check_failed", "/nowhere.npy"),
        ("memory", "echo MemoryError: x >&2; exit 1".into(), "out_of_memory", "ran out of memory"),
        (
            "other version",
            "echo '{\"v\":9,\"seq\":0,\"ev\":\"hello\"}'".into(),
            "failed",
            "this rosetta speaks protocol 1",
        ),
        ("noise", format!("echo noise; printf '\\377\\376\\n'\n{}printf half", good()), "ok", ""),
        (
            "a line of 50 MB",
            format!("head -c 50000000 /dev/zero | tr '\\0' x; echo\n{}", good()),
            "ok",
            "",
        ),
        (
            "a kind of the future",
            format!("echo '{{\"v\":1,\"seq\":99,\"t\":0,\"ev\":\"aura\"}}'\n{}", good()),
            "ok",
            "",
        ),
        ("windows", good().replace("}'", "}\r'"), "ok", ""),
        ("out of its band", good().replace("{good}", "{bad}"), "check_failed", "is outside 50.0"),
    ];
    let bad = tempfile::NamedTempFile::new().unwrap();
    fs::write(bad.path(), common::npy_f32(&[4, 3], &[1.0; 12]).as_slice()).unwrap();
    // All zeros predict class 0: two of four are right, which is inside; wrong labels are not.
    let wrong = [0., 9., 0., 9., 0., 0., 9., 0., 0., 0., 9., 0.];
    fs::write(bad.path(), common::npy_f32(&[4, 3], &wrong)).unwrap();
    for (name, script, status, reason) in cases {
        let script = script.replace("{bad}", &bad.path().to_string_lossy());
        let (found, why) = Project::outcome(&script);
        assert_eq!(found, status, "{name}: {why}");
        assert!(why.contains(reason), "{name}: {why}");
    }
}

#[test]
fn wrong_outputs_fail_the_check() {
    let shape = |rows: usize, values: &[f32]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), common::npy_f32(&[rows, 3], values)).unwrap();
        file
    };
    let short = shape(3, &[0.5; 9]);
    let script = good().replace("{good}", &short.path().to_string_lossy());
    let (status, why) = Project::outcome(&script);
    assert_eq!(
        (status.as_str(), why.contains("3 rows, but 4 rows")),
        ("check_failed", true),
        "{why}"
    );
    let nan = shape(4, &[f32::NAN; 12]);
    let script = good().replace("{good}", &nan.path().to_string_lossy());
    let (status, why) = Project::outcome(&script);
    assert_eq!((status.as_str(), why.contains("not finite")), ("check_failed", true), "{why}");
}

#[test]
fn a_job_that_takes_too_long_is_stopped_with_all_its_processes() {
    let project = Project::new();
    let mark = project.path("alive");
    let script = format!("(setsid sh -c 'sleep 3; touch {}') & sleep 60", mark.display());
    let project = project.harness("slow", &script);
    let started = Instant::now();
    let done = project.run(&["--timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{done:?}");
    assert_eq!(project.records()[0]["outcome"]["status"], "timed_out");
    wait_until(Duration::from_secs(5), || started.elapsed() > Duration::from_secs(4));
    assert!(!mark.exists(), "a process outlived its job");
}

#[test]
fn ctrl_c_stops_after_cleaning_up_and_exits_with_130() {
    let slow = says(&[START, HELLO]) + "sleep 60\n";
    let project = Project::new().harness("slow-a", &slow).harness("slow-b", &slow);
    let mut child = project.start(&[]);
    let events = || {
        let runs = list(&project.path("results/runs"));
        let jobs = runs.iter().flat_map(|run| list(run)).collect::<Vec<_>>();
        jobs.iter().any(|job| fs::metadata(job.join("events.jsonl")).is_ok_and(|m| m.len() > 100))
    };
    wait_until(Duration::from_secs(20), events);
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: the child has not been waited for, so the number is still its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20));
    let records = project.records();
    assert_eq!(records.len(), 1, "the second job must not start");
    assert_eq!(records[0]["outcome"]["status"], "cancelled");
}

fn wait_until(limit: Duration, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_and_nothing_starts() {
    let project = Project::new().harness("pytorch", &good());
    let cases: [(&[&str], &str); 7] = [
        (&["tinny"], "did you mean `tiny`?"),
        (&["-f", "pytroch"], "did you mean `pytorch`?"),
        (&["-p", "quik"], "did you mean `quick`?"),
        (&["--device", "mps"], "possible values: cpu, cuda"),
        (&["pytorch"], "name it with `-f pytorch`"),
        (&["-f", "pytorch jax"], "separate names by commas: `-f pytorch,jax`"),
        (&["-f", "numpy"], "unknown framework `numpy`; known: `pytorch`"),
    ];
    for (args, hint) in cases {
        let done = project.run(args);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(hint), "{done:?}");
    }
    assert!(!project.path("results/runs").exists());
}

#[test]
fn names_are_known_in_any_case_and_by_what_people_call_them() {
    let project = Project::new().harness("pytorch", &good());
    for args in [["TINY", "-f", "PyTorch"], ["tiny", "-f", "torch"]] {
        let done = project.run(&args);
        assert_eq!(done.code, Some(0), "{done:?}");
    }
}

#[test]
fn a_project_without_the_sdk_is_told_where_to_get_it() {
    let project = Project::new().harness("mine", &good());
    fs::remove_dir_all(project.path("harnesses/sdk")).unwrap();
    let done = project.run(&[]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("has no `harnesses/sdk/python/rosetta`"), "{done:?}");
    assert!(done.stderr.contains("hint: link `harnesses/sdk` of a checkout"), "{done:?}");
}

#[test]
fn bad_yaml_names_file_line_column_and_what_is_allowed() {
    let long = "x".repeat(2 << 20);
    let cases: [(&str, String, &[&str]); 12] = [
        (
            "unknown field",
            TINY.replace("seed: 1", "sead: 1"),
            &["specs/tiny.yaml:5:1", "`sead`", "did you mean `seed`?"],
        ),
        ("wrong type", TINY.replace("seed: 1", "seed: one"), &["specs/tiny.yaml:5:7", "seed"]),
        (
            "duplicate key",
            TINY.replace("seed: 1", "seed: 1\nseed: 2"),
            &["specs/tiny.yaml:6:1", "`seed` stands here a second time"],
        ),
        ("empty", String::new(), &["specs/tiny.yaml:1:1: the file is empty"]),
        ("tab", TINY.replace("  quick", "\tquick"), &["specs/tiny.yaml:1"]),
        ("unclosed", TINY.replace("epochs: 1,", "epochs: [1,"), &["specs/tiny.yaml:"]),
        ("too large", format!("{TINY}# {long}"), &["at most 1048576 are read"]),
        (
            "profile's unknown setting",
            TINY.replace("{rows: {}, ", "{rows: {}, settings: {epocs: 2}, "),
            &["specs/tiny.yaml:14:", "`epocs`", "did you mean `epochs`?"],
        ),
        (
            "kind of a setting",
            TINY.replace("{rows: {}, ", "{rows: {}, settings: {epochs: two}, "),
            &["`epochs` is a text here but a number"],
        ),
        (
            "version",
            TINY.replace("version: 1", "version: 2"),
            &["`version` is 2; this rosetta reads 1"],
        ),
        (
            "name",
            TINY.replace("name: tiny", "name: teeny"),
            &["`name` is `teeny` but the file is named `tiny`"],
        ),
        (
            "time",
            TINY.replace("timeout: 30s", "timeout: soon"),
            &["invalid duration `soon`: write `90`, `90s`, `1h30m` or `1.5h`"],
        ),
    ];
    for (name, text, expected) in cases {
        let project = Project::new().harness("mine", &good());
        project.write("specs/tiny.yaml", &text);
        refused(name, &project, expected);
    }
    let bombs = [
        ("bomb", billion_laughs(), "specs/tiny.yaml"),
        ("depth", "[".repeat(100_000), "specs/tiny.yaml"),
    ];
    for (name, text, expected) in bombs {
        let project = Project::new().harness("mine", &good());
        project.write("specs/tiny.yaml", &text);
        let started = Instant::now();
        refused(name, &project, &[expected]);
        assert!(started.elapsed() < Duration::from_secs(20), "{name}");
    }
    let project = Project::new().harness("mine", &good());
    project.write_bytes("specs/tiny.yaml", b"version: 1\nname: t\xffny\n");
    refused("not UTF-8", &project, &["specs/tiny.yaml:2:8: not UTF-8"]);
}

#[test]
fn a_successor_that_is_no_target_is_a_clear_error() {
    let project = Project::new().harness("mine", &good()).harness("other", &good());
    let path = "harnesses/mine/framework.yaml";
    let text = fs::read_to_string(project.path(path)).unwrap();
    for (successor, expected) in [
        ("othr", "unknown target `othr`; known: `other`"),
        ("mine", "unknown target `mine`; known: `other`"),
    ] {
        let stated = format!("starter: true, successor: {successor}");
        project.write(path, &text.replace("starter: true", &stated));
        refused(successor, &project, &["framework.yaml:7:", expected]);
    }
}

fn refused(name: &str, project: &Project, expected: &[&str]) {
    let done = project.run(&[]);
    assert_eq!(done.code, Some(2), "{name}: {done:?}");
    for words in expected {
        assert!(done.stderr.contains(words), "{name}: no `{words}` in\n{}", done.stderr);
    }
    assert!(!done.stderr.contains("panicked"), "{name}: {done:?}");
    assert!(!project.path("results/runs").exists(), "{name}: something was started");
}

fn billion_laughs() -> String {
    let mut text = "a0: &a0 [lol, lol]\n".to_owned();
    for level in 1..30 {
        text += &format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1);
    }
    text
}

#[test]
fn results_are_kept_in_a_folder_named_from_here() {
    // A harness runs in a folder of its own and must find its job from there.
    let script = format!("test -f \"$ROSETTA_JOB\" || exit 3\n{}", good());
    let project = Project::new().harness("mine", &script);
    let done = project.run(&["--results", "kept"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(project.path("kept/runs").is_dir() && !project.path("results").exists(), "{done:?}");
}

#[test]
fn results_that_cannot_be_written_are_a_clear_error() {
    let project = Project::new().harness("mine", &good());
    project.write("blocked", "a file, not a folder");
    let done = project.run(&["--results", "blocked"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("cannot write to `") && done.stderr.contains("hint:"), "{done:?}");
}

#[test]
fn a_run_that_could_not_be_prepared_leaves_no_folder() {
    // It left a folder with a run.json and no records, which counted as the latest run.
    let project = Project::new().harness("fake", &good());
    std::fs::remove_file(project.path("specs/x_train.npy")).unwrap();
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("cannot prepare the data of tiny"), "{done:?}");
    assert_eq!(list(&project.path("results/runs")), Vec::<PathBuf>::new());
}

#[test]
fn what_was_asked_for_is_stored_with_the_run() {
    let project = Project::new().harness("fake", &good());
    project.run(&["--no-check", "--repeats", "2", "--timeout", "90s", "-f", "fake"]);
    let [run] = &list(&project.path("results/runs"))[..] else { panic!("no run") };
    let read = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let run = serde_json::from_str::<Value>(&read("run.json")).unwrap();
    let request = &run["request"];
    assert_eq!((&request["repeats"], &request["check"]), (&2.into(), &false.into()), "{run}");
    assert_eq!(request["limits"]["timeout_seconds"], 90.0);
    assert_eq!((&request["provider"], &request["profile"]), (&"system".into(), &"quick".into()));
    assert_eq!(request["python"], "./python");
    let folder = project.path("").canonicalize().unwrap();
    assert_eq!(request["folder"].as_str(), folder.to_str(), "relative paths start there");
    assert_eq!(run["command"][1], "run");
}

#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    // Only root can make a small file system; elsewhere the test above has to do.
    let project = Project::new().harness("mine", &good());
    let disk = project.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |args: &[&str]| {
        let status = std::process::Command::new("mount").args(args).arg(&disk).output();
        status.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"]) {
        eprintln!("skipped: no right to mount");
        return;
    }
    let fill = || {
        let first = project.run(&["--results", "disk"]);
        assert_eq!(first.code, Some(0), "{first:?}");
        let stored = project.rosetta(&["--results", "disk", "list", "runs", "--json"]);
        // What is left, to the last byte: writing ends with an error, as it must.
        let mut filler = fs::File::create(disk.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        let second = project.run(&["--results", "disk"]);
        (stored, second, project.rosetta(&["--results", "disk", "table", "--csv"]))
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fill));
    let unmounted = std::process::Command::new("umount").arg(&disk).status().unwrap().success();
    let (stored, second, table) = result.unwrap();
    assert!(unmounted && stored.stdout.contains("\"ok\": 1"), "{stored:?}");
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.stderr.contains("cannot write"), "{second:?}");
    assert!(table.stdout.contains("tiny,mine,75"), "{table:?}");
}

#[test]
fn a_plan_can_be_looked_at_and_starts_nothing() {
    let project = Project::new().harness("mine", &good());
    let done = project.run(&["--dry-run", "--repeats", "2"]);
    assert_eq!(done.stdout, "tiny.mine.cpu.1\ntiny.mine.cpu.2\n");
    assert!(done.stderr.contains("2 jobs: none has run here yet; what has no verdict"), "{done:?}");
    assert!(!project.path("results/runs").exists());

    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let done = project.run(&["--dry-run", "--no-check"]);
    assert!(
        done.stderr.contains("1 job: they took 0.") && !done.stderr.contains("verdict"),
        "{done:?}"
    );
}

#[test]
fn a_program_can_read_the_plan() {
    let project = Project::new().harness("mine", &good()).harness("other", &good());
    fs::remove_file(project.path("harnesses/other/tiny.py")).unwrap();
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let args = ["--dry-run", "--json", "--framework", "mine,other", "tiny", "--repeats", "2"];
    let done = project.run(&args);
    let plan = serde_json::from_str::<serde_json::Value>(&done.stdout).unwrap();
    assert_eq!(plan["jobs"][1]["job"], "tiny.mine.cpu.2", "{plan}");
    assert_eq!(plan["jobs"][1]["env"], serde_json::Value::Null, "an interpreter of the user's");
    assert_eq!(plan["skipped"][0]["target"], "other", "{plan}");
    let took = project.records()[0]["times"]["wall"].as_f64().unwrap();
    let sum = plan["expected_seconds"].as_f64().unwrap();
    assert!((sum - 2.0 * took).abs() < 1e-6, "{sum} is not twice {took}");
    let done = project.run(&["--dry-run", "--markdown"]);
    assert!(done.code == Some(2) && done.stderr.contains("--dry-run"), "{done:?}");
}

#[test]
fn more_threads_than_cpus_are_warned_of() {
    let project = Project::new().harness("mine", &good());
    let warned = project.run(&["--dry-run", "--threads", "4096"]);
    assert!(warned.stderr.contains("warning: 4096 threads for "), "{warned:?}");
    let not = project.run(&["--dry-run", "--threads", "1"]);
    assert!(!not.stderr.contains("warning"), "{not:?}");
}

#[test]
fn a_quiet_run_says_only_what_fails_and_its_results() {
    let project = Project::new().harness("mine", &good()).harness("bad", "exit 3");
    let done = project.run(&["--quiet", "--no-check"]);
    assert!(done.stdout.contains("75"), "{done:?}");
    assert!(done.stderr.contains("✗ tiny · bad"), "{done:?}");
    assert!(!done.stderr.contains('✓') && !done.stderr.contains('…'), "{done:?}");
}

#[test]
fn a_tuned_target_runs_where_it_is_asked_for() {
    let project = Project::new().harness("mine", &good()).harness("fast", &good());
    let path = "harnesses/fast/framework.yaml";
    let text = fs::read_to_string(project.path(path)).unwrap();
    project.write(path, &text.replace("starter: true", "lane: tuned"));
    let (mine, fast) = ("tiny.mine.cpu.1\n", "tiny.fast.cpu.1\n");
    for (args, expected) in [
        (&[][..], vec![mine]),
        (&["--all"], vec![mine]),
        (&["--lane", "tuned"], vec![fast]),
        (&["--lane", "all"], vec![fast, mine]),
        (&["--framework", "fast"], vec![fast]),
    ] {
        let done = project.run(&[&["--dry-run"], args].concat());
        let mut planned = done.stdout.split_inclusive('\n').collect::<Vec<_>>();
        planned.sort_unstable();
        assert_eq!(planned, expected, "{args:?}: {done:?}");
    }
}

#[test]
fn what_cannot_run_here_is_skipped_with_the_reason() {
    let project = Project::new().harness("mine", &good());
    let done = project.rosetta(&["run", "--device", "cpu"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("nothing can run here"), "{done:?}");
    assert!(
        done.stderr.contains("tiny · mine · cpu: ") && done.stderr.contains("hint:"),
        "{done:?}"
    );
}

#[test]
fn an_environment_stays_as_long_as_a_run_uses_it() {
    let project = Project::new();
    let (running, go) = (project.path("running"), project.path("go"));
    let wait = format!(
        "touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\n",
        running.display(),
        go.display()
    );
    let project = project.harness("slow", &(wait + &good())).fake_uv();
    let rosetta = |args: &[&str]| {
        let mut command = project.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", project.path("path").display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let end = |child: Child| Done::of(child.wait_with_output().unwrap());
    let run = rosetta(&["run", "--device", "cpu"]);
    wait_until(Duration::from_secs(20), || running.exists());

    let removed = end(rosetta(&["env", "remove", "fake"]));
    assert_eq!(removed.code, Some(2), "{removed:?}");
    let who = format!("caused by: process {} uses it: `", run.id());
    let hint = format!("hint: wait until it has ended, or stop it with `kill {}`", run.id());
    assert!(removed.stderr.contains(&who) && removed.stderr.contains(&hint), "{removed:?}");
    assert_eq!(end(rosetta(&["env", "gc"])).code, Some(0));

    project.write("go", "");
    let done = end(run);
    assert_eq!(done.code, Some(0), "{done:?}");
    let removed = end(rosetta(&["env", "remove", "fake"]));
    assert_eq!(removed.code, Some(0), "{removed:?}");
}

#[test]
fn the_same_events_are_stored_as_they_came() {
    let project = Project::new().harness("mine", &good());
    project.run(&[]);
    let run = &list(&project.path("results/runs"))[0];
    let text = fs::read_to_string(run.join("tiny.mine.cpu.1/events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let kinds = events.map(|event| event["ev"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds, ["start", "hello", "phase", "epoch", "phase", "array", "end"]);
    assert!(text.contains(TRAIN) && text.contains(EPOCH) && text.contains(PREDICT));
}

#[test]
fn a_torn_record_is_recovered() {
    let project = Project::new().harness("mine", &good());
    project.run(&[]);
    let run = list(&project.path("results/runs")).remove(0);
    let path = run.join("records.jsonl");
    let line = fs::read(&path).unwrap();
    fs::write(&path, &line[..line.len() / 2]).unwrap();
    let table = project.rosetta(&["table", "--csv"]);
    assert!(table.stdout.contains("tiny,mine,75"), "{table:?}");
}

#[test]
fn tables_come_in_every_format_and_columns_can_be_chosen() {
    let project = Project::new().harness("mine", &good());
    project.run(&[]);
    let stdout = |args: &[&str]| -> String {
        let done: Done = project.rosetta(&[&["table"], args].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout
    };
    assert!(stdout(&[]).contains("A tiny experiment"));
    assert!(stdout(&["--latex"]).contains("\\begin{tabular}"));
    let json: serde_json::Value = serde_json::from_str(&stdout(&["--json"])).unwrap();
    assert_eq!(json[0]["rows"][0]["test_accuracy_percent"], 75.0);
    let csv = stdout(&["--csv", "--columns", "library,accuracy"]);
    let lines = csv.lines().collect::<Vec<_>>();
    let added = "test_accuracy_percent_low,test_accuracy_percent_high,marks,run,date,host,n";
    let beside =
        "target,framework,devices,era,lane,provider,environment,lock,harness,revision,command";
    assert_eq!(lines[0], format!("experiment,library,test_accuracy_percent,{added},{beside}"));
    let again = "rosetta run tiny -f mine --profile quick --device cpu --threads ";
    assert!(
        lines[1].starts_with("tiny,mine,75,,,") && lines[1].contains(",1,mine,mine,cpu,"),
        "{csv}"
    );
    assert!(lines[1].contains(again), "{csv}");
    assert_eq!(lines.len(), 2);
    let headings = |columns: &str| -> Vec<String> {
        let csv = stdout(&["--csv", "--columns", columns]);
        let line = csv.lines().next().unwrap();
        let shown = &line[..line.find(",test_accuracy_percent_low").unwrap()];
        shown.split(',').skip(1).map(str::to_owned).collect()
    };
    let usual = headings("+accuracy");
    assert!(usual.len() > 5 && usual[..2] == ["library", "test_accuracy_percent"], "{usual:?}");
    let changed = headings("+provider,-cudnn");
    assert_eq!(changed.last().unwrap(), "provider");
    assert_eq!(changed.len(), usual.len(), "one more and one less: {changed:?}");
    assert!(!changed.contains(&"using_cudnn".to_owned()), "{changed:?}");
    assert_eq!(
        headings("library,+accuracy,+provider,-provider"),
        ["library", "test_accuracy_percent"]
    );
    for (columns, found) in [("+accuracies", "'accuracies'"), ("library,-", "a value is required")]
    {
        let done = project.rosetta(&["table", "--columns", columns]);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(found) && done.stderr.contains("peak-memory"), "{done:?}");
    }
    let done = project.rosetta(&["table", "--columns", "library,-library"]);
    assert!(done.code != Some(0) && done.stderr.contains("leaves no column"), "{done:?}");
    let done = project.rosetta(&["table", "tinny"]);
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("did you mean `tiny`?"), "{done:?}");
    let done = project.rosetta(&["table", "--run", "2999"]);
    assert!(done.stderr.contains("unknown run `2999`"), "{done:?}");
}

#[test]
fn a_job_file_can_be_printed_for_a_run_by_hand() {
    let project = Project::new().harness("mine", &good());
    let done = project.rosetta(&["job", "tiny", "--profile", "smoke"]);
    let job: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(job["config"]["learning_rate"], 0.1);
    assert_eq!(job["arrays"]["x_train"]["rows"], 4);
    assert_eq!(job["weights"]["names"][0], "dense.weight");
    let weights = Path::new(job["weights"]["folder"].as_str().unwrap()).join("dense.weight.npy");
    assert!(weights.is_file() && Path::new(job["order"].as_str().unwrap()).is_file());
}

#[test]
fn a_list_of_targets_has_versions_years_and_what_is_built() {
    let project = Project::new().harness("mine", &good()).fake_uv();
    project.write(
        "envs/fake/env.yaml",
        "version: 1\nname: fake\nprovider: venv\npython: \"3.12\"\nrequirements: [\"fakelib[extra]==1.2.3\", numpy==2.0]\n",
    );
    let hash = format!("--hash=sha256:{}", "0".repeat(64));
    let lock = format!("fakelib==1.2.3 {hash}\nnumpy==2.0 {hash}\n");
    project.write("envs/fake/requirements.lock", &lock);
    let path = "harnesses/mine/framework.yaml";
    let yaml = fs::read_to_string(project.path(path)).unwrap();
    project.write(path, &yaml.replace("era: current", "era: current\nyear: 2024"));
    let listed = |project: &Project| {
        let path = format!("{}:/usr/bin:/bin", project.path("path").display());
        let mut command = project.command(&["list", "--json"]);
        let done = Done::of(command.env("PATH", path).output().unwrap());
        serde_json::from_str::<serde_json::Value>(&done.stdout)
            .unwrap_or_else(|_| panic!("{done:?}"))
    };
    let before = listed(&project);
    assert_eq!(
        (before[0]["version"].as_str(), before[0]["year"].as_u64()),
        (Some("1.2.3"), Some(2024))
    );
    assert_eq!(before[0]["is_built"], false);
    let mut build = project.command(&["env", "build", "fake"]);
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    assert!(build.env("PATH", path).status().unwrap().success());
    assert_eq!(listed(&project)[0]["is_built"], true);
}

#[test]
fn an_experiment_whose_jobs_are_done_shows_its_table_while_others_run() {
    let project = Project::new().harness("mine", &good());
    let other = project
        .read("specs/tiny.yaml")
        .replace("A tiny", "Another")
        .replace("name: tiny", "name: tiny2");
    project.write("specs/tiny2.yaml", &other);
    let script = project.read("harnesses/mine/tiny.py");
    project.write("harnesses/mine/tiny2.py", &script);
    let done = project.run(&["--markdown"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let (early, late) = done.stderr.split_once("job 2 of 2").unwrap();
    assert!(early.contains("A tiny experiment") && early.contains("75 %"), "{early}");
    assert!(!late.contains("Another experiment"), "{late}");
    // All of them stand together at the end.
    for title in ["### A tiny experiment", "### Another experiment"] {
        assert_eq!(done.stdout.matches(title).count(), 1, "{done:?}");
    }
    let quiet = project.run(&["--quiet"]);
    assert!(!quiet.stderr.contains("A tiny experiment"), "{quiet:?}");
}

/// Two targets of two experiments, the second of which has harnesses that begin with some lines.
fn two_experiments(more: &str) -> Project {
    let project = computes(with_reference(), "ours", RIGHT);
    let other = project.read("specs/tiny.yaml").replace("A tiny", "Another");
    project.write("specs/tiny2.yaml", &other.replace("name: tiny", "name: tiny2"));
    for name in ["ours", "theirs"] {
        let script = project.read(&format!("harnesses/{name}/tiny.py"));
        project.write(&format!("harnesses/{name}/tiny2.py"), &(more.to_owned() + &script));
    }
    project
}

/// All checks of all experiments came first.
#[test]
fn the_first_table_does_not_wait_for_the_checks_of_other_experiments() {
    let project = two_experiments("");
    let done = project.run(&["--markdown"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let (early, late) = done.stderr.split_once("A tiny experiment").unwrap();
    assert!(early.contains("check tiny · ours") && !early.contains("check tiny2"), "{early}");
    assert!(late.contains("✓ check tiny2 · ours · cpu close"), "{late}");
    let records = project.records();
    let grades = records.iter().map(|record| record["equivalence"]["grade"].as_str());
    assert_eq!(grades.collect::<Vec<_>>(), [Some("close"); 4]);
    // With a limit of time all are: what they take is known then.
    fs::remove_dir_all(project.path("results")).unwrap();
    let done = project.run(&["--budget", "1h"]);
    let (early, _) = done.stderr.split_once("job 1 of 4").unwrap();
    assert!(early.contains("check tiny2 · ours"), "{early}");
}

/// While environments of the first experiment were built one after the other, checks of another one took the CPUs that its
/// own needed a second later.
#[test]
fn a_check_of_another_experiment_does_not_take_the_place_of_one_that_is_ready_soon() {
    let project = two_experiments("").fake_uv();
    project
        .write("envs/late/env.yaml", &project.read("envs/fake/env.yaml").replace("fake", "late"));
    project.write("envs/late/requirements.lock", "");
    let path = "harnesses/ours/framework.yaml";
    project.write(path, &project.read(path).replace("{cpu: fake}", "{cpu: late}"));
    let uv = project
        .read("path/uv")
        .replace("for last;", "case $* in */late-*) sleep 1.5;; esac\nfor last;");
    project.write("path/uv", &uv);
    let mut command = project.command(&["run", "--device", "cpu"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", project.path("path").display()));
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    let (early, late) = done.stderr.split_once("✓ check tiny · ours").unwrap();
    assert!(early.contains("✓ check tiny · theirs") && !early.contains("check tiny2"), "{early}");
    assert!(late.contains("✓ check tiny2 · ours"), "{late}");
}

#[test]
fn a_check_between_jobs_can_be_interrupted() {
    let project = two_experiments("sleep 20\n");
    let mut run = project.start(&[]);
    let mut lines = std::io::BufReader::new(run.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("check tiny2")));
    // SAFETY: the process is a child that has not been waited for.
    unsafe { libc::kill(i32::try_from(run.id()).unwrap(), libc::SIGINT) };
    lines.for_each(drop);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(project.records().len(), 2);
}

#[test]
fn the_folder_of_a_run_is_its_owners_alone() {
    let project = Project::new().harness("mine", &good());
    assert_eq!(project.run(&[]).code, Some(0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let run = &list(&project.path("results/runs"))[0];
    assert_eq!(mode(run), 0o700, "{}", run.display());
    assert_ne!(
        mode(&project.path("results/runs")) & 0o055,
        0,
        "its parents are as any other folder"
    );
}
