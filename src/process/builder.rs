//! The shim of a build's program, `rosetta __build PARENT PROGRAM ARGUMENTS…`: when rosetta is gone or asks for the end, the
//! program ends with all that it has started.
//!
//! Must not depend on what is built. Standard input and outputs pass it by, and its end is the program's.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::kernel::{self, Reaped, Signal, Signals};
use super::tree::descendants;

/// The word that makes a rosetta such a shim; not a subcommand, for nobody types it.
pub const BUILDER: &str = "__build";

/// How long a program may take to stop when asked.
const GRACE: Duration = Duration::from_secs(2);

/// Returns the command that runs another one below such a shim.
pub fn guarded(command: &Command) -> Command {
    let mut guarded = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut guarded, "rosetta");
    guarded.arg(BUILDER).arg(kernel::own_pid().to_string());
    guarded.arg(command.get_program()).args(command.get_args());
    // What a build sees is named in full: nothing is inherited.
    guarded.env_clear();
    guarded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        guarded.current_dir(folder);
    }
    guarded
}

/// Runs the program that follows the parent's id, and ends as it does.
pub fn builder_main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    // Signals wait from here on: a request to stop must not fall between two lines of this file.
    let signals = Signals::block();
    match run(&mut words, &signals) {
        Ok(status) => end_as(status),
        Err(error) => {
            crate::hint::report(&error);
            ExitCode::from(127)
        }
    }
}

fn run(words: &mut dyn Iterator<Item = OsString>, signals: &Signals) -> Result<ExitStatus> {
    let parent = words.next().and_then(|word| word.to_str()?.parse::<i32>().ok());
    let program = words.next().ok_or_else(|| anyhow!("no program to run"))?;
    kernel::become_subreaper().context("cannot become a subreaper")?;
    kernel::follow_parent(Signal::HUP).context("cannot follow the parent's death")?;
    if parent.is_some_and(|parent| parent != kernel::parent_pid()) {
        bail!("rosetta was gone before the build began");
    }
    let shown = program.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.args(words);
    let child =
        kernel::spawn(&mut command, None).with_context(|| format!("cannot start `{shown}`"))?;
    let status = wait(child, signals);
    sweep();
    Ok(status)
}

/// Waits for the program; a signal asks it to stop, and it is killed after the grace.
fn wait(child: i32, signals: &Signals) -> ExitStatus {
    let mut kill_at = None;
    loop {
        loop {
            match kernel::reap_any() {
                Reaped::Process(pid, status, _) if pid == child => return status,
                Reaped::Process(..) => {}
                Reaped::NobodyYet | Reaped::NobodyLeft => break,
            }
        }
        if kill_at.is_some_and(|time| Instant::now() >= time) {
            sweep();
        }
        match signals.wait_until(Instant::now() + Duration::from_millis(200)) {
            None | Some(Signal::CHILD) => {}
            Some(_) => {
                kill_at.get_or_insert_with(|| Instant::now() + GRACE);
                kernel::send_to_group(child, Signal::TERM);
            }
        }
    }
}

/// Kills whatever is left below this process.
fn sweep() {
    for pid in descendants(kernel::own_pid()) {
        kernel::send(pid, Signal::KILL);
    }
}

/// Ends as a program did, by the same signal too, so that whoever waits sees no difference.
fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        kernel::end_by(signal);
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
