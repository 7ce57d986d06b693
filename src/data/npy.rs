//! The `.npy` format: headers read strictly, arrays written while they are hashed.
//!
//! May not know what an array means or where it is kept.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own limit for the header is 10,000 characters.
const LONGEST_HEADER: usize = 64 * 1024;

/// Type of an array's elements, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    Float32,
    Float64,
    Uint8,
    Uint32,
    Int32,
    Int64,
}

impl Dtype {
    const ALL: [(Dtype, &'static str, &'static str); 6] = [
        (Dtype::Float32, "float32", "<f4"),
        (Dtype::Float64, "float64", "<f8"),
        (Dtype::Uint8, "uint8", "|u1"),
        (Dtype::Uint32, "uint32", "<u4"),
        (Dtype::Int32, "int32", "<i4"),
        (Dtype::Int64, "int64", "<i8"),
    ];

    fn row(self) -> &'static (Dtype, &'static str, &'static str) {
        Self::ALL.iter().find(|row| row.0 == self).expect("every type has a row")
    }

    /// Returns NumPy's name of the type.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns the type that a header's `descr` means.
    pub fn from_descr(descr: &str) -> Option<Dtype> {
        let one_byte = if descr == "<u1" || descr == "u1" { "|u1" } else { descr };
        Self::ALL.iter().find(|row| row.2 == one_byte).map(|row| row.0)
    }

    /// Returns the size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Dtype::Uint8 => 1,
            Dtype::Float32 | Dtype::Int32 | Dtype::Uint32 => 4,
            Dtype::Float64 | Dtype::Int64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Dtype::Float32 | Dtype::Float64)
    }
}

/// What stands at the beginning of a file.
#[derive(Debug, PartialEq)]
pub struct Header {
    pub descr: String,
    pub is_fortran: bool,
    pub shape: Vec<usize>,
    /// Where the elements begin.
    pub start: usize,
}

impl Header {
    /// Reads the header and leaves the reader at the first element.
    pub fn read(reader: &mut impl Read) -> Result<Header> {
        let mut begin = [0; 8];
        reader.read_exact(&mut begin).map_err(|_| anyhow!("too short for a .npy file"))?;
        ensure!(&begin[..6] == MAGIC, "no .npy file: its first bytes are not `\\x93NUMPY`");
        let width = match begin[6] {
            1 => 2,
            2 | 3 => 4,
            version => bail!(".npy version {version} is unknown; 1, 2 and 3 are read"),
        };
        let mut length = [0; 4];
        let cut = |_| anyhow!("the .npy header is cut off");
        reader.read_exact(&mut length[..width]).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        ensure!(length <= LONGEST_HEADER, "the .npy header claims {length} bytes");
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(cut)?;
        let text = String::from_utf8(text).map_err(|_| anyhow!("the .npy header is no text"))?;
        let header = Header::parse(&text).context("the .npy header cannot be read")?;
        Ok(Header { start: 8 + width + length, ..header })
    }

    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Header> {
        let dict = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut rest = dict.ok_or_else(|| anyhow!("it is no dictionary"))?.trim();
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let value = after.trim_start().strip_prefix(':').map(str::trim_start);
            let value = value.ok_or_else(|| anyhow!("`{key}` has no value"))?;
            rest = match key {
                "descr" => {
                    ensure!(!value.starts_with('['), "structured arrays are not read");
                    let (text, after) = quoted(value)?;
                    descr = Some(text.to_owned());
                    after
                }
                "fortran_order" => {
                    let after = value.strip_prefix("False");
                    is_fortran = Some(after.is_none());
                    let after = after.or_else(|| value.strip_prefix("True"));
                    after.ok_or_else(|| anyhow!("`fortran_order` is neither True nor False"))?
                }
                "shape" => {
                    let tuple = value.strip_prefix('(').and_then(|rest| rest.split_once(')'));
                    let (sizes, after) = tuple.ok_or_else(|| anyhow!("`shape` is no tuple"))?;
                    shape = Some(parse_sizes(sizes)?);
                    after
                }
                key => bail!("unknown key `{key}`"),
            };
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        match (descr, is_fortran, shape) {
            (Some(descr), Some(is_fortran), Some(shape)) => {
                Ok(Header { descr, is_fortran, shape, start: 0 })
            }
            _ => bail!("it needs `descr`, `fortran_order` and `shape`"),
        }
    }

    /// Returns the type of the elements, if rosetta can use an array of it.
    pub fn dtype(&self) -> Result<Dtype> {
        ensure!(!self.is_fortran, "Fortran order; save `numpy.ascontiguousarray(array)`");
        let known = Dtype::from_descr(&self.descr);
        known.ok_or_else(|| anyhow!("elements of type `{}` are not supported", self.descr))
    }

    /// Returns the number of bytes that the elements take.
    pub fn bytes(&self) -> Result<u64> {
        byte_count(self.dtype()?, &self.shape)
    }
}

/// Returns the size of an array, or an error where it cannot be.
pub fn byte_count(dtype: Dtype, shape: &[usize]) -> Result<u64> {
    let count = shape.iter().try_fold(dtype.size(), |bytes, size| bytes.checked_mul(*size));
    let count = count.filter(|bytes| isize::try_from(*bytes).is_ok());
    let count = count.ok_or_else(|| anyhow!("shape {} is too large", shown(shape)))?;
    Ok(count as u64)
}

/// Returns a shape as Python writes it.
pub fn shown(shape: &[usize]) -> String {
    let sizes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    if shape.len() == 1 { format!("({sizes},)") } else { format!("({sizes})") }
}

fn quoted(text: &str) -> Result<(&str, &str)> {
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"');
    let found = quote.and_then(|quote| text[1..].split_once(quote));
    found.ok_or_else(|| anyhow!("a quoted word is missing"))
}

fn parse_sizes(text: &str) -> Result<Vec<usize>> {
    let sizes = text.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes = sizes.map(|size| size.trim_end_matches('L').parse::<usize>());
    sizes.collect::<Result<_, _>>().context("`shape` has a size that is no number")
}

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

fn header(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let (descr, shape) = (dtype.row().2, shown(shape));
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
    use super::{Dtype, Header, Writer, header};

    fn parse(text: &str) -> Result<Header, String> {
        Header::parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_are_read_as_written() {
        for (dtype, shape) in [
            (Dtype::Float32, vec![]),
            (Dtype::Uint8, vec![3]),
            (Dtype::Int64, vec![50_000, 3, 32, 32]),
        ] {
            let bytes = header(dtype, &shape);
            assert_eq!(bytes.len() % 64, 0);
            let read = Header::read(&mut bytes.as_slice()).unwrap();
            assert_eq!((read.dtype().unwrap(), &read.shape), (dtype, &shape));
            assert_eq!(read.start, bytes.len());
        }
    }

    #[test]
    fn wrong_headers_are_refused() {
        let cases = [
            ("{'descr': '<f4', 'fortran_order': False, }", "it needs `descr`"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", "structured"),
            ("{'descr': '<f4', 'fortran_order': 1, 'shape': ()}", "neither True nor False"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "no number"),
            ("{'evil': 1}", "unknown key `evil`"),
            ("[]", "no dictionary"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999)}";
        assert!(parse(huge).unwrap().bytes().is_err());
        let big_endian = "{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}";
        assert!(parse(big_endian).unwrap().dtype().is_err());
    }

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
