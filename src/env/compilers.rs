//! Which Rust compilers there are. Must not depend on what they compile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};

use super::tool::{Host, output_of};

/// How long a compiler may take to say its version: rustup may fetch the one that a folder wants.
const PATIENCE: Duration = Duration::from_secs(600);

/// The compilers of crates, each asked at most once: a folder may choose its own.
#[derive(Debug, Default)]
pub(super) struct Compilers {
    asked: Mutex<BTreeMap<PathBuf, String>>,
}

impl Compilers {
    /// Returns what `rustc -vV` says in a crate's folder.
    pub(super) fn version(&self, host: &Host, krate: &Path) -> Result<String> {
        let lock = || self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = lock().get(krate) {
            return Ok(known.clone());
        }
        let mut rustc = host.command("rustc");
        rustc.arg("-vV").current_dir(krate);
        let version =
            output_of(rustc, PATIENCE).context("cannot ask for the Rust compiler's version")?;
        lock().insert(krate.to_owned(), version.clone());
        Ok(version)
    }
}
