//! How many events a second rosetta takes in: read, split, parse, store. Run it with `cargo bench --bench intake`.
//!
//! The writer is a process of its own, this program again, and a job as any other. Where two builds are compared, both must
//! read from one writer, for it takes as long as the reader: `WRITER=/path/to/the/other/intake`.

use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rosetta::catalog::Device;
use rosetta::event::{Line, parse};
use rosetta::launch::{Launcher, Local};
use rosetta::process::{Cancel, Environment, Exit, Launch};
use tokio::sync::watch;

const EVENT_BYTES: usize = 206;
const BLOCK_BYTES: usize = 64 << 10;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "write", block, events] => write(block.parse().unwrap(), events.parse().unwrap()),
        _ => measure(),
    }
}

fn measure() {
    parse_alone(1_000_000);
    // A job may send 64 MiB.
    take_in("blocks of 64 KiB", BLOCK_BYTES, 300_000);
    take_in("each event flushed", 0, 200_000);
}

fn parse_alone(events: u64) {
    let lines: Vec<String> = (0..1000).map(event).collect();
    let (begin, before) = (Instant::now(), cpu_seconds());
    for index in 0..events {
        let line = parse(black_box(lines[index as usize % lines.len()].as_bytes()));
        assert!(matches!(black_box(line), Line::Event(_)));
    }
    report("parse alone", events, begin.elapsed(), cpu_seconds() - before);
}

fn take_in(what: &str, block: usize, events: u64) {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), block, events);
    let (_sender, mut cancel) = watch::channel(Cancel::No);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = 0;
    let begin = Instant::now();
    let before = cpu_seconds();
    let place = Local::with(env!("CARGO_BIN_EXE_rosetta"));
    let mut on_line = |line| seen += u64::from(matches!(line, Line::Event(_)));
    let finished = runtime.block_on(place.run(&launch, &mut cancel, &mut on_line)).unwrap();
    assert_eq!((finished.exit, seen, finished.lines.lost), (Exit::Code(0), events, 0));
    report(what, events, begin.elapsed(), cpu_seconds() - before);
}

fn report(what: &str, events: u64, time: Duration, cpu_seconds: f64) {
    let rate = events as f64 / time.as_secs_f64();
    let time = time.as_secs_f64();
    println!("{what:<20} {rate:>10.0} events/s  {time:.2} s, of which {cpu_seconds:.2} s CPU here");
}

fn launch(folder: &Path, block: usize, events: u64) -> Launch {
    Launch {
        program: std::env::var_os("WRITER")
            .map_or_else(|| std::env::current_exe().unwrap(), PathBuf::from),
        args: vec!["write".into(), block.to_string(), events.to_string()],
        environment: Environment::default(),
        folder: folder.into(),
        job_folder: folder.into(),
        timeout: Duration::from_secs(600),
        stall_timeout: None,
        grace: Duration::from_secs(1),
        device: Device::Cpu,
        cpus: None,
        memory_limit_bytes: None,
        container: None,
        is_measured: true,
    }
}

fn write(block: usize, events: u64) {
    let mut stdout = BufWriter::with_capacity(block, std::io::stdout().lock());
    // Standard output has a buffer of its own, which looks for line ends: one write a block is what it comes to.
    for seq in 0..events {
        stdout.write_all(event(seq).as_bytes()).unwrap();
    }
    stdout.flush().unwrap();
}

/// Returns a step event of exactly 206 bytes, its line end among them.
fn event(seq: u64) -> String {
    let step = seq % 46_875;
    let mut line = format!(
        r#"{{"v":1,"seq":{seq},"ev":"step","t":{}.125,"epoch":{},"step":{step},"steps":46875,"loss":0.693147{step},"note":""#,
        seq / 100,
        seq / 46_875,
    );
    line.extend(std::iter::repeat_n('x', EVENT_BYTES - 3 - line.len()));
    line + "\"}\n"
}

fn cpu_seconds() -> f64 {
    // SAFETY: the kernel fills the structure, which is valid when all zero too.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
