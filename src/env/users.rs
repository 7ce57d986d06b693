//! Which projects use an environment: a list in its folder, of which a project that collects garbage
//! learns whose environments must stay.
//!
//! Must not depend on what is collected.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the list.
const LIST: &str = "projects";

/// Notes that a project uses the environment in `folder`.
///
/// A home that cannot be written keeps no list; that an environment is used must not fail for it.
pub(super) fn note(folder: &Path, project: &Path) {
    let Some(project) = project.to_str().filter(|path| !path.contains('\n')) else { return };
    if of(folder).is_some_and(|known| known.contains(Path::new(project))) {
        return;
    }
    let list = OpenOptions::new().create(true).append(true).open(folder.join(LIST));
    // One write: a list is appended to by several processes.
    let _ = list.and_then(|mut list| list.write_all(format!("{project}\n").as_bytes()));
}

/// Returns the projects that have used the environment in `folder`; none if no list was kept.
pub(super) fn of(folder: &Path) -> Option<BTreeSet<PathBuf>> {
    let text = fs::read_to_string(folder.join(LIST)).ok()?;
    Some(text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect())
}
