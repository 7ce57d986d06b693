//! Brings the archives that a lock pins and hashes each of them, whatever a client would do.
//!
//! Must not depend on who installs them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::explicit::Package;
use crate::data::{Download, PublishedDigest, digests};
use crate::env::tool::text;
use crate::hint::Hinted;
use crate::progress::{Progress, Report};
use crate::regular;

/// Waited for before a download is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// An archive that is here and is the one that the lock pins.
#[derive(Debug)]
pub(in crate::env) struct Archive {
    pub(in crate::env) path: PathBuf,
    pub(in crate::env) md5: String,
    pub(in crate::env) sha256: String,
}

/// Brings an archive into a folder laid out as a channel, unless it is there, and hashes it.
pub(in crate::env) fn bring(package: &Package, folder: &Path, report: Report) -> Result<Archive> {
    let Package { url, file, .. } = package;
    report(Progress::Doing(format!("bringing {file}")));
    let path = folder.join(&package.subdir).join(file);
    fs::create_dir_all(folder.join(&package.subdir))
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    match url.strip_prefix("file://") {
        Some(source) => copy(&decoded(source), &path)?,
        None => {
            let digest = PublishedDigest::Sha256(&package.sha256);
            Download { url, digest, pause: PAUSE }.to(&path, report)?;
        }
    }
    let found = regular::open(&path).map_err(anyhow::Error::from);
    let found = found.and_then(|mut archive| digests(&mut archive, report));
    let found = found.with_context(|| format!("cannot read `{}`", path.display()))?;
    if found.sha256 != package.sha256 {
        // The next build must not find it.
        let _ = fs::remove_file(&path);
        let message = format!(
            "`{url}` is not the pinned archive: found SHA-256 {}, pinned is {}",
            found.sha256, package.sha256
        );
        return Err(anyhow!(message));
    }
    Ok(Archive { path, md5: found.md5, sha256: found.sha256 })
}

fn copy(source: &Path, path: &Path) -> Result<()> {
    let shown = source.display();
    let mut from = regular::open(source).with_context(|| format!("cannot read `{shown}`"))?;
    let copied = File::create(path).and_then(|mut to| io::copy(&mut from, &mut to));
    copied.map(drop).with_context(|| format!("cannot copy `{shown}` to `{}`", path.display()))
}

/// Adds what helps when a disk is full.
pub(in crate::env) fn explained(error: anyhow::Error) -> anyhow::Error {
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    };
    match error.chain().any(is_full) {
        true => {
            let hint = "make room, as with `rosetta env gc`, or set ROSETTA_HOME to another disk";
            let message = "the disk is full".to_owned();
            error.context(Hinted { message, hints: vec![hint.to_owned()] })
        }
        false => error,
    }
}

/// Returns the address of a file of this machine.
pub(in crate::env) fn address(path: &Path) -> Result<String> {
    Ok(format!("file://{}", text(path)?.bytes().map(encoded).collect::<String>()))
}

/// Returns a byte of a path as it stands in an address.
fn encoded(byte: u8) -> String {
    match byte.is_ascii_alphanumeric() || b"/._-~+!".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    }
}

/// Returns the path of an address with its escapes undone.
fn decoded(address: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), address.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (bytes, rest) = match (first, byte) {
            (b'%', Some(byte)) => ([bytes, vec![byte]].concat(), &after[2..]),
            _ => ([bytes, vec![*first]].concat(), after),
        };
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    fn package(url: String, sha256: String) -> Package {
        let [subdir, file, name, version] = ["noarch", "a-1-0.conda", "a", "1"].map(str::to_owned);
        Package { url, sha256, subdir, file, name, version, line: 1 }
    }

    #[test]
    fn only_the_pinned_archive_is_brought() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a channel/a-1-0.conda");
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, "an archive").unwrap();
        let url = address(&source).unwrap();
        assert!(url.ends_with("/a%20channel/a-1-0.conda"), "{url}");
        let to = folder.path().join("to");
        let right = bring(&package(url.clone(), sha256("an archive")), &to, &|_| ()).unwrap();
        assert_eq!(right.path, to.join("noarch/a-1-0.conda"));
        assert_eq!(right.md5, "a0901c46356600fdbaffe0fc8c8ac8ba");

        let wrong = bring(&package(url, sha256("another")), &to, &|_| ()).unwrap_err();
        let expected = format!(
            "is not the pinned archive: found SHA-256 {}, pinned is {}",
            sha256("an archive"),
            sha256("another")
        );
        assert!(wrong.to_string().contains(&expected), "{wrong}");
        assert!(!right.path.exists());
        let gone = package("file:///nowhere/a-1-0.conda".into(), sha256(""));
        assert!(
            bring(&gone, &to, &|_| ()).unwrap_err().to_string().contains("cannot read `/nowhere/")
        );
    }

    #[test]
    fn a_full_disk_is_said_in_these_words() {
        let full =
            anyhow::Error::from(io::Error::from(ErrorKind::StorageFull)).context("cannot copy");
        assert_eq!(explained(full).to_string(), "the disk is full");
        assert_eq!(explained(anyhow!("other")).to_string(), "other");
    }
}
