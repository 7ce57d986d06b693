//! Unpacks gzip as `gzip` itself does: members one after the other, zeros behind them passed over.
//!
//! Tapes, `dd` and object stores pad files with zeros. Must not depend on what is packed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// Reads what a gzip file unpacks to.
pub struct Gzip<R> {
    /// The member that is being read; none after the last one.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Gzip<R> {
    pub fn new(packed: R) -> Gzip<R> {
        Gzip { member: Some(GzDecoder::new(BufReader::new(packed))) }
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(mut member) = self.member.take() {
            let count = member.read(buffer)?;
            if count > 0 {
                self.member = Some(member);
                return Ok(count);
            }
            let mut packed = member.into_inner();
            if skip_zeros(&mut packed)? {
                self.member = Some(GzDecoder::new(packed));
            }
        }
        Ok(0)
    }
}

/// Passes zeros over; returns whether something follows.
fn skip_zeros(packed: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let held = packed.fill_buf()?;
        if held.is_empty() {
            return Ok(false);
        }
        match held.iter().position(|byte| *byte != 0) {
            Some(zeros) => {
                packed.consume(zeros);
                return Ok(true);
            }
            None => {
                let zeros = held.len();
                packed.consume(zeros);
            }
        }
    }
}
