//! ResNet-50 weights in the names of torchvision or of Hugging Face, without the classifier.
//!
//! Must not depend on where arrays are kept.

use std::fs::File;

use anyhow::{Result, ensure};

use crate::data::import::tensors::{self, Weight};
use crate::data::import::{Imported, naming};
use crate::data::npy::Dtype;
use crate::data::resnet50;

pub fn read(file: &mut File) -> Result<Vec<Imported>> {
    let wanted = resnet50::shapes();
    let mut found = tensors::read(file, &|shapes| naming::assign(shapes, &wanted))?;
    let mut arrays = Vec::new();
    for (name, shape) in wanted {
        let Some(Weight { bytes }) = found.remove(&name) else { continue };
        let mut numbers = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
        ensure!(
            numbers.clone().all(f32::is_finite),
            "tensor `{name}` has numbers that are not finite"
        );
        ensure!(
            !name.ends_with(".running_var") || numbers.all(|variance| variance >= 0.0),
            "tensor `{name}` has negative numbers; a variance has none"
        );
        arrays.push(Imported { name, dtype: Dtype::Float32, shape, divide_by: None, bytes });
    }
    Ok(arrays)
}
