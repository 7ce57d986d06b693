//! What rosetta and the shim cost beyond the job itself. Run it with `cargo bench --bench own_cost`.

use std::time::{Duration, Instant};

use rosetta::catalog::Device;
use rosetta::launch::{Launcher, Local};
use rosetta::process::{Cancel, Environment, Exit, Launch};
use tokio::sync::watch;

const JOBS: u32 = 200;
const SCRIPT: &str = r#"
echo '{"v":1,"seq":0,"ev":"hello","t":0,"framework":"sh","version":"1","device":"cpu"}'
echo '{"v":1,"seq":1,"ev":"end","t":0}'
"#;

fn main() {
    let begin = Instant::now();
    let before = Cpu::now();
    // A thread of its own: the shim that serves it ends with it, and what that has used is known then.
    let of_jobs = std::thread::spawn(jobs).join().unwrap();
    let after = Cpu::now();
    let per_job = |seconds: f64| seconds * 1e3 / f64::from(JOBS);
    let shims = after.children - before.children - of_jobs;
    println!("{JOBS} jobs, milliseconds a job:");
    println!("  wall            {:6.2}", per_job(begin.elapsed().as_secs_f64()));
    println!("  CPU of the job  {:6.2}", per_job(of_jobs));
    println!("  CPU of rosetta  {:6.2}", per_job(after.this - before.this));
    println!("  CPU of the shim {:6.2}", per_job(shims));
}

/// Runs trivial jobs and returns their own CPU time.
fn jobs() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (0..JOBS).map(|_| runtime.block_on(job())).sum()
}

/// Runs a trivial job and returns its own CPU time.
async fn job() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), SCRIPT.into()],
        environment: Environment::default(),
        folder: folder.path().into(),
        job_folder: folder.path().into(),
        timeout: Duration::from_secs(60),
        stall_timeout: None,
        grace: Duration::from_secs(1),
        device: Device::Cpu,
        cpus: None,
        memory_limit_bytes: None,
        container: None,
        is_measured: true,
    };
    let (_sender, mut cancel) = watch::channel(Cancel::No);
    let place = Local::with(env!("CARGO_BIN_EXE_rosetta"));
    let finished = place.run(&launch, &mut cancel, &mut |_| {}).await.unwrap();
    assert_eq!((finished.exit, finished.lines.events), (Exit::Code(0), 2));
    finished.cpu_seconds
}

struct Cpu {
    this: f64,
    children: f64,
}

impl Cpu {
    fn now() -> Cpu {
        Cpu { this: seconds(libc::RUSAGE_SELF), children: seconds(libc::RUSAGE_CHILDREN) }
    }
}

fn seconds(who: libc::c_int) -> f64 {
    // SAFETY: the kernel fills the structure, which is valid when all zero too.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
