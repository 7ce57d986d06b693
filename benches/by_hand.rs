//! Whether a harness under rosetta is as fast as by hand. Run it with `cargo bench --bench by_hand`, and with
//! `-- ROUNDS` for more rounds than usual.
//!
//! A round runs one real harness three times: under rosetta's machinery (shim, intake, samples of its processes), by
//! hand, with its output going to a file, and by hand again: the control, which shows how far two runs differ that
//! differ in nothing. Every six rounds see each order once, so that neither a drift of the machine nor a place in the round
//! favours one. What is compared is what a table would show: the time of the harness' epochs by its own clock.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rosetta::catalog::Device;
use rosetta::event::{Event, Line, parse};
use rosetta::launch::{Launcher, Local};
use rosetta::process::{Cancel, Exit, Launch};
use rosetta::stats::{median, summarise};
use serde_json::json;
use tokio::sync::watch;

const ROUNDS: usize = 24;

/// Logistic regression in plain Python, which any machine has: about half a second, with the events of any harness.
const HARNESS: &str = r#"
import math
import platform
import random

import rosetta

run = rosetta.start("Python", platform.python_version())
cfg, rng = run.config, random.Random(run.config.seed)
run.phase("build")
rows = [[rng.random() - 0.5 for _ in range(50)] for _ in range(6400)]
labels = [float(sum(x[:5]) > 0) for x in rows]
w = [0.0] * 50
run.phase("train")
for epoch in run.epochs():
    for first in range(0, len(rows), cfg.batch_size):
        batch = range(first, first + cfg.batch_size)
        gradient, loss = [0.0] * len(w), 0.0
        for row in batch:
            x, y = rows[row], labels[row]
            p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(x, w))))
            loss -= math.log(p if y else 1 - p) / len(batch)
            gradient = [g + (p - y) * a for g, a in zip(gradient, x)]
        w = [a - cfg.learning_rate * g / len(batch) for a, g in zip(w, gradient)]
        run.step(loss)
    run.epoch_end(epoch, loss)
"#;

#[derive(Clone, Copy)]
enum How {
    UnderRosetta,
    ByHand,
    Control,
}

const ORDERS: [[How; 3]; 6] = [
    [How::UnderRosetta, How::ByHand, How::Control],
    [How::Control, How::ByHand, How::UnderRosetta],
    [How::ByHand, How::Control, How::UnderRosetta],
    [How::UnderRosetta, How::Control, How::ByHand],
    [How::Control, How::UnderRosetta, How::ByHand],
    [How::ByHand, How::UnderRosetta, How::Control],
];

fn main() {
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let Some(python) = python() else {
        println!("skipped: there is no `python3` on PATH");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(&python, folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seconds = [vec![], vec![], vec![]];
    // The first time, Python compiles and the disk is read: that run is not counted.
    by_hand(&launch);
    for round in 0..rounds {
        for how in ORDERS[round % ORDERS.len()] {
            seconds[how as usize].push(match how {
                How::UnderRosetta => runtime.block_on(under_rosetta(&launch)),
                How::ByHand | How::Control => by_hand(&launch),
            });
        }
    }
    report(&seconds);
}

fn report(seconds: &[Vec<f64>; 3]) {
    let milliseconds = seconds.each_ref().map(|times| median(&mut times.clone()).unwrap() * 1e3);
    let [under_rosetta, by_hand, control] = milliseconds;
    println!("{} rounds, median milliseconds of the harness' epochs:", seconds[0].len());
    println!("  under rosetta   {under_rosetta:7.2}");
    println!("  by hand         {by_hand:7.2}");
    println!("  by hand again   {control:7.2}");
    println!("ratio of the medians; median of the rounds' ratios with its 95 % interval:");
    for (what, how) in [("rosetta / hand", How::UnderRosetta), ("hand / hand", How::Control)] {
        let pairs = seconds[how as usize].iter().zip(&seconds[How::ByHand as usize]);
        let ratios = pairs.map(|(one, other)| one / other).collect::<Vec<_>>();
        let of_medians = milliseconds[how as usize] / by_hand;
        let paired = summarise(&ratios).unwrap();
        let (low, high) = paired.interval.unwrap_or((f64::NAN, f64::NAN));
        println!("  {what:<15} {of_medians:.4}; {:.4} ({low:.4} to {high:.4})", paired.median);
    }
}

async fn under_rosetta(launch: &Launch) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch { job_folder: folder.path().into(), ..launch.clone() };
    let (_sender, mut cancel) = watch::channel(Cancel::No);
    let mut events = 0;
    let place = Local::with(env!("CARGO_BIN_EXE_rosetta"));
    let mut on_line = |line| events += u64::from(is_event(&line));
    let finished = place.run(&launch, &mut cancel, &mut on_line).await.unwrap();
    assert_eq!(
        (finished.exit, finished.lines.lost),
        (Exit::Code(0), 0),
        "{:?}",
        finished.last_words
    );
    assert!(events > 0);
    epoch_seconds(&folder.path().join("events.jsonl"))
}

fn is_event(line: &Line) -> bool {
    matches!(line, Line::Event(_))
}

/// Runs the same program on the same CPUs in the same environment, as a person would in a shell script.
fn by_hand(launch: &Launch) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.jsonl");
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .current_dir(&launch.folder)
        .env_clear()
        .envs(launch.environment.here());
    // The shim adds this variable; where a stack begins depends on the length of them all.
    command.env("ROSETTA_TREE", "12345-12345.678901234");
    command.stdin(Stdio::null()).stdout(File::create(&events).unwrap());
    command.stderr(File::create(folder.path().join("stderr.log")).unwrap());
    let cpus = first_cpu();
    // SAFETY: the closure makes one system call; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            match libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    assert!(command.status().unwrap().success());
    epoch_seconds(&events)
}

/// Returns the first CPU that this process may use, to which the shim keeps a job of one thread.
fn first_cpu() -> libc::cpu_set_t {
    // SAFETY: an empty set is all zero, the kernel writes at most its size, and the index is below that.
    unsafe {
        let (mut allowed, mut set): (libc::cpu_set_t, libc::cpu_set_t) = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed);
        let cpus = 0..libc::CPU_SETSIZE as usize;
        let first = cpus.into_iter().find(|cpu| libc::CPU_ISSET(*cpu, &allowed));
        libc::CPU_SET(first.unwrap_or(0), &mut set);
        set
    }
}

/// Returns the sum of the epochs' times as the harness measured them.
fn epoch_seconds(events: &Path) -> f64 {
    let text = fs::read_to_string(events).unwrap();
    let lines = text.lines().map(|line| parse(line.as_bytes()));
    let events = lines.filter_map(|line| match line {
        Line::Event(stamped) => Some(stamped.event),
        _ => None,
    });
    let events = events.collect::<Vec<_>>();
    assert!(matches!(events.last(), Some(Event::End {})), "the harness did not finish");
    let seconds = |event: &Event| match event {
        Event::Epoch { seconds, .. } => *seconds,
        _ => 0.0,
    };
    events.iter().map(seconds).sum()
}

fn launch(python: &Path, folder: &Path) -> Launch {
    let harness = folder.join("harness.py");
    fs::write(&harness, HARNESS).unwrap();
    let job = folder.join("job.json");
    fs::write(&job, job_file(folder).to_string()).unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("harnesses/sdk/python");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let environment = [
        ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ("PYTHONPATH".to_owned(), text(&sdk)),
        ("PYTHONHASHSEED".to_owned(), "0".to_owned()),
        ("ROSETTA_JOB".to_owned(), text(&job)),
    ];
    Launch {
        program: python.into(),
        args: vec!["-m".into(), "rosetta".into(), text(&harness)],
        environment: environment.into_iter().collect(),
        folder: folder.into(),
        job_folder: folder.into(),
        timeout: Duration::from_secs(600),
        stall_timeout: None,
        grace: Duration::from_secs(1),
        device: Device::Cpu,
        cpus: Some(1),
        memory_limit_bytes: None,
        container: None,
        is_measured: true,
    }
}

/// Returns a job of about half a second. It says an event each 50 ms: many more, and a busy disk holds up the run by
/// hand, which writes them to a file itself.
fn job_file(folder: &Path) -> serde_json::Value {
    json!({
        "protocol": 1, "job": "by_hand", "experiment": "by_hand", "target": "python", "profile": "quick",
        "device": "cpu", "threads": 1, "seed": 42, "mode": "run", "steps": null, "dtype": "float32",
        "config": {"batch_size": 64, "epochs": 10, "learning_rate": 0.1},
        "arrays": {"x_train": {"path": "", "rows": 6400, "divide_by": null}},
        "weights": {"folder": "", "names": []}, "order": null, "outputs": folder,
    })
}

/// Returns the interpreter itself: `python3` may be a script that looks for one.
fn python() -> Option<std::path::PathBuf> {
    let ask = ["-c", "import sys; print(sys.executable)"];
    let answer = Command::new("python3").args(ask).output().ok()?;
    let path = String::from_utf8(answer.stdout).ok()?;
    answer.status.success().then(|| path.trim().into())
}
