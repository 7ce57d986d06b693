//! Asks a program that answers at once, and ends it if it does not. May not know what is asked.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The most of an answer that is read.
const LONGEST: u64 = 1 << 16;

/// Returns what `command` prints, if it ends well within `patience`.
pub fn answer(command: &mut Command, patience: Duration) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Err(anyhow!("still running after {} s", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        return Err(anyhow!("it ended with {status}"));
    }
    let mut text = Vec::new();
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("no output"))?;
    stdout.take(LONGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
