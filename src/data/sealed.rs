//! Folders of arrays that are whole or absent: sealed by a manifest of digests (see [`crate::seal`]),
//! and trusted only while their files are as the manifest says.
//!
//! Layout of the store: `NAME/SOURCE/` for data sets, `weights/KEY/`, `orders/KEY/`, `locks/KEY.lock`,
//! `downloads/`. Must not depend on what the arrays mean.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::npy::{Dtype, Header, Writer};
use crate::digest::hex;
use crate::lock::Lock;
use crate::progress::{Progress, Report};
use crate::seal::{self, Place};
use crate::spec::Source;

const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";

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
    pub arrays: Vec<Entry>,
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
pub struct Entry {
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

/// What a folder is to be called and made from.
pub struct Plan<'a> {
    pub folder: &'a Path,
    pub name: &'a str,
    pub source: Source,
    pub recipe: &'a str,
    pub archive: Option<Origin>,
}

/// Returns the manifest of a sealed folder, or nothing where there is no such folder.
pub fn open(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    let text = place(folder).read();
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    let Some(text) = text else { return Ok(None) };
    let parsed = serde_json::from_str::<Manifest>(&text).map_err(anyhow::Error::from);
    let sound = parsed.and_then(|manifest| {
        ensure!(manifest.version == FORMAT, "version {} is not {FORMAT}", manifest.version);
        ensure!(manifest.digest == digest(&manifest.arrays), "its digest does not fit its arrays");
        let is_plain = |entry: &&Entry| crate::spec::check_name(&entry.file).is_err();
        if let Some(entry) = manifest.arrays.iter().find(is_plain) {
            bail!("`{}` is no plain file name", entry.file);
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
        let _ = write_manifest(folder, &manifest);
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

fn check_array(path: &Path, entry: &Entry) -> Result<()> {
    let (bytes, _) = stamp(path)?;
    ensure!(bytes == entry.bytes, changed(path, format!("{bytes} bytes"), entry.bytes));
    check_digest(path, entry)?;
    let mut file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let header = Header::read(&mut file).with_context(|| format!("`{}`", path.display()))?;
    let fits = header.shape == entry.shape && header.dtype().ok() == Some(entry.dtype);
    ensure!(fits, "`{}` is not the array of the manifest", path.display());
    Ok(())
}

fn check_digest(path: &Path, entry: &Entry) -> Result<()> {
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
    let mut file = File::open(path).with_context(cannot)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(cannot)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Returns the digest of a set of arrays.
pub fn digest(arrays: &[Entry]) -> String {
    let mut hash = Sha256::new();
    for Entry { name, dtype, shape, divide_by, sha256, .. } in arrays {
        let divide_by = divide_by.map(|number| number.to_string()).unwrap_or_default();
        let line = format!("{name} {} {shape:?} {divide_by} {sha256}\n", dtype.as_str());
        hash.update(line);
    }
    hex(&hash.finalize())
}

/// Returns the folder's manifest, after making the folder where it is missing.
///
/// Made arrays that were damaged or are of another recipe are made again; imported ones are never touched.
pub fn ready(
    root: &Path,
    plan: Plan,
    report: Report,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    seal::find_or_make(
        || usable(plan.folder, plan.recipe),
        || lock(root, &key(root, plan.folder), report),
        |_| make(&plan, build),
    )
}

/// Returns the manifest of a folder whose arrays are as that recipe made them.
fn usable(folder: &Path, recipe: &str) -> Option<Manifest> {
    let found = trusted(folder).ok().flatten();
    found.filter(|manifest| manifest.recipe == recipe)
}

/// Makes a folder, replacing one that is there.
pub fn replace(
    root: &Path,
    plan: Plan,
    report: Report,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    let _lock = lock(root, &key(root, plan.folder), report)?;
    make(&plan, build)
}

/// Waits until no other process makes the same thing of the store.
pub fn lock(root: &Path, key: &str, report: Report) -> Result<Lock> {
    let folder = root.join("locks");
    create_folder(&folder)?;
    let others = format!("another rosetta at work on {key}");
    Lock::wait(&folder.join(format!("{key}.lock")), &others, report).map_err(explain_disk)
}

fn key(root: &Path, folder: &Path) -> String {
    let inside = folder.strip_prefix(root).unwrap_or(folder);
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("-")
}

fn make(plan: &Plan, build: impl FnOnce(&mut Making) -> Result<()>) -> Result<Manifest> {
    place(plan.folder).make_aside(|aside| fill(plan, aside, build)).map_err(explain_disk)
}

fn fill(
    plan: &Plan,
    aside: &Path,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    let mut making = Making { folder: aside.to_owned(), arrays: Vec::new() };
    build(&mut making)?;
    let manifest = Manifest {
        version: FORMAT,
        name: plan.name.to_owned(),
        source: plan.source,
        recipe: plan.recipe.to_owned(),
        archive: plan.archive.clone(),
        made: jiff::Timestamp::now().to_string(),
        digest: digest(&making.arrays),
        arrays: making.arrays,
    };
    write_manifest(aside, &manifest)?;
    Ok(manifest)
}

fn place(folder: &Path) -> Place {
    Place::new(folder, MANIFEST)
}

/// A folder being made.
pub struct Making {
    folder: PathBuf,
    arrays: Vec<Entry>,
}

impl Making {
    /// Writes one array; `fill` hands over exactly the elements of the shape.
    pub fn array(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        divide_by: Option<f64>,
        fill: impl FnOnce(&mut Writer) -> Result<()>,
    ) -> Result<()> {
        let file = format!("{name}.npy");
        let path = self.folder.join(&file);
        let mut writer = Writer::create(&path, dtype, shape)?;
        fill(&mut writer)?;
        let written = writer.finish()?;
        let (bytes, modified) = stamp(&path)?;
        ensure!(bytes == written.bytes, "`{}` is not as long as written", path.display());
        let (name, shape, sha256) = (name.to_owned(), shape.to_vec(), written.sha256);
        let entry = Entry { name, file, dtype, shape, divide_by, bytes, modified, sha256 };
        self.arrays.push(entry);
        Ok(())
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<()> {
    let text = serde_json::to_string_pretty(manifest).context("cannot write a manifest")? + "\n";
    place(folder).seal(text.as_bytes())
}

pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .with_context(|| format!("cannot create `{}`", path.display()))
        .map_err(explain_disk)
}

/// Adds what to do to errors of a disk that is full or not writable.
pub fn explain_disk(error: anyhow::Error) -> anyhow::Error {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let what = match kind {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => "the disk is full",
        Some(ErrorKind::ReadOnlyFilesystem) => "the disk is read-only",
        Some(ErrorKind::PermissionDenied) => "no right to write",
        Some(ErrorKind::NotADirectory) => "a file is in the way",
        _ => return error,
    };
    let advice = "set `ROSETTA_HOME` to a folder with room that you may write to";
    error.context(crate::hint::Hinted { message: what.to_owned(), hints: vec![advice.to_owned()] })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Making, Manifest, Plan, open, ready, replace, trusted, verify};
    use crate::data::npy::Dtype;
    use crate::spec::Source;

    fn plan<'a>(folder: &'a Path, recipe: &'a str) -> Plan<'a> {
        Plan { folder, name: "toy", source: Source::Synthetic, recipe, archive: None }
    }

    fn fill(making: &mut Making) -> anyhow::Result<()> {
        making.array("x", Dtype::Uint8, &[4], None, |writer| writer.write(&[1, 2, 3, 4]))
    }

    fn make(root: &Path, recipe: &str) -> anyhow::Result<Manifest> {
        ready(root, plan(&root.join("toy/synthetic"), recipe), &|_| (), fill)
    }

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn failed_build_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("toy/synthetic");
        let built = ready(root.path(), plan(&folder, "1"), &|_| (), |making| {
            fill(making)?;
            anyhow::bail!("no more")
        });
        assert_eq!(built.unwrap_err().to_string(), "no more");
        assert_eq!(listing(&root.path().join("toy")), Vec::<String>::new());
        let half = |making: &mut Making| making.array("x", Dtype::Uint8, &[4], None, |_| Ok(()));
        assert!(replace(root.path(), plan(&folder, "1"), &|_| (), half).is_err());
        assert_eq!(listing(&root.path().join("toy")), Vec::<String>::new());
    }

    #[test]
    fn leftovers_of_a_killed_process_are_cleared() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("toy");
        fs::create_dir_all(parent.join(".making-synthetic")).unwrap();
        fs::write(parent.join(".making-synthetic/x.npy"), "half").unwrap();
        make(root.path(), "1").unwrap();
        assert_eq!(listing(&parent), ["synthetic"]);
        // Killed while a folder was being replaced: the old one counts.
        fs::rename(parent.join("synthetic"), parent.join(".old-synthetic")).unwrap();
        let none = |_: &mut Making| anyhow::bail!("not now");
        let folder = parent.join("synthetic");
        assert!(replace(root.path(), plan(&folder, "1"), &|_| (), none).is_err());
        assert!(open(&folder).unwrap().is_some());
        assert_eq!(listing(&parent), ["synthetic"]);
    }

    #[test]
    fn damage_is_named_and_made_good() {
        let root = tempfile::tempdir().unwrap();
        let manifest = make(root.path(), "1").unwrap();
        let folder = root.path().join("toy/synthetic");
        let file = folder.join("x.npy");
        let bytes = fs::read(&file).unwrap();

        // The same bytes with another time are hashed once and trusted again.
        fs::write(&file, &bytes).unwrap();
        assert_eq!(trusted(&folder).unwrap().unwrap().digest, manifest.digest);

        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&file, &damaged).unwrap();
        for found in [verify(&folder, &|_| ()).err(), trusted(&folder).err()] {
            let message = format!("{:#}", found.unwrap());
            assert!(message.contains("x.npy` changed since it was made: SHA-256"), "{message}");
        }
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(trusted(&folder).unwrap_err().to_string().contains("131 bytes, not 132"));
        make(root.path(), "1").unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }

    #[test]
    fn another_recipe_is_made_anew_and_the_same_is_not() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "1").unwrap();
        let folder = root.path().join("toy/synthetic");
        let build = |_: &mut Making| anyhow::bail!("built again");
        assert!(ready(root.path(), plan(&folder, "1"), &|_| (), build).is_ok());
        assert_eq!(make(root.path(), "2").unwrap().recipe, "2");
    }

    #[test]
    fn two_at_once_build_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("toy/synthetic");
        let built = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    ready(root.path(), plan(&folder, "1"), &|_| (), |making| {
                        built.fetch_add(1, Ordering::SeqCst);
                        fill(making)
                    })
                    .unwrap()
                });
            }
        });
        assert_eq!(built.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn manifest_may_not_lead_outside() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "1").unwrap();
        let folder = root.path().join("toy/synthetic");
        let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
        let evil = text.replace("\"x.npy\"", "\"../x.npy\"");
        fs::write(folder.join("manifest.json"), evil).unwrap();
        let error = format!("{:#}", open(&folder).unwrap_err());
        assert!(
            error.contains("manifest.json` is damaged: `../x.npy` is no plain file"),
            "{error}"
        );
    }
}
