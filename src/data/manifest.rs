//! What a sealed folder says of itself: which arrays it holds, where they came from, their digests; and whether that is
//! still so. Must not depend on how a folder is made or what its arrays mean.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::npy::{Dtype, Header};
use crate::digest::hex;
use crate::progress::{Progress, Report};
use crate::regular;
use crate::seal::Place;
use crate::spec::Source;

pub const FORMAT: u32 = 1;
/// Name of the file that makes a folder whole.
pub const SEAL: &str = "manifest.json";

/// What a folder holds and where that came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub name: String,
    pub source: Source,
    /// Recipe of made arrays, `import` of imported ones; a folder of another recipe is made anew.
    pub recipe: String,
    /// The archive that was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Origin>,
    /// RFC 3339.
    pub made: String,
    /// In the order in which they were written: that of the forward pass for weights.
    pub arrays: Vec<ArrayEntry>,
    /// SHA-256 over name, type, shape, divisor and digest of each array.
    pub digest: String,
}

/// An archive that a user imported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    pub file: String,
    pub bytes: u64,
    pub md5: String,
    pub sha256: String,
}

/// One array of a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArrayEntry {
    pub name: String,
    pub file: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide_by: Option<f64>,
    pub bytes: u64,
    /// Nanoseconds since 1970: a file of this size and time is not hashed again.
    pub modified: u64,
    pub sha256: String,
}

/// Returns the manifest of a sealed folder, or nothing where there is no such folder.
pub fn open(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(SEAL);
    let text = place(folder).read();
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    let Some(text) = text else { return Ok(None) };
    let parsed = serde_json::from_str::<Manifest>(&text).map_err(anyhow::Error::from);
    let sound = parsed.and_then(|manifest| {
        ensure!(manifest.version == FORMAT, "version {} is not {FORMAT}", manifest.version);
        ensure!(manifest.digest == digest(&manifest.arrays), "its digest does not fit its arrays");
        let is_plain = |entry: &&ArrayEntry| crate::spec::check_name(&entry.file).is_err();
        if let Some(entry) = manifest.arrays.iter().find(is_plain) {
            bail!("`{}` is not a plain file name", entry.file);
        }
        Ok(manifest)
    });
    sound.map(Some).with_context(|| format!("`{}` is damaged", path.display()))
}

/// Returns the manifest of a folder whose files are as they were sealed.
///
/// A file of the size and time in the manifest is trusted; another is hashed, once.
pub fn trusted(folder: &Path) -> Result<Option<Manifest>> {
    let Some(mut manifest) = open(folder)? else { return Ok(None) };
    let mut is_touched = false;
    for entry in &mut manifest.arrays {
        let path = folder.join(&entry.file);
        let (bytes, modified) = stamp(&path)?;
        ensure!(bytes == entry.bytes, changed(&path, format!("{bytes} bytes"), entry.bytes));
        if modified != entry.modified {
            check_digest(&path, entry)?;
            entry.modified = modified;
            is_touched = true;
        }
    }
    if is_touched {
        // A store that cannot be written to works all the same: it hashes again next time.
        let _ = write(folder, &manifest);
    }
    Ok(Some(manifest))
}

/// Hashes every file of a folder, or names those that are damaged.
pub fn verify(folder: &Path, report: Report) -> Result<Option<Manifest>> {
    let Some(manifest) = open(folder)? else { return Ok(None) };
    let total = manifest.arrays.iter().map(|entry| entry.bytes).sum();
    let (mut done, mut bad) = (0, Vec::new());
    for entry in &manifest.arrays {
        if let Err(error) = check_array(&folder.join(&entry.file), entry) {
            bad.push(format!("{error:#}"));
        }
        done += entry.bytes;
        report(Progress::Bytes { done, total: Some(total) });
    }
    match bad.is_empty() {
        true => Ok(Some(manifest)),
        false => Err(anyhow!("{}", bad.join("; "))),
    }
}

fn check_array(path: &Path, entry: &ArrayEntry) -> Result<()> {
    let (bytes, _) = stamp(path)?;
    ensure!(bytes == entry.bytes, changed(path, format!("{bytes} bytes"), entry.bytes));
    check_digest(path, entry)?;
    let mut file =
        regular::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let header = Header::read(&mut file).with_context(|| format!("`{}`", path.display()))?;
    let fits = header.shape == entry.shape && header.dtype().ok() == Some(entry.dtype);
    ensure!(fits, "`{}` is not the array of the manifest", path.display());
    Ok(())
}

fn check_digest(path: &Path, entry: &ArrayEntry) -> Result<()> {
    let found = file_sha256(path)?;
    ensure!(found == entry.sha256, changed(path, format!("SHA-256 {found}"), &entry.sha256));
    Ok(())
}

fn changed(path: &Path, found: String, wanted: impl std::fmt::Display) -> String {
    format!("`{}` changed since it was made: {found}, not {wanted}", path.display())
}

/// Returns size and time of last change.
pub fn stamp(path: &Path) -> Result<(u64, u64)> {
    let metadata =
        fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = modified.map_or(0, |time| time.as_nanos());
    Ok((metadata.len(), u64::try_from(nanoseconds).unwrap_or(0)))
}

/// Returns the SHA-256 of a file.
pub fn file_sha256(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read `{}`", path.display());
    let mut file = regular::open(path).with_context(cannot)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(cannot)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Returns the digest of a set of arrays.
pub fn digest(arrays: &[ArrayEntry]) -> String {
    let mut hash = Sha256::new();
    for ArrayEntry { name, dtype, shape, divide_by, sha256, .. } in arrays {
        let divide_by = divide_by.map(|number| number.to_string()).unwrap_or_default();
        let line = format!("{name} {} {shape:?} {divide_by} {sha256}\n", dtype.as_str());
        hash.update(line);
    }
    hex(&hash.finalize())
}

pub fn write(folder: &Path, manifest: &Manifest) -> Result<()> {
    let text = serde_json::to_string_pretty(manifest).context("cannot write a manifest")? + "\n";
    place(folder).seal(text.as_bytes())
}

pub fn place(folder: &Path) -> Place {
    Place::new(folder, SEAL)
}
