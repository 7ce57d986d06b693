//! Keeps a job's standard error: its first and its last MiBs in a file, its last lines at hand.
//!
//! Must not depend on what the words mean.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::intake::cannot_write;

const HEAD: usize = 8 << 20;
const TAIL: usize = 8 << 20;
const AT_HAND: usize = 16 << 10;
const LINES_AT_HAND: usize = 20;

pub(crate) struct Log {
    path: PathBuf,
    file: File,
    head_left: usize,
    tail: VecDeque<u8>,
    left_out: u64,
    last: Vec<u8>,
}

impl Log {
    pub fn create(path: PathBuf) -> Result<Log> {
        let file = File::create(&path).with_context(|| cannot_write(&path))?;
        let (tail, last) = (VecDeque::new(), Vec::new());
        Ok(Log { path, file, head_left: HEAD, tail, left_out: 0, last })
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_left));
        self.head_left -= head.len();
        self.file.write_all(head).with_context(|| cannot_write(&self.path))?;
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(AT_HAND)..]);
        let excess = self.last.len().saturating_sub(AT_HAND);
        self.last.drain(..excess);
        Ok(())
    }

    /// Writes what is still in memory and returns the last lines.
    pub fn finish(mut self) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        if self.left_out > 0 {
            write!(rest, "\n# {} bytes are left out here\n", self.left_out)?;
        }
        rest.extend(self.tail);
        self.file.write_all(&rest).with_context(|| cannot_write(&self.path))?;
        Ok(last_lines(&self.last))
    }
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
        let mut log = Log::create(path.clone()).unwrap();
        log.feed(b"one\n 10%\r 50%\r100%\r\n").unwrap();
        log.feed(b"\nError: \xff").unwrap();
        assert_eq!(log.finish().unwrap(), ["one", "100%", "Error: \u{fffd}"]);
        assert_eq!(fs::read(path).unwrap(), b"one\n 10%\r 50%\r100%\r\n\nError: \xff");
    }

    #[test]
    fn a_long_log_keeps_its_head_and_its_tail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr.log");
        let mut log = Log::create(path.clone()).unwrap();
        log.feed(b"first\n").unwrap();
        let megabyte = [b"x".repeat(1023), b"\n".to_vec()].concat().repeat(1024);
        for _ in 0..20 {
            log.feed(&megabyte).unwrap();
        }
        log.feed(b"last\n").unwrap();
        assert!(log.last.len() <= AT_HAND && log.tail.len() <= TAIL);
        let lines = log.finish().unwrap();
        assert_eq!(lines.last().map(String::as_str), Some("last"));
        let text = fs::read(path).unwrap();
        let left_out = 6 + (20 << 20) + 5 - HEAD - TAIL;
        let note = format!("\n# {left_out} bytes are left out here\n");
        assert_eq!(text.len(), HEAD + TAIL + note.len());
        assert!(text.starts_with(b"first\n") && text.ends_with(b"x\nlast\n"));
        assert_eq!(&text[HEAD..HEAD + note.len()], note.as_bytes());
    }
}
