//! What an environment is made from, as one SHA-256. May not know how it is built.
//!
//! Decision: what only tells a job how to run (`environment`) or merely guards the build
//! (`programs`) is not part of it, so changing them rebuilds nothing. `requirements` are not
//! either: the lock stands for them, and there is no digest where it lacks one of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::lockfile;
use super::tool::Host;
use crate::catalog::EnvSpec;
use crate::digest::hex;
use crate::obstacle::Obstacle;

/// Collects labelled parts; lengths keep neighbours from running into one another.
struct Parts(Sha256);

impl Parts {
    fn new(provider: &str) -> Parts {
        let mut parts = Parts(Sha256::new());
        parts.add("rosetta environment 1", provider);
        parts.add("platform", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
        parts
    }

    fn add(&mut self, label: &str, content: impl AsRef<[u8]>) {
        for bytes in [label.as_bytes(), content.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    fn add_all(&mut self, label: &str, list: &[String]) {
        self.add(label, list.len().to_string());
        for item in list {
            self.add(label, item);
        }
    }

    fn add_files(&mut self, root: &Path, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(file);
            self.add(&name.to_string_lossy(), bytes);
        }
        Ok(())
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Returns the digest of a `venv`.
pub(super) fn of_venv(spec: &EnvSpec) -> Result<String> {
    let file = &spec.file;
    let mut parts = Parts::new("venv");
    parts.add("python", file.python.as_deref().unwrap_or_default());
    parts.add("lock", lockfile::read(spec).map_err(Obstacle::into_error)?);
    parts.add_all("source", &file.source);
    add_cures(&mut parts, spec)?;
    Ok(parts.finish())
}

/// Returns the digest of a `cargo` environment that `rustc` (its version) compiles.
pub(super) fn of_cargo(host: &Host, spec: &EnvSpec, krate: &Path, rustc: &str) -> Result<String> {
    let mut parts = Parts::new("cargo");
    parts.add("rustc", rustc);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        parts.add(variable, host.get(variable).unwrap_or_default().as_encoded_bytes());
    }
    parts.add_all("features", &spec.file.features);
    let project = &spec.project;
    for folder in [krate, &project.join("harnesses/sdk/rust")] {
        let mut files = files_under(folder)?;
        files.retain(|file| file.extension().is_some_and(is_cargo_input));
        parts.add_files(project, &files)?;
    }
    add_cures(&mut parts, spec)?;
    Ok(parts.finish())
}

fn is_cargo_input(extension: &std::ffi::OsStr) -> bool {
    ["rs", "toml", "lock"].iter().any(|known| extension == *known)
}

/// Adds the cures and every file that they may use: those beside env.yaml, and those of another
/// environment that a cure names.
fn add_cures(parts: &mut Parts, spec: &EnvSpec) -> Result<()> {
    for cure in &spec.file.cures {
        parts.add_all("cure", &cure.run);
    }
    if spec.file.cures.is_empty() {
        return Ok(());
    }
    let mut files = files_under(&spec.folder)?;
    let others = ["env.yaml", "requirements.lock", "README.md"].map(|name| spec.folder.join(name));
    files.retain(|file| !others.contains(file));
    parts.add_files(&spec.folder, &files)?;
    let elsewhere = |argument: &&String| argument.starts_with("{folder}/../");
    let named = spec.file.cures.iter().flat_map(|cure| &cure.run).filter(elsewhere);
    let named = named.map(|path| path.replace("{folder}", &spec.folder.to_string_lossy()));
    parts.add_files(&spec.folder, &named.map(PathBuf::from).collect::<Vec<_>>())
}

/// Returns the files under a folder, sorted, without what tools leave there.
fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list `{}`", folder.display());
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(failed)?,
    };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_left_over = name == "target" || name == "__pycache__" || name.ends_with('~');
        let is_hidden = name.starts_with('.') && name != ".cargo";
        if is_left_over || is_hidden {
            continue;
        }
        if path.is_dir() { files.extend(files_under(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Cure;
    use crate::env::tests::spec;

    #[test]
    fn what_is_built_changes_a_venv_digest_and_nothing_else_does() {
        let project = tempfile::tempdir().unwrap();
        let spec = spec(project.path(), "x");
        let at = |name: &str| spec.folder.join(name);
        let first = of_venv(&spec).unwrap();
        assert_eq!(first.len(), 64);

        let mut same = spec.clone();
        same.file.environment.insert("A".into(), "b".into());
        same.file.programs.push("gcc".into());
        fs::write(at("notes.txt"), "unused without cures").unwrap();
        assert_eq!(of_venv(&same).unwrap(), first);

        let mut other = spec.clone();
        other.file.python = Some("3.98".into());
        assert_ne!(of_venv(&other).unwrap(), first);
        let mut other = spec.clone();
        other.file.source.push("x".into());
        assert_ne!(of_venv(&other).unwrap(), first);

        let mut cured = spec.clone();
        cured.file.cures = vec![Cure { why: "w".into(), run: vec!["r".into()] }];
        let with_cure = of_venv(&cured).unwrap();
        assert_ne!(with_cure, first);
        fs::write(at("notes.txt"), "used by a cure").unwrap();
        assert_ne!(of_venv(&cured).unwrap(), with_cure);

        let script = spec.folder.join("../cure.py");
        cured.file.cures[0].run.push("{folder}/../cure.py".into());
        fs::write(&script, "one way").unwrap();
        let with_script = of_venv(&cured).unwrap();
        fs::write(&script, "another way").unwrap();
        assert_ne!(of_venv(&cured).unwrap(), with_script);

        fs::write(at("requirements.lock"), "one==1.0\nother==2\n").unwrap();
        assert_ne!(of_venv(&spec).unwrap(), first);
    }

    #[test]
    fn sources_sdk_compiler_and_flags_change_a_cargo_digest() {
        let project = tempfile::tempdir().unwrap();
        let spec = spec(project.path(), "x");
        let krate = project.path().join("harnesses/burn");
        let sdk = project.path().join("harnesses/sdk/rust/src");
        for folder in [krate.join("target"), krate.join("src"), sdk.clone()] {
            fs::create_dir_all(folder).unwrap();
        }
        let host = Host::with(&[]);
        let mut digests = Vec::new();
        let mut add = |host: &Host, spec: &EnvSpec, rustc: &str| {
            digests.push(of_cargo(host, spec, &krate, rustc).unwrap());
        };
        add(&host, &spec, "1.95");
        fs::write(krate.join("src/cnn.rs"), "fn main() {}").unwrap();
        add(&host, &spec, "1.95");
        fs::write(krate.join("Cargo.lock"), "").unwrap();
        add(&host, &spec, "1.95");
        fs::write(sdk.join("lib.rs"), "").unwrap();
        add(&host, &spec, "1.95");
        add(&host, &spec, "1.96");
        add(&Host::with(&[("RUSTFLAGS", "-Ctarget-cpu=native")]), &spec, "1.95");
        let mut featured = spec.clone();
        featured.file.features.push("cuda".into());
        add(&host, &featured, "1.95");
        fs::write(krate.join("target/made.rs"), "").unwrap();
        fs::write(krate.join("framework.yaml"), "").unwrap();
        add(&host, &featured, "1.95");
        assert_eq!(digests[6], digests[7]);
        digests.pop();
        let unique = digests.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(unique.len(), digests.len());
    }
}
