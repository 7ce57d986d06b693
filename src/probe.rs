//! Asks a program that answers at once, and ends it if it does not. Must not depend on what is asked.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::mask::masked;

/// The most of an answer that is read.
const LONGEST: u64 = 1 << 22;

/// How long output may take to arrive when its program has ended: whoever it left may hold the pipe.
const DRAIN: Duration = Duration::from_millis(500);

/// What a program said.
pub struct Answer {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Returns what `command` prints, if it ends well within `patience`.
pub fn answer(command: &mut Command, patience: Duration) -> Result<String> {
    let said = ask(command, patience)?;
    match said.status.success() {
        true => Ok(said.stdout),
        false => Err(anyhow!("it ended with {}", said.status)),
    }
}

/// Returns what `command` says and how it ends, if that is within `patience`; ends it otherwise.
pub fn ask(command: &mut Command, patience: Duration) -> Result<Answer> {
    wait(command.stdin(Stdio::null()), None, patience)
}

/// Gives `command` a text on its standard input, of which it may read as little as it likes; else as [`ask`].
pub fn tell(command: &mut Command, text: &str, patience: Duration) -> Result<Answer> {
    wait(command.stdin(Stdio::piped()), Some(text.to_owned()), patience)
}

fn wait(command: &mut Command, text: Option<String>, patience: Duration) -> Result<Answer> {
    let name = name(command);
    // A group of its own: what a script has started ends with it.
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    if let (Some(mut input), Some(text)) = (child.stdin.take(), text) {
        // Whoever does not read must not hold us up, and is not at fault.
        thread::spawn(move || drop(input.write_all(text.as_bytes())));
    }
    let (stdout, stderr) = (listen(child.stdout.take()), listen(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > patience {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // That it has just ended is not an error.
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
            let seconds = patience.as_secs();
            return Err(anyhow!(
                "`{name}` does not answer: it was still running after {seconds} s"
            ));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let text = |heard: Receiver<Vec<u8>>| {
        let bytes = heard.recv_timeout(DRAIN).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // What a program complains of ends as a reason in records.
    let stderr = masked(&text(stderr)).into_owned();
    Ok(Answer { status, stdout: text(stdout), stderr })
}

/// Reads a pipe to its end, so that whoever writes never waits.
fn listen(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, heard) = channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Vec::new();
        // What was read counts, and who asked may be gone.
        let _ = pipe.by_ref().take(LONGEST).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    });
    heard
}

/// Returns the program of a command, as a message has it.
pub fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_long_answer_is_heard_and_a_failure_has_its_words() {
        let long = answer(&mut sh("yes | head -c 300000"), Duration::from_secs(20)).unwrap();
        assert_eq!(long.len(), 300_000);
        let said = ask(&mut sh("echo why >&2; exit 3"), Duration::from_secs(20)).unwrap();
        assert_eq!((said.status.code(), said.stderr.as_str()), (Some(3), "why\n"));
        // Something that lives on holds the pipe.
        let said = ask(&mut sh("echo here; sleep 5 &"), Duration::from_secs(20)).unwrap();
        assert_eq!(said.status.code(), Some(0));
    }

    #[test]
    fn a_text_is_given_to_whoever_reads_it_and_to_whoever_does_not() {
        let long = "word ".repeat(100_000);
        let said = tell(&mut sh("wc -c"), &long, Duration::from_secs(20)).unwrap();
        assert_eq!(said.stdout.trim(), "500000");
        let said = tell(&mut sh("exit 0"), &long, Duration::from_secs(20)).unwrap();
        assert!(said.status.success());
        let begun = Instant::now();
        let hangs = "sleep 60 & echo $! >&2; wait";
        let error = tell(&mut sh(hangs), &long, Duration::from_millis(200)).err().unwrap();
        assert!(error.to_string().contains("does not answer"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_hangs_is_ended_and_named() {
        let begun = Instant::now();
        let error = answer(&mut sh("sleep 60; true"), Duration::from_millis(50)).err().unwrap();
        assert!(error.to_string().starts_with("`sh` does not answer"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
