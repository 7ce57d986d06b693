//! Cuts a stream of bytes into lines within bounded memory.
//!
//! Must not depend on what a line means; bytes need not be UTF-8.

use memchr::memchr;

/// The longest line that is handed on; docs/protocol.md promises it.
pub const LONGEST_LINE: usize = 1 << 20;

/// A part of a stream.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// A line without its end, which may be `\n` or `\r\n`.
    Line(&'a [u8]),
    /// A line longer than `LONGEST_LINE`: its head, and its length.
    Oversized { head: &'a [u8], bytes: u64 },
}

/// Keeps what came of the last line so far.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// Bytes of the line that did not fit.
    left_out: u64,
}

impl Splitter {
    /// Hands each line that `bytes` completes to `take`.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Piece<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.partial.is_empty() && line.len() <= LONGEST_LINE {
                take(Piece::Line(strip(line)));
                continue;
            }
            self.keep(line);
            take(self.piece());
            self.partial.clear();
            self.left_out = 0;
        }
        self.keep(bytes);
    }

    /// Returns what is left when the stream has ended: a line without its end.
    pub fn tail(&self) -> Option<Piece<'_>> {
        (!self.partial.is_empty()).then(|| self.piece())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LONGEST_LINE - self.partial.len());
        self.partial.extend_from_slice(&bytes[..fits]);
        self.left_out += (bytes.len() - fits) as u64;
    }

    fn piece(&self) -> Piece<'_> {
        match self.left_out {
            0 => Piece::Line(strip(&self.partial)),
            more => Piece::Oversized {
                head: &self.partial[..1024],
                bytes: self.partial.len() as u64 + more,
            },
        }
    }
}

fn strip(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(stream: &[u8], chunk: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for bytes in stream.chunks(chunk) {
            splitter.feed(bytes, |piece| lines.push(text(&piece)));
        }
        let tail = splitter.tail().as_ref().map(text);
        (lines, tail)
    }

    fn text(piece: &Piece<'_>) -> Vec<u8> {
        match piece {
            Piece::Line(line) => line.to_vec(),
            Piece::Oversized { bytes, .. } => format!("<{bytes}>").into_bytes(),
        }
    }

    #[test]
    fn lines_do_not_depend_on_how_the_stream_was_cut() {
        let stream = b"one\ntwo\r\n\n\xff\xfe\nthree\rfour\nhalf";
        for chunk in 1..=stream.len() {
            let (lines, tail) = split(stream, chunk);
            assert_eq!(lines, [&b"one"[..], b"two", b"", b"\xff\xfe", b"three\rfour"]);
            assert_eq!(tail.as_deref(), Some(&b"half"[..]));
        }
        assert_eq!(split(b"one\n", 2).1, None);
    }

    #[test]
    fn an_oversized_line_is_one_piece_and_the_next_line_is_whole() {
        for (length, expected) in [(LONGEST_LINE, LONGEST_LINE), (LONGEST_LINE + 1, 9)] {
            let mut stream = vec![b'x'; length];
            stream.extend_from_slice(b"\nnext\n");
            for chunk in [1000, 1 << 16, stream.len()] {
                let (lines, tail) = split(&stream, chunk);
                assert_eq!(lines.len(), 2);
                assert_eq!(lines[0].len(), expected);
                assert_eq!((&lines[1][..], tail), (&b"next"[..], None));
            }
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let mut splitter = Splitter::default();
        for _ in 0..100 {
            splitter.feed(&[b'x'; 1 << 16], |_| panic!("no line has ended"));
        }
        assert!(splitter.partial.capacity() <= 2 * LONGEST_LINE);
        assert_eq!(
            splitter.tail(),
            Some(Piece::Oversized { head: &[b'x'; 1024], bytes: 100 << 16 })
        );
    }
}
