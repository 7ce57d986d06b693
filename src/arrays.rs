//! Stored arrays as numbers: any that NumPy writes, in either byte order and either order of axes.
//!
//! Must not depend on what the numbers mean.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::data::{Element, Header, in_c_order};
use crate::regular;

/// The most that an array may take: 2^20 rows of 1,000 logits.
const MAX_BYTES: u64 = 8 << 30;

/// What is converted at once: whole numbers of any width.
const PIECE_BYTES: u64 = 64 << 10;

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
        let stored = Stored::open(path).with_context(|| format!("cannot read `{shown}`"))?;
        let element = stored.element;
        ensure!(
            element.is_float(),
            "`{shown}` holds {element}, not floats (float16, float32 or float64)"
        );
        stored.floats().with_context(|| format!("cannot read `{shown}`"))
    }
}

/// Ends with an error if so many bytes are more than are read of a file.
fn allow(bytes: u64) -> Result<()> {
    ensure!(bytes <= MAX_BYTES, "it has {bytes} bytes; at most {MAX_BYTES} are read");
    Ok(())
}

/// A file with an array, as far as its header was read.
struct Stored {
    file: BufReader<File>,
    header: Header,
    element: Element,
    /// Size of the array.
    bytes: u64,
}

impl Stored {
    fn open(path: &Path) -> Result<Stored> {
        let mut file = BufReader::new(regular::open(path)?);
        let header = Header::read(&mut file)?;
        let (bytes, element) = (header.bytes()?, header.element()?);
        Ok(Stored { file, header, element, bytes })
    }

    /// Returns the next bytes.
    fn next(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.by_ref().take(count).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 == count, "it is cut off");
        Ok(bytes)
    }

    /// Returns the numbers, converted piece by piece: a check reads some hundred MB, and memory that
    /// is new to a process costs it more than the conversion.
    fn floats(mut self) -> Result<Floats> {
        let (size, element) = (self.element.size(), self.element);
        let mut values = Vec::new();
        // Before anything is reserved: a header may promise what the file does not have.
        allow(self.bytes)?;
        if self.header.is_fortran {
            let bytes = self.next(self.bytes)?;
            let bytes = in_c_order(&bytes, &self.header.shape, size);
            values.extend(element.floats(&bytes).unwrap_or_default());
        } else {
            let there = self.bytes.min(self.file.get_ref().metadata()?.len());
            values.reserve_exact(usize::try_from(there)? / size);
            let mut left = self.bytes;
            while left > 0 {
                let piece = self.next(left.min(PIECE_BYTES))?;
                left -= piece.len() as u64;
                values.extend(element.floats(&piece).unwrap_or_default());
            }
        }
        Ok(Floats { shape: self.header.shape, values })
    }
}

/// The first rows of an array, in C order.
pub struct StoredRows {
    /// That of the whole array.
    pub shape: Vec<usize>,
    pub element: Element,
    pub bytes: Vec<u8>,
}

impl StoredRows {
    /// Reads at most `rows` rows.
    pub fn read(path: &Path, rows: usize) -> Result<StoredRows> {
        let mut stored = Stored::open(path)?;
        let (all, element) = (stored.bytes, stored.element);
        let (header, there) = (&stored.header, stored.header.shape.first().copied().unwrap_or(1));
        let row_bytes = all.checked_div(there as u64).unwrap_or_default();
        let wanted = row_bytes.saturating_mul(there.min(rows) as u64);
        // The first rows of a file in Fortran order are spread over all of it.
        let read = if header.is_fortran { all } else { wanted };
        allow(read)?;
        let mut bytes = stored.next(read)?;
        let Header { shape, is_fortran, .. } = stored.header;
        if is_fortran {
            bytes = in_c_order(&bytes, &shape, element.size());
            bytes.truncate(usize::try_from(wanted)?);
        }
        Ok(StoredRows { shape, element, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Floats, StoredRows};

    fn npy(descr: &str, order: &str, shape: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        let file = [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), bytes].concat();
        fs::write(&path, file).unwrap();
        (folder, path)
    }

    #[test]
    fn floats_of_every_width_and_order_are_the_same_numbers() {
        let little = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        let big = [1.0f64, 2.0, 3.0, 4.0].map(f64::to_be_bytes).concat();
        let turned = [1.0f32, 3.0, 2.0, 4.0].map(f32::to_le_bytes).concat();
        let half = [0x3c00u16, 0x4000, 0x4200, 0x4400].map(u16::to_le_bytes).concat();
        let cases = [
            ("<f4", "False", little),
            (">f8", "False", big),
            ("<f4", "True", turned),
            ("<f2", "False", half),
        ];
        for (descr, order, bytes) in cases {
            let (_folder, path) = npy(descr, order, "(2, 2)", &bytes);
            let floats = Floats::read(&path).unwrap();
            assert_eq!(floats.shape, [2, 2]);
            assert_eq!(floats.values, [1.0, 2.0, 3.0, 4.0], "{descr} {order}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_file() {
        let why = |descr: &str, shape: &str, bytes: &[u8]| {
            let (_folder, path) = npy(descr, "False", shape, bytes);
            let error = format!("{:#}", Floats::read(&path).unwrap_err());
            assert!(error.contains(&path.display().to_string()), "{error}");
            error
        };
        assert!(why("<i2", "(1,)", &[0; 2]).contains("holds int16, not floats (float16, float32"));
        assert!(why("<f4", "(9,)", &[0; 4]).contains("it is cut off"));
        assert!(why("|O", "(1,)", &[0; 4]).contains("elements of type `|O` are not supported"));
        assert!(why("<f8", "(99999999999, 2)", &[]).contains("at most"));
    }

    #[test]
    fn first_rows_are_first_in_either_order() {
        for (order, bytes) in [("False", [1, 2, 3, 4, 5, 6]), ("True", [1, 3, 5, 2, 4, 6])] {
            let (_folder, path) = npy("|u1", order, "(3, 2)", &bytes);
            assert_eq!(StoredRows::read(&path, 2).unwrap().bytes, [1, 2, 3, 4]);
            assert_eq!(StoredRows::read(&path, 9).unwrap().bytes, [1, 2, 3, 4, 5, 6]);
        }
    }
}
