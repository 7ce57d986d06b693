//! Provider `cargo`: the programs of a Rust harness crate. May not know what they compute.
//!
//! What cargo compiled stays in a target folder shared by all digests of an environment, so that a
//! changed harness does not compile its framework again; the programs are copied out of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};

use super::tool::{Build, Host, Line, output_of};
use crate::catalog::EnvSpec;

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
        let version = output_of(rustc).context("cannot ask for the Rust compiler's version")?;
        lock().insert(krate.to_owned(), version.clone());
        Ok(version)
    }
}

/// Returns the crate's Cargo.toml.
pub(super) fn manifest(spec: &EnvSpec) -> Result<PathBuf> {
    let manifest = spec.file.manifest.as_ref();
    let manifest = manifest.ok_or_else(|| anyhow!("env.yaml names no `manifest`"))?;
    Ok(spec.project.join(manifest))
}

/// Returns the crate's folder.
pub(super) fn krate(spec: &EnvSpec) -> Result<PathBuf> {
    let manifest = manifest(spec)?;
    Ok(manifest.parent().unwrap_or(&spec.project).to_owned())
}

pub(super) fn read_lock(spec: &EnvSpec) -> Result<String> {
    let path = krate(spec)?.join("Cargo.lock");
    fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Compiles the crate and puts its programs into `root/bin`.
pub(super) fn make(build: &Build, spec: &EnvSpec, target: &Path, root: &Path) -> Result<()> {
    let mut cargo = build.host.command("cargo");
    cargo.args(["build", "--release", "--locked", "--bins"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.arg("--manifest-path").arg(manifest(spec)?).arg("--target-dir").arg(target);
    if !spec.file.features.is_empty() {
        cargo.arg("--features").arg(spec.file.features.join(","));
    }
    // Toolchain files and .cargo/config.toml are looked for from the working folder upwards.
    cargo.current_dir(krate(spec)?);
    let mut programs = Vec::new();
    build.run_listening(cargo, &mut |line| {
        programs.extend(executable(line));
        if line.starts_with("{\"reason\"") { Line::Swallowed } else { Line::Shown }
    })?;
    let bin = root.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make `{}`", bin.display()))?;
    for program in &programs {
        let copy = bin.join(program.file_name().unwrap_or_default());
        fs::copy(program, &copy).with_context(|| {
            format!("cannot copy `{}` to `{}`", program.display(), bin.display())
        })?;
    }
    match programs.is_empty() {
        true => Err(anyhow!("the crate has no programs")),
        false => Ok(()),
    }
}

/// Brings Cargo.lock in line with Cargo.toml, changing no more than that needs.
pub(super) fn lock(build: &Build, spec: &EnvSpec) -> Result<()> {
    let mut cargo = build.host.command("cargo");
    cargo.args(["update", "--workspace", "--manifest-path"]).arg(manifest(spec)?);
    cargo.current_dir(krate(spec)?);
    build.run(cargo)
}

/// Returns the program that a message of cargo announces.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_program = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
    message["executable"].as_str().filter(|_| is_program).map(PathBuf::from)
}

/// Returns the packages of a Cargo.lock that come from a registry or repository.
pub(super) fn packages(lock: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::<String, String>::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let mut lines = package.lines().filter_map(|line| line.split_once(" = "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
        };
        if let (Some(name), Some(version), Some(_)) =
            (field("name"), field("version"), field("source"))
        {
            let versions = found.entry(name.to_owned()).or_default();
            let comma = if versions.is_empty() { "" } else { ", " };
            *versions = format!("{versions}{comma}{version}");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_taken_from_messages() {
        let cases = [
            (r#"{"reason":"x","target":{"kind":["bin"]},"executable":"/t/cnn"}"#, Some("/t/cnn")),
            (r#"{"reason":"x","target":{"kind":["lib"]},"executable":null}"#, None),
            (r#"{"reason":"x","target":{"kind":["custom-build"]},"executable":"/t/b"}"#, None),
            ("   Compiling burn v0.22.1", None),
        ];
        for (message, expected) in cases {
            assert_eq!(executable(message), expected.map(PathBuf::from), "{message}");
        }
    }

    #[test]
    fn packages_of_a_lock_have_all_their_versions() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n\
            [[package]]\nname = \"rand\"\nversion = \"0.9.1\"\nsource = \"registry\"\n\n\
            [[package]]\nname = \"rand\"\nversion = \"0.10.0\"\nsource = \"registry\"\n";
        let found = packages(lock).into_iter().collect::<Vec<_>>();
        assert_eq!(found, [("rand".to_owned(), "0.9.1, 0.10.0".to_owned())]);
    }
}
