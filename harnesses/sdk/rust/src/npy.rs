//! Reads and writes `.npy` files: C order, little-endian. May not know what they mean.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::array::{Array, Values};

const MAGIC: &[u8] = b"\x93NUMPY";

/// An open file whose header has been read.
pub(crate) struct Npy {
    file: BufReader<File>,
    kind: String, // as in the header, e.g. `<f4`
    shape: Vec<usize>,
    offset: u64, // of the first element
}

/// The type of floats handed out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Float {
    F32,
    F64,
}

impl Npy {
    pub(crate) fn open(path: &Path) -> io::Result<Npy> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut start = [0; 8];
        file.read_exact(&mut start)?;
        if &start[..6] != MAGIC {
            return Err(invalid("not an .npy file"));
        }
        let mut length = [0; 4]; // two bytes in version 1, four in later ones
        let width = if start[6] == 1 { 2 } else { 4 };
        file.read_exact(&mut length[..width])?;
        let mut header = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact(&mut header)?;
        let offset = (8 + width + header.len()) as u64;
        let header = String::from_utf8(header).map_err(|_| invalid("header is not text"))?;
        if header.contains("'fortran_order': True") {
            return Err(invalid("array is in Fortran order"));
        }
        let kind = between(&header, "'descr': '", "'")?.to_string();
        let shape = between(&header, "'shape': (", ")")?;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes
            .map(|size| size.parse::<usize>().map_err(|_| invalid("odd shape")))
            .collect::<Result<_, _>>()?;
        Ok(Npy { file, kind, shape, offset })
    }

    /// Reads the first `rows` rows, or all; floats as `float`, divided by `divide_by`.
    pub(crate) fn read(
        mut self,
        rows: Option<usize>,
        float: Float,
        divide_by: Option<f64>,
    ) -> io::Result<Array> {
        if let Some(rows) = rows {
            match self.shape.first_mut() {
                Some(all) if rows <= *all => *all = rows,
                _ => return Err(invalid(&format!("fewer than {rows} rows"))),
            }
        }
        let is_float = divide_by.is_some() || self.kind.starts_with("<f");
        let values = match (is_float, float, divide_by) {
            (false, ..) => Values::I32(self.convert(|value| value as i32)?),
            (true, Float::F64, None) => Values::F64(self.convert(|value| value)?),
            (true, Float::F64, Some(by)) => Values::F64(self.convert(|value| value / by)?),
            (true, Float::F32, None) => Values::F32(self.convert(|value| value as f32)?),
            // Converted first and divided then, in float32, as NumPy does it.
            (true, Float::F32, Some(by)) => {
                Values::F32(self.convert(|value| value as f32 / by as f32)?)
            }
        };
        Ok(Array::new(self.shape, values))
    }

    /// Reads row `index` of a two-dimensional array of row numbers.
    pub(crate) fn read_order(mut self, index: usize) -> io::Result<Vec<u32>> {
        let &[epochs, rows] = &self.shape[..] else { return Err(invalid("order has two axes")) };
        if index >= epochs || self.kind != "<u4" {
            return Err(invalid(&format!("no epoch {index} of uint32 in it")));
        }
        self.file.seek(SeekFrom::Start(self.offset + (index * rows * 4) as u64))?;
        self.shape = vec![rows];
        self.convert(|value| value as u32)
    }

    /// Reads `shape` elements in pieces, so that a large array is in memory once.
    fn convert<T>(&mut self, convert: impl Fn(f64) -> T) -> io::Result<Vec<T>> {
        // Every integer of 32 bits and every float32 is exact in a float64.
        let (width, decode): (usize, fn(&[u8]) -> f64) = match self.kind.as_str() {
            "|u1" => (1, |b| b[0].into()),
            "|i1" => (1, |b| (b[0] as i8).into()),
            "<i4" => (4, |b| i32::from_le_bytes(array(b)).into()),
            "<u4" => (4, |b| u32::from_le_bytes(array(b)).into()),
            "<i8" => (8, |b| i64::from_le_bytes(array(b)) as f64),
            "<f4" => (4, |b| f32::from_le_bytes(array(b)).into()),
            "<f8" => (8, |b| f64::from_le_bytes(array(b))),
            kind => return Err(invalid(&format!("element type `{kind}` is not supported"))),
        };
        let count: usize = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut piece = vec![0; width << 14];
        while values.len() < count {
            let size = piece.len().min((count - values.len()) * width);
            self.file.read_exact(&mut piece[..size])?;
            values.extend(piece[..size].chunks_exact(width).map(|bytes| convert(decode(bytes))));
        }
        Ok(values)
    }
}

/// Writes `array` to a file.
pub(crate) fn write(path: &Path, array: &Array) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let kind = match array.values {
        Values::F32(_) => "<f4",
        Values::F64(_) => "<f8",
        Values::I32(_) => "<i4",
    };
    let shape: String = array.shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (header.len() + 11).next_multiple_of(64) - 10;
    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&(length as u16).to_le_bytes())?;
    writeln!(file, "{header:width$}", width = length - 1)?;
    match &array.values {
        Values::F32(all) => all.iter().try_for_each(|v| file.write_all(&v.to_le_bytes()))?,
        Values::F64(all) => all.iter().try_for_each(|v| file.write_all(&v.to_le_bytes()))?,
        Values::I32(all) => all.iter().try_for_each(|v| file.write_all(&v.to_le_bytes()))?,
    }
    file.flush()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a chunk has the element's width")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> io::Result<&'a str> {
    let found = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    found.map(|(inner, _)| inner).ok_or_else(|| invalid(&format!("header without `{start}`")))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf, process};

    use super::{Float, Npy, write};
    use crate::array::Array;

    fn path(name: &str) -> PathBuf {
        env::temp_dir().join(format!("rosetta-sdk-{}-{name}.npy", process::id()))
    }

    fn stored(name: &str, kind: &str, shape: &str, bytes: &[u8]) -> PathBuf {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        fs::write(path(name), file).unwrap();
        path(name)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let arrays = [
            Array::new([2, 3], vec![0.1f32, -2.0, f32::MAX, 0.0, 5.5, 1e-40]),
            Array::new([1], vec![1.0 / 3.0]),
            Array::new([3], vec![i32::MIN, 0, i32::MAX]),
        ];
        for array in arrays {
            write(&path("again"), &array).unwrap();
            let file = Npy::open(&path("again")).unwrap();
            assert_eq!(file.offset % 64, 0, "NumPy aligns the first element");
            let float = if array.values.dtype() == "float64" { Float::F64 } else { Float::F32 };
            assert_eq!(file.read(None, float, None).unwrap(), array);
        }
        fs::remove_file(path("again")).unwrap();
    }

    #[test]
    fn pixels_are_converted_and_then_divided() {
        let file = stored("pixels", "|u1", "(2, 2)", &[0, 1, 254, 255]);
        let read = |rows, float| Npy::open(&file).unwrap().read(rows, float, Some(255.0)).unwrap();
        assert_eq!(read(Some(1), Float::F32), Array::new([1, 2], vec![0f32, 1f32 / 255f32]));
        let all = vec![0.0, 1.0 / 255.0, 254.0 / 255.0, 1.0];
        assert_eq!(read(None, Float::F64), Array::new([2, 2], all));
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn an_epoch_is_one_row_of_the_order() {
        let bytes: Vec<u8> = [3u32, 1, 2, 7, 0, u32::MAX].map(u32::to_le_bytes).concat();
        let file = stored("order", "<u4", "(2, 3)", &bytes);
        let epoch = |k| Npy::open(&file).unwrap().read_order(k);
        assert_eq!(epoch(1).unwrap(), [7, 0, u32::MAX]);
        assert!(epoch(2).is_err());
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_short_file_is_an_error() {
        let file = stored("short", "<f4", "(2,)", &[0; 7]);
        assert!(Npy::open(&file).unwrap().read(None, Float::F32, None).is_err());
        assert!(Npy::open(&file).unwrap().read(Some(3), Float::F32, None).is_err());
        fs::remove_file(file).unwrap();
    }
}
