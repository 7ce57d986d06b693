//! Where rosetta keeps what it makes: environments, data, tools. May not know what is in there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// The cache folder: `ROSETTA_HOME`, or `~/.cache/rosetta`.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Returns the folder that the environment names.
    pub fn find() -> Result<Home> {
        let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let root = from("ROSETTA_HOME")
            .map(PathBuf::from)
            .or_else(|| from("XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("rosetta")))
            .or_else(|| from("HOME").map(|home| Path::new(&home).join(".cache/rosetta")))
            .ok_or_else(|| anyhow!("neither `ROSETTA_HOME` nor `HOME` is set"))?;
        let root = std::path::absolute(root)?;
        Ok(Home { root })
    }

    /// Returns the home at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Home {
        Home { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Built environments, one folder per digest.
    pub fn envs(&self) -> PathBuf {
        self.root.join("envs")
    }

    /// Data sets, initial weights and batch orders.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Locked by the run that may use the machine for itself.
    pub fn run_lock(&self) -> PathBuf {
        self.root.join("run.lock")
    }

    /// What checks work with, and what the reference computed. May be deleted at any time.
    pub fn checks(&self) -> PathBuf {
        self.root.join("checks")
    }

    /// Programs that rosetta fetched for itself, such as uv.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }
}

/// Returns the bytes of all files under a path; links count as themselves.
pub fn size_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let listing = fs::read_dir(path).into_iter().flatten().flatten();
    listing.map(|entry| size_bytes(&entry.path())).sum()
}
