//! The types of arrays that rosetta stores and hands to harnesses. Must not depend on files.

use serde::{Deserialize, Serialize};

/// Type of a stored array's elements, little-endian.
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
    /// Each type with its name and its `descr`, as NumPy has them.
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

    /// Returns the type as a header states it.
    pub(super) fn descr(self) -> &'static str {
        self.row().2
    }

    /// Returns the type that NumPy calls by this name.
    pub(super) fn named(name: &str) -> Option<Dtype> {
        Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
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
