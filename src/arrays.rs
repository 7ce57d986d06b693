//! Stored arrays as numbers. May not know what they mean.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::data::{Dtype, Header};

/// The most that an array may take: 2^20 rows of 1,000 logits.
const MAX_BYTES: u64 = 8 << 30;

/// An array as float64, C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Floats {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Floats {
    /// Reads a `.npy` file of floats.
    pub fn read(path: &Path) -> Result<Floats> {
        let shown = path.display();
        let (header, dtype, bytes) =
            read(path, usize::MAX).with_context(|| format!("cannot read `{shown}`"))?;
        let values = match dtype {
            Dtype::Float32 => decode(&bytes, |b: [u8; 4]| f64::from(f32::from_le_bytes(b))),
            Dtype::Float64 => decode(&bytes, f64::from_le_bytes),
            other => bail!("`{shown}` holds {}, not floats", other.as_str()),
        };
        Ok(Floats { shape: header.shape, values })
    }
}

/// Reads at most `rows` rows of an array, as bytes.
pub fn read(path: &Path, rows: usize) -> Result<(Header, Dtype, Vec<u8>)> {
    let mut file = BufReader::new(File::open(path)?);
    let header = Header::read(&mut file)?;
    let dtype = header.dtype()?;
    let there = header.shape.first().copied().unwrap_or(1);
    let row_bytes = header.bytes()?.checked_div(there as u64).unwrap_or_default();
    let wanted = row_bytes.saturating_mul(there.min(rows) as u64);
    ensure!(wanted <= MAX_BYTES, "it has {wanted} bytes; at most {MAX_BYTES} are read");
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == wanted, "it is cut off");
    Ok((header, dtype, bytes))
}

/// Returns the elements of little-endian bytes.
pub fn decode<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| value(*chunk)).collect()
}
