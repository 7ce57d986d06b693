//! What a build needs only while it goes on: a hidden folder beside the environments. A build that was
//! killed leaves one; the next build of that name, `remove` and `gc` clear it away under the name's lock.
//!
//! Must not depend on what is in there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::store::list;
use crate::catalog::check_env_name;
use crate::home::Home;

/// How its name ends.
const SCRATCH: &str = ".scratch";

/// Where a build of one name keeps what it needs only while it goes on.
pub(super) fn folder(home: &Home, name: &str) -> PathBuf {
    home.envs().join(format!(".{name}{SCRATCH}"))
}

/// Removes what is in such a folder except some names, and the folder itself if nothing stays.
pub(super) fn clear(scratch: &Path, kept: &[&str]) -> Result<()> {
    let failed = || format!("cannot clear `{}`", scratch.display());
    let mut is_empty = true;
    for path in list(scratch)? {
        let is_kept = kept.iter().any(|name| path.ends_with(name));
        is_empty &= !is_kept;
        if is_kept {
            continue;
        }
        let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(failed)?;
    }
    if is_empty && scratch.exists() {
        fs::remove_dir(scratch).with_context(failed)?;
    }
    Ok(())
}

/// Returns the name that such a folder is for.
pub(super) fn name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(SCRATCH)?;
    (path.is_dir() && check_env_name(name).is_ok()).then_some(name)
}
