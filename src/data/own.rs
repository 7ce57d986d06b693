//! Files of a user's own experiment: checked where they lie, never copied or changed.
//!
//! Digests are kept in the store with size and time of the file, so that large files are hashed once. May
//! not know what a harness does with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::data::npy::{Dtype, Header, shown};
use crate::data::pickle::decode_integers;
use crate::data::sealed::{Entry, create_folder, file_sha256, stamp};
use crate::digest::sha256;
use crate::progress::{Progress, Report};
use crate::publish::publish;
use crate::spec::Experiment;
use crate::yaml;

/// Returns the arrays of an experiment's own files, with their paths.
pub fn arrays(
    root: &Path,
    experiment: &Experiment,
    report: Report,
) -> Result<Vec<(PathBuf, Entry)>> {
    let folder = experiment.path.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for (name, file) in &experiment.spec.data.files {
        let path = std::path::absolute(folder.join(&file.value))?;
        let header = inspect(name, &path);
        let header = header.with_context(|| format!("cannot use `{}`", path.display()));
        let (header, dtype) = header.map_err(|error| {
            yaml::wrong(&experiment.path, &file.referenced, format!("{error:#}"))
        })?;
        let (bytes, modified) = stamp(&path)?;
        let sha256 = known_digest(root, &path, bytes, modified, report)?;
        let divide_by = experiment.spec.data.divide_by.filter(|_| name.starts_with('x'));
        let (name, shape) = (name.clone(), header.shape);
        let file = path.to_string_lossy().into_owned();
        found.push((path, Entry { name, file, dtype, shape, divide_by, bytes, modified, sha256 }));
    }
    let shapes = found.iter().map(|(_, entry)| (entry.name.as_str(), entry.shape.as_slice()));
    check_shapes(&shapes.collect()).with_context(|| format!("data of `{}`", experiment.name()))?;
    Ok(found)
}

/// Returns the header of a file that can be used as it is.
fn inspect(name: &str, path: &Path) -> Result<(Header, Dtype)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    ensure!(file.metadata()?.is_file(), "it is no file");
    let header = Header::read(&mut file)?;
    let dtype = header.dtype()?;
    ensure!(dtype != Dtype::Uint32, "elements of type `<u4` are not supported");
    let wanted = header.start as u64 + header.bytes()?;
    ensure!(size == wanted, "it has {size} bytes but its header means {wanted}: truncated?");
    ensure!(header.shape.first().is_some_and(|rows| *rows > 0), "it has no rows");
    ensure!(!header.shape.contains(&0), "its shape {} has a 0", shown(&header.shape));
    if name.starts_with('y') {
        ensure!(header.shape.len() == 1, "labels have one axis, not {}", shown(&header.shape));
        ensure!(!dtype.is_float(), "labels are whole numbers, not {}", dtype.as_str());
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let labels = decode_integers(dtype, &bytes).unwrap_or_default();
        if let Some(row) = labels.iter().position(|label| *label < 0) {
            bail!("label {} in row {row}; labels count from 0", labels[row]);
        }
    }
    Ok((header, dtype))
}

fn check_shapes(shapes: &BTreeMap<&str, &[usize]>) -> Result<()> {
    for (x, y) in [("x_train", "y_train"), ("x_test", "y_test")] {
        if let (Some(x_shape), Some(y_shape)) = (shapes.get(x), shapes.get(y)) {
            let (inputs, labels) = (x_shape[0], y_shape[0]);
            ensure!(inputs == labels, "`{x}` has {inputs} rows but `{y}` has {labels}");
        }
    }
    if let (Some(train), Some(test)) = (shapes.get("x_train"), shapes.get("x_test")) {
        let (train_row, test_row) = (shown(&train[1..]), shown(&test[1..]));
        let is_same = train_row == test_row;
        ensure!(is_same, "rows of `x_train` are {train_row}, of `x_test` {test_row}");
    }
    Ok(())
}

/// A digest that was computed before.
#[derive(Serialize, Deserialize)]
struct Remembered {
    path: PathBuf,
    bytes: u64,
    modified: u64,
    sha256: String,
}

fn known_digest(
    root: &Path,
    path: &Path,
    bytes: u64,
    modified: u64,
    report: Report,
) -> Result<String> {
    let folder = root.join("own");
    let key = sha256(path.as_os_str().as_encoded_bytes());
    let note = folder.join(format!("{}.json", &key[..32]));
    let known = fs::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let fits = |known: &Remembered| {
        known.path == path && known.bytes == bytes && known.modified == modified
    };
    if let Some(known) = known.filter(fits) {
        return Ok(known.sha256);
    }
    report(Progress::Doing(format!("hashing {}", path.display())));
    let sha256 = file_sha256(path)?;
    let path = path.to_owned();
    let known = Remembered { path, bytes, modified, sha256: sha256.clone() };
    // A store that cannot be written to works all the same: it hashes again next time.
    if let (Ok(()), Ok(text)) = (create_folder(&folder), serde_json::to_vec(&known)) {
        let _ = publish(&note, &text);
    }
    Ok(sha256)
}
