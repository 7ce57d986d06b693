//! Files of a user's own experiment: checked and used where they lie; a file in another type or order than harnesses
//! read is converted once, into the store, and itself never changed.
//!
//! Digests are kept in the store with size and time of the file, so that large files are hashed once. Must not depend
//! on what a harness does with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::data::archive::first_bytes;
use crate::data::manifest::{ArrayEntry, file_sha256, stamp};
use crate::data::npy::{Dtype, Element, Header, MAGIC, Odd, Writer, in_c_order, shown};
use crate::data::sealed::{self, ArrayPlan, create_folder};
use crate::data::signature;
use crate::digest::sha256;
use crate::progress::{Progress, Report};
use crate::publish::publish;
use crate::regular;
use crate::spec::{Experiment, Source};
use crate::yaml;

/// Version of the conversion: raised when it gives other arrays.
const RECIPE: &str = "own 1";
/// How many elements are converted at a time.
const PIECE: usize = 1 << 16;

/// Returns the arrays of an experiment's own files, with their paths.
pub fn arrays(
    root: &Path,
    experiment: &Experiment,
    report: Report,
) -> Result<Vec<(PathBuf, ArrayEntry)>> {
    let folder = experiment.path.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for (name, file) in &experiment.spec.data.files {
        let path = std::path::absolute(folder.join(&file.value))?;
        let array = array(root, name, &path, report);
        let array = array.with_context(|| format!("cannot use `{}` as `{name}`", path.display()));
        let (path, mut entry) = array.map_err(|error| {
            yaml::wrong(&experiment.path, &file.referenced, format!("{error:#}"))
        })?;
        entry.divide_by = experiment.spec.data.divide_by.filter(|_| name.starts_with('x'));
        found.push((path, entry));
    }
    let shapes = found.iter().map(|(_, entry)| (entry.name.as_str(), entry.shape.as_slice()));
    check_shapes(&shapes.collect()).with_context(|| format!("data of `{}`", experiment.name()))?;
    Ok(found)
}

/// Returns one file's array: the file itself where harnesses read it, else what it was converted to.
fn array(root: &Path, name: &str, path: &Path, report: Report) -> Result<(PathBuf, ArrayEntry)> {
    let found = inspect(name, path)?;
    let (bytes, modified) = stamp(path)?;
    let sha256 = known_digest(root, path, bytes, modified, report)?;
    if !found.is_usable() {
        return convert(root, name, path, &found, &sha256, report);
    }
    let (name, dtype, shape) = (name.to_owned(), found.dtype, found.header.shape);
    let file = path.to_string_lossy().into_owned();
    let entry = ArrayEntry { name, file, dtype, shape, divide_by: None, bytes, modified, sha256 };
    Ok((path.to_owned(), entry))
}

/// What a file holds, and the type that it is handed out in.
struct FileContent {
    header: Header,
    element: Element,
    dtype: Dtype,
}

impl FileContent {
    /// Whether harnesses can read the file as it is.
    fn is_usable(&self) -> bool {
        !self.header.is_fortran && self.element.same_bytes() == Some(self.dtype)
    }
}

fn inspect(name: &str, path: &Path) -> Result<FileContent> {
    let mut file = regular::open(path)?;
    let begin = first_bytes(&mut file)?;
    if !begin.starts_with(MAGIC) {
        return Err(signature::not_a("a .npy file, as `numpy.save` writes", &begin));
    }
    let header = Header::read(&mut file)?;
    let element = header.element()?;
    let (size, wanted) = (file.metadata()?.len(), header.start as u64 + header.bytes()?);
    ensure!(size == wanted, "it has {size} bytes but its header means {wanted}: truncated?");
    ensure!(header.shape.first().is_some_and(|rows| *rows > 0), "it has no rows");
    ensure!(!header.shape.contains(&0), "its shape {} has a 0", shown(&header.shape));
    let dtype = match name.starts_with('y') {
        true => label_type(&mut file, &header, element)?,
        false => element.stored_as(),
    };
    Ok(FileContent { header, element, dtype })
}

/// Returns the type that labels are handed out in, or an error if they are not labels.
fn label_type(file: &mut File, header: &Header, element: Element) -> Result<Dtype> {
    ensure!(header.shape.len() == 1, "labels have one axis, not {}", shown(&header.shape));
    let usable = element.same_bytes().filter(|dtype| !dtype.is_float() && *dtype != Dtype::Uint32);
    let dtype = usable.unwrap_or(Dtype::Int32);
    let highest = if dtype == Dtype::Int64 { i64::MAX } else { i64::from(i32::MAX) };
    pieces(file, header.bytes()?, element, |at, piece| {
        let labels = element.integers(piece).map_err(|Odd { index, number }| {
            let row = at + index;
            anyhow!("label {number} in row {row} ({element}); labels are whole numbers from 0 up")
        })?;
        match labels.iter().position(|label| !(0..=highest).contains(label)) {
            Some(index) => {
                let (label, row) = (labels[index], at + index);
                match label {
                    ..0 => bail!("label {label} in row {row}; labels count from 0"),
                    _ => bail!("label {label} in row {row}; labels go up to {highest}"),
                }
            }
            None => Ok(()),
        }
    })?;
    Ok(dtype)
}

/// Hands over the elements that a file has from here on, some at a time, with the number of the first.
fn pieces(
    mut file: impl Read,
    bytes: u64,
    element: Element,
    mut take: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let (mut left, mut at) = (bytes, 0);
    let mut buffer = vec![0; PIECE * element.size()];
    while left > 0 {
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let piece = &mut buffer[..count];
        file.read_exact(piece).context("it changed while it was read")?;
        take(at, piece)?;
        at += count / element.size();
        left -= count as u64;
    }
    Ok(())
}

/// Returns the file's array in the type and order that harnesses read, converted on first use.
fn convert(
    root: &Path,
    name: &str,
    path: &Path,
    found: &FileContent,
    digest: &str,
    report: Report,
) -> Result<(PathBuf, ArrayEntry)> {
    let recipe = format!("{RECIPE} {digest} {}", found.dtype.as_str());
    let folder = root.join("converted").join(&sha256(&recipe)[..32]);
    let plan =
        ArrayPlan { folder: &folder, name, source: Source::Own, recipe: &recipe, archive: None };
    let manifest = sealed::ready(root, plan, report, |making| {
        let from = format!("{} of {}", found.element, path.display());
        report(Progress::Doing(format!("converting {from} to {}", found.dtype.as_str())));
        making.array("array", found.dtype, &found.header.shape, None, |writer| {
            write_converted(path, found, writer)
        })
    })?;
    let entry = manifest.arrays.into_iter().next();
    let entry = entry.ok_or_else(|| anyhow!("`{}` holds no array", folder.display()))?;
    let path = folder.join(&entry.file);
    Ok((path, ArrayEntry { name: name.to_owned(), ..entry }))
}

fn write_converted(path: &Path, found: &FileContent, writer: &mut Writer) -> Result<()> {
    let FileContent { header, element, dtype } = found;
    let mut file = regular::open(path)?;
    file.seek(SeekFrom::Start(header.start as u64))?;
    let write = |at: usize, piece: &[u8]| {
        let converted = element.converted(piece, *dtype).map_err(|Odd { index, number }| {
            let at = at + index;
            anyhow!("element {at} is {number}; {} holds no such number", dtype.as_str())
        })?;
        writer.write(&converted)
    };
    let length = header.bytes()?;
    if !header.is_fortran {
        return pieces(file, length, *element, write);
    }
    // Its columns lie far apart: all of it is needed at once.
    let mut bytes = Vec::new();
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == length, "it changed while it was read");
    let bytes = in_c_order(&bytes, &header.shape, element.size());
    pieces(bytes.as_slice(), length, *element, write)
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
    let known = regular::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok());
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
