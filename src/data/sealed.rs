//! Folders of arrays that are whole or absent: sealed by a manifest of digests (see [`crate::seal`]),
//! and trusted only while their files are as the manifest says.
//!
//! Layout of the store: `NAME/SOURCE/` for data sets, `weights/KEY/`, `orders/KEY/`, `locks/KEY.lock`,
//! `downloads/`. Must not depend on what the arrays mean.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::data::manifest::{self, ArrayEntry, FORMAT, Manifest, Origin, place, stamp, trusted};
use crate::data::npy::{Dtype, Writer};
use crate::lock::Lock;
use crate::progress::Report;
use crate::seal;
use crate::spec::Source;

/// What a folder is to be called and made from.
pub struct ArrayPlan<'a> {
    pub folder: &'a Path,
    pub name: &'a str,
    pub source: Source,
    pub recipe: &'a str,
    pub archive: Option<Origin>,
}

/// Returns the folder's manifest, after making the folder where it is missing.
///
/// Made arrays that were damaged or are of another recipe are made again; imported ones are never touched.
pub fn ready(
    root: &Path,
    plan: ArrayPlan,
    report: Report,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    seal::find_or_make(
        || usable(plan.folder, plan.recipe),
        || lock(root, &key(root, plan.folder), report),
        |_| make(root, &plan, build),
    )
}

/// Returns the manifest of a folder whose arrays are as that recipe made them.
fn usable(folder: &Path, recipe: &str) -> Option<Manifest> {
    let found = trusted(folder).ok().flatten();
    let found = found.filter(|manifest| manifest.recipe == recipe)?;
    // By this time it is known what nobody misses; a home that cannot be written to is nobody's to clean.
    let _ = place(folder).used();
    Some(found)
}

/// Makes a folder, replacing one that is there.
pub fn replace(
    root: &Path,
    plan: ArrayPlan,
    report: Report,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    let _lock = lock(root, &key(root, plan.folder), report)?;
    make(root, &plan, build)
}

/// Waits until no other process makes the same thing of the store.
pub fn lock(root: &Path, key: &str, report: Report) -> Result<Lock> {
    let folder = root.join("locks");
    create_folder(&folder)?;
    let others = format!("another rosetta at work on {key}");
    Lock::wait(&lock_file(root, key), &others, report).map_err(explain_disk)
}

fn lock_file(root: &Path, key: &str) -> PathBuf {
    root.join("locks").join(format!("{key}.lock"))
}

/// Removes what killed processes left anywhere in the store: halves of files that nobody makes again would stay.
pub(super) fn sweep(root: &Path) {
    let try_lock = |folder: &Path| Lock::try_take(&lock_file(root, &key(root, folder)));
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        seal::clear_leftovers(&entry.path(), manifest::SEAL, try_lock);
    }
}

fn key(root: &Path, folder: &Path) -> String {
    let inside = folder.strip_prefix(root).unwrap_or(folder);
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("-")
}

fn make(
    root: &Path,
    plan: &ArrayPlan,
    build: impl FnOnce(&mut Making) -> Result<()>,
) -> Result<Manifest> {
    sweep(root);
    place(plan.folder).make_aside(|aside| fill(plan, aside, build)).map_err(explain_disk)
}

fn fill(
    plan: &ArrayPlan,
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
        digest: manifest::digest(&making.arrays),
        arrays: making.arrays,
    };
    manifest::write(aside, &manifest)?;
    Ok(manifest)
}

/// A folder being made.
pub struct Making {
    folder: PathBuf,
    arrays: Vec<ArrayEntry>,
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
        let entry = ArrayEntry { name, file, dtype, shape, divide_by, bytes, modified, sha256 };
        self.arrays.push(entry);
        Ok(())
    }
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

    use super::{ArrayPlan, Making, Manifest, ready, replace};
    use crate::data::manifest::{open, trusted, verify};
    use crate::data::npy::Dtype;
    use crate::spec::Source;

    fn plan<'a>(folder: &'a Path, recipe: &'a str) -> ArrayPlan<'a> {
        ArrayPlan { folder, name: "toy", source: Source::Synthetic, recipe, archive: None }
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
            error.contains("manifest.json` is damaged: `../x.npy` is not a plain file"),
            "{error}"
        );
    }
}
