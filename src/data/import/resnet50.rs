//! ResNet-50 weights in torchvision's naming, without the classifier.
//!
//! May not know where arrays are kept.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Result, bail, ensure};

use crate::data::import::{Imported, tensors};
use crate::data::npy::{Dtype, shown};
use crate::data::resnet50::layers;

pub fn read(file: &mut File) -> Result<Vec<Imported>> {
    let layers = layers();
    let shapes = layers.iter().map(|layer| (layer.name.as_str(), &layer.shape));
    let shapes = shapes.collect::<BTreeMap<_, _>>();
    let mut found = tensors::read(file, &|name| shapes.contains_key(name))?;
    let missing = layers.iter().filter(|layer| !found.contains_key(&layer.name));
    let missing = missing.map(|layer| layer.name.as_str()).collect::<Vec<_>>();
    if let Some(first) = missing.first() {
        let (count, all) = (missing.len(), layers.len());
        bail!(
            "{count} of {all} tensors are missing, `{first}` first; torchvision's names are expected"
        );
    }
    let mut arrays = Vec::new();
    for layer in &layers {
        let Some(weight) = found.remove(&layer.name) else { continue };
        let name = layer.name.clone();
        let (is, wanted) = (shown(&weight.shape), shown(&layer.shape));
        ensure!(weight.shape == layer.shape, "tensor `{name}` is {is}, not {wanted}");
        let finite =
            |four: &[u8]| four.try_into().is_ok_and(|four| f32::from_le_bytes(four).is_finite());
        ensure!(
            weight.bytes.chunks_exact(4).all(finite),
            "tensor `{name}` has numbers that are not finite"
        );
        let (dtype, shape) = (Dtype::Float32, weight.shape);
        arrays.push(Imported { name, dtype, shape, divide_by: None, bytes: weight.bytes });
    }
    Ok(arrays)
}
