//! What harnesses did to rosetta when it was tried: each has one clear outcome, and the other jobs of the run go on.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{
    Done, END, EPOCH, HELLO, OUTPUTS, PREDICT, Project, START, TRAIN, good, list, npy_f32, says,
};
use serde_json::Value;

/// Runs a harness beside one that does everything right, and returns the record of the first.
fn beside_a_good_one(script: &str) -> Value {
    let project = Project::new().harness("a-odd", script).harness("b-good", &good());
    let done = project.run(&["--timeout", "20s"]);
    let records = project.records();
    let of = |target: &str| {
        let record = records.iter().find(|record| record["target"] == target);
        record.unwrap_or_else(|| panic!("no record of {target}: {done:?}")).clone()
    };
    assert_eq!(of("b-good")["outcome"]["status"], "ok", "{done:?}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
    // What is stored can be shown.
    let table = project.rosetta(&["table", "--markdown"]);
    assert!(table.stdout.contains("| b-good "), "{table:?}");
    of("a-odd")
}

/// Runs a script of sh in which `{run}` stands for a run of the project.
fn in_a_shell(project: &Project, script: &str) -> Done {
    let rosetta = env!("CARGO_BIN_EXE_rosetta");
    let run = "run --no-check --provider system --python ./python --device cpu";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script.replace("{run}", &format!("{rosetta} {run}")));
    shell.current_dir(project.path("")).env("ROSETTA_HOME", project.path("home"));
    Done::of(shell.output().unwrap())
}

fn reason(record: &Value) -> String {
    format!("{}: {}", record["outcome"]["status"], record["outcome"]["reason"])
}

#[test]
fn times_that_cannot_be_fail_the_job() {
    let with = |old: &str, new: &str| good().replace(old, new);
    let cases = [
        (with(r#""seconds":0.01"#, r#""seconds":"NaN""#), "NaN s; a time is finite"),
        (with(r#""seconds":0.01"#, r#""seconds":"Infinity""#), "inf s; a time is finite"),
        (with(r#""seconds":0.01"#, r#""seconds":-5"#), "-5 s; a time is finite"),
        (with(r#""seconds":0.01"#, r#""seconds":1e308"#), "s passed in 0.21 s"),
        (with(r#""t":0.2,"#, r#""t":1000,"#), "its clock went back from 1000 s to 0.21 s"),
        (with(r#""ready":0.23"#, r#""ready":900"#), "its outputs were ready at 900 s"),
    ];
    for (script, expected) in cases {
        let record = beside_a_good_one(&script);
        let found = reason(&record);
        assert!(found.starts_with("\"failed\"") && found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_training_that_was_not_asked_for_fails_the_job() {
    let second = EPOCH.replace(r#""epoch":0"#, r#""epoch":1"#);
    let cases: [(&[&str], &str); 6] = [
        (&[START, HELLO, TRAIN, PREDICT, OUTPUTS, END], "it trained 0 epochs and was asked for 1"),
        (&[START, HELLO, TRAIN, EPOCH, &second, PREDICT, OUTPUTS, END], "it trained 2 epochs and"),
        (&[START, HELLO, TRAIN, &second, PREDICT, OUTPUTS, END], "epoch 1 came where epoch 0"),
        (&[START, HELLO, HELLO, TRAIN, EPOCH, PREDICT, OUTPUTS, END], "it said `hello` twice"),
        (&[START, HELLO, TRAIN, TRAIN, EPOCH, OUTPUTS, END], "it began the phase `train` twice"),
        (&[START, HELLO, TRAIN, EPOCH, OUTPUTS, END, PREDICT], "it went on after its `end`"),
    ];
    for (events, expected) in cases {
        let found = reason(&beside_a_good_one(&says(events)));
        assert!(found.starts_with("\"failed\"") && found.contains(expected), "{expected}: {found}");
    }
    let found = reason(&beside_a_good_one(&good().replace(r#""samples":8"#, r#""samples":4"#)));
    assert!(
        found.contains("epoch 0 had 4 samples and was asked to have 8, 2 batches of 4"),
        "{found}"
    );
}

#[test]
fn facts_and_steps_without_end_are_cut_short() {
    let fact = r#"printf '{"v":1,"seq":2,"t":0.1,"ev":"fact","name":"n","value":"%0500d"}\n' 0"#;
    let step = r#"printf '{"v":1,"seq":2,"t":0.1,"ev":"step","epoch":0,"step":1,"steps":2,"loss":null,"x":"%09000d"}\n' 0"#;
    for (line, expected) in [(fact, "4 MiB of facts"), (step, "64 MiB of events")] {
        // A file that is said again and again is faster than a shell's own loop.
        let script = format!(
            "{}for i in $(seq 200); do {line}; done >many\nwhile :; do cat many; done\n",
            says(&[START, HELLO])
        );
        let project =
            Project::new().harness("fake", &script.replace("many", "\"$ROSETTA_JOB.many\""));
        let begin = Instant::now();
        let done = project.run(&["--timeout", "120s"]);
        let record = &project.records()[0];
        let found = reason(record);
        assert!(found.starts_with("\"failed\"") && found.contains(expected), "{found} {done:?}");
        assert!(begin.elapsed() < Duration::from_secs(60), "it was ended by its timeout");
        let job = list(&project.path("results/runs"))[0].join("tiny.fake.cpu.1");
        let size = |name: &str| fs::metadata(job.join(name)).map_or(0, |metadata| metadata.len());
        assert!(size("record.json") < 6 << 20, "{}", size("record.json"));
        assert!(size("events.jsonl") <= 64 << 10, "{}", size("events.jsonl"));
    }
}

#[test]
fn what_is_in_the_way_is_not_the_end_of_a_run() {
    let folder = |name: &str| format!("mkdir \"$(dirname \"$ROSETTA_JOB\")/{name}\"\n{}", good());
    for name in ["done.json", "record.json"] {
        let record = beside_a_good_one(&folder(name));
        assert_eq!(record["outcome"]["status"], "ok", "{name}: {}", reason(&record));
    }
    let fifo = "f=\"$(dirname \"$ROSETTA_JOB\")/o.npy\"; mkfifo \"$f\"\n";
    let script = good().replace("{good}", "'\"$f\"'");
    let begin = Instant::now();
    let found = reason(&beside_a_good_one(&format!("{fifo}{script}")));
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(
        found.starts_with("\"check_failed\"") && found.contains("not a regular file"),
        "{found}"
    );
    let link = "ln -s /etc/hostname \"$(dirname \"$ROSETTA_JOB\")/chatter.log\"; echo chatter\n";
    let found = reason(&beside_a_good_one(&format!("{link}{}", good())));
    assert!(found.starts_with("\"failed\"") && found.contains("chatter.log"), "{found}");
}

#[test]
fn outputs_have_a_column_for_each_class() {
    let narrow = tempfile::NamedTempFile::new().unwrap();
    fs::write(narrow.path(), npy_f32(&[4, 1], &[1.0; 4])).unwrap();
    let script = good().replace("{good}", &narrow.path().to_string_lossy());
    let found = reason(&beside_a_good_one(&script));
    assert!(found.contains("the outputs have 1 columns, one for each class"), "{found}");
}

#[test]
fn a_device_that_was_not_asked_for_fails_the_job() {
    let script = good().replace(r#""device":"cpu""#, r#""device":"cuda:7 (NVIDIA A100)""#);
    let found = reason(&beside_a_good_one(&script));
    assert!(found.contains("asked to compute on the CPU and says that it used `cuda:7"), "{found}");
}

#[test]
fn a_job_that_has_stored_everything_keeps_its_numbers_however_it_exits() {
    let cases =
        [("kill -SEGV $$", "crashed at exit: ended by SIGSEGV"), ("sleep 100", "did not exit")];
    for (last, mark) in cases {
        let project = Project::new().harness("fake", &format!("{}{last}\n", good()));
        let done = project.run(&["--timeout", "2s"]);
        let record = &project.records()[0];
        assert_eq!(record["outcome"]["status"], "ok", "{last}: {done:?}");
        assert_eq!(record["score"]["accuracy"], 0.75);
        let marks = record["marks"].to_string();
        assert!(marks.contains(mark), "{marks}");
    }
    // An exit code is the harness' own word.
    let found = reason(&beside_a_good_one(&format!("{}exit 3\n", good())));
    assert!(found.starts_with("\"failed\"") && found.contains("exit code 3"), "{found}");
}

#[test]
fn a_job_that_stood_still_is_marked() {
    let script = format!("(sleep 2; kill -CONT $$) & kill -STOP $$\n{}sleep 0.5\n", good());
    let project = Project::new().harness("fake", &script);
    let done = project.run(&[]);
    let marks = project.records()[0]["marks"].to_string();
    assert!(marks.contains("tainted: a process of it was stopped for a time"), "{marks} {done:?}");
}

#[test]
fn a_full_disk_is_the_end_of_the_job_alone() {
    // A limit on the size of files stands for a disk: one without rights cannot mount a small one.
    let noise = "i=0; while [ $i -lt 3000 ]; do printf '%01000d\\n' 0 >&2; i=$((i+1)); done\n";
    let script = format!("{}{noise}", says(&[START, HELLO]));
    let project = Project::new().harness("a-odd", &script).harness("b-good", &good());
    let done = in_a_shell(&project, "ulimit -f 2000; exec {run}");
    let records = project.records();
    assert_eq!(records.len(), 2, "{done:?}");
    let of = |target: &str| reason(records.iter().find(|r| r["target"] == target).unwrap());
    assert!(of("a-odd").contains("stderr.log`: File too large"), "{} {done:?}", of("a-odd"));
    assert!(of("b-good").starts_with("\"ok\""), "{done:?}");
}

/// Waits until a run has a job under way.
fn wait_for_job(project: &Project) {
    let begin = Instant::now();
    let is_there = || {
        let runs = list(&project.path("results/runs"));
        runs.iter().any(|run| list(run).iter().any(|path| path.join("events.jsonl").exists()))
    };
    while !is_there() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no job began");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_terminal_that_is_gone_ends_the_run_with_its_job_sealed() {
    let script = format!("{}sleep 100", says(&[START, HELLO]));
    let project = Project::new().harness("a-slow", &script).harness("b-good", &good());
    let run = project.start(&[]);
    wait_for_job(&project);
    let pid = i32::try_from(run.id()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::HUP,
    )
    .unwrap();
    let done = Done::of(run.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{done:?}");
    let records = project.records();
    assert_eq!(records[0]["outcome"]["status"], "cancelled", "{done:?}");
}

#[test]
fn output_that_nobody_can_read_is_not_a_reason_to_stop() {
    let project = Project::new().harness("a-good", &good()).harness("b-good", &good());
    for shell in ["exec {run} 2>/dev/full", "exec {run} >&- 2>&-"] {
        let done = in_a_shell(&project, shell);
        assert_eq!(done.code, Some(0), "{shell}: {done:?}");
    }
    assert_eq!(project.records().len(), 4);
}

#[test]
fn two_runs_at_once_do_not_overlap() {
    let script = format!("date +%s.%N >>begun\n{}sleep 1; date +%s.%N >>ended\n", good());
    let project = Project::new().harness("fake", &script);
    let first = project.start(&["--no-check"]);
    wait_for_job(&project);
    let second = Done::of(project.start(&["--no-check"]).wait_with_output().unwrap());
    let first = Done::of(first.wait_with_output().unwrap());
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{first:?} {second:?}");
    assert!(second.stderr.contains("waiting until another run (process "), "{second:?}");
    let times = |name: &str| {
        let text = fs::read_to_string(project.path(&format!("harnesses/fake/{name}"))).unwrap();
        text.lines().map(|line| line.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let (begun, ended) = (times("begun"), times("ended"));
    assert!(begun[1] >= ended[0], "{begun:?} {ended:?}");
}

/// Returns the living processes below a folder of the file system, by their working folder.
fn working_in(folder: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    })
    .collect()
}

#[test]
fn what_a_killed_run_and_its_shim_have_left_is_ended_by_the_next() {
    let daemon = "setsid sh -c 'trap \"\" TERM HUP; echo >daemon; sleep 1000; sleep 1000' &\n";
    let script =
        format!("{}[ -e daemon ] || {daemon}\n[ -e again ] || sleep 1000\n", says(&[START, HELLO]));
    let project = Project::new().harness("fake", &script);
    let harness = project.path("harnesses/fake");
    let mut run = project.start(&["--no-check"]);
    let begin = Instant::now();
    while !harness.join("daemon").exists() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    // The harness and its daemon. Once both are orphans, a rosetta of a test beside this one may end them at any time.
    assert!(working_in(&harness).len() >= 2, "there is a daemon");
    // Both at once: nobody is left to sweep.
    let shim = shim_of(run.id());
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &run.id().to_string(), &shim.to_string()]);
    assert!(kill.status().unwrap().success());
    run.wait().unwrap();
    project.write("harnesses/fake/again", "");
    let done = project.run(&["--no-check"]);
    // Another rosetta of this machine, as of a test beside this one, may have been the next: then nothing lives on.
    let is_said = done.stderr.contains("processes that a killed run had left behind");
    assert!(is_said || working_in(&harness).is_empty(), "{done:?}");
    let begin = Instant::now();
    while !working_in(&harness).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it still lives");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the child of a rosetta that is a shim.
fn shim_of(rosetta: u32) -> i32 {
    let children = format!("/proc/{rosetta}/task/{rosetta}/children");
    let text = fs::read_to_string(children).unwrap();
    let mut pids = text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    pids.find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"__job")
    })
    .unwrap()
}

#[test]
fn a_harness_that_fails_is_told_with_its_line_and_its_log() {
    let script =
        "echo '  File \"/h/tiny.py\", line 3' >&2; echo 'SyntaxError: invalid syntax' >&2; exit 1";
    let record = beside_a_good_one(script);
    let found = reason(&record);
    assert!(found.contains("SyntaxError: invalid syntax (tiny.py, line 3)"), "{found}");
    let hint = record["outcome"]["hint"].as_str().unwrap();
    assert!(hint.contains("/tiny.a-odd.cpu.1/stderr.log`"), "{hint}");
    let record = beside_a_good_one("echo \"ModuleNotFoundError: No module named 'x'\" >&2; exit 1");
    let hint = record["outcome"]["hint"].as_str().unwrap();
    assert!(hint.starts_with("install the package for `"), "{hint}");
}

#[test]
fn words_of_a_harness_do_not_reach_the_terminal_raw() {
    let script = "printf 'bad \\033[2J\\033]0;title\\007 end\\n' >&2; exit 1";
    let project = Project::new().harness("fake", script);
    let args = ["run", "--provider", "system", "--python", "./python", "--device", "cpu"];
    let mut command = project.command(&args);
    // As in a terminal: in a pipe all such sequences are taken out anyway.
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let done = Done::of(command.output().unwrap());
    let shown = done.stdout + &done.stderr;
    assert!(shown.contains("\u{1b}[") && shown.contains("bad "), "{shown:?}");
    assert!(!shown.contains("\u{1b}[2J") && !shown.contains('\u{7}'), "{shown:?}");
}
