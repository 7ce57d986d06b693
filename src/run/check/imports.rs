//! Which modules the jobs of a check import once they run: the next check has them imported before its first job, in the
//! process from which all its jobs are forked, and not twice.
//!
//! Must not depend on what is checked. Nothing follows from these names but how long a check takes, so that nothing fails
//! where they cannot be read or kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::bench::env_digest;
use super::cache;
use crate::digest::sha256;
use crate::env::Built;
use crate::home::Home;
use crate::publish::publish;

/// The names of what begins alike: in one environment, harnesses that import the same packages themselves.
pub(super) struct Imports {
    kept: PathBuf,
}

impl Imports {
    pub(super) fn of(home: &Home, harness: &Path, built: &Built) -> Imports {
        let source = fs::read_to_string(harness).unwrap_or_default();
        let what = format!("{} {}", env_digest(built), packages(&source).join(" "));
        Imports { kept: cache::imports(home).join(sha256(what)) }
    }

    /// Puts a copy of the names into a folder of the check's own; returns the file, which need not be there.
    pub(super) fn lend(&self, folder: &Path) -> PathBuf {
        let lent = folder.join("imports");
        let _ = fs::copy(&self.kept, &lent);
        lent
    }

    /// Keeps the names of a file, if it has others.
    pub(super) fn keep(&self, lent: &Path) {
        let Ok(names) = fs::read(lent) else { return };
        if fs::read(&self.kept).is_ok_and(|kept| kept == names) {
            return;
        }
        // Another check may read or write the same names now.
        let _ = fs::create_dir_all(self.kept.parent().unwrap_or(Path::new(".")));
        let _ = publish(&self.kept, &names);
    }
}

/// Returns the packages that a program in Python imports at its top, in order.
fn packages(source: &str) -> Vec<&str> {
    let mut packages = BTreeSet::new();
    for line in source.lines() {
        let Some(named) = line.strip_prefix("import ").or(line.strip_prefix("from ")) else {
            continue;
        };
        packages.extend(named.split([' ', '.', ',', ';']).find(|word| !word.is_empty()));
    }
    packages.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn packages_are_those_at_the_top() {
        let source = "import torch.nn as nn\nfrom torch import Tensor\n\nimport numpy as np\nif x:\n    import late\n";
        assert_eq!(packages(source), ["numpy", "torch"]);
    }

    #[test]
    fn names_are_kept_lent_and_learnt_anew_after_a_month() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let [imports, other] =
            ["a", "b"].map(|name| Imports { kept: cache::imports(&home).join(name) });
        let lent = imports.lend(folder.path());
        assert!(!lent.exists(), "nothing is known yet");
        fs::write(&lent, "late later").unwrap();
        imports.keep(&lent);
        fs::remove_file(&lent).unwrap();
        assert_eq!(fs::read_to_string(imports.lend(folder.path())).unwrap(), "late later");
        other.keep(&lent);
        let then = SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
        fs::File::open(&imports.kept).unwrap().set_modified(then).unwrap();
        cache::tidy(&home);
        assert!(!imports.kept.exists() && other.kept.exists());
    }
}
