//! Provider `cargo`: the programs of a Rust harness crate. Must not depend on what they compute.
//!
//! What cargo compiled stays in a target folder shared by all digests of an environment, so that a
//! changed harness does not compile its framework again; the programs are copied out of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::provide::{Contents, Provide};
use crate::catalog::{Crate, EnvSpec};
use crate::env::built::{Built, Runtime};
use crate::env::digest::{Parts, files_under};
use crate::env::lockfile::lock_hint;
use crate::env::settings;
use crate::env::store;
use crate::env::surroundings::COMPILING;
use crate::env::tool::{Build, Host, OutputLine, text};
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;

/// Variables of the user's shell that change what rustc makes; cargo sees them.
const FLAGS: [&str; 3] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// A crate of harnesses, as env.yaml names it.
pub(super) struct Cargo<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) of: &'a Crate,
    pub(super) workshop: &'a Workshop,
}

impl Provide for Cargo<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        for program in ["cargo", "rustc"] {
            if !self.workshop.has(program) {
                let reason = format!("there is no `{program}` on PATH");
                return Some(Obstacle::new(reason, "install Rust (https://rustup.rs)"));
            }
        }
        let manifest = self.manifest();
        if !manifest.is_file() {
            let reason = format!("there is no `{}`", manifest.display());
            let file = self.spec.folder.join("env.yaml");
            return Some(Obstacle::new(reason, format!("mend `manifest` of `{}`", file.display())));
        }
        let hint = lock_hint(&self.spec.name);
        self.read_lock().is_err().then(|| Obstacle::new("it has no Cargo.lock", hint))
    }

    fn digest(&self) -> Result<String> {
        self.digest_by(&self.rustc()?)
    }

    fn digest_elsewhere(&self, built: &Built) -> Option<String> {
        let Runtime::Programs { compiler: Some(rustc) } = &built.runtime else { return None };
        // A compiler that is here is asked: what it would make is what counts.
        (!self.workshop.has("rustc")).then(|| self.digest_by(rustc).ok())?
    }

    /// Compiles the crate and puts its programs into `root/bin`.
    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let lock = self.read_lock()?;
        let programs = self.compile(build)?;
        copy_into(&root.join("bin"), &programs)?;
        let runtime = Runtime::Programs { compiler: Some(self.rustc()?) };
        Ok(Contents {
            runtime,
            packages: packages(&lock),
            lock: Some(lock),
            environment: BTreeMap::new(),
            found: BTreeMap::new(),
        })
    }

    /// Brings Cargo.lock in line with Cargo.toml, changing no more than that needs.
    fn lock(&self, build: &Build) -> Result<()> {
        build.run(self.cargo(build.host, &["update", "--workspace"]))
    }

    fn variables(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let path = self.workshop.host.in_front("PATH", text(&root.join("bin"))?);
        Ok(BTreeMap::from([("PATH".to_owned(), path)]))
    }
}

impl Cargo<'_> {
    /// Returns the crate's Cargo.toml.
    fn manifest(&self) -> PathBuf {
        self.spec.project.join(&self.of.manifest)
    }

    /// Returns the crate's folder.
    fn folder(&self) -> PathBuf {
        self.manifest().parent().unwrap_or(&self.spec.project).to_owned()
    }

    fn read_lock(&self) -> Result<String> {
        let path = self.folder().join("Cargo.lock");
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }

    fn rustc(&self) -> Result<String> {
        self.workshop.compilers.version(&self.workshop.host, &self.folder())
    }

    /// Returns the digest of what `rustc` (its version) compiles.
    fn digest_by(&self, rustc: &str) -> Result<String> {
        let mut parts = Parts::new("cargo");
        parts.add("rustc", rustc);
        for variable in FLAGS {
            let flags = self.workshop.host.get(variable).unwrap_or_default();
            parts.add(variable, flags.as_encoded_bytes());
        }
        // Of what is not there nothing is added: a digest must not change with this list.
        let set = COMPILING.iter().filter_map(|name| Some((name, self.workshop.host.get(name)?)));
        for (name, value) in set {
            parts.add(name, value.as_encoded_bytes());
        }
        let settings = settings::of_cargo(&self.workshop.host, &self.folder());
        if !settings.is_empty() {
            parts.add_all("cargo's settings", &settings);
        }
        parts.add_all("features", &self.of.features);
        let project = &self.spec.project;
        for folder in [self.folder(), project.join("harnesses/sdk/rust")] {
            let mut files = files_under(&folder)?;
            files.retain(|file| file.extension().is_some_and(is_input));
            parts.add_files(project, &files)?;
        }
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    /// Compiles the crate's programs and returns where they are.
    fn compile(&self, build: &Build) -> Result<Vec<PathBuf>> {
        let target = store::shared_target(&self.workshop.home, &self.spec.name);
        let mut cargo = self.cargo(build.host, &["build", "--release", "--locked", "--bins"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        cargo.arg("--target-dir").arg(target);
        if !self.of.features.is_empty() {
            cargo.arg("--features").arg(self.of.features.join(","));
        }
        let mut programs = Vec::new();
        build.run_listening(cargo, &mut |line| {
            programs.extend(executable(line));
            if line.starts_with("{\"reason\"") { OutputLine::Swallowed } else { OutputLine::Shown }
        })?;
        Ok(programs)
    }

    fn cargo(&self, host: &Host, words: &[&str]) -> Command {
        let mut cargo = host.command("cargo");
        let set = FLAGS.iter().chain(&COMPILING).filter_map(|name| Some((name, host.get(name)?)));
        cargo.envs(set);
        cargo.args(words).arg("--manifest-path").arg(self.manifest());
        // Toolchain files and .cargo/config.toml are looked for from the working folder upwards.
        cargo.current_dir(self.folder());
        cargo
    }
}

fn is_input(extension: &OsStr) -> bool {
    ["rs", "toml", "lock"].iter().any(|known| extension == *known)
}

fn copy_into(bin: &Path, programs: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(bin).with_context(|| format!("cannot make `{}`", bin.display()))?;
    for program in programs {
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

/// Returns the program that a message of cargo announces.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_program = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
    message["executable"].as_str().filter(|_| is_program).map(PathBuf::from)
}

/// Returns the packages of a Cargo.lock that come from a registry or repository.
fn packages(lock: &str) -> BTreeMap<String, String> {
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
