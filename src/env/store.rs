//! The folders of built environments: their locks, seals, sizes and ends.
//!
//! Must not depend on how an environment is built. The lock of a name is held by whoever builds or
//! removes; the folders are sealed ones (see [`crate::seal`]), made in place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::built::{Built, Runtime};
use super::{scratch, users};
use crate::catalog::ProviderName;
use crate::container::Image;
use crate::home::{Home, size_bytes};
use crate::lock::Lock;
use crate::progress::Report;
use crate::seal::{self, Alone};
use crate::spec::check_name;

/// Name of the file that makes a folder an environment.
const SEAL: &str = "rosetta.json";

/// Folder of what cargo compiled, under the home.
const TARGETS: &str = "cargo-target";

/// Version of the seal's format.
const SEAL_VERSION: u32 = 2;

/// Digits of the digest that a folder's name has.
pub(super) const SHORT: usize = 12;

#[derive(Serialize, Deserialize)]
struct Seal<T> {
    version: u32,
    built: T,
}

/// An environment in a seal of version 1, which told by an interpreter what harnesses run in.
#[derive(Deserialize)]
struct Built1 {
    name: String,
    provider: ProviderName,
    digest: Option<String>,
    lock_sha256: Option<String>,
    root: PathBuf,
    interpreter: Option<PathBuf>,
    interpreter_version: Option<String>,
    packages: BTreeMap<String, String>,
    #[serde(default)]
    compiler: Option<String>,
    size_bytes: u64,
    build_seconds: f64,
}

impl From<Built1> for Built {
    fn from(old: Built1) -> Built {
        let runtime = match (old.interpreter, old.interpreter_version) {
            (Some(python), version) => {
                Runtime::Interpreter { python, version: version.unwrap_or_default() }
            }
            (None, _) => Runtime::Programs { compiler: old.compiler },
        };
        Built {
            name: old.name,
            provider: old.provider,
            digest: old.digest,
            lock_sha256: old.lock_sha256,
            root: old.root,
            runtime,
            packages: old.packages,
            size_bytes: old.size_bytes,
            build_seconds: old.build_seconds,
            environment: BTreeMap::new(),
            unset: Vec::new(),
            starter: None,
            seen: Vec::new(),
            found: BTreeMap::new(),
            wrap: Vec::new(),
        }
    }
}

/// Where one build of an environment lives.
#[derive(Debug, Clone)]
pub(super) struct BuildPlace {
    pub(super) sealed: seal::Place,
    /// What the build's programs said, kept beside the folder.
    pub(super) log: PathBuf,
}

impl BuildPlace {
    pub(super) fn of(home: &Home, name: &str, digest: &str) -> BuildPlace {
        let name = format!("{name}-{}", &digest[..SHORT.min(digest.len())]);
        let sealed = sealed(home.envs().join(&name));
        BuildPlace { sealed, log: home.envs().join(format!("{name}.log")) }
    }

    /// Returns what was sealed here for that digest, if it is whole.
    pub(super) fn read(&self, digest: &str) -> Option<Built> {
        let built = read(&self.sealed).filter(|built| built.digest.as_deref() == Some(digest))?;
        built.at(self.sealed.folder())
    }

    pub(super) fn seal(&self, built: &Built) -> Result<()> {
        let seal = Seal { version: SEAL_VERSION, built };
        let text = serde_json::to_string_pretty(&seal).context("cannot write a seal")?;
        self.sealed.seal(text.as_bytes())
    }
}

pub(super) fn sealed(folder: impl Into<PathBuf>) -> seal::Place {
    seal::Place::new(folder, SEAL)
}

fn read(place: &seal::Place) -> Option<Built> {
    parse(&place.read().ok()??)
}

fn parse(text: &str) -> Option<Built> {
    let Seal { version, built } = serde_json::from_str::<Seal<serde_json::Value>>(text).ok()?;
    match version {
        SEAL_VERSION => serde_json::from_value(built).ok(),
        1 => serde_json::from_value::<Built1>(built).ok().map(Built::from),
        _ => None,
    }
}

/// Returns everything that was built under one name, whole but perhaps of another digest or place.
pub(super) fn all_built(home: &Home, name: &str) -> Vec<Built> {
    let entries = entries(home).unwrap_or_default().into_iter();
    let of_name = entries.filter(|entry| entry.name == name && !entry.is_log);
    of_name.filter_map(|entry| read(&sealed(entry.path))).collect()
}

/// Returns the images that the environments of a home are.
pub(super) fn images(home: &Home) -> Result<Vec<Image>> {
    let images = entries(home)?.into_iter().filter_map(|entry| Some(entry.image()?.0));
    Ok(images.collect())
}

/// Takes the lock of one environment.
pub(super) fn lock(home: &Home, name: &str, report: Report) -> Result<Lock> {
    let envs = home.envs();
    fs::create_dir_all(&envs).with_context(|| format!("cannot make `{}`", envs.display()))?;
    Lock::wait(&path(home, name), &format!("another build of `{name}`"), report)
}

pub(super) fn path(home: &Home, name: &str) -> PathBuf {
    home.envs().join(format!(".{name}.lock"))
}

/// Shares an environment's folder with the other runs that use it; none if it is gone.
pub(super) fn hold(folder: &Path, report: Report) -> Result<Option<Lock>> {
    sealed(folder).hold(report)
}

/// Removes everything that was built under one name, or what one provider has built, and what is
/// half built; returns the bytes freed.
pub(super) fn remove(
    home: &Home,
    name: &str,
    provider: Option<ProviderName>,
    report: Report,
) -> Result<u64> {
    let _lock = lock(home, name, report)?;
    let is_meant = |entry: &Entry| match (provider, read(&sealed(entry.folder()))) {
        (Some(provider), Some(built)) => built.provider == provider,
        _ => true,
    };
    let of_name = entries(home)?.into_iter().filter(|entry| entry.name == name && is_meant(entry));
    let of_name = of_name.collect::<Vec<_>>();
    // All or nothing: every folder is taken before the first is removed.
    let taken =
        of_name.iter().map(|entry| sealed(&entry.path).take()).collect::<Result<Vec<_>>>()?;
    let folder = scratch::folder(home, name);
    let mut freed = size_bytes(&folder);
    scratch::clear(&folder, &[])?;
    if provider.is_none() {
        freed += remove_target(home, name)?;
    }
    for (entry, alone) in of_name.iter().zip(taken) {
        freed += entry.remove(alone)?;
    }
    Ok(freed)
}

/// Returns the projects that use something in a home.
pub(super) fn users_of_home(home: &Home) -> Result<BTreeSet<PathBuf>> {
    Ok(entries(home)?.iter().filter_map(|entry| users::of(&entry.path)).flatten().collect())
}

/// Notes that a project uses an environment now.
pub(super) fn note_use(folder: &Path, project: &Path) {
    users::note(folder, project);
    // A home that cannot be written has no ages.
    let _ = sealed(folder).used();
}

/// Where cargo keeps what it compiled for an environment, for its next build.
pub(super) fn shared_target(home: &Home, name: &str) -> PathBuf {
    home.root().join(TARGETS).join(name)
}

pub(super) fn remove_target(home: &Home, name: &str) -> Result<u64> {
    let target = shared_target(home, name);
    let freed = size_bytes(&target);
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", target.display()))
        }
        _ => Ok(freed),
    }
}

/// Returns the names under which cargo keeps what it compiled.
pub(super) fn targets(home: &Home) -> Result<Vec<String>> {
    let folders = list(&home.root().join(TARGETS))?.into_iter().filter(|path| path.is_dir());
    let names = folders.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names.filter(|name| check_name(name).is_ok()).collect())
}

/// A folder or log under `envs/`.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) is_log: bool,
}

impl Entry {
    /// Returns the environment's folder, also of a log.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.with_file_name(format!("{}-{}", self.name, self.digest))
    }

    fn parse(path: PathBuf) -> Option<Entry> {
        let file = path.file_name()?.to_str()?;
        let is_log = file.ends_with(".log");
        let (name, digest) = file.strip_suffix(".log").unwrap_or(file).rsplit_once('-')?;
        let is_ours = digest.len() == SHORT && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (name, digest) = (name.to_owned(), digest.to_owned());
        (is_ours && !name.starts_with('.')).then_some(Entry { path, name, digest, is_log })
    }

    /// Returns what it takes of a disk, an image of it too.
    pub(super) fn bytes(&self) -> u64 {
        let image = self.image().map_or(0, |(_, bytes)| bytes);
        size_bytes(&self.path) + image
    }

    /// Returns the image that its seal names, and its size.
    fn image(&self) -> Option<(Image, u64)> {
        let built = read(&sealed(&self.path)).filter(|_| !self.is_log)?;
        Some((built.image()?.clone(), built.size_bytes))
    }

    /// Removes it, its image first: a folder without one is built anew, an image without a folder is lost.
    pub(super) fn remove(&self, alone: Alone) -> Result<u64> {
        if !self.is_log {
            let image = self.image();
            if let Some((image, _)) = &image {
                image
                    .remove()
                    .with_context(|| format!("cannot remove the image `{}`", image.name))?;
            }
            return Ok(alone.free()? + image.map_or(0, |(_, bytes)| bytes));
        }
        let freed = size_bytes(&self.path);
        let failed = || format!("cannot remove `{}`", self.path.display());
        fs::remove_file(&self.path).with_context(failed)?;
        Ok(freed)
    }
}

pub(super) fn entries(home: &Home) -> Result<Vec<Entry>> {
    Ok(list(&home.envs())?.into_iter().filter_map(Entry::parse).collect())
}

/// Returns what is in a folder, sorted; nothing if there is none.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list `{}`", folder.display());
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(failed)?,
    };
    let paths = listing.map(|entry| Ok(entry.with_context(failed)?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_of_version_1_are_read() {
        let venv = r#"{
  "version": 1,
  "built": {
    "name": "numpy",
    "provider": "venv",
    "digest": "da6fffee235d2ea6259ba42a2895d4c2746c4db9ee194ef5c54444bc6fbb98f7",
    "lock_sha256": "f60add6ff2725051343ad3f4194ec5f83edd2f3ff215e0e24601329c3c203f17",
    "root": "/root/.cache/rosetta/envs/numpy-da6fffee235d",
    "interpreter": "/root/.cache/rosetta/envs/numpy-da6fffee235d/bin/python",
    "interpreter_version": "3.12.1",
    "packages": {
      "numpy": "2.5.5"
    },
    "compiler": null,
    "size_bytes": 64830623,
    "build_seconds": 3.222324608
  }
}"#;
        let built = parse(venv).unwrap();
        let python = "/root/.cache/rosetta/envs/numpy-da6fffee235d/bin/python".into();
        let version = "3.12.1".to_owned();
        assert_eq!(built.runtime, Runtime::Interpreter { python, version });
        assert_eq!((built.provider, built.size_bytes), (ProviderName::Venv, 64_830_623));
        assert_eq!(built.packages["numpy"], "2.5.5");

        let cargo = r#"{"version": 1, "built": {
            "name": "burn", "provider": "cargo", "digest": "ab", "lock_sha256": "cd",
            "root": "/envs/burn-ab", "interpreter": null, "interpreter_version": null,
            "packages": {"burn": "0.22.1"}, "compiler": "rustc 1.95.0", "size_bytes": 7,
            "build_seconds": 1.5}}"#;
        let compiler = Some("rustc 1.95.0".to_owned());
        assert_eq!(parse(cargo).unwrap().runtime, Runtime::Programs { compiler });
        // Before there was a compiler in it.
        let older = cargo.replace("\"compiler\": \"rustc 1.95.0\", ", "");
        assert_eq!(parse(&older).unwrap().runtime, Runtime::Programs { compiler: None });
        for unknown in [cargo.replace("\"version\": 1", "\"version\": 3"), "{".to_owned()] {
            assert_eq!(parse(&unknown), None);
        }
    }

    #[test]
    fn a_seal_is_read_back_as_it_was_written() {
        let built = parse(
            r#"{"version": 1, "built": {"name": "x", "provider": "venv",
            "digest": "ab", "lock_sha256": "cd", "root": "/x", "interpreter": "/x/bin/python",
            "interpreter_version": "3.6.15", "packages": {}, "size_bytes": 7,
            "build_seconds": 1.5}}"#,
        );
        let built = built.unwrap();
        let seal = serde_json::to_string(&Seal { version: SEAL_VERSION, built: &built }).unwrap();
        assert_eq!(parse(&seal), Some(built));
    }
}
