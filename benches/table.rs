//! How long `rosetta table` takes over 10,000 records: 100 runs of 100 jobs, copies of a real one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const RUNS: usize = 100;
const JOBS: usize = 100;
const REPEATS: usize = 10;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference =
        fs::read_dir(root.join("results/reference/runs")).expect("results/reference/runs is there");
    let run = reference.filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.is_dir());
    let run = run.expect("a reference run is in the repository");
    let lines = fs::read_to_string(run.join("records.jsonl")).expect("it has records");
    let lines = lines.lines().collect::<Vec<_>>();
    let run_json = fs::read_to_string(run.join("run.json")).expect("it has run.json");
    let id = run.file_name().expect("a folder has a name").to_string_lossy().into_owned();

    let results = tempfile::tempdir().expect("a temporary folder can be made");
    let mut bytes = 0;
    for number in 0..RUNS {
        let name = format!("20270101T{number:06}Z-0000");
        let folder = results.path().join("runs").join(&name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join("run.json"), run_json.replace(&id, &name))
            .expect("it can be written");
        let records = (0..JOBS).map(|job| lines[job % lines.len()].replace(&id, &name) + "\n");
        let text = records.collect::<String>();
        bytes += text.len();
        fs::write(folder.join("records.jsonl"), text).expect("it can be written");
    }
    let mut seconds = (0..REPEATS)
        .map(|_| {
            let started = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_rosetta"))
                .env("ROSETTA_HOME", results.path().join("home"))
                .args(["--project".as_ref(), root.as_os_str()])
                .args(["--results".as_ref(), results.path().as_os_str()])
                .args(["table", "--all-machines", "--json"])
                .output()
                .expect("rosetta starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            started.elapsed().as_secs_f64()
        })
        .collect::<Vec<_>>();
    seconds.sort_by(f64::total_cmp);
    let (records, mib) = (RUNS * JOBS, bytes as f64 / f64::from(1 << 20));
    println!(
        "table over {records} records ({mib:.0} MiB): {:.0} ms median, {:.0} to {:.0} ms",
        seconds[REPEATS / 2] * 1e3,
        seconds[0] * 1e3,
        seconds[REPEATS - 1] * 1e3
    );
}
