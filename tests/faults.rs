//! The fault suite: whatever happens to a job, to rosetta or to its files, the outcome is told, nothing that was measured is
//! lost, nothing is left behind, and the next run works. docs/faults.md lists all faults, those of other test files too.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{
    Done, END, EPOCH, HELLO, OUTPUTS, PREDICT, Project, START, TRAIN, good, list, npy_f32, says,
};
use serde_json::Value;

/// A run with a job that has the fault and one that has not.
struct Trial {
    project: Project,
    done: Done,
}

/// Returns a project with a harness that has the fault and one that has not.
fn beside_a_good_one(script: &str) -> Project {
    let project = Project::new();
    let mut script = script.to_owned();
    for name in ["nan.npy", "short.npy", "fifo"] {
        let path = project.path(name).display().to_string();
        script = script.replace(&format!("{{{name}}}"), &path);
    }
    let project = project.harness("a-odd", &script).harness("b-good", &good());
    project.write_bytes("nan.npy", &npy_f32(&[4, 3], &[f32::NAN; 12]));
    project.write_bytes("short.npy", &npy_f32(&[2, 3], &[1.0; 6]));
    project
}

/// Asserts how a job with the fault ended, and what must hold whatever the fault.
fn of_a_harness(script: &str, args: &[&str], status: &str, words: &str) {
    let project = beside_a_good_one(script);
    let timeout: &[&str] = if args.contains(&"--timeout") { &[] } else { &["--timeout", "20s"] };
    let done = project.run(&[&["--no-check", "--retries", "0"], timeout, args].concat());
    let trial = Trial { project, done };
    let odd = trial.record("a-odd");
    let reason = odd["outcome"]["reason"].as_str().unwrap_or_default();
    assert_eq!(odd["outcome"]["status"], status, "{reason}: {:?}", trial.done);
    let marks = odd["marks"].to_string();
    assert!(reason.contains(words) || marks.contains(words), "{words}: {reason} {marks}");
    assert_eq!(trial.record("b-good")["outcome"]["status"], "ok", "{:?}", trial.done);
    let expected = if status == "ok" { 0 } else { 1 };
    assert_eq!(trial.done.code, Some(expected), "{:?}", trial.done);
    trial.nothing_is_left_and_the_next_run_works(2);
}

impl Trial {
    fn record(&self, target: &str) -> Value {
        let records = self.project.records();
        let found = records.iter().find(|record| record["target"] == target);
        found.unwrap_or_else(|| panic!("no record of {target}: {:?}", self.done)).clone()
    }

    /// Asserts that nothing of the run lives on or lies about, that its records are there, and that another run works.
    fn nothing_is_left_and_the_next_run_works(&self, records: usize) {
        nothing_is_left(&self.project);
        assert!(!self.done.stderr.contains("panicked"), "{:?}", self.done);
        let before = self.project.records();
        assert_eq!(before.len(), records, "{:?}", self.done);
        next_run_works(&self.project, &before);
    }
}

fn next_run_works(project: &Project, before: &[Value]) {
    for target in list(&project.path("harnesses")) {
        if target.join("framework.yaml").exists() {
            let script = good().replace("{good}", &project.path("good.npy").to_string_lossy());
            fs::write(target.join("tiny.py"), script).unwrap();
        }
    }
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(0), "the next run: {done:?}");
    let after = project.records();
    assert!(before.iter().all(|record| after.contains(record)), "a record is lost: {done:?}");
    let new = after.iter().filter(|record| !before.contains(record)).collect::<Vec<_>>();
    assert!(!new.is_empty() && new.iter().all(|record| record["outcome"]["status"] == "ok"));
    let table = project.rosetta(&["table", "--markdown"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    nothing_is_left(project);
}

/// Asserts that no process of a run lives on.
fn nobody_lives(project: &Project) {
    let root = fs::canonicalize(project.path("")).unwrap();
    let begin = Instant::now();
    while !working_in(&root).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "living: {:?}", working_in(&root));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asserts that no process, lock, temporary file or folder of a run is left.
fn nothing_is_left(project: &Project) {
    nobody_lives(project);
    let mut folders = vec![project.path("results"), project.path("home")];
    while let Some(folder) = folders.pop() {
        for path in list(&folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_hidden = [".record", ".run.json", ".making-", ".old-", ".removing-"]
                .iter()
                .any(|part| name.starts_with(part));
            let is_home_of_a_job = name == "home" && folder.starts_with(project.path("results"));
            assert!(!is_hidden && !is_home_of_a_job, "left behind: {}", path.display());
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    if let Ok(lock) = fs::File::open(project.path("home/run.lock")) {
        assert!(lock.try_lock().is_ok(), "the lock of runs is held");
    }
}

/// Returns the living processes that work below a folder.
fn working_in(folder: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_below = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    pids.filter(is_below).collect()
}

fn with(old: &str, new: &str) -> String {
    assert!(good().contains(old), "{old}");
    good().replace(old, new)
}

fn outputs_at(path: &str) -> String {
    with("{good}", path)
}

const BOAST: &str = r#""ev":"metric","t":0.23,"name":"accuracy","value":0.99"#;

macro_rules! of_a_harness {
    ($($name:ident: $script:expr, [$($arg:expr),*] => $status:literal, $words:literal;)*) => {
        $(#[test]
        fn $name() {
            of_a_harness(&$script, &[$($arg),*], $status, $words);
        })*
    };
}

of_a_harness! {
    an_exit_code: "exit 3", [] => "failed", "exit code 3";
    a_kill_from_outside: "kill -KILL $$", [] => "crashed", "SIGKILL";
    an_invalid_access: "kill -SEGV $$", [] => "crashed", "SIGSEGV";
    an_abort: "kill -ABRT $$", [] => "crashed", "SIGABRT";
    an_unknown_instruction: "kill -ILL $$", [] => "crashed", "an instruction that this CPU lacks";
    a_bus_error: "kill -BUS $$", [] => "crashed", "SIGBUS";
    an_arithmetic_error: "kill -FPE $$", [] => "crashed", "SIGFPE";
    a_polite_kill: "kill -TERM $$; sleep 9", [] => "crashed", "SIGTERM";
    no_end_in_time: "sleep 60", ["--timeout", "200ms"] => "timed_out", "longer than 0.2 s";
    a_stop_for_ever: "kill -STOP $$", ["--timeout", "200ms"] => "timed_out", "longer than 0.2 s";
    silence: says(&[START, HELLO]) + "sleep 60", ["--stall-timeout", "200ms"] => "stalled", "0.2 s";
    too_much_memory: "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 9", ["--memory-limit", "60M"]
        => "out_of_memory", "more memory than it may";
    memory_that_a_framework_lacks: "echo 'RuntimeError: CUDA out of memory' >&2; exit 1", []
        => "out_of_memory", "the framework ran out of memory";
    nothing_said: "true", [] => "failed", "without saying hello";
    no_end_said: says(&[START, HELLO, TRAIN, EPOCH, PREDICT, OUTPUTS]), [] => "failed", "everything is stored";
    no_outputs: says(&[START, HELLO, TRAIN, EPOCH, PREDICT, END]), [] => "failed", "without outputs";
    outputs_that_are_not_there: outputs_at("/nowhere.npy"), [] => "check_failed", "nowhere.npy";
    outputs_that_are_a_folder: outputs_at("/tmp"), [] => "check_failed", "/tmp";
    outputs_that_are_a_pipe: "mkfifo {fifo}\n".to_owned() + &outputs_at("{fifo}"), [] => "check_failed", "regular file";
    outputs_without_end: outputs_at("/dev/zero"), [] => "check_failed", "regular file";
    outputs_of_too_few_rows: outputs_at("{short.npy}"), [] => "check_failed", "rows";
    outputs_that_are_not_numbers: outputs_at("{nan.npy}"), [] => "check_failed", "finite";
    a_loss_that_is_not_a_number: with(r#""loss":0.5"#, r#""loss":"NaN""#), [] => "failed", "the loss was NaN";
    an_accuracy_that_is_not_so: says(&[START, HELLO, TRAIN, EPOCH, PREDICT, BOAST, OUTPUTS, END]), []
        => "ok", "accuracy_disagrees: the harness says 0.9900";
    a_clock_that_goes_back: with(r#""t":0.2,"#, r#""t":900,"#), [] => "failed", "its clock went back";
    more_epochs_than_asked: says(&[START, HELLO, TRAIN, EPOCH, &EPOCH.replace("0,\"loss", "1,\"loss"), PREDICT, OUTPUTS, END]), []
        => "failed", "trained 2 epochs";
    rubbish_on_standard_output: "head -c 100000 /dev/urandom; echo\n".to_owned() + &good(), [] => "ok", "";
    a_line_without_end: "head -c 3000000 /dev/zero | tr '\\0' x; echo\n".to_owned() + &good(), [] => "ok", "";
    a_flood_of_errors: "head -c 30000000 /dev/zero | tr '\\0' '\\n' >&2\n".to_owned() + &good(), [] => "ok", "";
    closed_streams: good() + "exec >&- 2>&-; sleep 0.1", [] => "ok", "";
    a_daemon: "setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' &\n".to_owned() + &good(), [] => "ok", "";
    a_daemon_without_its_environment: "env -i setsid sleep 1000 &\n".to_owned() + &good(), [] => "ok", "";
    a_hundred_children: "for i in $(seq 100); do sleep 1000 & done\n".to_owned() + &good(), [] => "ok", "";
    a_killed_shim: "kill -KILL $PPID; sleep 1000", [] => "failed", "its end is unknown";
    a_folder_in_place_of_its_record: "mkdir \"${ROSETTA_JOB%/*}/record.json\"\n".to_owned() + &good(), [] => "ok", "";
    a_false_end_of_its_shim: "echo '{}' >\"${ROSETTA_JOB%/*}/done.json\"\n".to_owned() + &good(), [] => "ok", "";
    a_link_in_place_of_a_log: "ln -sf /dev/null \"${ROSETTA_JOB%/*}/chatter.log\"; echo chatter\n".to_owned() + &good(), []
        => "failed", "chatter.log`: File exists";
    a_removed_folder: "rm -r \"${ROSETTA_JOB%/*}\"; exit 3", [] => "failed", "";
}

/// Sends a signal to a process.
fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that has just ended is no error.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Starts a run whose job goes on until the file `go` is there, and waits until it is under way.
fn under_way() -> (Project, Child) {
    let wait = "echo >\"$0.begun\"; until [ -e \"$0.go\" ]; do sleep 0.05; done\n";
    let script = format!(
        "{}{wait}{}",
        says(&[START]),
        good().lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()
    );
    let project = Project::new().harness("a-slow", &script).harness("b-good", &good());
    let run = project.start(&["--no-check"]);
    let begun = project.path("harnesses/a-slow/tiny.py.begun");
    let begin = Instant::now();
    while !begun.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no job began");
        std::thread::sleep(Duration::from_millis(5));
    }
    (project, run)
}

/// Ends rosetta in a job by a signal, and asserts how it ended, and that the run can go on as if nothing had been.
fn rosetta_gets(signals: &[rustix::process::Signal], code: Option<i32>) {
    let (project, run) = under_way();
    let begin = Instant::now();
    signals.iter().for_each(|signal| send(run.id(), *signal));
    let done = Done::of(run.wait_with_output().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(20), "sealed within 20 s: {done:?}");
    assert_eq!(done.code, code, "{done:?}");
    // Files are swept at the next start where nobody was there to do it.
    nobody_lives(&project);
    let before = project.records();
    if code == Some(130) {
        assert!(before.iter().any(|r| r["outcome"]["status"] == "cancelled"), "{before:?}");
    }
    let state = project.rosetta(&["list", "runs"]);
    assert!(state.stdout.contains("interrupted"), "{state:?}");
    project.write("harnesses/a-slow/tiny.py.go", "");
    let done = project.rosetta(&["run", "--resume"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    nothing_is_left(&project);
    let after = project.records();
    let jobs = after.iter().map(|r| r["job"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!((after.len(), jobs.len()), (2, 2), "nothing lost, nothing twice: {after:?}");
    for record in before.iter().filter(|record| record["outcome"]["status"] == "ok") {
        assert!(after.contains(record), "a sealed job was done again");
    }
    next_run_works(&project, &after);
}

macro_rules! rosetta_gets {
    ($($name:ident: [$($signal:ident),*] => $code:expr;)*) => {
        $(#[test]
        fn $name() {
            rosetta_gets(&[$(rustix::process::Signal::$signal),*], $code);
        })*
    };
}

rosetta_gets! {
    rosetta_is_killed: [KILL] => None;
    rosetta_is_asked_to_end: [TERM] => Some(130);
    rosetta_is_interrupted: [INT] => Some(130);
    rosetta_is_interrupted_twice: [INT, INT] => Some(130);
    the_terminal_of_rosetta_is_gone: [HUP] => Some(130);
    rosetta_dumps_its_core: [QUIT] => None;
    rosetta_is_asked_and_killed: [TERM, KILL] => None;
}

#[test]
fn rosetta_is_stopped_for_a_while() {
    let (project, run) = under_way();
    send(run.id(), rustix::process::Signal::STOP);
    std::thread::sleep(Duration::from_millis(300));
    project.write("harnesses/a-slow/tiny.py.go", "");
    std::thread::sleep(Duration::from_millis(300));
    send(run.id(), rustix::process::Signal::CONT);
    let done = Done::of(run.wait_with_output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    Trial { project, done }.nothing_is_left_and_the_next_run_works(2);
}

/// Returns the shim of a rosetta.
fn shim_of(rosetta: u32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{rosetta}/task/{rosetta}/children")).unwrap();
    let mut pids = text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
    let is_shim = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"__job")
    };
    pids.find(is_shim).unwrap()
}

#[test]
fn rosetta_and_its_shim_are_killed_at_once() {
    let (project, run) = under_way();
    let shim = shim_of(run.id());
    send(shim, rustix::process::Signal::KILL);
    send(run.id(), rustix::process::Signal::KILL);
    let done = Done::of(run.wait_with_output().unwrap());
    // Nobody was there to sweep: the next start does.
    project.write("harnesses/a-slow/tiny.py.go", "");
    let resumed = project.rosetta(&["run", "--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    Trial { project, done }.nothing_is_left_and_the_next_run_works(2);
}

#[test]
fn a_shim_is_asked_to_end() {
    let (project, run) = under_way();
    send(shim_of(run.id()), rustix::process::Signal::TERM);
    project.write("harnesses/a-slow/tiny.py.go", "");
    let done = Done::of(run.wait_with_output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    let trial = Trial { project, done };
    assert_eq!(trial.record("a-slow")["outcome"]["status"], "cancelled");
    trial.nothing_is_left_and_the_next_run_works(2);
}

#[test]
fn a_disk_is_full_at_a_job() {
    // A limit on the size of files stands for a disk: one without rights cannot mount a small one.
    let project = beside_a_good_one("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 0");
    let rosetta = env!("CARGO_BIN_EXE_rosetta");
    let run = "run --no-check --provider system --python ./python --device cpu";
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f 2000; exec {rosetta} {run}")]);
    shell.current_dir(project.path("")).env("ROSETTA_HOME", project.path("home"));
    let done = Done::of(shell.output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    Trial { project, done }.nothing_is_left_and_the_next_run_works(2);
}

/// Asserts that a run fails at once, as input that is wrong, with these words, and that the next one works when that is mended.
fn refused(project: &Project, break_it: impl Fn(&Project), mend: impl Fn(&Project), words: &str) {
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let before = project.records();
    break_it(project);
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(2), "{words}: {done:?}");
    assert!(done.stderr.contains(words) && !done.stderr.contains("panicked"), "{words}: {done:?}");
    mend(project);
    nothing_is_left(project);
    next_run_works(project, &before);
}

fn one_good() -> Project {
    Project::new().harness("a-good", &good())
}

#[test]
fn the_home_is_a_file() {
    let home = |project: &Project| project.path("home");
    let aside = |project: &Project| project.path("aside");
    let break_it = |p: &Project| {
        fs::rename(home(p), aside(p)).unwrap();
        fs::write(home(p), "").unwrap();
    };
    let mend = |p: &Project| {
        fs::remove_file(home(p)).unwrap();
        fs::rename(aside(p), home(p)).unwrap();
    };
    refused(&one_good(), break_it, mend, "home");
}

#[test]
fn the_runs_are_a_file() {
    let runs = |project: &Project| project.path("results/runs");
    let aside = |project: &Project| project.path("aside");
    let break_it = |p: &Project| {
        fs::rename(runs(p), aside(p)).unwrap();
        fs::write(runs(p), "").unwrap();
    };
    let mend = |p: &Project| {
        fs::remove_file(runs(p)).unwrap();
        fs::rename(aside(p), runs(p)).unwrap();
    };
    refused(&one_good(), break_it, mend, "results/runs");
}

#[test]
fn the_spec_is_damaged() {
    let spec = |project: &Project| project.path("specs/tiny.yaml");
    let break_it = |p: &Project| fs::write(spec(p), "version: 1\nname: [").unwrap();
    let mend = |p: &Project| fs::write(spec(p), common::TINY).unwrap();
    refused(&one_good(), break_it, mend, "tiny.yaml");
}

#[test]
fn the_data_are_gone() {
    let file = |project: &Project| project.path("specs/x_train.npy");
    let break_it = |p: &Project| fs::rename(file(p), p.path("aside")).unwrap();
    let mend = |p: &Project| fs::rename(p.path("aside"), file(p)).unwrap();
    refused(&one_good(), break_it, mend, "x_train.npy");
}

#[test]
fn the_interpreter_is_gone() {
    let file = |project: &Project| project.path("python");
    let break_it = |p: &Project| fs::rename(file(p), p.path("aside")).unwrap();
    let mend = |p: &Project| fs::rename(p.path("aside"), file(p)).unwrap();
    refused(&one_good(), break_it, mend, "python");
}

/// Asserts that runs are read and made whatever lies in a file of rosetta's own.
fn in_spite_of(file: &str, content: &str) {
    let project = one_good();
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let before = project.records();
    let run = list(&project.path("results/runs")).remove(0);
    let path = match file.strip_prefix("RUN/") {
        Some(rest) => run.join(rest),
        None => project.path(file),
    };
    let path = match path.is_dir() {
        true => list(&path).remove(0),
        false => path,
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    for args in [&["table"][..], &["list", "runs"], &["runs", "show", "latest"]] {
        let done = project.rosetta(args);
        assert_eq!(done.code, Some(0), "{}: {args:?} {done:?}", path.display());
    }
    next_run_works(&project, &before);
}

#[test]
fn the_index_is_damaged() {
    in_spite_of("home/indexes", "{\"index\":");
}

#[test]
fn a_label_is_damaged() {
    in_spite_of("RUN/about.json", "{\"about\":1,\"label\":");
}

#[test]
fn a_verdict_is_damaged() {
    in_spite_of("results/checks/tiny.a-good.cpu-0.json", "{");
}

#[test]
fn a_lock_is_left() {
    in_spite_of("home/run.lock", "a process of yesterday");
}

#[test]
fn another_project_lies_in_the_runs() {
    in_spite_of("results/runs/notes/readme.txt", "mine");
}

// What the page says.

/// Returns the rows of the page: fault and test.
fn rows() -> Vec<(String, String)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let text = fs::read_to_string(page).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains("::"));
    let cell = |line: &str, index: usize| line.split('|').nth(index).unwrap().trim().to_owned();
    rows.map(|row| (cell(row, 1), cell(row, 3).trim_matches('`').to_owned())).collect()
}

/// Returns the tests of a file, those that a macro makes too.
fn tests_of(file: &str) -> BTreeSet<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{file}.rs"));
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no `{}`", path.display()));
    let lines = text.lines().collect::<Vec<_>>();
    let own = lines.windows(2).filter(|pair| pair[0].trim() == "#[test]");
    let name = |line: &str| line.trim().strip_prefix("fn ")?.split('(').next().map(str::to_owned);
    let made = lines.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("    ")?.split_once(": ")?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (is_name && (rest.contains(", [") || rest.starts_with('['))).then(|| name.to_owned())
    });
    own.filter_map(|pair| name(pair[1])).chain(made.filter(|_| file == "faults")).collect()
}

#[test]
fn every_fault_of_the_page_has_a_test() {
    let rows = rows();
    assert!(rows.len() >= 60, "{} faults", rows.len());
    let names = rows.iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), rows.len(), "a fault stands twice");
    for (fault, test) in &rows {
        let (file, name) = test.split_once("::").unwrap();
        assert!(tests_of(file).contains(name), "`{fault}`: there is no test `{test}`");
    }
    let own = tests_of("faults");
    let listed = rows.iter().filter_map(|(_, test)| test.strip_prefix("faults::"));
    let listed = listed.map(str::to_owned).collect::<BTreeSet<_>>();
    let missing =
        own.difference(&listed).filter(|name| *name != "every_fault_of_the_page_has_a_test");
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
}
