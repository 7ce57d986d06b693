//! Where rosetta keeps what it makes: environments, data, tools. Must not depend on what is in there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::hint::hinted;

/// The cache folder: `ROSETTA_HOME`, or `~/.cache/rosetta`.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Returns the folder that the environment names.
    pub fn find() -> Result<Home> {
        let root = match (named("ROSETTA_HOME")?, named("XDG_CACHE_HOME")?, variable("HOME")) {
            (Some(root), _, _) => root,
            (None, Some(cache), _) => cache.join("rosetta"),
            (None, None, Some(home)) => Path::new(&home).join(".cache/rosetta"),
            _ => return Err(anyhow!("neither `ROSETTA_HOME` nor `HOME` is set")),
        };
        Ok(Home { root: std::path::absolute(root)? })
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

    /// Where checks work: below the home, or in a folder of this user's own where the home cannot be
    /// written, as one that belongs to root and serves everybody. Nothing is kept there for others.
    pub fn scratch(&self) -> PathBuf {
        let checks = self.checks();
        if can_write(&checks) {
            return checks;
        }
        let user = rustix::process::getuid().as_raw();
        let own = env::temp_dir().join(format!("rosetta-{user}"));
        // Somebody else may have made a folder of that name. Then the home it is, and the error tells.
        match is_for_one_user(&own, user) {
            true => own.join("checks"),
            false => checks,
        }
    }

    /// What is remembered of results, one file for each folder of them. May be deleted at any time.
    pub fn indexes(&self) -> PathBuf {
        self.root.join("indexes")
    }

    /// Programs that rosetta fetched for itself, such as uv.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }
}

/// Returns a variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the folder that a variable names.
fn named(name: &str) -> Result<Option<PathBuf>> {
    let path = variable(name).map(PathBuf::from);
    path.map(|path| folder(&path, &format!("`{name}`"))).transpose()
}

/// Makes a folder that only its user can write to; whether it is one.
fn is_for_one_user(folder: &Path, user: u32) -> bool {
    let made = fs::DirBuilder::new().mode(0o700).create(folder);
    let is_there = made.is_ok() || folder.exists();
    let is_own = |metadata: fs::Metadata| {
        metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o022 == 0
    };
    is_there && fs::symlink_metadata(folder).is_ok_and(is_own)
}

/// Returns a folder that a person or a variable names: shells expand `~`, crontabs and compose files
/// do not, and a folder of that name is never meant. `what` says where the name is from.
pub fn folder(named: &Path, what: &str) -> Result<PathBuf> {
    let shown = named.display();
    if named.as_os_str().as_encoded_bytes().contains(&b'$') {
        let message = format!("{what} is `{shown}`: only a shell replaces what begins with `$`");
        return Err(hinted(message, "write the whole path, or begin it with `~/`"));
    }
    let mut parts = named.components();
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    match first {
        Some(first) if first == "~" => {
            let home = env::var_os("HOME").filter(|home| !home.is_empty());
            let home = home.ok_or_else(|| anyhow!("{what} is `{shown}`, and `HOME` is not set"))?;
            Ok(Path::new(&home).join(parts.as_path()))
        }
        Some(first) if first.starts_with('~') => {
            let message =
                format!("{what} is `{shown}`: only a shell knows the home of another user");
            Err(hinted(message, "write the whole path, or begin it with `~/`"))
        }
        _ => Ok(named.to_owned()),
    }
}

/// Whether this user may write into a folder, which need not exist yet.
fn can_write(folder: &Path) -> bool {
    let there = folder.ancestors().find(|folder| folder.exists());
    there.is_some_and(|there| tempfile::Builder::new().tempfile_in(there).is_ok())
}

/// Returns the bytes that a user may still write below `path`, which need not exist yet.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn checks_work_elsewhere_where_the_home_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        assert_eq!(home.scratch(), home.checks());
        fs::create_dir(home.root()).unwrap();
        fs::set_permissions(home.root(), fs::Permissions::from_mode(0o555)).unwrap();
        // root may write everywhere.
        if !rustix::process::getuid().is_root() {
            assert!(home.scratch().starts_with(env::temp_dir()));
        }
        let foreign = folder.path().join("foreign");
        let user = rustix::process::getuid().as_raw();
        assert!(is_for_one_user(&foreign, user) && is_for_one_user(&foreign, user));
        assert!(!is_for_one_user(&foreign, user + 1), "somebody else's");
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_for_one_user(&foreign, user), "anybody may write to it");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(home.root(), &link).unwrap();
        assert!(!is_for_one_user(&link, user), "it leads elsewhere");
        let blocked = Home::at("/proc/1/nowhere");
        assert!(blocked.scratch().starts_with(env::temp_dir()));
    }
}
