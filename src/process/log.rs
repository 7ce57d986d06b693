//! Keeps a job's standard error: its first and its last MiBs in a file, its last lines at hand; credentials masked.
//!
//! Must not depend on what the words mean.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::intake::{cannot_write, cut};
use crate::mask::Masker;

const HEAD: usize = 8 << 20;
const TAIL: usize = 8 << 20;
const AT_HAND: usize = 16 << 10;
const LINES_AT_HAND: usize = 20;
/// What stays of a log that cannot all be stored.
const LEFT_BYTES: usize = 64 << 10;

pub(crate) struct Log {
    masker: Masker,
    kept: Kept,
}

struct Kept {
    path: PathBuf,
    file: File,
    head_left: usize,
    tail: VecDeque<u8>,
    left_out: u64,
    last: Vec<u8>,
    /// Why it cannot be stored.
    trouble: Option<String>,
}

impl Log {
    pub fn create(path: PathBuf, masker: Masker) -> Result<Log> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.with_context(|| cannot_write(&path))?;
        let (tail, last) = (VecDeque::new(), Vec::new());
        let kept = Kept { path, file, head_left: HEAD, tail, left_out: 0, last, trouble: None };
        Ok(Log { masker, kept })
    }

    /// Takes what was read. After a [`trouble`](Log::trouble) only the last lines are kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        let kept = &mut self.kept;
        self.masker.feed(bytes, |bytes| kept.take(bytes));
    }

    /// Returns why it cannot be stored.
    pub fn trouble(&self) -> Option<&str> {
        self.kept.trouble.as_deref()
    }

    /// Writes what is still in memory; returns the last lines and why the log is not whole, if it is not.
    pub fn finish(mut self) -> (Vec<String>, Option<String>) {
        let kept = &mut self.kept;
        self.masker.finish(|bytes| kept.take(bytes));
        self.kept.finish()
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_left));
        self.head_left -= head.len();
        self.write(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(AT_HAND)..]);
        let excess = self.last.len().saturating_sub(AT_HAND);
        self.last.drain(..excess);
    }

    fn finish(mut self) -> (Vec<String>, Option<String>) {
        let mut rest = Vec::new();
        if self.left_out > 0 {
            rest.extend(format!("\n# {} bytes are left out here\n", self.left_out).into_bytes());
        }
        rest.extend(std::mem::take(&mut self.tail));
        self.write(&rest);
        (last_lines(&self.last), self.trouble)
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.trouble.is_some() {
            return;
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.trouble = Some(why(&error, &self.path));
            self.tail.clear();
            // Nothing is left to be done about a file that cannot be cut.
            let _ = cut(&self.file, LEFT_BYTES);
        }
    }
}

fn why(error: &io::Error, path: &std::path::Path) -> String {
    format!("{}: {error}", cannot_write(path))
}

/// Returns the last lines that a person would see: of a progress bar, which rewrites its line, only the last state.
fn last_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let seen = |line: &str| line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = text.lines().map(seen).filter(|line| !line.is_empty()).collect();
    let excess = lines.len().saturating_sub(LINES_AT_HAND);
    lines.drain(..excess);
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_short_log_is_kept_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr.log");
        let mut log = Log::create(path.clone(), Masker::default()).unwrap();
        log.feed(b"one\n 10%\r 50%\r100%\r\n");
        log.feed(b"\nError: \xff");
        assert_eq!(log.finish().0, ["one", "100%", "Error: \u{fffd}"]);
        assert_eq!(fs::read(path).unwrap(), b"one\n 10%\r 50%\r100%\r\n\nError: \xff");
    }

    #[test]
    fn a_long_log_keeps_its_head_and_its_tail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr.log");
        let mut log = Log::create(path.clone(), Masker::default()).unwrap();
        log.feed(b"first\n");
        let megabyte = [b"x".repeat(1023), b"\n".to_vec()].concat().repeat(1024);
        for _ in 0..20 {
            log.feed(&megabyte);
        }
        log.feed(b"last\n");
        assert!(log.kept.last.len() <= AT_HAND && log.kept.tail.len() <= TAIL);
        let lines = log.finish().0;
        assert_eq!(lines.last().map(String::as_str), Some("last"));
        let text = fs::read(path).unwrap();
        let left_out = 6 + (20 << 20) + 5 - HEAD - TAIL;
        let note = format!("\n# {left_out} bytes are left out here\n");
        assert_eq!(text.len(), HEAD + TAIL + note.len());
        assert!(text.starts_with(b"first\n") && text.ends_with(b"x\nlast\n"));
        assert_eq!(&text[HEAD..HEAD + note.len()], note.as_bytes());
    }
}
