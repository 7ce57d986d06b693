//! How long `rosetta report` takes over 50 frameworks × 4 experiments × 365 nights, made from a real record, without an index
//! and with one, and how large its page is: at most 5 MB. A tenth of the rows changes its level once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use jiff::{ToSpan, civil::date};

const FRAMEWORKS: usize = 50;
const EXPERIMENTS: usize = 4;
const NIGHTS: usize = 365;
const REPEATS: usize = 5;
const MOST_BYTES: u64 = 5_000_000;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference =
        fs::read_dir(root.join("results/reference/runs")).expect("results/reference/runs is there");
    let runs = reference.filter_map(Result::ok).map(|entry| entry.path());
    let read = |run: &Path| fs::read_to_string(run.join("records.jsonl")).expect("it has records");
    // A run that trained, for its records have epochs.
    let run =
        runs.into_iter().find(|run| run.is_dir() && read(run).contains("\"job\":\"cnn.pytorch."));
    let run = run.expect("a reference run with the cnn is in the repository");
    let text = read(&run);
    let line = text.lines().find(|line| line.contains("\"job\":\"cnn.pytorch."));
    let line = line.expect("the run has that record");
    let run_json = fs::read_to_string(run.join("run.json")).expect("it has run.json");
    let id = run.file_name().expect("a folder has a name").to_string_lossy().into_owned();
    let record: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    let started = record["started"].as_str().expect("it began").to_owned();
    let begun: serde_json::Value = serde_json::from_str(&run_json).expect("it is JSON");
    let begun = begun["started"].as_str().expect("it began").to_owned();
    let training = record["times"]["training"].to_string();

    let results = tempfile::tempdir().expect("a temporary folder can be made");
    let mut bytes = 0;
    for night in 0..NIGHTS {
        let day = date(2025, 1, 1).checked_add((night as i64).days()).expect("a day of two years");
        let name = format!("{}T000000Z-0000", day.strftime("%Y%m%d"));
        let folder = results.path().join("runs").join(&name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        let night_json = run_json.replace(&id, &name).replace(&begun, &format!("{day}T00:00:00Z"));
        fs::write(folder.join("run.json"), night_json).expect("it can be written");
        let mut text = String::new();
        for job in 0..FRAMEWORKS * EXPERIMENTS {
            let (framework, experiment) = (job % FRAMEWORKS, job / FRAMEWORKS);
            let seconds = 10.0 + framework as f64 + ((night * 7 + job) % 13) as f64 / 10.0;
            let is_slower = job % 10 == 0 && night >= NIGHTS / 2;
            let seconds = seconds * if is_slower { 1.3 } else { 1.0 };
            let made = line.replace(&id, &name).replace(&started, &format!("{day}T00:00:00Z"));
            let made = made.replace("\"cnn", &format!("\"made{experiment}"));
            let made = made.replace("pytorch", &format!("framework{framework}"));
            let made =
                made.replace("\"title\":\"PyTorch", &format!("\"title\":\"Framework {framework}"));
            text += &made
                .replace(&format!("\"training\":{training}"), &format!("\"training\":{seconds}"));
            text += "\n";
        }
        bytes += text.len();
        fs::write(folder.join("records.jsonl"), text).expect("it can be written");
    }
    let page = results.path().join("report.html");
    // An index is kept of files that have not been written just now.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut both = (0..=REPEATS)
        .map(|_| {
            let (started, before) = (Instant::now(), cpu_seconds());
            let output = Command::new(env!("CARGO_BIN_EXE_rosetta"))
                .env("ROSETTA_HOME", results.path().join("home"))
                .args(["--project".as_ref(), root.as_os_str()])
                .args(["--results".as_ref(), results.path().as_os_str()])
                .args(["report", "--all-machines", "--out"])
                .arg(&page)
                .output()
                .expect("rosetta starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            (cpu_seconds() - before, started.elapsed().as_secs_f64())
        })
        .collect::<Vec<_>>();
    let (first_cpu, first_wall) = both.remove(0);
    let (mut cpu, mut wall): (Vec<_>, Vec<_>) = both.into_iter().unzip();
    cpu.sort_by(f64::total_cmp);
    wall.sort_by(f64::total_cmp);
    let size = fs::metadata(&page).expect("the page is written").len();
    let text = fs::read_to_string(&page).expect("it is text");
    let shown = text.matches("in 365 points").count();
    assert_eq!(shown, FRAMEWORKS * EXPERIMENTS, "each row has its nights");
    let changed = text.matches("; since 2025-07-0").count();
    assert_eq!(changed, FRAMEWORKS * EXPERIMENTS / 10, "each change is found");
    println!(
        "report over {} records ({:.0} MiB): CPU {:.2} s median, {:.2} to {:.2} s, {:.2} s without an index; \
         wall {:.2} s median, {:.2} to {:.2} s, {:.2} s without an index; {:.2} MB",
        FRAMEWORKS * EXPERIMENTS * NIGHTS,
        bytes as f64 / f64::from(1 << 20),
        cpu[REPEATS / 2],
        cpu[0],
        cpu[REPEATS - 1],
        first_cpu,
        wall[REPEATS / 2],
        wall[0],
        wall[REPEATS - 1],
        first_wall,
        size as f64 / 1e6
    );
    assert!(size <= MOST_BYTES, "the page has {size} bytes");
    if let Some(kept) = std::env::var_os("KEEP_REPORT") {
        fs::copy(&page, kept).expect("it can be copied");
    }
}

/// Returns the processor time of all children that have ended: of a report, beside other work on the machine.
fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills the struct that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
