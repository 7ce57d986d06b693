//! The folder that holds all arrays, and what it hands out. Must not depend on how arrays come into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::data::known::{DataKind, Known};
use crate::data::manifest::{self, ArrayEntry, Manifest, Origin};
use crate::data::npy::Dtype;
use crate::data::twin;
use crate::hint::{Hinted, hinted};
use crate::spec::Source;

/// Recipe of arrays that came out of an archive: raised when an importer gives other arrays.
pub(super) const IMPORT_RECIPE: &str = "import 1";

/// The kinds of a data set that may be stored beside each other.
pub(super) const SOURCES: [Source; 3] = [Source::Real, Source::Unverified, Source::Synthetic];

/// The folder that holds data sets, weights and orders.
#[derive(Debug, Clone)]
pub struct DataStore {
    pub(super) root: PathBuf,
    /// Sizes of twins; tests make small ones.
    pub(super) sizes: fn(DataKind) -> [usize; 2],
}

/// The arrays of an experiment, ready to be read.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: String,
    pub source: Source,
    pub arrays: BTreeMap<String, ArrayFile>,
    /// SHA-256 over the digests of the arrays.
    pub digest: String,
}

/// One `.npy` file: C order, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayFile {
    pub path: PathBuf,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    /// Values are divided by this number when they are loaded.
    pub divide_by: Option<f64>,
}

/// Initial weights, `folder/NAME.npy` in float32.
#[derive(Debug, Clone)]
pub struct Weights {
    pub folder: PathBuf,
    /// In the order of the forward pass; empty when the experiment has none.
    pub names: Vec<String>,
    pub digest: String,
    /// Where imported weights came from; `Synthetic` for made ones.
    pub source: Source,
}

/// Row numbers of each epoch: uint32 (epochs, rows).
#[derive(Debug, Clone)]
pub struct BatchOrder {
    pub path: PathBuf,
    pub digest: String,
}

/// What the store knows and has of one name.
#[derive(Debug)]
pub struct DataStatus {
    pub known: &'static Known,
    pub stored: Vec<StoredData>,
    /// Folders that are there but cannot be used, and why.
    pub damaged: Vec<String>,
}

/// One sealed folder.
#[derive(Debug, Clone)]
pub struct StoredData {
    pub name: String,
    pub source: Source,
    pub folder: PathBuf,
    pub bytes: u64,
    pub digest: String,
    /// The archive that it was imported from.
    pub archive: Option<Origin>,
    /// Names and shapes.
    pub arrays: Vec<(String, Vec<usize>)>,
}

impl DataStore {
    /// Returns the store in a folder, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> DataStore {
        DataStore { root: root.into(), sizes: twin::sizes }
    }

    /// Returns the folder of a data set from a source.
    pub(super) fn folder(&self, known: &Known, source: Source) -> PathBuf {
        self.root.join(known.name).join(source.as_str())
    }

    /// Returns what was imported from a source, if it is whole and of this rosetta.
    pub(super) fn imported(&self, known: &Known, source: Source) -> Result<Option<Manifest>> {
        let found = manifest::trusted(&self.folder(known, source)).map_err(|error| {
            let message = format!("{} `{}` is damaged", source.as_str(), known.name);
            error.context(Hinted { message, hints: vec![known.cure(source)] })
        })?;
        match found {
            Some(manifest) if manifest.recipe != IMPORT_RECIPE => {
                let message = format!(
                    "{} `{}` was imported by another version of rosetta",
                    source.as_str(),
                    known.name
                );
                Err(hinted(message, known.cure(source)))
            }
            found => Ok(found),
        }
    }
}

/// Returns the arrays of a sealed data set.
pub(super) fn dataset(folder: &Path, manifest: Manifest) -> Dataset {
    let files = manifest.arrays.into_iter().map(|entry| {
        let path = folder.join(&entry.file);
        array_file((entry, path))
    });
    let (name, source, digest) = (manifest.name, manifest.source, manifest.digest);
    Dataset { name, source, arrays: files.collect(), digest }
}

/// Returns an array under its name.
pub(super) fn array_file((entry, path): (ArrayEntry, PathBuf)) -> (String, ArrayFile) {
    let ArrayEntry { name, shape, dtype, divide_by, .. } = entry;
    (name, ArrayFile { path, shape, dtype, divide_by })
}

/// Returns the weights of a sealed folder.
pub(super) fn initial_weights(folder: PathBuf, manifest: Manifest) -> Weights {
    let names = manifest.arrays.into_iter().map(|entry| entry.name).collect();
    Weights { folder, names, digest: manifest.digest, source: manifest.source }
}

/// Returns what is said of a sealed folder.
pub(super) fn stored(folder: PathBuf, manifest: Manifest) -> StoredData {
    let bytes = manifest.arrays.iter().map(|entry| entry.bytes).sum();
    let Manifest { name, source, archive, digest, arrays, .. } = manifest;
    let arrays = arrays.into_iter().map(|entry| (entry.name, entry.shape)).collect();
    StoredData { name, source, folder, bytes, digest, archive, arrays }
}
