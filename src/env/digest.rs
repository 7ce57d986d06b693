//! What an environment is made from, as one SHA-256. Must not depend on how it is built: each
//! provider adds its own parts.
//!
//! Decision: what only tells a job how to run (`environment`) or merely guards the build
//! (`programs`) is not part of it, so changing them rebuilds nothing. `requirements` are not
//! either: the lock stands for them, and there is no digest where it lacks one of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::catalog::EnvSpec;
use crate::digest::hex;

/// Collects labelled parts; lengths keep neighbours from running into one another.
pub(super) struct Parts(Sha256);

impl Parts {
    pub(super) fn new(provider: &str) -> Parts {
        let mut parts = Parts(Sha256::new());
        parts.add("rosetta environment 1", provider);
        parts.add("platform", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
        parts
    }

    pub(super) fn add(&mut self, label: &str, content: impl AsRef<[u8]>) {
        for bytes in [label.as_bytes(), content.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    pub(super) fn add_all(&mut self, label: &str, list: &[String]) {
        self.add(label, list.len().to_string());
        for item in list {
            self.add(label, item);
        }
    }

    pub(super) fn add_files(&mut self, root: &Path, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(file);
            self.add(&name.to_string_lossy(), bytes);
        }
        Ok(())
    }

    /// Adds the fix-ups and every file that they may use: those beside env.yaml, and those of
    /// another environment that a fix-up names.
    pub(super) fn add_fixups(&mut self, spec: &EnvSpec) -> Result<()> {
        if spec.fixups.is_empty() {
            return Ok(());
        }
        let mut named = Vec::new();
        for fixup in &spec.fixups {
            // The label is the old word: a digest must not change with a name.
            self.add_all("cure", &fixup.run);
            for argument in fixup.run.iter().filter(|word| word.starts_with("{folder}/../")) {
                let path = argument.replace("{folder}", &spec.folder.to_string_lossy());
                named.push(PathBuf::from(path));
            }
        }
        let others = [
            "env.yaml",
            "requirements.lock",
            "README.md",
            "environment.yml",
            "docker.lock",
            "Dockerfile",
            "Project.toml",
            "Manifest.toml",
        ];
        let others = others.map(|name| spec.folder.join(name));
        let mut files = files_under(&spec.folder)?;
        let kept = spec.locks();
        let is_other = |file: &PathBuf| others.contains(file) || file.starts_with(&kept);
        files.retain(|file| !is_other(file) && !is_lock_of_conda(file));
        self.add_files(&spec.folder, &files)?;
        self.add_files(&spec.folder, &named)
    }

    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Conda's locks are parts by themselves, where they count.
fn is_lock_of_conda(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("conda-") && name.ends_with(".lock")
}

/// Returns the files under a folder, sorted, without what tools leave there.
pub(super) fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list `{}`", folder.display());
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(failed)?,
    };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_left_over = name == "target" || name == "__pycache__" || name.ends_with('~');
        let is_hidden = name.starts_with('.') && name != ".cargo";
        if is_left_over || is_hidden {
            continue;
        }
        if path.is_dir() { files.extend(files_under(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}
