//! Provider `venv`: a hash-locked virtual environment made by uv, or by venv and pip for CPython
//! before 3.8, which uv does not promise to serve. May not know when it is built, nor sealed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::lockfile;
use super::python::Interpreter;
use super::tool::Build;
use crate::catalog::EnvSpec;

/// The pip that old interpreters get: the last for CPython 3.6. Theirs knows no manylinux2014.
const PIP: &str = "\
pip==21.3.1 \\
    --hash=sha256:deaf32dcd9ab821e359cd8330786bcd077604b5c5730c0b096eda46f95c24a2d
";

/// What builds from source need besides the lock, whose pins hold for them too.
const BUILD_TOOLS: &str = "\
wheel==0.45.1 \\
    --hash=sha256:708e7481cc80179af0e556bbf0cc00b8444c7321e2700b8d8580231d13017248
";

/// The first CPython that uv serves.
const FIRST_FOR_UV: [u16; 2] = [3, 8];

/// Whether uv installs into a CPython of that version; pip does otherwise.
pub(super) fn is_for_uv(version: &[u16]) -> bool {
    version >= FIRST_FOR_UV.as_slice()
}

/// Makes the environment in `root` with uv.
pub(super) fn make_with_uv(
    build: &Build,
    uv: &dyn Fn() -> Command,
    spec: &EnvSpec,
    python: &Interpreter,
    root: &Path,
) -> Result<()> {
    let mut venv = uv();
    venv.args(["venv", "--quiet", "--no-project", "--python"]).arg(&python.executable).arg(root);
    build.run(venv)?;
    let lock = lockfile::path(spec);
    let mut sync = uv();
    sync.args(["pip", "sync", "--require-hashes", "--strict", "--compile-bytecode"]);
    sync.args(["--link-mode", "hardlink", "--python"]).arg(root.join("bin/python"));
    sync.args(lockfile::only_wheels(spec));
    if !spec.file.source.is_empty() {
        let tools = root.join("build-tools.txt");
        fs::write(&tools, BUILD_TOOLS).context("cannot write the pins of build tools")?;
        sync.arg("--build-constraints").arg(tools).arg("--build-constraints").arg(&lock);
    }
    // A pyproject.toml of the folder that rosetta was started in is none of uv's business.
    sync.arg(&lock).current_dir(root);
    build.run(sync)
}

/// Makes the environment in `root` with the interpreter's own venv and a pinned pip.
pub(super) fn make_with_pip(
    build: &Build,
    spec: &EnvSpec,
    python: &Interpreter,
    root: &Path,
) -> Result<()> {
    let mut venv = build.host.command(&python.executable);
    venv.args(["-m", "venv"]).arg(root);
    build.run(venv)?;
    let pinned = root.join("pip.txt");
    fs::write(&pinned, PIP).context("cannot write pip's requirements")?;
    let install = || {
        let mut pip = build.host.command(root.join("bin/python"));
        pip.args(["-m", "pip", "install", "--progress-bar", "off", "--no-deps"]);
        pip.arg("--require-hashes").current_dir(root);
        pip
    };
    let mut upgrade = install();
    upgrade.args(["--only-binary", ":all:", "--requirement"]).arg(pinned);
    build.run(upgrade)?;
    let mut sync = install();
    sync.args(lockfile::only_wheels(spec)).arg("--requirement").arg(lockfile::path(spec));
    build.run(sync)
}

/// Returns where packages are installed.
pub(super) fn site(root: &Path, version: [u16; 3]) -> PathBuf {
    let [major, minor, _] = version;
    root.join(format!("lib/python{major}.{minor}/site-packages"))
}
