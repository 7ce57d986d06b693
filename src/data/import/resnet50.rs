//! ResNet-50 weights in torchvision's naming, without the classifier.
//!
//! May not know where arrays are kept.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Result, bail, ensure};

use crate::data::import::Imported;
use crate::data::import::tensors::{self, Weight};
use crate::data::npy::{Dtype, shown};
use crate::data::resnet50;

pub fn read(file: &mut File) -> Result<Vec<Imported>> {
    let wanted = resnet50::shapes();
    let shapes = wanted.iter().map(|(name, shape)| (name.as_str(), shape));
    let shapes = shapes.collect::<BTreeMap<_, _>>();
    let mut found = tensors::read(file, &|name| shapes.contains_key(name))?;
    let missing = wanted.iter().filter(|(name, _)| !found.contains_key(name));
    let missing = missing.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    if let Some(first) = missing.first() {
        let (count, all) = (missing.len(), wanted.len());
        bail!(
            "{count} of {all} tensors are missing, `{first}` first; torchvision's names are expected"
        );
    }
    let mut arrays = Vec::new();
    for (name, shape) in wanted {
        let Some(Weight { shape: is, bytes }) = found.remove(&name) else { continue };
        ensure!(is == shape, "tensor `{name}` is {}, not {}", shown(&is), shown(&shape));
        let finite =
            |four: &[u8]| four.try_into().is_ok_and(|four| f32::from_le_bytes(four).is_finite());
        ensure!(
            bytes.chunks_exact(4).all(finite),
            "tensor `{name}` has numbers that are not finite"
        );
        arrays.push(Imported { name, dtype: Dtype::Float32, shape, divide_by: None, bytes });
    }
    Ok(arrays)
}
