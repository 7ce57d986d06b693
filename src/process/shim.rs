//! The shim of a job, `rosetta __job ORDER`: starts one process, watches it, measures it, and leaves nothing behind. On
//! rosetta's own machine it is `rosetta __job`, which does so for one job after another.
//!
//! Must not depend on what the process says: its standard output and error pass it by. It works alike below rosetta and
//! in a Slurm task, and says how the job ended in `done.json`.
//!
//! Decision: a process of its own for each job instead of process groups alone. A group loses whoever calls setsid, and a
//! rosetta that was killed can sweep nothing. The shim is a subreaper: every orphan of the job becomes its child, so that
//! "no children left" is exactly "nothing left". It is told to end by a signal: TERM asks the job to stop and waits for
//! the grace, USR1 kills at once, and HUP comes from the kernel when rosetta has died and kills at once too.
//!
//! Decision: a shim that has ended a job as it should, with nothing left of it, waits for the next. To start this program
//! anew costs more than all else that a shim does. One that was told to end, that could not say how a job ended, that has
//! a child left or had to do with a GPU's driver serves no more.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::done::{Done, Exit};
use super::environment::is_secret;
use super::handover::{Handover, take_over};
use super::kernel::{self, Reaped, Signal, Signals};
use super::order::Order;
use super::site::Site;
use super::tree::{Sample, Tree};
use super::watch::Watch;
use crate::catalog::Device;
use crate::mask::{MASK, is_harmless};

/// The word that makes a rosetta a shim; not a subcommand, for nobody types it.
pub const SHIM: &str = "__job";
/// The variable by which a job's processes are known when its shim is gone.
pub const TAG: &str = "ROSETTA_TREE";
/// How long a machine may seem to sleep: its two clocks are read one after the other.
const ASLEEP_SECONDS: f64 = 0.1;

/// Runs the job that `order` describes. Succeeds if it could say how the job ended, however that was.
pub fn shim_main(order: &Path) -> ExitCode {
    // Signals wait from here on: a request to stop must not fall between two lines of this file.
    let signals = Signals::block();
    code(obey(order, &signals).map(|_| ()))
}

/// Runs the jobs that come over standard input, a socket, and says the end of each by a byte on standard output. Returns when
/// the socket is closed, or after a job behind which it cannot wait for another: then how that ended is in the exit code.
pub fn serve() -> ExitCode {
    let signals = Signals::block();
    code(serve_all(&signals))
}

/// Says what went wrong, if something did.
fn code(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::hint::report(&error);
            ExitCode::from(2)
        }
    }
}

fn serve_all(signals: &Signals) -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut ends = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    write_to(nowhere.as_fd(), nowhere.as_fd())?;
    loop {
        signals.let_pass_until_readable(&socket);
        let Some(Handover { order, stdout, stderr }) = take_over(&socket)? else { return Ok(()) };
        write_to(stdout.as_fd(), stderr.as_fd())?;
        drop((stdout, stderr));
        let device = obey(&order, signals)?;
        if device == Device::Cuda || kernel::reap_any() != Reaped::NobodyLeft {
            return Ok(());
        }
        write_to(nowhere.as_fd(), nowhere.as_fd())?;
        ends.write_all(&[0])?;
    }
}

/// Makes these this process' standard output and error, which a job inherits.
fn write_to(stdout: BorrowedFd, stderr: BorrowedFd) -> Result<()> {
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    Ok(())
}

/// Returns the device of the job.
fn obey(order: &Path, signals: &Signals) -> Result<Device> {
    let order = Order::read(order)?;
    follow_parent(order.parent)?;
    if order.follows_input {
        follow_input()?;
    }
    let launch = &order.launch;
    let environment = launch.environment.here();
    let site = Site::look(launch, order.machine.clone());
    let mut done = run(&order, &environment, signals).unwrap_or_else(cannot_start);
    site.tell(launch, &mut done);
    done.environment = shown(environment);
    done.write(&launch.job_folder)?;
    Ok(launch.device)
}

/// Returns variables as whoever reads about the job may see them.
fn shown(mut environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (name, value) in &mut environment {
        if is_secret(name) || !is_harmless(value) {
            MASK.clone_into(value);
        }
    }
    environment
}

/// Makes the kernel send HUP when the parent dies, and orphans of the job come here.
fn follow_parent(parent: Option<i32>) -> Result<()> {
    kernel::become_subreaper().context("cannot become a subreaper")?;
    kernel::follow_parent(Signal::HUP).context("cannot follow the parent's death")?;
    if parent.is_some_and(|expected| expected != kernel::parent_pid()) {
        bail!("rosetta was gone before the job began");
    }
    Ok(())
}

/// Ends the job when standard input does: whoever holds its other end, a client of a container's engine or the rosetta
/// that has started it, is gone then, even if it was killed.
fn follow_input() -> Result<()> {
    let watch = || {
        // What comes is meant for nobody, and an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        kernel::send(kernel::own_pid(), Signal::HUP);
    };
    let thread = std::thread::Builder::new().name("input".to_owned()).spawn(watch);
    thread.map(|_| ()).context("cannot follow the end of standard input")
}

fn cannot_start(why: anyhow::Error) -> Done {
    Done::without_process(Exit::CannotStart(format!("{why:#}")))
}

fn run(order: &Order, environment: &BTreeMap<String, String>, signals: &Signals) -> Result<Done> {
    let tree = Tree::before_first_child();
    let started = kernel::monotonic_seconds();
    let (begin, asleep) = (Instant::now(), kernel::seconds_asleep());
    let cpus = order.launch.cpus_here();
    let before = kernel::usage_of_children();
    let child = spawn(order, environment, cpus.as_deref())?;
    let mut watch = Watch::new(&order.launch, signals, tree, child, begin);
    let status = watch.until_end();
    let wall = begin.elapsed();
    let left_behind = watch.sweep();
    let usage = kernel::usage_of_children().since(before);
    let asleep = kernel::seconds_asleep() - asleep;
    Ok(Done {
        disturbance: disturbance(&watch.peak, asleep, cpus.as_deref()),
        started,
        wall_seconds: wall.as_secs_f64(),
        user_seconds: usage.user_seconds,
        system_seconds: usage.system_seconds,
        max_rss_bytes: watch.largest.0,
        peak_rss_bytes: watch.peak.rss_bytes.max(watch.largest.0),
        samples: watch.samples,
        threads_seen: watch.peak.threads,
        processes_seen: watch.peak.processes,
        cpus_allowed: watch.peak.cpus,
        left_behind,
        ..Done::without_process(watch.stop.unwrap_or_else(|| exit(status)))
    })
}

/// Returns what disturbed a job, as far as it shows in its own processes.
fn disturbance(peak: &Sample, asleep: f64, kept_to: Option<&[usize]>) -> Option<String> {
    let is_kept = |cpu: &usize| kept_to.is_none_or(|cpus| cpus.contains(cpu));
    if asleep > ASLEEP_SECONDS {
        Some(format!("the machine slept for {asleep:.1} s"))
    } else if peak.is_stopped {
        Some("a process of it was stopped for a time".to_owned())
    } else if !peak.cpus.iter().all(is_kept) {
        let (allowed, kept) = (peak.cpus.len(), kept_to.unwrap_or_default().len());
        Some(format!("its threads could use {allowed} CPUs instead of {kept}"))
    } else {
        None
    }
}

/// Says how a process ended that nobody here stopped.
fn exit(status: ExitStatus) -> Exit {
    match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or(0)),
    }
}

fn spawn(
    order: &Order,
    environment: &BTreeMap<String, String>,
    cpus: Option<&[usize]>,
) -> Result<i32> {
    let launch = &order.launch;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(environment)
        .env(TAG, &order.tag)
        .current_dir(&launch.folder)
        .stdin(Stdio::null());
    kernel::spawn(&mut command, cpus).with_context(|| {
        format!("cannot start `{}` in `{}`", launch.program.display(), launch.folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disturbs_a_job_shows_in_its_processes() {
        let peak = |is_stopped, cpus: &[usize]| Sample {
            is_stopped,
            cpus: cpus.iter().copied().collect(),
            ..Sample::default()
        };
        let cases = [
            (peak(false, &[2, 3]), 0.01, None),
            (peak(false, &[2, 3]), 5.0, Some("the machine slept for 5.0 s")),
            (peak(true, &[2, 3]), 0.0, Some("a process of it was stopped for a time")),
            (peak(false, &[1, 2, 3]), 0.0, Some("its threads could use 3 CPUs instead of 2")),
        ];
        for (peak, asleep, expected) in cases {
            assert_eq!(disturbance(&peak, asleep, Some(&[2, 3])).as_deref(), expected);
        }
        assert_eq!(disturbance(&peak(false, &[9]), 0.0, None), None);
    }
}
