//! Whether a built environment still has the files that its packages came with: a look at their names,
//! which takes milliseconds. Must not depend on how it was built.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::built::{Built, Runtime};

/// Returns the first file that a package of a virtual environment came with and that is gone.
pub(super) fn missing_file(built: &Built) -> Option<PathBuf> {
    // An interpreter of the user's is used as it is.
    built.digest.as_ref()?;
    let Runtime::Interpreter { .. } = &built.runtime else { return None };
    let pythons = fs::read_dir(built.root.join("lib")).into_iter().flatten().flatten();
    let sites = pythons.map(|python| python.path().join("site-packages"));
    let missing = sites.filter(|site| site.is_dir()).find_map(|site| missing_in(&site));
    missing.or_else(|| missing_of_conda(&built.root))
}

/// Returns the first file of conda's packages that is gone, Python packages apart: those of a
/// requirements.lock may have taken the place of theirs.
fn missing_of_conda(root: &Path) -> Option<PathBuf> {
    let notes = fs::read_dir(root.join("conda-meta")).into_iter().flatten().flatten();
    let notes =
        notes.map(|note| note.path()).filter(|path| path.extension() == Some("json".as_ref()));
    notes.filter_map(|path| fs::read(path).ok()).find_map(|note| {
        let note = serde_json::from_slice::<Note>(&note).ok()?;
        let of_python = |file: &str| file.contains("site-packages/") || file.ends_with(".pyc");
        let files = note.files.iter().filter(|file| !of_python(file)).map(|file| root.join(file));
        files.into_iter().find(|file| fs::symlink_metadata(file).is_err())
    })
}

/// What conda notes of a package that it has installed.
#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    files: Vec<String>,
}

fn missing_in(site: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(site).into_iter().flatten().flatten();
    let records = packages.filter_map(|package| {
        let path = package.path();
        let is_metadata = path.extension().is_some_and(|extension| extension == "dist-info");
        // What conda has installed it has also changed: its own notes tell.
        let is_of_conda =
            fs::read(path.join("INSTALLER")).is_ok_and(|who| who.trim_ascii() == b"conda");
        (is_metadata && !is_of_conda).then(|| fs::read_to_string(path.join("RECORD")).ok())?
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
