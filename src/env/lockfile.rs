//! `requirements.lock`: reads its pins, tells whether it is stale, and makes it anew with uv.
//!
//! Must not depend on how a lock is installed.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::tool::{Build, OutputLine};
use crate::catalog::{Pins, split_version};
use crate::obstacle::Obstacle;
use crate::publish::publish;

/// The oldest glibc that locks are made for unless env.yaml names another.
const GLIBC: &str = "2.28";

/// The lock of one environment: requirements.lock, or that of a version that is kept beside it.
pub(super) struct Lockfile<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a Path,
    pub(super) pins: &'a Pins,
}

/// Returns the command that would mend a lock.
pub(super) fn lock_hint(name: &str) -> String {
    format!("run `{}`", maker(name))
}

/// Returns the command that makes the lock of an environment.
fn maker(name: &str) -> String {
    match split_version(name) {
        (_, Some(_)) => format!("rosetta env update {name}"),
        (_, None) => format!("rosetta env lock {name}"),
    }
}

/// Returns what a lock begins with.
pub(super) fn heading(name: &str) -> String {
    format!("# made by `{}`; do not edit\n", maker(name))
}

impl Lockfile<'_> {
    /// Returns the lock's text, if it is there and holds what env.yaml pins.
    pub(super) fn read(&self) -> Result<String, Obstacle> {
        let path = self.path;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let reason = match fs::read_to_string(path) {
            Ok(lock) => match missing(self.pins, &lock) {
                None => return Ok(lock),
                Some(missing) => format!("its {file} does not hold `{missing}`"),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                format!("it has no {file}")
            }
            Err(error) => format!("cannot read `{}`: {error}", path.display()),
        };
        Err(Obstacle::new(reason, lock_hint(self.name)))
    }

    /// Makes the lock anew. What the old one pins stays, as long as env.yaml allows it.
    pub(super) fn make(
        &self,
        build: &Build,
        mut uv: Command,
        python: Option<&Path>,
        scratch: &Path,
    ) -> Result<()> {
        let Lockfile { name, pins, .. } = self;
        let path = self.path;
        let input = scratch.join(format!(".{name}.requirements.in"));
        let output = scratch.join(format!(".{name}.requirements.lock"));
        let failed = || format!("cannot prepare the lock in `{}`", scratch.display());
        fs::write(&input, pins.requirements.join("\n") + "\n").with_context(failed)?;
        let old = fs::read_to_string(path).unwrap_or_default();
        fs::write(&output, old).with_context(failed)?;

        let minor = pins.python.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        uv.args(["pip", "compile", "--generate-hashes", "--no-header", "--no-annotate"]);
        let glibc = pins.glibc.as_deref().unwrap_or(GLIBC).replace('.', "_");
        let platform = format!("x86_64-manylinux_{glibc}");
        uv.args(["--python-version", &minor, "--python-platform", &platform]);
        uv.args(only_wheels(pins));
        uv.args(python.iter().flat_map(|python| [Path::new("--python"), python]));
        uv.arg("--output-file").arg(&output).arg(&input).current_dir(scratch);
        build.run_listening(uv, &mut swallow_content)?;
        let content = fs::read_to_string(&output).with_context(failed)?;
        let lock = heading(name) + &content;
        publish(path, lock.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        // Scratch files: the next lock overwrites what stays.
        let _ = (fs::remove_file(&input), fs::remove_file(&output));
        Ok(())
    }
}

/// uv prints the lock that it writes: nothing to show.
fn swallow_content(line: &str) -> OutputLine {
    match line.contains("--hash=") || line.ends_with('\\') {
        true => OutputLine::Swallowed,
        false => OutputLine::Shown,
    }
}

/// Returns the packages of a lock, by normalised name.
pub(super) fn packages(lock: &str) -> BTreeMap<String, String> {
    let starts = lock.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
    starts.filter_map(pin).collect()
}

/// Returns the first direct pin of env.yaml that its lock does not hold.
fn missing<'a>(pins: &'a Pins, lock: &str) -> Option<&'a str> {
    let locked = packages(lock);
    let is_locked = |requirement: &str| match pin(requirement) {
        Some((name, version)) => locked.get(&name) == Some(&version),
        None => locked.contains_key(&normalised(requirement)),
    };
    let mut requirements = pins.requirements.iter().map(String::as_str);
    requirements.find(|requirement| !is_locked(requirement))
}

/// Returns name and version of `Name[extra]==1.2 ; marker`.
fn pin(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once("==")?;
    let version = rest.trim_start_matches('=').trim_start();
    let end = version.find([' ', ';', '\\', '#']).unwrap_or(version.len());
    Some((normalised(name), version[..end].to_owned()))
}

/// Returns the name that a requirement begins with, as indexes compare it.
pub(super) fn normalised(requirement: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let end = requirement.find(|c| !is_name(c)).unwrap_or(requirement.len());
    let parts = requirement[..end].split(['.', '_', '-']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

/// Returns the options that forbid builds from source, except of the packages that may be.
pub(super) fn only_wheels(pins: &Pins) -> Vec<String> {
    let all = ["--only-binary", ":all:"].map(str::to_owned);
    let except = pins.source.iter().flat_map(|name| ["--no-binary".to_owned(), name.clone()]);
    all.into_iter().chain(except).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::tests::pins;

    const LOCK: &str = "\
# made by `rosetta env lock x`; do not edit
numpy==2.5.5 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
typing-extensions==4.13.2 ; python_version < '3.13' \\
    --hash=sha256:cc
";

    #[test]
    fn packages_are_read_with_their_versions() {
        let found = packages(LOCK).into_iter().collect::<Vec<_>>();
        let expected = [("numpy", "2.5.5"), ("typing-extensions", "4.13.2")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
    }

    #[test]
    fn a_lock_is_stale_when_a_direct_pin_is_not_in_it() {
        let cases = [
            ("numpy==2.5.5", None),
            ("NumPy[extra]==2.5.5", None),
            ("typing_extensions", None),
            ("numpy==2.5.6", Some("numpy==2.5.6")),
            ("torch==2.15.0", Some("torch==2.15.0")),
            ("torch", Some("torch")),
        ];
        for (requirement, expected) in cases {
            let pins = Pins { requirements: vec![requirement.to_owned()], ..pins() };
            assert_eq!(missing(&pins, LOCK), expected, "{requirement}");
        }
    }
}
