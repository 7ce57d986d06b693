//! The header of a `.npy` file, read strictly. Must not depend on what an array means.

use std::io::Read;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::data::npy::{ALLOWED, Dtype, Element};

pub const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own limit for the header is 10,000 characters.
const LONGEST_HEADER: usize = 64 * 1024;

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
        ensure!(&begin[..6] == MAGIC, "not a .npy file: its first bytes are not `\\x93NUMPY`");
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
        let text = String::from_utf8(text).map_err(|_| anyhow!("the .npy header is not a text"))?;
        let header = Header::parse(&text).context("the .npy header cannot be read")?;
        Ok(Header { start: 8 + width + length, ..header })
    }

    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Header> {
        let dict = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut rest = dict.ok_or_else(|| anyhow!("it is not a dictionary"))?.trim();
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
                    let (sizes, after) = tuple.ok_or_else(|| anyhow!("`shape` is not a tuple"))?;
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

    /// Returns the type of the elements, which may be any numbers.
    pub fn element(&self) -> Result<Element> {
        let known = Element::from_descr(&self.descr);
        known.ok_or_else(|| {
            anyhow!("elements of type `{}` are not supported; {ALLOWED}", self.descr)
        })
    }

    /// Returns the type of the elements, if they lie in the file as rosetta stores them.
    pub fn dtype(&self) -> Result<Dtype> {
        let element = self.element()?;
        ensure!(!self.is_fortran, "Fortran order, where C order is stored");
        element.same_bytes().ok_or_else(|| anyhow!("{element} is not a stored type"))
    }

    /// Returns the number of bytes that the elements take.
    pub fn bytes(&self) -> Result<u64> {
        count_bytes(self.element()?.size(), &self.shape)
    }
}

/// Returns the size of a stored array, or an error where it cannot be.
pub fn byte_count(dtype: Dtype, shape: &[usize]) -> Result<u64> {
    count_bytes(dtype.size(), shape)
}

fn count_bytes(size: usize, shape: &[usize]) -> Result<u64> {
    let bytes = shape.iter().try_fold(size, |bytes, axis| bytes.checked_mul(*axis));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok());
    let bytes = bytes.ok_or_else(|| anyhow!("shape {} is too large", shown(shape)))?;
    Ok(bytes as u64)
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
    sizes.collect::<Result<_, _>>().context("`shape` has a size that is not a number")
}

#[cfg(test)]
mod tests {
    use super::Header;
    use crate::data::npy::Dtype;
    use crate::data::npy::write::header;

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
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "not a number"),
            ("{'evil': 1}", "unknown key `evil`"),
            ("[]", "not a dictionary"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999)}";
        assert!(parse(huge).unwrap().bytes().is_err());
        // Brackets without end take no more time than their number.
        assert!(parse(&format!("{{'shape': {}", "[".repeat(10_000))).is_err());
    }

    #[test]
    fn a_header_tells_what_is_stored_and_what_is_only_read() {
        let cases = [
            ("<f4", "False", Some(Dtype::Float32)),
            ("|u1", "False", Some(Dtype::Uint8)),
            ("<f4", "True", None),
            (">f4", "False", None),
            ("|b1", "False", None),
            ("<i2", "False", None),
        ];
        for (descr, order, stored) in cases {
            let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (2, 3)}}");
            let header = parse(&text).unwrap();
            assert_eq!(header.dtype().ok(), stored, "{text}");
            assert_eq!(header.bytes().unwrap() as usize, 6 * header.element().unwrap().size());
        }
        let object = parse("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}").unwrap();
        let error = object.element().unwrap_err().to_string();
        assert!(
            error.starts_with("elements of type `|O` are not supported; bool, int8"),
            "{error}"
        );
    }
}
