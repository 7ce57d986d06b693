//! Elements as files have them: every number that NumPy writes, in either byte order.
//!
//! Must not depend on what the numbers mean.

use std::fmt;

use crate::data::npy::Dtype;

/// The types that are read, as an error lists them.
pub const ALLOWED: &str = "bool, int8 to int64, uint8 to uint64 and float16 to float64 are read";

/// Type of a file's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    kind: ElementKind,
    is_big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementKind {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float16,
    Float32,
    Float64,
}

impl ElementKind {
    /// Each type with NumPy's letter and size, and its name.
    const ALL: [(ElementKind, &'static str, &'static str); 12] = [
        (ElementKind::Bool, "b1", "bool"),
        (ElementKind::Int8, "i1", "int8"),
        (ElementKind::Int16, "i2", "int16"),
        (ElementKind::Int32, "i4", "int32"),
        (ElementKind::Int64, "i8", "int64"),
        (ElementKind::Uint8, "u1", "uint8"),
        (ElementKind::Uint16, "u2", "uint16"),
        (ElementKind::Uint32, "u4", "uint32"),
        (ElementKind::Uint64, "u8", "uint64"),
        (ElementKind::Float16, "f2", "float16"),
        (ElementKind::Float32, "f4", "float32"),
        (ElementKind::Float64, "f8", "float64"),
    ];

    fn row(self) -> &'static (ElementKind, &'static str, &'static str) {
        Self::ALL.iter().find(|row| row.0 == self).expect("every type has a row")
    }
}

/// A number that is not what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Odd {
    /// Which element, in the order of the bytes.
    pub index: usize,
    pub number: String,
}

impl Element {
    /// Returns the type that a header's `descr` means, if its elements are numbers.
    pub fn from_descr(descr: &str) -> Option<Element> {
        let (order, kind) = match descr.split_at_checked(1)? {
            (order @ ("<" | ">" | "|" | "="), kind) => (order, kind),
            _ => ("=", descr),
        };
        let row = ElementKind::ALL.iter().find(|row| row.1 == kind)?;
        let element = Element { kind: row.0, is_big_endian: order == ">" };
        // What has several bytes must say their order.
        let is_stated = order == "<" || order == ">";
        (element.size() == 1 || is_stated).then_some(element)
    }

    /// Returns the size in bytes.
    pub fn size(self) -> usize {
        match self.kind {
            ElementKind::Bool | ElementKind::Int8 | ElementKind::Uint8 => 1,
            ElementKind::Int16 | ElementKind::Uint16 | ElementKind::Float16 => 2,
            ElementKind::Int32 | ElementKind::Uint32 | ElementKind::Float32 => 4,
            ElementKind::Int64 | ElementKind::Uint64 | ElementKind::Float64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self.kind, ElementKind::Float16 | ElementKind::Float32 | ElementKind::Float64)
    }

    /// Returns the type as which rosetta stores elements of exactly these bytes, if it does.
    pub fn same_bytes(self) -> Option<Dtype> {
        let is_little = !self.is_big_endian || self.size() == 1;
        Dtype::named(self.kind.row().2).filter(|_| is_little)
    }

    /// Returns the type of an input array that holds all numbers of this type; of uint64 all below 2^63.
    pub fn stored_as(self) -> Dtype {
        match self.kind {
            ElementKind::Bool | ElementKind::Uint8 => Dtype::Uint8,
            ElementKind::Int8 | ElementKind::Int16 | ElementKind::Uint16 | ElementKind::Int32 => {
                Dtype::Int32
            }
            ElementKind::Uint32 | ElementKind::Int64 | ElementKind::Uint64 => Dtype::Int64,
            ElementKind::Float16 | ElementKind::Float32 => Dtype::Float32,
            ElementKind::Float64 => Dtype::Float64,
        }
    }

    /// Returns the elements of a floating type.
    pub fn floats(self, bytes: &[u8]) -> Option<Vec<f64>> {
        let big = self.is_big_endian;
        match self.kind {
            ElementKind::Float16 => Some(decode(bytes, big, |b| float16(u16::from_le_bytes(b)))),
            ElementKind::Float32 => Some(decode(bytes, big, |b| f64::from(f32::from_le_bytes(b)))),
            ElementKind::Float64 => Some(decode(bytes, big, f64::from_le_bytes)),
            _ => None,
        }
    }

    /// Returns the elements as whole numbers, or the first that is not one or is beyond an int64.
    pub fn integers(self, bytes: &[u8]) -> Result<Vec<i64>, Odd> {
        let big = self.is_big_endian;
        match self.kind {
            ElementKind::Bool => Ok(bytes.iter().map(|byte| i64::from(*byte != 0)).collect()),
            ElementKind::Int8 => Ok(decode(bytes, big, |b| i64::from(i8::from_le_bytes(b)))),
            ElementKind::Int16 => Ok(decode(bytes, big, |b| i64::from(i16::from_le_bytes(b)))),
            ElementKind::Int32 => Ok(decode(bytes, big, |b| i64::from(i32::from_le_bytes(b)))),
            ElementKind::Int64 => Ok(decode(bytes, big, i64::from_le_bytes)),
            ElementKind::Uint8 => Ok(decode(bytes, big, |b| i64::from(u8::from_le_bytes(b)))),
            ElementKind::Uint16 => Ok(decode(bytes, big, |b| i64::from(u16::from_le_bytes(b)))),
            ElementKind::Uint32 => Ok(decode(bytes, big, |b| i64::from(u32::from_le_bytes(b)))),
            ElementKind::Uint64 => narrowed(&decode(bytes, big, u64::from_le_bytes)),
            ElementKind::Float16 | ElementKind::Float32 | ElementKind::Float64 => {
                whole(&self.floats(bytes).unwrap_or_default())
            }
        }
    }

    /// Returns the elements as bytes of a stored type, or the first that it cannot hold.
    pub fn converted(self, bytes: &[u8], to: Dtype) -> Result<Vec<u8>, Odd> {
        match (to, self.floats(bytes)) {
            (Dtype::Float32, Some(floats)) => Ok(encode(&floats, |x| (*x as f32).to_le_bytes())),
            (Dtype::Float64, Some(floats)) => Ok(encode(&floats, |x| x.to_le_bytes())),
            (Dtype::Float32 | Dtype::Float64, None) => {
                Err(Odd { index: 0, number: self.to_string() })
            }
            (Dtype::Int64, _) => Ok(encode(&self.integers(bytes)?, |n| n.to_le_bytes())),
            (Dtype::Int32, _) => self.fitting(bytes, i32::to_le_bytes),
            (Dtype::Uint32, _) => self.fitting(bytes, u32::to_le_bytes),
            (Dtype::Uint8, _) => self.fitting(bytes, u8::to_le_bytes),
        }
    }

    fn fitting<T: TryFrom<i64>, const N: usize>(
        self,
        bytes: &[u8],
        to_bytes: impl Fn(T) -> [u8; N],
    ) -> Result<Vec<u8>, Odd> {
        let integers = self.integers(bytes)?;
        let mut out = Vec::with_capacity(integers.len() * N);
        for (index, integer) in integers.into_iter().enumerate() {
            match T::try_from(integer) {
                Ok(fitting) => out.extend(to_bytes(fitting)),
                Err(_) => return Err(Odd { index, number: integer.to_string() }),
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.is_big_endian && self.size() > 1 { "big-endian " } else { "" };
        write!(f, "{order}{}", self.kind.row().2)
    }
}

/// Turns bytes into numbers; `value` is given them little-endian.
fn decode<const N: usize, T>(
    bytes: &[u8],
    is_big_endian: bool,
    value: impl Fn([u8; N]) -> T,
) -> Vec<T> {
    let chunks = bytes.as_chunks::<N>().0.iter();
    if !is_big_endian {
        return chunks.map(|chunk| value(*chunk)).collect();
    }
    let mut values = Vec::with_capacity(bytes.len() / N);
    for chunk in chunks {
        let mut turned = *chunk;
        turned.reverse();
        values.push(value(turned));
    }
    values
}

fn encode<const N: usize, T>(values: &[T], to_bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to_bytes).collect()
}

fn narrowed(numbers: &[u64]) -> Result<Vec<i64>, Odd> {
    let mut integers = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let integer = i64::try_from(*number);
        integers.push(integer.map_err(|_| Odd { index, number: number.to_string() })?);
    }
    Ok(integers)
}

fn whole(floats: &[f64]) -> Result<Vec<i64>, Odd> {
    // Beyond 2^53 a float64 no longer tells neighbouring whole numbers apart.
    let limit = (1u64 << 53) as f64;
    let odd = floats.iter().position(|float| float.fract() != 0.0 || float.abs() > limit);
    match odd {
        Some(index) => Err(Odd { index, number: floats[index].to_string() }),
        None => Ok(floats.iter().map(|float| *float as i64).collect()),
    }
}

/// Returns the number of IEEE 754's binary16: a sign, 5 bits of exponent with bias 15, 10 bits of fraction.
fn float16(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::{Element, ElementKind, Odd};
    use crate::data::npy::Dtype;

    fn element(descr: &str) -> Element {
        Element::from_descr(descr).unwrap()
    }

    #[test]
    fn every_number_of_numpy_is_known() {
        for (_, letter, name) in ElementKind::ALL {
            for order in ["<", ">"] {
                let found = element(&format!("{order}{letter}"));
                assert!(found.to_string().ends_with(name));
                assert_eq!(found.to_string().starts_with("big"), order == ">" && found.size() > 1);
            }
        }
        assert_eq!(element("|u1"), element("u1"));
        for descr in ["|O", "<U3", "<c8", "<f16", "<M8", "|i4", "i4", "", "é", "<"] {
            assert_eq!(Element::from_descr(descr), None, "{descr}");
        }
    }

    #[test]
    fn whole_numbers_of_every_width_and_order() {
        let cases: [(&str, &[u8], &[i64]); 12] = [
            ("|b1", &[0, 1, 255], &[0, 1, 1]),
            ("|i1", &[255, 2], &[-1, 2]),
            ("<i2", &[255, 255, 2, 0], &[-1, 2]),
            (">i2", &[255, 255, 0, 2], &[-1, 2]),
            ("<u2", &[255, 255], &[65_535]),
            (">i4", &[255, 255, 255, 254], &[-2]),
            ("<u4", &[255; 4], &[4_294_967_295]),
            (">i8", &[0, 0, 0, 0, 0, 0, 1, 0], &[256]),
            (">u8", &[0, 0, 0, 0, 0, 0, 0, 7], &[7]),
            ("<f2", &[0x00, 0x3c, 0x00, 0xc0], &[1, -2]),
            (">f4", &[0x40, 0x40, 0, 0], &[3]),
            ("<f8", &[0, 0, 0, 0, 0, 0, 0, 0x40], &[2]),
        ];
        for (descr, bytes, expected) in cases {
            assert_eq!(element(descr).integers(bytes).as_deref(), Ok(expected), "{descr}");
        }
    }

    #[test]
    fn what_is_not_a_whole_number_is_named() {
        let half = [2.0f32, 1.5].map(f32::to_le_bytes).concat();
        let nan = f64::NAN.to_be_bytes();
        let cases: [(&str, &[u8], usize, &str); 4] = [
            ("<f4", &half, 1, "1.5"),
            (">f8", &nan, 0, "NaN"),
            ("<u8", &[255; 8], 0, "18446744073709551615"),
            ("<f2", &[0x00, 0x7c], 0, "inf"),
        ];
        for (descr, bytes, index, number) in cases {
            let odd = Odd { index, number: number.to_owned() };
            assert_eq!(element(descr).integers(bytes), Err(odd), "{descr}");
        }
    }

    #[test]
    fn all_numbers_of_float16_are_read() {
        let cases = [
            (0x0000, 0.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x3555, 0.333_251_953_125),
            (0x7bff, 65_504.0),
            (0xfc00, f64::NEG_INFINITY),
            (0xc500, -5.0),
        ];
        for (bits, number) in cases {
            let bits: u16 = bits;
            assert_eq!(element("<f2").floats(&bits.to_le_bytes()), Some(vec![number]));
            assert_eq!(element(">f2").floats(&bits.to_be_bytes()), Some(vec![number]));
        }
        assert!(element("<f2").floats(&[0x01, 0x7e]).unwrap()[0].is_nan());
    }

    #[test]
    fn stored_types_hold_what_was_read() {
        let cases: [(&str, &[u8], Dtype, &[u8]); 6] = [
            ("<f2", &[0x00, 0x3c], Dtype::Float32, &[0, 0, 0x80, 0x3f]),
            (">f4", &[0x3f, 0x80, 0, 0], Dtype::Float32, &[0, 0, 0x80, 0x3f]),
            ("|b1", &[1, 0], Dtype::Uint8, &[1, 0]),
            ("|i1", &[255], Dtype::Int32, &[255; 4]),
            (">u2", &[1, 2], Dtype::Int32, &[2, 1, 0, 0]),
            ("<u4", &[255; 4], Dtype::Int64, &[255, 255, 255, 255, 0, 0, 0, 0]),
        ];
        for (descr, bytes, dtype, expected) in cases {
            assert_eq!(element(descr).stored_as(), dtype, "{descr}");
            assert_eq!(element(descr).converted(bytes, dtype).as_deref(), Ok(expected), "{descr}");
        }
        let odd = Odd { index: 0, number: "256".to_owned() };
        assert_eq!(element("<i2").converted(&[0, 1], Dtype::Uint8), Err(odd));
    }

    #[test]
    fn the_same_bytes_are_kept() {
        assert_eq!(element("<f4").same_bytes(), Some(Dtype::Float32));
        assert_eq!(element(">u1").same_bytes(), Some(Dtype::Uint8));
        for descr in [">f4", "<f2", "|b1", "<i2"] {
            assert_eq!(element(descr).same_bytes(), None, "{descr}");
        }
    }
}
