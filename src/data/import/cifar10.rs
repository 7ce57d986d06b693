//! CIFAR-10 as Krizhevsky published it: the binary and the python version.
//!
//! Both hold the same: images as 3,072 bytes in C, H, W order, and a label. Must not depend on where arrays are kept.

use std::fs::File;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::data::archive::{Files, first_bytes, read_tar_gz};
use crate::data::import::{Imported, int32};
use crate::data::npy::{Dtype, Odd, shown};
use crate::data::pickle::{Dialect, Pickled, PickledValue};
use crate::data::signature;

/// The archive unpacks to 186 MB.
const LIMIT: u64 = 256 << 20;
const PIXELS: usize = 3 * 32 * 32;
const ROWS_PER_BATCH: usize = 10_000;
const CLASSES: i64 = 10;

/// Images and labels of one part.
#[derive(Default)]
struct ArchivePart {
    pixels: Vec<u8>,
    labels: Vec<i32>,
}

pub fn read(file: &mut File, is_genuine: bool) -> Result<Vec<Imported>> {
    let begin = first_bytes(file)?;
    if !begin.starts_with(b"\x1f\x8b") {
        return Err(signature::not_a("a .tar.gz archive", &begin));
    }
    let train = (1..=5).map(|number| format!("data_batch_{number}"));
    let batches = train.chain(["test_batch".to_owned()]).collect::<Vec<_>>();
    let wanted = batches.iter().flat_map(|name| [name.clone(), format!("{name}.bin")]);
    let mut unpacked = read_tar_gz(file, &wanted.collect::<Vec<_>>(), LIMIT)?;
    let held = unpacked.held();
    let files = &mut unpacked.files;
    let (mut train, mut test) = (ArchivePart::default(), ArchivePart::default());
    for name in &batches {
        let part = if name == "test_batch" { &mut test } else { &mut train };
        let count = add_batch(files, name, part)?;
        let is_complete = count == ROWS_PER_BATCH;
        ensure!(is_complete || !is_genuine, "`{name}` has {count} images, not {ROWS_PER_BATCH}");
        ensure!(count <= ROWS_PER_BATCH, "`{name}` has {count} images, more than {ROWS_PER_BATCH}");
    }
    for (part, name) in [(&train, "training"), (&test, "test")] {
        ensure!(
            !part.labels.is_empty(),
            "no {name} images; it needs `data_batch_1` and `test_batch`{held}{}",
            perhaps_100(&held)
        );
    }
    let brightest = train.pixels.iter().chain(&test.pixels).max();
    ensure!(
        is_genuine || brightest > Some(&1),
        "no pixel is above 1: divided by 255 already? Pixels from 0 to 255 are expected"
    );
    Ok([train.into_arrays("x_train", "y_train"), test.into_arrays("x_test", "y_test")]
        .into_iter()
        .flatten()
        .collect())
}

fn add_batch(files: &mut Files, name: &str, part: &mut ArchivePart) -> Result<usize> {
    let before = part.labels.len();
    let binary = files.remove(&format!("{name}.bin"));
    match (binary, files.remove(name)) {
        (Some(bytes), None) => part.add_binary(&bytes),
        (None, Some(bytes)) => part.add_pickle(&bytes),
        (Some(_), Some(_)) => bail!("both `{name}` and `{name}.bin`; one version is expected"),
        (None, None) => Ok(()),
    }
    .with_context(|| format!("`{name}`"))?;
    Ok(part.labels.len() - before)
}

impl ArchivePart {
    fn add_binary(&mut self, bytes: &[u8]) -> Result<()> {
        let record = PIXELS + 1;
        ensure!(
            !bytes.is_empty() && bytes.len().is_multiple_of(record),
            "{} bytes are not a whole number of records of {record}",
            bytes.len()
        );
        for record in bytes.chunks_exact(record) {
            self.add_label(i64::from(record[0]))?;
            self.pixels.extend_from_slice(&record[1..]);
        }
        Ok(())
    }

    fn add_pickle(&mut self, bytes: &[u8]) -> Result<()> {
        let pickled = Pickled::load(bytes, Dialect::Numpy)?;
        let found = |key| {
            let value = pickled.get(pickled.root, key);
            value.ok_or_else(|| no_key(&pickled, key))
        };
        let (images, labels) = (found("data")?, found("labels")?);
        let images = pickled.array(images);
        let images = images.ok_or_else(|| anyhow!("`data` is not an array"))?;
        let (element, bytes) = pickled
            .elements(images)
            .ok_or_else(|| anyhow!("`data` holds `{}`, not numbers", images.descr))?;
        ensure!(
            matches!(images.shape[..], [_, PIXELS]),
            "`data` is {} of {element}; (n, {PIXELS}) of numbers from 0 to 255 is expected",
            shown(&images.shape)
        );
        let pixels = element.converted(&bytes, Dtype::Uint8).map_err(|Odd { index, number }| {
            let row = index / PIXELS;
            anyhow!(
                "image {row} of `data` ({element}) has {number}: scaled already? \
                 Whole numbers from 0 to 255 are expected"
            )
        })?;
        let labels = pickled.integers(labels).ok_or_else(|| not_labels(&pickled, labels))?;
        ensure!(
            labels.len() == images.shape[0],
            "{} labels for {} images",
            labels.len(),
            images.shape[0]
        );
        labels.iter().try_for_each(|label| self.add_label(*label))?;
        self.pixels.extend(pixels);
        Ok(())
    }

    fn add_label(&mut self, label: i64) -> Result<()> {
        ensure!((0..CLASSES).contains(&label), "label {label}; 0 to 9 are expected");
        self.labels.push(label as i32);
        Ok(())
    }

    fn into_arrays(self, x: &str, y: &str) -> [Imported; 2] {
        let rows = self.labels.len();
        let images = Imported {
            name: x.to_owned(),
            dtype: Dtype::Uint8,
            shape: vec![rows, 3, 32, 32],
            divide_by: Some(255.0),
            bytes: self.pixels,
        };
        [images, int32(y, vec![rows], self.labels.into_iter())]
    }
}

fn no_key(pickled: &Pickled, key: &str) -> anyhow::Error {
    let held = pickled.held(pickled.root);
    anyhow!("no dictionary with `{key}`; {held}{}", perhaps_100(&held))
}

fn not_labels(pickled: &Pickled, labels: PickledValue) -> anyhow::Error {
    match pickled.array(labels) {
        Some(array) if array.shape.len() == 2 => {
            anyhow!(
                "`labels` are {}: one-hot? One number per image is expected",
                shown(&array.shape)
            )
        }
        _ => anyhow!("`labels` are not whole numbers"),
    }
}

/// Returns a guess where files or keys are those of the sister set.
fn perhaps_100(held: &str) -> &'static str {
    let is_hundred = held.contains("cifar-100") || held.contains("fine_labels");
    if is_hundred { ": CIFAR-100?" } else { "" }
}
