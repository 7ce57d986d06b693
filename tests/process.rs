//! The process module with real processes: however a job ends, it is told right and nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rosetta::catalog::Device;
use rosetta::event::{Event, Line, parse};
use rosetta::launch::{Finished, Launcher, Local, environment};
use rosetta::process::{Cancel, Done, Exit, Launch};
use tempfile::TempDir;
use tokio::sync::watch;

const MARK: &str = "ROSETTA_TEST_JOB";
const HELLO: &str =
    r#"{"v":1,"seq":0,"ev":"hello","t":0.1,"framework":"sh","version":"1","device":"cpu"}"#;
const END: &str = r#"{"v":1,"seq":1,"ev":"end","t":0.2}"#;

struct Fixture {
    folder: TempDir,
    launch: Launch,
}

/// A job that is a shell script; `$hello` and `$end` hold the lines of those events.
fn script(text: &str) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().to_str().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let launch = Launch {
        program: "sh".into(),
        args: vec!["-c".into(), text.into()],
        environment: [("PATH", path.as_str()), (MARK, &mark), ("hello", HELLO), ("end", END)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        folder: folder.path().into(),
        job_folder: folder.path().into(),
        timeout: Duration::from_secs(120),
        stall_timeout: None,
        grace: Duration::from_secs(60),
        device: Device::Cpu,
        cpus: None,
        memory_limit_bytes: None,
        container: None,
        is_measured: true,
    };
    Fixture { folder, launch }
}

impl Fixture {
    fn run(&self) -> Finished {
        self.run_watched(|_, _| {})
    }

    /// Runs the job; `on_line` may cancel it. Whatever happens, nothing may be left.
    fn run_watched(&self, mut on_line: impl FnMut(&watch::Sender<Cancel>, Line)) -> Finished {
        let (sender, mut cancel) = watch::channel(Cancel::No);
        let mut on_line = |line| on_line(&sender, line);
        let finished = run(&self.launch, &mut cancel, &mut on_line);
        assert_eq!(self.survivors(), Vec::<PathBuf>::new());
        finished
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn survivors(&self) -> Vec<PathBuf> {
        marked(self.folder.path())
    }
}

/// This machine, with the rosetta of this build as its shims.
fn here() -> Local {
    Local::with(env!("CARGO_BIN_EXE_rosetta"))
}

fn run(
    launch: &Launch,
    cancel: &mut watch::Receiver<Cancel>,
    on_line: &mut dyn FnMut(Line),
) -> Finished {
    runtime().block_on(here().run(launch, cancel, on_line)).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns the processes whose environment names the job in `folder`.
fn marked(folder: &Path) -> Vec<PathBuf> {
    let entry = format!("{MARK}={}", folder.display()).into_bytes();
    let has_entry = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == entry)
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(has_entry).collect()
}

/// Returns the shim of a job: the parent of those of its processes whose parent is not of the job.
fn shim_of(job: &[PathBuf]) -> i32 {
    let parent = |process: &PathBuf| {
        let stat = fs::read_to_string(process.join("stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned()
    };
    let is_of_the_job = |pid: &String| job.iter().any(|process| process.ends_with(pid));
    job.iter().map(parent).find(|pid| !is_of_the_job(pid)).unwrap().parse().unwrap()
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A tree that does not want to go: it ignores TERM, has a child, one in another session, and a daemon with a child.
const TREE: &str = r#"
    trap '' TERM HUP INT
    sleep 1000 &
    setsid sleep 1000 &
    (setsid sh -c 'sleep 1000 & echo >daemon; sleep 1000' &)
    until [ -e daemon ]; do sleep 0.01; done
    echo "$hello"
    echo >ready
    sleep 1000
    sleep 1000
"#;

#[test]
fn a_good_job_is_measured_and_stored() {
    let job = script(r#"echo "$hello"; echo warn me >&2; echo "$end""#);
    let mut events = Vec::new();
    let finished = job.run_watched(|_, line| match line {
        Line::Event(event) => events.push(event),
        other => panic!("{other:?}"),
    });
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!((finished.lines.events, finished.lines.lost), (2, 0));
    assert!(matches!(events[0].event, Event::Hello { .. }));
    assert_eq!(events[1].event, Event::End {});
    let stored: Vec<Line> =
        job.read("events.jsonl").lines().map(|line| parse(line.as_bytes())).collect();
    assert_eq!(stored, events.into_iter().map(Line::Event).collect::<Vec<_>>());
    assert_eq!(job.read("stderr.log"), "warn me\n");
    assert_eq!(finished.last_words, ["warn me"]);
    assert!(finished.first_event.unwrap() <= finished.wall + Duration::from_millis(500));
    assert!(finished.started > Duration::ZERO && finished.wall > Duration::ZERO);
    assert!(finished.cpu_seconds > 0.0 && finished.peak_rss_bytes >= finished.max_rss_bytes);
    assert!(finished.max_rss_bytes > 100_000 && finished.samples >= 1);
    assert_eq!((finished.left_behind, finished.truncated_tail), (0, false));
    assert!(job.read("done.json").contains("\"code\": 0"));
}

#[test]
fn the_job_sees_its_own_world_and_no_other() {
    let job = script("env >&2; pwd >&2; grep SigBlk /proc/self/status >&2; wc -c");
    let finished = job.run();
    assert_eq!(finished.exit, Exit::Code(0));
    let log = job.read("stderr.log");
    let folder = job.folder.path().canonicalize().unwrap();
    assert!(log.contains(&format!("PWD={}", folder.display())));
    assert!(!log.contains("CARGO"), "{log}");
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    assert_eq!(job.read("chatter.log").trim(), "0");
}

#[test]
fn exit_codes_and_signals_are_told() {
    assert_eq!(script("exit 3").run().exit, Exit::Code(3));
    assert_eq!(script("kill -SEGV $$").run().exit, Exit::Signal(libc::SIGSEGV));
    assert_eq!(script("kill -KILL $$").run().exit, Exit::Signal(libc::SIGKILL));
    assert_eq!(script("kill -TERM $$").run().exit, Exit::Signal(libc::SIGTERM));
}

#[test]
fn what_cannot_start_says_why() {
    type Change = fn(&mut Launch);
    let cases: [(Change, &str); 2] = [
        (|launch| launch.program = "/no/such".into(), "cannot start `/no/such`"),
        (|launch| launch.folder = "/no/such".into(), "in `/no/such`"),
    ];
    for (change, expected) in cases {
        let mut job = script("exit 0");
        change(&mut job.launch);
        match job.run().exit {
            Exit::CannotStart(reason) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn timeout_kills_the_whole_tree() {
    let mut job = script(TREE);
    job.launch.timeout = Duration::from_secs(2);
    job.launch.grace = Duration::from_millis(300);
    let finished = job.run();
    assert_eq!(finished.exit, Exit::TimedOut);
    assert!(finished.wall >= Duration::from_millis(2300));
    assert!(finished.wall < Duration::from_secs(20), "{:?}", finished.wall);
    assert_eq!(finished.lines.events, 1);
    assert!(finished.processes_seen >= 5, "{}", finished.processes_seen);
}

#[test]
fn cancel_gives_the_grace_and_then_kills() {
    let mut job = script(TREE);
    job.launch.grace = Duration::from_millis(500);
    let mut asked = None;
    let finished = job.run_watched(|cancel, _| {
        asked = Some(Instant::now());
        cancel.send_replace(Cancel::Gracefully);
    });
    assert_eq!(finished.exit, Exit::Cancelled);
    let took = asked.unwrap().elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn cancel_lets_a_willing_job_say_goodbye() {
    let job =
        script(r#"trap 'echo bye >&2; exit 0' TERM; echo "$hello"; while :; do sleep 0.01; done"#);
    let finished = job.run_watched(|cancel, _| {
        cancel.send_replace(Cancel::Gracefully);
    });
    assert_eq!(finished.exit, Exit::Cancelled);
    assert!(job.read("stderr.log").ends_with("bye\n"));
}

#[test]
fn cancel_now_does_not_wait() {
    let finished = script(TREE).run_watched(|cancel, _| {
        cancel.send_replace(Cancel::Now);
    });
    assert_eq!(finished.exit, Exit::Cancelled);
    assert!(finished.wall < Duration::from_secs(30));
}

#[test]
fn cancel_before_the_start_is_heard() {
    for how in [Cancel::Gracefully, Cancel::Now] {
        let job = script("sleep 1000");
        let (sender, mut cancel) = watch::channel(Cancel::No);
        sender.send_replace(how);
        let finished = run(&job.launch, &mut cancel, &mut |_| {});
        assert_eq!(finished.exit, Exit::Cancelled);
        assert!(job.survivors().is_empty());
    }
}

#[test]
fn a_job_that_says_nothing_is_stalled() {
    let mut job = script(r#"echo "$hello"; sleep 0.3; echo log >&2; sleep 1000"#);
    job.launch.stall_timeout = Some(Duration::from_secs(2));
    let finished = job.run();
    assert_eq!(finished.exit, Exit::Stalled);
    assert!(finished.wall >= Duration::from_millis(2300), "{:?}", finished.wall);
}

#[test]
fn a_shim_that_is_stopped_does_not_hold_its_job() {
    let mut job = script(r#"echo "$hello"; kill -STOP $PPID; sleep 1000"#);
    job.launch.timeout = Duration::from_millis(300);
    job.launch.grace = Duration::from_millis(100);
    let begin = Instant::now();
    let finished = job.run();
    assert!(matches!(finished.exit, Exit::Lost(_)), "{:?}", finished.exit);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_held_pipe_does_not_delay_the_end() {
    let job = script(r#"echo "$hello"; sleep 1000 & setsid sleep 1000 & exit 0"#);
    let begin = Instant::now();
    let finished = job.run();
    assert_eq!((finished.exit, finished.left_behind), (Exit::Code(0), 2));
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn who_leaves_soon_is_not_left_behind() {
    let finished = script("sleep 0.01 & exit 0").run();
    assert_eq!((finished.exit, finished.left_behind), (Exit::Code(0), 0));
}

#[test]
fn a_job_above_its_memory_is_killed() {
    // tail keeps what has no line end: 200 MB, in a process that is not the first.
    let mut job = script("(head -c 200000000 /dev/zero; sleep 1000) | tail -n 1 >/dev/null");
    job.launch.memory_limit_bytes = Some(100 << 20);
    let finished = job.run();
    assert_eq!(finished.exit, Exit::OutOfMemory);
    assert!(finished.peak_rss_bytes > 100 << 20);
}

#[test]
fn memory_and_time_are_of_the_whole_tree() {
    let burn = "(head -c 60000000 /dev/zero; until [ -e stop ]; do sleep 0.01; done) | tail -n 1 | wc -c &";
    let job = script(&format!("{burn} {burn} sleep 3; echo >stop; wait"));
    let finished = job.run();
    assert_eq!(finished.exit, Exit::Code(0));
    assert!((50 << 20..200 << 20).contains(&finished.max_rss_bytes), "{}", finished.max_rss_bytes);
    assert!(finished.peak_rss_bytes > 100 << 20, "{}", finished.peak_rss_bytes);
    assert!(finished.samples >= 4 && finished.threads_seen >= finished.processes_seen);
}

#[test]
fn the_cpus_are_enforced() {
    let mut job = script("grep Cpus_allowed_list /proc/self/status >&2");
    job.launch.cpus = Some(1);
    let finished = job.run();
    let first = *finished.cpus_allowed.first().unwrap();
    assert_eq!(job.read("stderr.log"), format!("Cpus_allowed_list:\t{first}\n"));
    assert_eq!(finished.cpus_allowed, [first].into());
}

#[test]
fn more_cpus_than_there_are_means_all() {
    let mut job = script("exit 0");
    let all = job.run().cpus_allowed;
    job.launch.cpus = Some(1_000_000);
    assert_eq!(job.run().cpus_allowed, all);
}

#[test]
fn the_place_where_it_ran_is_told() {
    let job = script("exit 0");
    let finished = job.run();
    let machine = finished.machine.unwrap();
    assert!(machine.cores > 0 && !machine.host.is_empty() && !machine.kernel.is_empty());
    let done = Done::read(job.folder.path()).unwrap().unwrap();
    assert_eq!(done.machine.as_ref(), Some(&machine));
    assert!(done.environment.contains_key("PATH") && done.environment.contains_key(MARK));
}

#[test]
fn what_is_not_measured_is_not_looked_at() {
    let mut job = script("exit 0");
    job.launch.is_measured = false;
    let finished = job.run();
    assert_eq!((finished.machine, finished.disturbance, finished.gpu), (None, None, None));
}

#[test]
fn a_job_of_the_cpu_is_not_given_the_gpu() {
    let mut job = script(r#"echo "$CUDA_VISIBLE_DEVICES $JAX_PLATFORMS." >&2"#);
    job.launch.environment = environment(Device::Cpu, 1, &[]);
    let finished = job.run();
    assert_eq!(job.read("stderr.log"), " cpu.\n");
    assert_eq!(finished.gpu, None);
}

#[test]
fn the_gpus_are_watched_where_there_are_some() {
    let mut job = script("sleep 0.5");
    job.launch.device = Device::Cuda;
    let finished = job.run();
    assert_eq!(finished.exit, Exit::Code(0));
    let gpus = finished.machine.unwrap().gpus;
    assert_eq!(finished.gpu.is_some(), !gpus.is_empty());
    assert!(finished.gpu.is_none_or(|usage| usage.own_bytes.is_none()));
}

#[test]
fn a_bad_stream_does_no_harm() {
    let job = script(
        r#"echo "$hello"
        head -c 50000000 /dev/zero | tr '\0' x; echo
        printf '\377\376\n'
        printf '{"v":1,"seq":5,"ev":"phase","t":0,"name":"\377"}\n'
        printf '{"v":1,"seq":1,"ev":"phase","t":0.1,"name":"train"}\r\n'
        echo 'WARNING: deprecated'
        echo '{"v":2,"seq":2,"ev":"end","t":0}'
        echo '{"v":1,"seq":4,"ev":"end","t":0}'
        printf '{"v":1,"seq":5,"ev":"e'"#,
    );
    let mut names = Vec::new();
    let finished = job.run_watched(|_, line| {
        if let Line::Event(event) = line {
            names.push(event.event);
        }
    });
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(names[1..], [Event::Phase { name: "train".into() }, Event::End {}]);
    let lines = &finished.lines;
    assert_eq!((lines.events, lines.chatter, lines.rejected, lines.oversized), (3, 2, 2, 1));
    assert_eq!(lines.lost, 2);
    assert!(finished.truncated_tail);
    assert!(finished.first_rejection.unwrap().starts_with("no JSON"));
    let chatter = job.read("chatter.log");
    assert!(chatter.contains("# a line of 50000000 bytes") && chatter.len() < 3000);
    assert!(chatter.contains("WARNING: deprecated\n# rejected: protocol 2"));
}

#[test]
fn a_flood_arrives_whole() {
    let mut lines = (0..20_000).map(|seq| format!(r#"{{"v":1,"seq":{seq},"ev":"x","t":0}}"#));
    let stream = lines.by_ref().collect::<Vec<_>>().join("\n") + "\n";
    let job = script("cat stream; cat stream >&2");
    fs::write(job.folder.path().join("stream"), &stream).unwrap();
    let finished = job.run();
    assert_eq!((finished.lines.events, finished.lines.lost), (20_000, 0));
    assert_eq!(job.read("stderr.log"), stream);
}

#[test]
fn a_job_that_nobody_waits_for_is_ended() {
    let job = script(TREE);
    let (_sender, mut cancel) = watch::channel(Cancel::No);
    let ready = tokio::sync::Notify::new();
    let place = here();
    let mut on_line = |_| ready.notify_one();
    runtime().block_on(async {
        tokio::select! {
            finished = place.run(&job.launch, &mut cancel, &mut on_line) => panic!("{finished:?}"),
            () = ready.notified() => {}
        }
    });
    wait_for("the end of the tree", || job.survivors().is_empty());
}

#[test]
fn a_killed_shim_leaves_nothing_and_is_told() {
    let job = script(TREE);
    let finished = job.run_watched(|_, _| kill(shim_of(&job.survivors())));
    assert!(matches!(&finished.exit, Exit::Lost(why) if why.contains("signal: 9")), "{finished:?}");
    assert_eq!((finished.machine, finished.gpu, finished.disturbance), (None, None, None));
    assert!(finished.wall > Duration::ZERO && finished.lines.events == 1);
}

#[test]
fn a_shim_serves_one_job_after_another() {
    let shim = |job: Fixture| {
        job.run();
        job.read("shim").trim().parse::<i32>().unwrap()
    };
    let good = || script(r#"echo "$hello"; echo $PPID >shim"#);
    let first = shim(good());
    assert_eq!((shim(script("echo $PPID >shim; exit 3")), shim(good())), (first, first));
    // Whatever killed it while it had no job: the next job has another.
    kill(first);
    let stat = || fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    wait_for("its end", || stat().contains(") Z "));
    let second = shim(good());
    assert_ne!(first, second);
    // One that was told to end a job serves no more.
    let job = script(r#"echo $PPID >shim; echo "$hello"; sleep 1000"#);
    let finished = job.run_watched(|sender, _| sender.send_modify(|how| *how = Cancel::Gracefully));
    assert_eq!(finished.exit, Exit::Cancelled);
    assert_eq!(job.read("shim").trim(), second.to_string());
    assert_ne!(shim(good()), second);
}

#[test]
fn a_shim_ends_with_the_thread_whose_jobs_it_served() {
    let shim = std::thread::spawn(|| {
        let job = script("echo $PPID >shim");
        job.run();
        job.read("shim").trim().to_owned()
    });
    let shim = Path::new("/proc").join(shim.join().unwrap());
    assert!(!shim.exists(), "{}", shim.display());
}

#[test]
fn what_an_earlier_job_used_is_not_counted_again() {
    let large = script("dd if=/dev/zero of=/dev/null bs=200M count=2").run();
    let small = script("true").run();
    assert!(large.max_rss_bytes > 190 << 20, "{large:?}");
    assert!(small.max_rss_bytes < 50 << 20 && small.peak_rss_bytes < 50 << 20, "{small:?}");
    assert!(small.cpu_seconds < large.cpu_seconds, "{small:?} {large:?}");
}

#[test]
fn a_killed_rosetta_leaves_nothing() {
    let job = script(TREE);
    let path = job.folder.path();
    fs::write(path.join("played.json"), serde_json::to_vec(&job.launch).unwrap()).unwrap();
    let mut rosetta = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_rosetta_for_another_test"])
        .env("ROSETTA_TEST_PLAY", path.join("played.json"))
        .spawn()
        .unwrap();
    wait_for("the tree", || path.join("ready").exists());
    assert!(job.survivors().len() >= 5);
    rosetta.kill().unwrap();
    rosetta.wait().unwrap();
    wait_for("the end of the tree", || job.survivors().is_empty());
    wait_for("the shim's word", || path.join("done.json").exists());
    assert!(job.read("done.json").contains("cancelled"));
}

/// Not a test of its own: a process that is rosetta and is killed by the test above.
#[test]
fn plays_rosetta_for_another_test() {
    let Some(path) = std::env::var_os("ROSETTA_TEST_PLAY") else { return };
    let launch: Launch = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (_sender, mut cancel) = watch::channel(Cancel::No);
    run(&launch, &mut cancel, &mut |_| {});
}

#[test]
fn golden_streams_are_read_without_rejects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut streams = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        streams += 1;
        for (index, line) in fs::read(&path).unwrap().split(|byte| *byte == b'\n').enumerate() {
            match parse(line) {
                Line::Event(event) => {
                    assert_eq!(event.seq, index as u64, "{}", path.display());
                    assert!(!matches!(event.event, Event::Unknown { .. }), "{event:?}");
                }
                other => assert!(line.is_empty(), "{}: {other:?}", path.display()),
            }
        }
    }
    assert!(streams > 0);
}

fn kill(pid: i32) {
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
