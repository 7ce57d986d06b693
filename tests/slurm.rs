//! `rosetta run --launcher slurm` and `rosetta runs`, with programs that play Slurm's: what they answer is a file, what they
//! were asked is another. Tasks run as the script of their array says, with what Slurm would give them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Done, Project, good, list};
use serde_json::{Value, json};

const SBATCH: &str = r#"
echo "sbatch $*" >> slurm/calls
[ -e slurm/refuses ] && { cat slurm/refuses >&2; exit 1; }
id=$(( $(cat slurm/next) + 1 )); echo $id > slurm/next
echo "$*" > slurm/array.$id
[ -e slurm/dies ] && kill -9 $PPID
echo "some plugin of a site says hello"
echo $id
"#;
const SQUEUE: &str = r#"
echo "squeue $*" >> slurm/calls
[ -e slurm/silent ] && { cat slurm/silent >&2; exit 1; }
cat slurm/queue 2> /dev/null
exit 0
"#;
const SACCT: &str = r#"
echo "sacct $*" >> slurm/calls
[ -e slurm/accounts ] && cat slurm/accounts && exit
echo "Slurm accounting storage is disabled" >&2; exit 1
"#;
const SCANCEL: &str = "\necho \"scancel $*\" >> slurm/calls\n: > slurm/queue\n";
const SCONTROL: &str =
    "\necho \"scontrol $*\" >> slurm/calls\necho 'MaxArraySize            = 3'\n";

/// A project whose cluster is made of files.
struct Cluster {
    project: Project,
}

/// Submits all targets and follows them to their end.
const SUBMIT: [&str; 8] =
    ["run", "--provider", "system", "--python", "./python", "--no-check", "--launcher", "slurm"];

impl Cluster {
    /// Returns one with a launcher of a short grace, and targets whose harness is `script`.
    fn new(targets: &[&str], script: &str) -> Cluster {
        let project = Project::new();
        let project = targets.iter().fold(project, |project, name| project.harness(name, script));
        let programs = [
            ("sbatch", SBATCH),
            ("squeue", SQUEUE),
            ("sacct", SACCT),
            ("scancel", SCANCEL),
            ("scontrol", SCONTROL),
        ];
        let cluster = Cluster { project };
        let home = cluster.project.path("").display().to_string();
        for (name, script) in programs {
            cluster
                .project
                .program(&format!("path/{name}"), &format!("cd {home} || exit 9{script}"));
        }
        cluster.project.write("slurm/next", "100");
        cluster.launcher("grace: 1s\n");
        cluster
    }

    /// Writes the launcher, with further lines.
    fn launcher(&self, more: &str) {
        let rosetta = Path::new(env!("CARGO_BIN_EXE_rosetta")).parent().unwrap().display();
        let shared = format!("shared: [{}, {rosetta}]\n", self.project.path("").display());
        let text = format!("version: 1\nlauncher: slurm\n{shared}{more}");
        let resources = if more.contains("resources:") {
            ""
        } else {
            "resources: {cpu: {time: 10m, cpus: 1}}\n"
        };
        self.project.write("launchers/slurm.yaml", &(text + resources));
    }

    fn rosetta(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.project.path("path").display()));
        command
    }

    /// Submits all targets and returns the run's id.
    fn submit(&self, more: &[&str]) -> (String, Done) {
        let done = self.rosetta(&[&SUBMIT[..], &["--detach"], more].concat());
        let id = list(&self.project.path("results/runs")).first().map(|run| name_of(run));
        (id.unwrap_or_default(), done)
    }

    fn collect(&self) -> Done {
        self.rosetta(&["runs", "collect", "latest"])
    }

    fn run(&self) -> PathBuf {
        let runs = list(&self.project.path("results/runs"));
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }

    /// Starts a task as Slurm would.
    fn start(&self, submission: u32, array: u32, task: u32, restart: u32) -> Child {
        let script = self.run().join(format!("cluster/submissions/{submission}.sh"));
        let mut command = Command::new("sh");
        command.arg(script).env_clear().current_dir("/");
        command
            .env("SLURM_ARRAY_JOB_ID", array.to_string())
            .env("SLURM_ARRAY_TASK_ID", task.to_string());
        command.env("SLURMD_NODENAME", format!("n{task}")).env("SLURM_CLUSTER_NAME", "lab");
        if restart > 0 {
            command.env("SLURM_RESTART_COUNT", restart.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn task(&self, submission: u32, array: u32, task: u32) -> Done {
        Done::of(self.start(submission, array, task, 0).wait_with_output().unwrap())
    }

    fn queue(&self, lines: &str) {
        self.project.write("slurm/queue", lines);
    }

    fn calls(&self, program: &str) -> usize {
        let calls = fs::read_to_string(self.project.path("slurm/calls")).unwrap_or_default();
        calls.lines().filter(|call| call.starts_with(program)).count()
    }

    /// Returns the records of the run by job, and asserts that each is there once, in its folder and in the lines.
    fn records(&self) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.run().join("records.jsonl")).unwrap_or_default();
        let mut records = BTreeMap::new();
        for line in text.lines() {
            let record: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}"));
            let job = record["job"].as_str().unwrap().to_owned();
            let sealed = fs::read_to_string(self.run().join(&job).join("record.json")).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&sealed).unwrap(), record, "{job}");
            assert!(records.insert(job, record).is_none(), "a job stands twice: {text}");
        }
        records
    }

    fn statuses(&self) -> Vec<String> {
        let status = |record: Value| record["outcome"]["status"].as_str().unwrap().to_owned();
        self.records().into_values().map(status).collect()
    }

    fn show(&self) -> Value {
        let done = self.rosetta(&["runs", "show", "latest", "--json"]);
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn after_grace() {
    std::thread::sleep(Duration::from_millis(1100));
}

#[test]
fn jobs_are_submitted_in_arrays_run_by_tasks_and_collected_once() {
    let cluster = Cluster::new(&["a", "b", "c", "d"], &good());
    let (id, done) = cluster.submit(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("submitted: 4 jobs, as Slurm's 101, 102"), "{done:?}");
    // Slurm's arrays hold three here.
    let words = fs::read_to_string(cluster.project.path("slurm/array.101")).unwrap();
    for word in [
        "--parsable",
        "--array=0-2 ",
        "--export=NIL",
        "--requeue",
        "--time=10 ",
        "--cpus-per-task=1",
        "--exclusive",
        "--signal=B:USR1@60",
    ] {
        assert!(words.contains(word), "{word}: {words}");
    }
    let listed = cluster.rosetta(&["list", "runs"]);
    assert!(listed.stdout.contains("submitted"), "{listed:?}");
    let resumed = cluster.rosetta(&["run", "--resume", &id]);
    assert!(
        resumed.code == Some(2) && resumed.stderr.contains("was submitted to slurm"),
        "{resumed:?}"
    );

    cluster.queue(
        "101|1-2%2|PENDING|1||Resources\n101|0|RUNNING|1|n0|None\n102|0|PENDING|2||Priority\n",
    );
    let shown = cluster.show();
    assert_eq!(
        (&shown["left"], &shown["waiting"]),
        (&json!(4), &json!({"Priority": 1, "Resources": 2}))
    );
    let task = cluster.task(1, 101, 0);
    assert_eq!(task.code, Some(0), "{task:?}");
    assert_eq!(cluster.show()["to_collect"], 1);
    let again = Done::of(cluster.start(1, 101, 0, 1).wait_with_output().unwrap());
    assert!(again.code == Some(0) && again.stderr.contains("nothing to do"), "{again:?}");
    let done = cluster.collect();
    assert!(
        done.code == Some(0)
            && done.stderr.contains("1 of 4 jobs have a record (1 ok, 0 not ok); 3 waiting"),
        "{done:?}"
    );
    for (submission, array, index) in [(1, 101, 1), (1, 101, 2), (2, 102, 0)] {
        assert_eq!(cluster.task(submission, array, index).code, Some(0));
    }
    // Started once more, for whatever reason: it has its record.
    let again = cluster.task(1, 101, 0);
    assert!(again.code == Some(0) && again.stderr.contains("nothing to do"), "{again:?}");
    cluster.queue("");
    let done = cluster.collect();
    assert!(
        done.code == Some(0) && done.stderr.contains("4 of 4 jobs have a record (4 ok, 0 not ok)"),
        "{done:?}"
    );
    let records = cluster.records();
    assert_eq!(records.len(), 4);
    let first = records.values().find(|record| record["machine"]["host"] == "n0").unwrap();
    assert_eq!(
        (&first["machine"]["cluster"], &first["cost"]["threads_allowed"]),
        (&json!("lab"), &json!(1))
    );
    let calls = cluster.calls("squeue");
    let done = cluster.collect();
    assert_eq!(
        (done.code, cluster.calls("squeue")),
        (Some(0), calls),
        "nothing is left to ask for: {done:?}"
    );
    let table = cluster.rosetta(&["table", "--run", &id]);
    assert!(
        table.code == Some(0) && table.stdout.contains("A tiny experiment – lab: "),
        "{table:?}"
    );
    let listed = cluster.rosetta(&["list", "runs"]);
    assert!(listed.stdout.contains("finished"), "{listed:?}");
}

#[test]
fn a_lost_task_is_submitted_again_so_often_and_its_late_twin_counts_for_nothing() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.launcher("grace: 1s\nattempts: 2\n");
    cluster.submit(&[]);
    cluster.queue("101|0|NODE_FAIL|1|n7|None\n");
    let done = cluster.collect();
    assert!(done.stderr.contains("1 gone from the queue without a result so far"), "{done:?}");
    cluster.queue("");
    after_grace();
    let done = cluster.collect();
    assert!(
        done.stderr.contains("submitted: 1 job, 1 of them once more, as Slurm's 102"),
        "{done:?}"
    );
    // Both attempts come to their end, the lost one later, when the other has been collected.
    assert_eq!(cluster.task(2, 102, 0).code, Some(0));
    let late = cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0");
    fs::create_dir(&late).unwrap();
    let winner = cluster.run().join("cluster/attempts/tiny.a.cpu.1.2-0");
    for name in ["record.json", "attempt.json"] {
        fs::copy(winner.join(name), late.join(name)).unwrap();
    }
    cluster.queue("102|0|COMPLETED|2|n0|None\n");
    assert_eq!(cluster.collect().code, Some(0));
    assert_eq!(cluster.statuses(), ["ok"]);
    assert_eq!(cluster.collect().code, Some(0));
    assert_eq!(cluster.statuses(), ["ok"]);
    assert!(winner.exists() || late.exists(), "what counts for nothing stays where it is");
}

#[test]
fn a_job_that_never_comes_is_given_up_with_slurms_words() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.launcher("grace: 1s\nattempts: 2\n");
    cluster.submit(&[]);
    for (array, submission) in [(101, 1), (102, 2)] {
        cluster.queue(&format!("{array}|0|FAILED|{submission}|n7|NonZeroExitCode\n"));
        cluster.collect();
        after_grace();
        cluster.project.write("slurm/queue", "");
        let log = cluster.run().join(format!("cluster/output/{array}_0.log"));
        fs::write(log, "rosetta: node n7 lacks one of /here\n").unwrap();
        cluster.collect();
    }
    let records = cluster.records();
    let outcome = &records["tiny.a.cpu.1"]["outcome"];
    let reason = outcome["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "2 attempts left no result: FAILED (NonZeroExitCode) on n7, FAILED (NonZeroExitCode) on n7; its last words: rosetta: node n7 lacks one of /here"
    );
    assert!(outcome["hint"].as_str().unwrap().contains("cluster/output/102_0.log"));
    assert_eq!(cluster.collect().code, Some(1));
    assert_eq!(cluster.calls("sbatch"), 2);
    // A node on which a task cannot begin would take all of them, one after the other.
    let words = fs::read_to_string(cluster.project.path("slurm/array.102")).unwrap();
    assert!(words.contains("--exclude=n7 "), "{words}");
}

#[test]
fn a_task_goes_once_its_job_has_a_record_of_another() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.submit(&[]);
    cluster.queue("");
    cluster.collect();
    after_grace();
    cluster.collect();
    assert_eq!(cluster.task(2, 102, 0).code, Some(0));
    // Slurm had not lost it after all.
    cluster.queue("101|0|RUNNING|1|n1|None\n102|0|COMPLETING|2|n2|None\n");
    let done = cluster.collect();
    assert!(done.code == Some(0) && done.stderr.contains("1 of 1 jobs have a record"), "{done:?}");
    let calls = fs::read_to_string(cluster.project.path("slurm/calls")).unwrap();
    let cancelled = calls.lines().filter(|line| line.starts_with("scancel")).collect::<Vec<_>>();
    assert_eq!(cancelled, ["scancel 101_0"]);
}

#[test]
fn limits_and_people_end_a_job_for_good() {
    let cases = [
        (
            "TIMEOUT",
            "timed_out",
            "Slurm ended it at its limit of 10 min: TIMEOUT (TimeLimit) on n3",
            "raise `time` of `resources.cpu`",
        ),
        (
            "OUT_OF_MEMORY",
            "out_of_memory",
            "used more memory than it may: OUT_OF_MEMORY",
            "raise `memory` of `resources.cpu`",
        ),
        ("CANCELLED", "cancelled", "it was cancelled: CANCELLED", ""),
    ];
    // Each waits.
    std::thread::scope(|scope| {
        for (state, status, reason, hint) in cases {
            scope.spawn(move || {
                let cluster = Cluster::new(&["a"], &good());
                cluster.submit(&[]);
                cluster.queue(&format!("101|0|{state}|1|n3|TimeLimit\n"));
                cluster.collect();
                after_grace();
                let done = cluster.collect();
                assert_eq!(done.code, Some(1), "{done:?}");
                let outcome = cluster.records()["tiny.a.cpu.1"]["outcome"].clone();
                assert_eq!(outcome["status"], status);
                assert!(outcome["reason"].as_str().unwrap().contains(reason), "{outcome}");
                assert!(outcome["hint"].as_str().unwrap_or_default().contains(hint), "{outcome}");
                assert_eq!(cluster.calls("sbatch"), 1);
            });
        }
    });
}

#[test]
fn accounts_tell_what_the_queue_has_forgotten() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.submit(&[]);
    cluster.project.write("slurm/accounts", "101_0|TIMEOUT|0:0|n3\n");
    cluster.collect();
    after_grace();
    cluster.collect();
    assert_eq!(cluster.statuses(), ["timed_out"]);
    assert_eq!(cluster.calls("sacct"), 1);
}

#[test]
fn a_slurm_that_is_silent_loses_nothing_and_results_are_taken_in() {
    let cluster = Cluster::new(&["a", "b"], &good());
    // One attempt: a job that was taken for lost would be given up.
    cluster.launcher("grace: 1s\nattempts: 1\n");
    cluster.submit(&[]);
    cluster.task(1, 101, 0);
    cluster.project.write(
        "slurm/silent",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
    );
    for _ in 0..2 {
        let done = cluster.collect();
        assert_eq!(done.code, Some(2), "{done:?}");
        for words in [
            "squeue refused (exit code 1): slurm_load_jobs error: Unable to contact",
            "goes on once Slurm answers",
            "1 of 2 jobs have a record",
        ] {
            assert!(done.stderr.contains(words), "{words}: {done:?}");
        }
        after_grace();
    }
    assert_eq!(cluster.show()["is_slurm_answering"], false);
    fs::remove_file(cluster.project.path("slurm/silent")).unwrap();
    cluster.task(1, 101, 1);
    assert_eq!(cluster.collect().code, Some(0));
    assert_eq!((cluster.statuses(), cluster.calls("sbatch")), (vec!["ok".to_owned(); 2], 1));
}

#[test]
fn what_sbatch_refuses_is_said_in_its_words_and_submitted_once_it_is_put_right() {
    let cases = [
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "correct `account`",
        ),
        ("sbatch: error: invalid partition specified: gpu", "correct `partition`"),
        (
            "sbatch: error: Batch job submission failed: Invalid generic resource (gres) specification",
            "correct `gres`",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            "no node has all",
        ),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "goes on once Slurm answers",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid",
            "lower `time`",
        ),
    ];
    for (words, cure) in cases {
        let cluster = Cluster::new(&["a"], &good());
        cluster.project.write("slurm/refuses", words);
        let (id, done) = cluster.submit(&[]);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(words) && done.stderr.contains(cure), "{done:?}");
        assert!(
            done.stderr.contains(&format!("`rosetta runs collect {id}` submits it")),
            "{done:?}"
        );
        assert!(cluster.show()["refused"].as_str().unwrap().contains(words));
        fs::remove_file(cluster.project.path("slurm/refuses")).unwrap();
        cluster.launcher("grace: 1s\naccount: lab\n");
        let done = cluster.collect();
        assert!(
            done.code == Some(0) && done.stderr.contains("submitted: 1 job, as Slurm's 101"),
            "{done:?}"
        );
        let script = fs::read_to_string(cluster.project.path("slurm/array.101")).unwrap();
        assert!(script.contains("--account=lab"), "{script}");
        assert_eq!(cluster.task(2, 101, 0).code, Some(0));
        assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned()]));
    }
}

#[test]
fn a_rosetta_that_is_killed_while_it_submits_finds_its_array_again() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.project.write("slurm/dies", "");
    let (_, done) = cluster.submit(&[]);
    assert_eq!(done.code, None, "{done:?}");
    fs::remove_file(cluster.project.path("slurm/dies")).unwrap();
    cluster.queue("101|0|PENDING|1||Priority\n");
    let done = cluster.collect();
    assert!(done.stderr.contains("; 1 waiting") && cluster.calls("sbatch") == 1, "{done:?}");
    cluster.task(1, 101, 0);
    cluster.queue("");
    assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned()]));
}

#[test]
fn there_is_no_slurm_here() {
    let cluster = Cluster::new(&["a"], &good());
    for name in ["sbatch", "squeue", "scancel"] {
        fs::remove_file(cluster.project.path(&format!("path/{name}"))).unwrap();
    }
    let words = ["run", "--provider", "system", "--python", "./python", "--no-check"];
    let mut command = cluster.command(&[&words[..], &["--launcher", "slurm", "--detach"]].concat());
    // Nothing else: this machine may have a Slurm.
    let done = Done::of(command.env("PATH", cluster.project.path("path")).output().unwrap());
    assert!(done.code == Some(2) && done.stderr.contains("there is no `sbatch` here"), "{done:?}");
    assert!(done.stderr.contains("load the module that has Slurm's programs"), "{done:?}");
}

#[test]
fn a_wrong_launcher_is_named_with_its_line_and_what_is_allowed() {
    let cluster = Cluster::new(&["a"], &good());
    let here = cluster.project.path("").display().to_string();
    let refused = |text: &str, words: &[&str]| {
        cluster.project.write("launchers/slurm.yaml", &text.replace("{here}", &here));
        let (_, done) = cluster.submit(&[]);
        assert_eq!(done.code, Some(2), "{text}: {done:?}");
        for words in words {
            assert!(done.stderr.contains(words), "{words}: {done:?}");
        }
        assert!(!done.stderr.contains("panicked"), "{done:?}");
    };
    let head = "version: 1\nlauncher: slurm\nshared: [{here}]\n";
    let cpu = "resources: {cpu: {time: 10m}}\n";
    let with = |line: &str| format!("{head}{line}\n{cpu}");
    refused("", &["slurm.yaml:1:1: the file is empty"]);
    refused(&with("acount: lab"), &["slurm.yaml:4:1", "acount", "account"]);
    refused(&with("attempts: 0"), &["slurm.yaml:4:11: `attempts` is 0; write 1 or more"]);
    refused(&with("grace: soon"), &["slurm.yaml:4:8: `grace`: invalid duration `soon`"]);
    refused(&with("account: \"\""), &["slurm.yaml:4:10: `account` is empty"]);
    refused(
        &with("options: [gpu]"),
        &["slurm.yaml:4:11: `options`: `gpu` is not an option; write `--name=value`"],
    );
    refused(&with("options: [--array=1-2]"), &["`options`: rosetta sets `--array` itself"]);
    refused(
        &format!("{head}resources: {{}}\n"),
        &["`resources` is empty", "write `cpu:` or `cuda:`"],
    );
    refused(
        &format!("{head}resources: {{tpu: {{time: 1h}}}}\n"),
        &["slurm.yaml:4:13", "tpu", "cpu"],
    );
    refused(&format!("{head}resources: {{cpu: {{}}}}\n"), &["slurm.yaml:4", "time"]);
    refused(
        &format!("{head}resources: {{cpu: {{time: 10s}}}}\n"),
        &["Slurm counts minutes: write at least `1m`"],
    );
    refused(
        &format!("{head}resources: {{cpu: {{time: 1h, memory: much}}}}\n"),
        &["`resources.cpu.memory`: invalid size `much`"],
    );
    refused(
        &format!("version: 1\nlauncher: pbs\nshared: [{{here}}]\n{cpu}"),
        &["slurm.yaml:2:11", "pbs", "slurm"],
    );
    refused(
        &format!("version: 2\nlauncher: slurm\nshared: [{{here}}]\n{cpu}"),
        &["version 2 is not known"],
    );
    refused(
        &format!("version: 1\nlauncher: slurm\nshared: [here]\n{cpu}"),
        &["slurm.yaml:3:10: `shared`: `here` is not a whole path"],
    );
    refused(
        &format!("version: 1\nlauncher: slurm\nshared: [/no/such]\n{cpu}"),
        &["`shared`: `/no/such` is not there"],
    );
    refused(
        &format!("version: 1\nlauncher: slurm\nshared: [/proc]\n{cpu}"),
        &["the project is `", "which nodes do not have", "`/proc`"],
    );
    cluster.launcher("");
    let (_, done) = cluster.submit(&["--device", "cuda"]);
    assert!(
        done.code == Some(2) && done.stderr.contains("has no `resources` for cuda"),
        "{done:?}"
    );
    let none = cluster.rosetta(&["run", "--launcher", "moon"]);
    assert!(
        none.code == Some(2)
            && none.stderr.contains("there is no launcher `moon`")
            && none.stderr.contains("there is `slurm`"),
        "{none:?}"
    );
    let alone = cluster.rosetta(&["run", "--detach"]);
    assert_eq!(alone.code, Some(2), "{alone:?}");
    assert!(list(&cluster.project.path("results/runs")).is_empty());
}

#[test]
fn a_run_that_is_cancelled_starts_nothing_more_and_keeps_what_it_has() {
    let cluster = Cluster::new(&["a", "b"], &good());
    let (id, _) = cluster.submit(&[]);
    cluster.task(1, 101, 0);
    cluster.queue("101|1|PENDING|1||Priority\n");
    let done = cluster.rosetta(&["runs", "cancel", &id[..12]]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("1 of 2 jobs have a record"), "{done:?}");
    let task = cluster.task(1, 101, 1);
    assert!(task.code == Some(0) && task.stderr.contains("nothing to do"), "{task:?}");
    after_grace();
    let done = cluster.collect();
    assert_eq!(done.code, Some(1), "{done:?}");
    let mut statuses = cluster.statuses();
    statuses.sort();
    assert_eq!(
        (statuses, cluster.calls("sbatch")),
        (vec!["cancelled".to_owned(), "ok".to_owned()], 1)
    );
    let local = cluster.rosetta(&["runs", "cancel", "nothing"]);
    assert_eq!(local.code, Some(2), "{local:?}");
}

#[test]
fn a_task_that_is_stopped_leaves_no_record_and_nothing_running_and_the_next_start_does() {
    let slow = format!("{}\nsleep 300", common::says(&[common::START, common::HELLO]));
    let cluster = Cluster::new(&["a"], &slow);
    cluster.submit(&[]);
    let child = cluster.start(1, 101, 0, 0);
    let events = cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/events.jsonl");
    wait_for(|| fs::read_to_string(&events).is_ok_and(|text| text.contains("hello")));
    wait_for(|| is_running(&cluster));
    cluster.queue("101|0|RUNNING|1|n0|None\n");
    let shown = cluster.show();
    assert_eq!(
        (&shown["running"][0]["progress"], &shown["running"][0]["node"]),
        (&json!("imported"), &json!("n0"))
    );
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let done = Done::of(child.wait_with_output().unwrap());
    assert!(done.code == Some(75) && done.stderr.contains("stopped from outside"), "{done:?}");
    assert!(!cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/record.json").exists());
    assert!(!is_running(&cluster), "its processes go on");
    // Slurm starts it anew: an attempt of its own, beside the first.
    cluster.project.write(
        "harnesses/a/tiny.py",
        &good().replace("{good}", &cluster.project.path("good.npy").to_string_lossy()),
    );
    let done = Done::of(cluster.start(1, 101, 0, 1).wait_with_output().unwrap());
    assert!(done.code == Some(0) && done.stderr.contains("attempt 2"), "{done:?}");
    cluster.queue("");
    assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned()]));
    assert!(cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/events.jsonl").exists());
}

#[test]
fn a_task_that_comes_near_its_limit_says_so() {
    let cluster = Cluster::new(
        &["a"],
        &format!("{}\nsleep 300", common::says(&[common::START, common::HELLO])),
    );
    cluster.submit(&[]);
    let child = cluster.start(1, 101, 0, 0);
    let events = cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/events.jsonl");
    wait_for(|| fs::read_to_string(&events).is_ok_and(|text| text.contains("hello")));
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGUSR1) };
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    cluster.collect();
    let outcome = cluster.records()["tiny.a.cpu.1"]["outcome"].clone();
    assert_eq!(outcome["status"], "timed_out");
    assert_eq!(outcome["reason"], "the time limit of its task came near: 10 min");
}

#[test]
fn an_orphan_of_slurm_ends_with_whoever_started_it() {
    let cluster = Cluster::new(
        &["a"],
        &format!("{}\nsleep 300", common::says(&[common::START, common::HELLO])),
    );
    cluster.submit(&["--timeout", "300s"]);
    let script = cluster.run().join("cluster/submissions/1.sh");
    // Plays slurmstepd: it starts the script and is killed.
    let mut stepd = Command::new("sh");
    stepd.arg("-c").arg(format!("sh {} & wait", script.display())).env_clear();
    stepd
        .env("SLURM_ARRAY_JOB_ID", "101")
        .env("SLURM_ARRAY_TASK_ID", "0")
        .env("SLURMD_NODENAME", "n0");
    let mut stepd = stepd.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let events = cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/events.jsonl");
    wait_for(|| fs::read_to_string(&events).is_ok_and(|text| text.contains("hello")));
    wait_for(|| is_running(&cluster));
    stepd.kill().unwrap();
    stepd.wait().unwrap();
    wait_for(|| !is_running(&cluster));
    assert!(!cluster.run().join("cluster/attempts/tiny.a.cpu.1.1-0/record.json").exists());
}

#[test]
fn a_job_that_slurm_starts_without_end_is_given_up_by_its_task() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.launcher("grace: 1s\nattempts: 2\n");
    cluster.submit(&[]);
    for restart in 0..2 {
        fs::create_dir(cluster.run().join(format!("cluster/attempts/tiny.a.cpu.1.1-{restart}")))
            .unwrap();
    }
    let done = Done::of(cluster.start(1, 101, 0, 2).wait_with_output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(cluster.collect().code, Some(1));
    let reason = cluster.records()["tiny.a.cpu.1"]["outcome"]["reason"].clone();
    assert!(
        reason.as_str().unwrap().starts_with("it was started 2 times and never came to its end"),
        "{reason}"
    );
}

#[test]
fn a_node_that_lacks_something_says_what() {
    let cluster = Cluster::new(&["a"], &good());
    cluster.submit(&[]);
    let plan = cluster.run().join("cluster/plan.json");
    fs::rename(cluster.project.path("home"), cluster.project.path("elsewhere")).unwrap();
    let done = cluster.task(1, 101, 0);
    assert!(done.code == Some(64) && done.stderr.contains("node n0 lacks one of"), "{done:?}");
    fs::rename(cluster.project.path("elsewhere"), cluster.project.path("home")).unwrap();
    let text = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, text.replace("\"version\":\"", "\"version\":\"7.")).unwrap();
    let done = cluster.task(1, 101, 0);
    assert!(
        done.code == Some(70) && done.stderr.contains("the run was submitted by 7."),
        "{done:?}"
    );
    fs::write(&plan, "{").unwrap();
    let done = cluster.task(1, 101, 0);
    assert!(done.code == Some(70) && done.stderr.contains("plan.json` is damaged"), "{done:?}");
    let by_hand = cluster.project.rosetta(&["__task", "/nowhere"]);
    assert!(
        by_hand.code == Some(70) && by_hand.stderr.contains("`SLURM_ARRAY_JOB_ID` is not set"),
        "{by_hand:?}"
    );
}

#[test]
fn a_task_that_gets_no_gpu_says_so() {
    if Path::new("/dev/nvidiactl").exists() {
        return; // Here it would get one.
    }
    let cluster = Cluster::new(&["a"], &good());
    cluster.launcher("resources: {cuda: {time: 10m, gres: 'gpu:1', gpu: {name: A100}}}\n");
    cluster.submit(&[]);
    let words = fs::read_to_string(cluster.project.path("slurm/array.101")).unwrap();
    assert!(words.contains("--gres=gpu:1"), "{words}");
    assert_eq!(cluster.task(1, 101, 0).code, Some(0));
    assert_eq!(cluster.collect().code, Some(1));
    let outcome = cluster.records()["tiny.a.cuda.1"]["outcome"].clone();
    assert_eq!(outcome["reason"], "node n0 shows no CUDA GPU to its task");
    assert!(outcome["hint"].as_str().unwrap().starts_with("correct `gres` of `resources.cuda`"));
}

/// A quota or a full disk, played by a limit on the size of files.
#[test]
fn a_full_disk_loses_nothing() {
    let cluster = Cluster::new(&["a", "b"], &good());
    cluster.submit(&[]);
    let full = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let mut limited = Command::new("sh");
        // So many half kilobytes: what a task says of itself fits, its job does not.
        limited.arg("-c").arg(format!("ulimit -f 1; exec {}", words.join(" ")));
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        limited.envs(variables).current_dir(cluster.project.path("")).stdin(Stdio::null());
        Done::of(limited.output().unwrap())
    };
    let script = cluster.run().join("cluster/submissions/1.sh");
    let mut task = Command::new("sh");
    task.arg(script).env("SLURM_ARRAY_JOB_ID", "101").env("SLURM_ARRAY_TASK_ID", "1");
    let done = full(&task);
    assert!(done.code == Some(70) && done.stderr.contains("cannot write"), "{done:?}");
    assert_eq!(cluster.task(1, 101, 0).code, Some(0));
    cluster.queue("101|1|FAILED|1|n1|NonZeroExitCode\n");
    let done = full(&cluster.command(&["runs", "collect", "latest"]));
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("cannot write") && !done.stderr.contains("panicked"), "{done:?}");
    // There is room again.
    cluster.collect();
    after_grace();
    let done = cluster.collect();
    assert!(done.stderr.contains("1 of 2 jobs have a record"), "{done:?}");
    assert_eq!(cluster.task(2, 102, 0).code, Some(0));
    assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned(); 2]));
}

#[test]
fn secrets_reach_tasks_and_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let needs = format!("[ \"$SOME_TOKEN\" = tulip ] || exit 3\n{}", good());
    let cluster = Cluster::new(&["a"], &needs);
    cluster.submit(&["--env", "SOME_TOKEN=tulip"]);
    assert_eq!(cluster.task(1, 101, 0).code, Some(0));
    assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned()]));
    let variables = cluster.run().join("cluster/variables.json");
    assert_eq!(fs::metadata(&variables).unwrap().permissions().mode() & 0o777, 0o600);
    for file in ["run.json", "cluster/plan.json", "cluster/submissions/1.sh"] {
        assert!(!fs::read_to_string(cluster.run().join(file)).unwrap().contains("tulip"), "{file}");
    }
}

#[test]
fn two_do_not_collect_at_once() {
    let cluster = Cluster::new(&["a"], &good());
    let (id, _) = cluster.submit(&[]);
    cluster.queue("101|0|PENDING|1||Priority\n");
    let mut waiting =
        cluster.command(&["runs", "collect", &id, "--wait"]).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| cluster.calls("squeue") > 0);
    let second = cluster.collect();
    assert!(
        second.code == Some(2) && second.stderr.contains("another rosetta holds it"),
        "{second:?}"
    );
    // One that is killed leaves the run to whoever comes next.
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    cluster.task(1, 101, 0);
    cluster.queue("");
    assert_eq!((cluster.collect().code, cluster.statuses()), (Some(0), vec!["ok".to_owned()]));
}

#[test]
fn following_asks_slurm_once_in_an_interval_and_prints_the_table_at_the_end() {
    let cluster = Cluster::new(&["a", "b"], &good());
    cluster.launcher("grace: 1s\npoll: 1s\n");
    cluster.queue("101|0-1|PENDING|1||Priority\n");
    let mut command = cluster.command(&SUBMIT);
    let begun = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| cluster.calls("squeue") >= 2);
    for task in 0..2 {
        assert_eq!(cluster.task(1, 101, task).code, Some(0));
    }
    cluster.queue("");
    let done = Done::of(child.wait_with_output().unwrap());
    assert!(done.code == Some(0) && done.stdout.contains("A tiny experiment"), "{done:?}");
    let most = begun.elapsed().as_secs() + 2;
    assert!(
        cluster.calls("squeue") as u64 <= most,
        "{} in {:?}",
        cluster.calls("squeue"),
        begun.elapsed()
    );
}

/// Thousands of jobs of a made queue: planned, submitted and collected in a time and a memory that do not matter.
/// `ROSETTA_TEST_JOBS=10000` takes as many; a file system may need a minute to make and remove their folders.
#[test]
fn thousands_of_jobs_are_planned_submitted_and_collected() {
    let jobs = std::env::var("ROSETTA_TEST_JOBS").map_or(1000, |jobs| jobs.parse().unwrap());
    let cluster = Cluster::new(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], &good());
    cluster.project.program("path/scontrol", "echo 'MaxArraySize            = 1001'\n");
    let begun = Instant::now();
    let (_, done) = cluster.submit(&["--repeats", &(jobs / 10).to_string()]);
    eprintln!("submitted in {:.1?}", begun.elapsed());
    assert!(done.stderr.contains(&format!("submitted: {jobs} jobs, as Slurm's 101")), "{done:?}");
    let arrays = usize::div_ceil(jobs, 1001);
    assert_eq!(cluster.calls("sbatch"), arrays);
    assert_eq!(cluster.task(1, 101, 0).code, Some(0));
    let run = cluster.run();
    let first = list(&run.join("cluster/attempts")).remove(0);
    let text = fs::read(first.join("record.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    let text = fs::read(run.join("cluster/plan.json")).unwrap();
    let plan: Value = serde_json::from_slice(&text).unwrap();
    let (mut queue, mut running) = (String::new(), 0);
    for number in 1..=arrays {
        let text = fs::read(run.join(format!("cluster/submissions/{number}.json"))).unwrap();
        let submission: Value = serde_json::from_slice(&text).unwrap();
        let (array, jobs) =
            (submission["array"].as_str().unwrap(), submission["jobs"].as_array().unwrap());
        // The first 100 tasks of each array run and have no result, but for the one that really ran.
        queue += &format!("{array}|0-99|RUNNING|{number}|n1|None\n");
        queue += &format!("{array}|100-{}|COMPLETED|{number}|n1|None\n", jobs.len() - 1);
        running += 100;
        for index in jobs.iter().skip(100) {
            let index = usize::try_from(index.as_u64().unwrap()).unwrap();
            made(&run, &record, number, plan["jobs"][index][0].as_str().unwrap());
        }
    }
    running -= 1;
    cluster.queue(&queue);
    let begun = Instant::now();
    let done = cluster.collect();
    let took = begun.elapsed();
    assert_eq!(done.code, Some(0), "{done:?}");
    let ended = jobs - running;
    let words =
        format!("{ended} of {jobs} jobs have a record ({ended} ok, 0 not ok); {running} running");
    assert!(done.stderr.contains(&words), "{words}: {done:?}");
    assert_eq!(cluster.calls("squeue"), 1);
    eprintln!("{jobs} jobs: collected in {took:.1?}, at most {} kB", most_memory());
    assert!(took < Duration::from_secs(10) && most_memory() < 100 << 10, "{took:?}");
}

/// Publishes what a task would have.
fn made(run: &Path, record: &Value, submission: usize, job: &str) {
    let folder = run.join(format!("cluster/attempts/{job}.{submission}-0"));
    fs::create_dir(&folder).unwrap();
    let mut record = record.clone();
    record["job"] = json!(job);
    fs::write(folder.join("record.json"), record.to_string() + "\n").unwrap();
}

/// Returns the kilobytes of the largest child that has ended.
fn most_memory() -> i64 {
    // SAFETY: the kernel fills a structure of ours.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage.ru_maxrss
    }
}

/// Whether a process of a harness of this project goes on.
fn is_running(cluster: &Cluster) -> bool {
    let home = cluster.project.path("").display().to_string();
    list(Path::new("/proc")).iter().any(|process| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let folder = fs::read_link(process.join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("sleep") && folder.starts_with(&home)
    })
}

fn wait_for(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}
