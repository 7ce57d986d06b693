//! Compiled harnesses of the user's own: a folder of programs, each called as its experiment. Must not depend on what they compute.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::digest::sha256;
use crate::hint::hinted;

/// Returns the programs in a folder, each with its digest; one without any is an error.
pub(super) fn digests(folder: &Path) -> Result<BTreeMap<String, String>> {
    let failed = || {
        let hint = "name a folder that has a program for each experiment, called as the experiment";
        hinted(format!("cannot read the folder of programs `{}`", folder.display()), hint)
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| failed().context(error))? {
        let path = entry.with_context(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_program(&path) {
            let bytes = fs::read(&path).with_context(failed)?;
            found.insert(name.to_owned(), format!("sha256:{}", sha256(bytes)));
        }
    }
    match found.is_empty() {
        true => Err(failed()),
        false => Ok(found),
    }
}

/// Whether somebody may execute a file.
fn is_program(path: &Path) -> bool {
    let meta = path.metadata();
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
