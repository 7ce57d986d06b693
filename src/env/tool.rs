//! Finds and runs programs that builds need: uv, pip, cargo, fix-ups. Keeps what they say in a log.
//!
//! Must not depend on what is built, nor on which environment it is for.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::surroundings::is_seen;
use crate::hint::Hinted;
use crate::home::free_bytes;
use crate::mask::masked;
use crate::probe::{self, Answer};
use crate::process::guarded;
use crate::process::kernel::{Signal, send};
use crate::progress::{Progress, Report};

/// Lines of a failed program that its error shows.
const TAIL_LINES: usize = 12;

/// Free bytes below which a disk counts as full.
const FULL: u64 = 1 << 20;

/// Longest part of a line that is shown to a person; the log has the rest.
const SHOWN_CHARS: usize = 240;

/// The variables that rosetta was started with: PATH, HOME and whatever steers pip, uv and cargo.
#[derive(Debug, Clone)]
pub(super) struct Host {
    variables: BTreeMap<OsString, OsString>,
    /// Whether programs of a build run below a shim of rosetta's, and end with it.
    is_rosetta: bool,
}

impl Host {
    pub(super) fn of_this_process() -> Host {
        Host { variables: std::env::vars_os().collect(), is_rosetta: true }
    }

    /// Returns what a container has of its own, of which only PATH matters.
    pub(super) fn inside(path: &str) -> Host {
        let variables = BTreeMap::from([("PATH".into(), path.into())]);
        Host { variables, is_rosetta: true }
    }

    #[cfg(test)]
    pub(super) fn with(variables: &[(&str, &str)]) -> Host {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Host { variables: variables.collect(), is_rosetta: false }
    }

    /// Returns a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name)).map(OsString::as_os_str);
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns the folders on PATH, and behind them those where rustup and uv install: cron's PATH
    /// does not have them.
    pub(super) fn path(&self) -> Vec<PathBuf> {
        let path = self.get("PATH").map(|path| std::env::split_paths(path).collect());
        let mut folders: Vec<PathBuf> = path.unwrap_or_default();
        let home = self.folder("HOME");
        let usual =
            [".cargo/bin", ".local/bin"].map(|bin| home.as_ref().map(|home| home.join(bin)));
        let cargo = self.folder("CARGO_HOME").map(|cargo| cargo.join("bin"));
        for folder in cargo.into_iter().chain(usual.into_iter().flatten()) {
            if folder.is_dir() && !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// Returns a list of folders with what the user's shell has there kept behind.
    pub(super) fn in_front(&self, name: &str, value: String) -> String {
        match self.get(name) {
            Some(behind) => format!("{value}:{}", behind.to_string_lossy()),
            None => value,
        }
    }

    /// Returns the program of that name in one of those folders, or at that path.
    pub(super) fn which(&self, program: impl AsRef<OsStr>) -> Option<PathBuf> {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        which::which_in(program, std::env::join_paths(self.path()).ok(), here).ok()
    }

    /// Returns a command with exactly these variables.
    pub(super) fn command_as_is(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.variables);
        command
    }

    /// Returns a command for a build: it sees where things are and nothing that steers what is built.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        command.envs(self.variables.iter().filter(|(name, _)| is_seen(name)));
        if let Ok(path) = std::env::join_paths(self.path()) {
            command.env("PATH", path);
        }
        command.env("PYTHONNOUSERSITE", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        command.env("UV_PYTHON_DOWNLOADS", "never");
        command
    }

    /// Returns a command that ends with rosetta, and what it starts with it.
    pub(super) fn guarded(&self, command: Command) -> Command {
        if self.is_rosetta { guarded(&command) } else { command }
    }
}

/// Returns a path as a variable or an argument holds it.
pub(super) fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| anyhow!("`{}` is not UTF-8, so no variable can hold it", path.display()))
}

/// What a listener makes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputLine {
    /// For the log, and a sign of progress.
    Shown,
    /// Meant for rosetta alone.
    Swallowed,
}

/// A build under way: its log, who hears of it, and the lock that its programs share.
pub(super) struct Build<'a> {
    pub(super) host: &'a Host,
    pub(super) log_path: PathBuf,
    log: File,
    lock: File,
    pub(super) report: Report<'a>,
}

impl<'a> Build<'a> {
    /// Begins a log. Programs hold `lock` open as their standard input, which is thus empty: if
    /// rosetta is killed, the lock stays taken until the last of them is gone.
    pub(super) fn begin(
        host: &'a Host,
        log_path: PathBuf,
        lock: &File,
        report: Report<'a>,
    ) -> Result<Build<'a>> {
        let shown = log_path.display();
        let log = File::create(&log_path).with_context(|| format!("cannot write `{shown}`"))?;
        let lock = lock.try_clone().context("cannot share a lock")?;
        Ok(Build { host, log_path, log, lock, report })
    }

    pub(super) fn say(&self, what: impl Into<String>) {
        (self.report)(Progress::Doing(what.into()));
    }

    /// Runs a command to its end; what it says goes to the log and, line by line, to the report.
    pub(super) fn run(&self, command: Command) -> Result<()> {
        self.run_listening(command, &mut |_| OutputLine::Shown)
    }

    /// Does the same; `listen` sees every line first.
    pub(super) fn run_listening(
        &self,
        command: Command,
        listen: &mut dyn FnMut(&str) -> OutputLine,
    ) -> Result<()> {
        let name = probe::name(&command);
        let mut log = &self.log;
        let no_log = || format!("cannot write `{}`", self.log_path.display());
        writeln!(log, "$ {}", masked(&shown(&command))).with_context(no_log)?;
        let mut tail = VecDeque::new();
        let status = self.each_line(command, &mut |line| {
            if listen(line) == OutputLine::Swallowed {
                return Ok(());
            }
            let line = &*masked(line);
            writeln!(log, "{line}").with_context(no_log)?;
            if !line.trim().is_empty() {
                self.say(short(line).trim());
                // Whole: what explains an end may stand far to the right.
                tail.push_back(line.to_owned());
                tail.drain(..tail.len().saturating_sub(TAIL_LINES));
            }
            Ok(())
        })?;
        if status.success() {
            return Ok(());
        }
        let ending =
            format!("`{name}` failed ({status}); its log is `{}`", self.log_path.display());
        let ending = match self.explanation(&tail) {
            Some((why, hint)) => Hinted { message: format!("{ending}; {why}"), hints: vec![hint] },
            None => Hinted { message: ending, hints: Vec::new() },
        };
        match tail.is_empty() {
            true => Err(anyhow::Error::new(ending)),
            false => {
                let lines = tail.iter().map(|line| short(line)).collect::<Vec<_>>();
                Err(anyhow!(lines.join("\n  ")).context(ending))
            }
        }
    }

    /// Returns what stopped a program that does not say so in words that help, and what helps.
    fn explanation(&self, tail: &VecDeque<String>) -> Option<(String, String)> {
        let says =
            |words: &[&str]| tail.iter().any(|line| words.iter().any(|word| line.contains(word)));
        let own = self.log_path.parent().unwrap_or(&self.log_path);
        let folders = [own.to_owned(), std::env::temp_dir()];
        let full = folders.iter().find(|folder| free_bytes(folder).is_some_and(|n| n < FULL));
        if full.is_some() || says(&["No space left on device", "os error 28", "Disk quota"]) {
            let shown = full.unwrap_or(&folders[0]).display();
            let why = format!("the disk of `{shown}` is full");
            let hint = "make room, as with `rosetta env gc`, or set ROSETTA_HOME to another disk";
            return Some((why, hint.to_owned()));
        }
        let unreachable = [
            "error sending request",
            "client error (Connect)",
            "dns error",
            "Temporary failure in name resolution",
            "NewConnectionError",
            "network was disabled",
        ];
        let certificate =
            ["UnknownIssuer", "CERTIFICATE_VERIFY_FAILED", "invalid peer certificate"];
        let untrusted = says(&certificate).then(|| {
            let why = "nobody that this machine trusts has signed a certificate".to_owned();
            let hint = "behind a proxy that signs anew, name its certificate: \
                `SSL_CERT_FILE=/path/to/ca.pem rosetta …`";
            (why, hint.to_owned())
        });
        untrusted.or_else(|| {
            let why = "the package index cannot be reached".to_owned();
            let hint = "see that this machine is on the network; behind a proxy set `https_proxy`, and name an \
                index of your own with `UV_DEFAULT_INDEX` (docs/environments.md)";
            says(&unreachable).then(|| (why, hint.to_owned()))
        })
    }

    fn each_line(
        &self,
        mut command: Command,
        hear: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<ExitStatus> {
        let name = probe::name(&command);
        command = self.host.guarded(command);
        let failed = || format!("cannot start `{name}`");
        let (reader, writer) = std::io::pipe().with_context(failed)?;
        command.stdin(self.lock.try_clone().with_context(failed)?);
        command.stdout(writer.try_clone().with_context(failed)?).stderr(writer);
        let mut child = command.spawn().with_context(failed)?;
        // The command owns our ends of the pipe: the output would never end.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        let mut heard = Ok(());
        while heard.is_ok() {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => heard = hear(String::from_utf8_lossy(&line).trim_end()),
                Err(error) => heard = Err(error).with_context(|| format!("cannot hear `{name}`")),
            }
        }
        if heard.is_err() {
            // The first error is what matters: the child may be gone already. A shim is asked, and
            // ends what is below it.
            match i32::try_from(child.id()) {
                Ok(pid) if self.host.is_rosetta => send(pid, Signal::TERM),
                _ => drop(child.kill()),
            }
        }
        let status = child.wait().with_context(|| format!("cannot wait for `{name}`"))?;
        heard.map(|()| status)
    }
}

/// Returns as much of a line as a person is shown.
fn short(line: &str) -> String {
    line.chars().take(SHOWN_CHARS).collect()
}

/// Returns what a short command prints, or why it printed nothing.
pub(super) fn output_of(mut command: Command, patience: Duration) -> Result<String> {
    let name = probe::name(&command);
    let Answer { status, stdout, stderr } = probe::ask(&mut command, patience)?;
    if !status.success() {
        let lines = stderr.trim().lines().collect::<Vec<_>>();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
        return Err(anyhow!(tail).context(format!("`{name}` failed ({status})")));
    }
    Ok(stdout)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    fn run(script: &str) -> (Result<()>, Vec<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::with(&[("PATH", "/usr/bin:/bin"), ("PYTHONPATH", "/astray")]);
        let lock = tempfile::tempfile_in(folder.path()).unwrap();
        let said = Mutex::new(Vec::new());
        let report = |progress: Progress| {
            if let Progress::Doing(what) = progress {
                said.lock().unwrap().push(what);
            }
        };
        let log = folder.path().join("log");
        let build = Build::begin(&host, log.clone(), &lock, &report).unwrap();
        let mut command = host.command("/bin/sh");
        command.args(["-c", script]);
        let result = build.run(command);
        (result, said.into_inner().unwrap(), fs::read_to_string(log).unwrap())
    }

    #[test]
    fn both_streams_reach_log_and_report() {
        let (result, said, log) = run("echo one; echo two >&2; echo \"$PYTHONPATH.\"; cat");
        result.unwrap();
        assert_eq!(said, ["one", "two", "."]);
        assert!(log.ends_with("one\ntwo\n.\n"), "{log}");
    }

    #[test]
    fn failure_names_program_log_and_last_lines() {
        let (result, _, _) =
            run("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo l$i; done; exit 3");
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("`sh` failed (exit status: 3); its log is `"), "{error}");
        assert!(error.contains("l2\n") && error.ends_with("l13") && !error.contains("l1\n"));
    }
}
