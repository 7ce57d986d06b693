//! The reading end of a job's output.
//!
//! Must not depend on what comes through.

use std::io;
use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::process::kernel;

/// The most that a pipe holds; the harness waits only when rosetta is as far behind as this.
const PIPE_BYTES: usize = 1 << 20;
const CHUNK: usize = 1 << 16;

/// One end of a pipe with its buffer, until the other end is closed.
pub(super) struct Pipe<P> {
    pipe: Option<P>,
    buffer: Vec<u8>,
}

impl<P: AsyncRead + AsFd + Unpin> Pipe<P> {
    pub fn new(pipe: Option<P>) -> Pipe<P> {
        if let Some(pipe) = &pipe {
            kernel::widen(pipe, PIPE_BYTES);
        }
        Pipe { pipe, buffer: vec![0; CHUNK] }
    }

    pub fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    pub async fn read(&mut self) -> io::Result<usize> {
        match &mut self.pipe {
            Some(pipe) => pipe.read(&mut self.buffer).await,
            None => Ok(0),
        }
    }

    /// Returns what was read; an error ends the stream as its end does.
    pub fn take(&mut self, count: io::Result<usize>) -> &[u8] {
        let count = count.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        &self.buffer[..count]
    }
}
