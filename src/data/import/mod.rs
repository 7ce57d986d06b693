//! Archives as their authors published them → neutral arrays in memory. Nothing here writes.
//!
//! Must not depend on where arrays are kept, or whether an archive's digest is the authors'.

use std::fs::File;

use anyhow::{Result, bail};

use crate::data::known::DataKind;
use crate::data::npy::Dtype;

mod cifar10;
mod imdb;
mod naming;
mod resnet50;
mod tensors;

/// One array of an archive.
pub struct Imported {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub divide_by: Option<f64>,
    pub bytes: Vec<u8>,
}

/// Returns the arrays of an archive. Whatever is not `is_genuine` may be a subset, and may hold what it should not.
pub fn read(kind: DataKind, file: &mut File, is_genuine: bool) -> Result<Vec<Imported>> {
    match kind {
        DataKind::Cifar10 => cifar10::read(file, is_genuine),
        DataKind::Imdb => imdb::read(file, is_genuine),
        DataKind::Resnet50 => resnet50::read(file),
        DataKind::RandomImages => bail!("random images are made, not imported"),
    }
}

/// Returns whole numbers as an int32 array of these axes.
fn int32(name: &str, shape: Vec<usize>, values: impl Iterator<Item = i32>) -> Imported {
    let bytes = values.flat_map(i32::to_le_bytes).collect();
    Imported { name: name.to_owned(), dtype: Dtype::Int32, shape, divide_by: None, bytes }
}
