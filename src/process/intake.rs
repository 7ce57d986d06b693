//! Takes a job's standard output: events go to `events.jsonl`, everything else to `chatter.log`; credentials masked.
//!
//! Must not depend on how the process runs or what an event means for the record.
//!
//! Decision: an event is stored as the harness wrote it but for credentials in its strings, with the host's clock in front,
//! `{"at":12.345678,` and the rest of the line. A second file of stamps would have to be joined by every reader, and an envelope would nest what pandas,
//! polars and duckdb read as columns.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::splitter::{Piece, Splitter};
use crate::event::{self, Line, OutputBudget, Sequence};
use crate::mask::Masker;

const CHATTER_LIMIT: usize = 1 << 20;
const REJECTED_LINES_KEPT: u64 = 100;
/// What stays of events that cannot all be stored: a full disk has to have room for the job's record.
const LEFT_BYTES: usize = 64 << 10;

/// How many lines of each sort came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    pub events: u64,
    pub chatter: u64,
    pub rejected: u64,
    pub oversized: u64,
    /// Events that never came, by the gaps in `seq`.
    pub lost: u64,
}

/// What is known of the stream when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub counters: LineCounts,
    /// The stream ended within a line.
    pub truncated_tail: bool,
    pub first_event: Option<Duration>,
    /// Why the first rejected line was rejected.
    pub first_rejection: Option<String>,
    /// Why not all of it could be taken in.
    pub trouble: Option<String>,
}

pub(crate) struct Intake {
    masker: Masker,
    splitter: Splitter,
    store: EventStore,
}

impl Intake {
    pub fn create(folder: &Path, masker: Masker) -> Result<Intake> {
        let path = folder.join("events.jsonl");
        let events = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let events = events.with_context(|| cannot_write(&path))?;
        let store = EventStore {
            events,
            events_path: path,
            block: Vec::new(),
            stamp: Vec::new(),
            at: 0.0,
            chatter: Chatter { path: folder.join("chatter.log"), file: None, left: CHATTER_LIMIT },
            sequence: Sequence::default(),
            budget: OutputBudget::default(),
            taken: Taken::default(),
        };
        Ok(Intake { masker, splitter: Splitter::default(), store })
    }

    /// Takes what was read `at` after the launch; hands each complete line on. Once stored, an event is safe from a
    /// death of rosetta. After a [`trouble`](Intake::trouble) nothing more is taken.
    pub fn feed(&mut self, at: Duration, bytes: &[u8], on_line: &mut dyn FnMut(Line)) {
        self.store.set_clock(at);
        let Intake { masker, splitter, store } = self;
        masker.feed(bytes, |bytes| splitter.feed(bytes, |piece| store.take(piece, at, on_line)));
        let written = self.store.write();
        self.store.remember(written);
    }

    /// Returns why not all can be taken in: there is too much of it, or it cannot be stored.
    pub fn trouble(&self) -> Option<&str> {
        self.store.taken.trouble.as_deref()
    }

    /// Stores what is left and reports.
    pub fn finish(mut self) -> Taken {
        let Intake { masker, splitter, store } = &mut self;
        let at = Duration::from_secs_f64(store.at);
        // What was held back ends no event: those are lines, and a line's end is not waited beyond.
        masker.finish(|bytes| splitter.feed(bytes, |piece| store.take(piece, at, &mut |_| ())));
        if let Some(tail) = self.splitter.tail() {
            self.store.taken.truncated_tail = true;
            let (Piece::Line(bytes) | Piece::Oversized { head: bytes, .. }) = tail;
            let noted = self.store.chatter.note("cut off at the end of the stream", bytes);
            self.store.remember(noted);
        }
        let stored = self.store.write().and_then(|()| {
            self.store.events.sync_data().with_context(|| cannot_write(&self.store.events_path))
        });
        self.store.remember(stored);
        self.store.taken.counters.lost = self.store.sequence.lost();
        self.store.taken
    }
}

struct EventStore {
    events: File,
    events_path: PathBuf,
    /// Lines to be written at once.
    block: Vec<u8>,
    /// What each line of this block begins with.
    stamp: Vec<u8>,
    at: f64,
    chatter: Chatter,
    sequence: Sequence,
    budget: OutputBudget,
    taken: Taken,
}

impl EventStore {
    fn set_clock(&mut self, at: Duration) {
        self.at = at.as_micros() as f64 / 1e6;
        self.stamp.clear();
        write!(self.stamp, "{{\"at\":{}.{:06},", at.as_secs(), at.subsec_micros())
            .expect("a vector takes all that is written");
    }

    fn take(&mut self, piece: Piece<'_>, at: Duration, on_line: &mut dyn FnMut(Line)) {
        if self.taken.trouble.is_some() {
            return;
        }
        let bytes = match piece {
            Piece::Line(bytes) => bytes.trim_ascii(),
            Piece::Oversized { head, bytes } => return self.oversized(head, bytes),
        };
        let mut line = event::parse(bytes);
        match &mut line {
            Line::Event(event) => {
                if let Err(why) = self.budget.take(&event.event, bytes.len()) {
                    let written = self.write(); // What came before is taken in.
                    self.remember(written);
                    return self.give_up(why);
                }
                self.sequence.record(event.seq);
                self.taken.counters.events += 1;
                self.taken.first_event.get_or_insert(at);
                self.store(bytes, event.at.is_some());
                event.at = Some(self.at);
            }
            Line::Chatter if bytes.is_empty() => return,
            Line::Chatter => {
                self.taken.counters.chatter += 1;
                let kept = self.chatter.line(bytes);
                self.remember(kept);
            }
            Line::Rejected { reason } => self.reject(bytes, reason),
        }
        on_line(line);
    }

    fn store(&mut self, line: &[u8], has_stamp: bool) {
        self.block.extend_from_slice(&self.stamp);
        match has_stamp {
            false => self.block.extend_from_slice(&line[1..]),
            true => self.block.extend_from_slice(&without_stamp(line)[1..]),
        }
        self.block.push(b'\n');
    }

    fn reject(&mut self, line: &[u8], reason: &str) {
        self.taken.counters.rejected += 1;
        self.taken.first_rejection.get_or_insert_with(|| reason.to_owned());
        if self.taken.counters.rejected <= REJECTED_LINES_KEPT {
            let kept = self.chatter.note(&format!("rejected: {reason}"), line);
            self.remember(kept);
        }
    }

    fn oversized(&mut self, head: &[u8], bytes: u64) {
        self.taken.counters.oversized += 1;
        let kept = self.chatter.note(&format!("a line of {bytes} bytes, which begins"), head);
        self.remember(kept);
    }

    fn remember(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.give_up(format!("{error:#}"));
        }
    }

    /// Takes nothing more, and makes room.
    fn give_up(&mut self, why: String) {
        if self.taken.trouble.is_none() {
            self.taken.trouble = Some(why);
            self.block.clear();
            // Nothing is left to be done about a file that cannot be cut.
            let _ = cut(&self.events, LEFT_BYTES);
        }
    }

    fn write(&mut self) -> Result<()> {
        let written = self.events.write_all(&self.block);
        self.block.clear();
        written.with_context(|| cannot_write(&self.events_path))
    }
}

/// Returns a line of a stored stream, which somebody plays again, without the stamp of its first arrival.
fn without_stamp(line: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    fields.shift_remove("at");
    Value::Object(fields).to_string().into_bytes()
}

/// Cuts a file of lines to at most so many bytes, at the end of a line.
pub(super) fn cut(file: &File, bytes: usize) -> io::Result<()> {
    let mut head = vec![0; bytes];
    let read = file.read_at(&mut head, 0)?;
    let end = head[..read].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    file.set_len(end as u64)
}

/// What is not an event, for a person to read; the first MiB of it.
struct Chatter {
    path: PathBuf,
    file: Option<File>,
    left: usize,
}

impl Chatter {
    fn note(&mut self, note: &str, line: &[u8]) -> Result<()> {
        self.line(format!("# {note}").as_bytes())?;
        self.line(line)
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let mut text = line.to_vec();
        text.push(b'\n');
        if text.len() > self.left {
            text = b"# the rest is left out\n".to_vec();
            self.left = text.len();
        }
        self.left -= text.len();
        if self.file.is_none() {
            // A harness may have put something of its own there, such as a link to another file.
            let file = File::options().write(true).create_new(true).open(&self.path);
            self.file = Some(file.with_context(|| cannot_write(&self.path))?);
        }
        let file = self.file.as_mut().expect("it was opened above");
        file.write_all(&text).with_context(|| cannot_write(&self.path))
    }
}

pub(super) fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn take(stream: &[u8]) -> (TempDir, Taken, Vec<Line>) {
        let folder = tempfile::tempdir().unwrap();
        let mut intake = Intake::create(folder.path(), Masker::default()).unwrap();
        let mut lines = Vec::new();
        let at = Duration::from_micros(1_000_050);
        intake.feed(at, stream, &mut |line| lines.push(line));
        (folder, intake.finish(), lines)
    }

    fn read(folder: &TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn events_are_stored_verbatim_with_the_hosts_clock_in_front() {
        let stream = b"{\"v\":1, \"seq\":0,\"ev\":\"x\",\"t\":0,\"y\":1.50}\r\n \
                       {\"at\":7,\"v\":1,\"seq\":1,\"ev\":\"end\",\"t\":0}\n";
        let (folder, taken, lines) = take(stream);
        let stored = read(&folder, "events.jsonl");
        assert_eq!(
            stored,
            "{\"at\":1.000050,\"v\":1, \"seq\":0,\"ev\":\"x\",\"t\":0,\"y\":1.50}\n\
             {\"at\":1.000050,\"v\":1,\"seq\":1,\"ev\":\"end\",\"t\":0}\n"
        );
        let again: Vec<Line> = stored.lines().map(|line| event::parse(line.as_bytes())).collect();
        assert_eq!(again, lines);
        assert_eq!(taken.counters, LineCounts { events: 2, ..LineCounts::default() });
        assert!(!folder.path().join("chatter.log").exists());
    }

    #[test]
    fn what_is_no_event_is_kept_for_a_person() {
        let stream =
            b"hello\n\n{\"v\":2,\"ev\":\"end\"}\n{\"v\":1,\"seq\":4,\"ev\":\"end\",\"t\":0}\nha";
        let (folder, taken, lines) = take(stream);
        assert_eq!(lines.len(), 3);
        let counters = LineCounts { events: 1, chatter: 1, rejected: 1, oversized: 0, lost: 4 };
        assert_eq!(taken.counters, counters);
        assert!(taken.truncated_tail);
        let chatter = read(&folder, "chatter.log");
        let reason = "protocol 2; this rosetta speaks protocol 1";
        assert_eq!(taken.first_rejection.as_deref(), Some(reason));
        assert_eq!(
            chatter,
            format!(
                "hello\n# rejected: {reason}\n{{\"v\":2,\"ev\":\"end\"}}\n\
                 # cut off at the end of the stream\nha\n"
            )
        );
    }

    #[test]
    fn noise_is_counted_but_not_kept_without_end() {
        let mut stream = b"{\"v\":2,\"ev\":\"end\"}\n".repeat(1000);
        stream.extend(b"some words of chatter\n".repeat(100_000));
        let (folder, taken, _) = take(&stream);
        assert_eq!((taken.counters.rejected, taken.counters.chatter), (1000, 100_000));
        let chatter = read(&folder, "chatter.log");
        assert!(chatter.len() <= CHATTER_LIMIT + 100);
        assert_eq!(chatter.matches("# rejected").count(), 100);
        assert!(chatter.ends_with("# the rest is left out\n"));
    }

    #[test]
    fn a_job_that_says_too_much_is_cut_short() {
        let fact = format!(
            "{{\"v\":1,\"seq\":0,\"ev\":\"fact\",\"t\":0,\"name\":\"a\",\"value\":\"{}\"}}\n",
            "x".repeat(1000)
        );
        let (folder, taken, lines) = take(fact.repeat(6000).as_bytes());
        assert!(taken.trouble.unwrap().starts_with("it said too much: a job may send 4 MiB"));
        assert!(lines.len() > 3900 && lines.len() < 4100, "{}", lines.len());
        let stored = read(&folder, "events.jsonl");
        assert!(stored.len() <= LEFT_BYTES && stored.ends_with("}\n"), "{}", stored.len());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        fs::write(&foreign, "precious").unwrap();
        let mut intake = Intake::create(folder.path(), Masker::default()).unwrap();
        std::os::unix::fs::symlink(&foreign, folder.path().join("chatter.log")).unwrap();
        intake.feed(Duration::ZERO, b"some words\n", &mut |_| {});
        assert!(intake.trouble().is_some_and(|why| why.contains("chatter.log")));
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "precious");
    }
}
