//! A `.npy` file written while it is hashed: C order, little-endian, the elements aligned as NumPy aligns them.
//!
//! Must not depend on what an array means or where it is kept.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::data::npy::Dtype;
use crate::data::npy::header::{MAGIC, byte_count, shown};
use crate::digest::hex;

/// A `.npy` file being written.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    missing: u64,
    written: u64,
}

/// What was written.
pub struct Written {
    pub bytes: u64,
    pub sha256: String,
}

impl Writer {
    /// Creates the file and writes its header.
    pub fn create(path: &Path, dtype: Dtype, shape: &[usize]) -> Result<Writer> {
        let file = File::create_new(path)
            .with_context(|| format!("cannot create `{}`", path.display()))?;
        let missing = byte_count(dtype, shape)?;
        let mut writer = Writer {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
            missing: u64::MAX,
            written: 0,
        };
        writer.write(&header(dtype, shape))?;
        writer.missing = missing;
        Ok(writer)
    }

    /// Appends elements.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() as u64;
        ensure!(count <= self.missing, "more elements than the shape has");
        self.missing -= count;
        self.written += count;
        self.hash.update(bytes);
        self.file.write_all(bytes).with_context(|| cannot_write(&self.path))
    }

    /// Makes the file durable.
    pub fn finish(self) -> Result<Written> {
        ensure!(self.missing == 0, "fewer elements than the shape has");
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let synced = file.and_then(|file| file.sync_all());
        synced.with_context(|| cannot_write(&self.path))?;
        Ok(Written { bytes: self.written, sha256: hex(&self.hash.finalize()) })
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

/// Returns the header of an array that is written.
pub(super) fn header(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let (descr, shape) = (dtype.descr(), shown(shape));
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // NumPy aligns the elements at 64 bytes; 10 bytes stand before the text, a newline ends it.
    let padding = 63 - (10 + text.len()) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a header of a few axes is short");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::data::npy::Dtype;

    #[test]
    fn writer_wants_exactly_the_elements_of_the_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut writer = Writer::create(&path, Dtype::Int32, &[2]).unwrap();
        writer.write(&[0; 4]).unwrap();
        assert!(writer.write(&[0; 8]).is_err());
        assert!(writer.finish().is_err());
    }
}
