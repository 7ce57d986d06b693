//! Whether a built environment still has the files that its packages came with: a look at their names,
//! which takes milliseconds. Must not depend on how it was built.

use std::fs;
use std::path::{Path, PathBuf};

use super::built::{Built, Runtime};

/// Returns the first file that a package of a virtual environment came with and that is gone.
pub(super) fn missing_file(built: &Built) -> Option<PathBuf> {
    // An interpreter of the user's is used as it is.
    built.digest.as_ref()?;
    let Runtime::Interpreter { .. } = &built.runtime else { return None };
    let pythons = fs::read_dir(built.root.join("lib")).into_iter().flatten().flatten();
    let sites = pythons.map(|python| python.path().join("site-packages"));
    sites.filter(|site| site.is_dir()).find_map(|site| missing_in(&site))
}

fn missing_in(site: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(site).into_iter().flatten().flatten();
    let records = packages.filter_map(|package| {
        let path = package.path();
        let is_metadata = path.extension().is_some_and(|extension| extension == "dist-info");
        is_metadata.then(|| fs::read_to_string(path.join("RECORD")).ok())?
    });
    records.into_iter().find_map(|record| record.lines().find_map(|line| missing(site, line)))
}

/// Returns the file of a line `path,digest,size` of a RECORD if it is gone. Bytecode comes and goes.
fn missing(site: &Path, line: &str) -> Option<PathBuf> {
    let name = line.rsplitn(3, ',').nth(2)?;
    if name.is_empty() || name.contains('"') || name.ends_with(".pyc") {
        return None;
    }
    let file = site.join(name);
    fs::symlink_metadata(&file).is_err().then_some(file)
}
