//! The Python packages of a requirements.lock, put into a prefix that has an interpreter: with uv, or
//! with pip for CPython before 3.8, which uv does not promise to serve.
//!
//! Must not depend on where the interpreter comes from.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::catalog::{EnvSpec, Pins};
use crate::env::digest::Parts;
use crate::env::lockfile::{self, Lockfile};
use crate::env::settings;
use crate::env::tool::Build;
use crate::env::uv;
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;

/// The pip that old interpreters get: the last for CPython 3.6. Theirs knows no manylinux2014.
pub(in crate::env) const PIP: &str = "\
pip==21.3.1 \\
    --hash=sha256:deaf32dcd9ab821e359cd8330786bcd077604b5c5730c0b096eda46f95c24a2d
";

/// What builds from source need besides the lock, whose pins hold for them too.
pub(in crate::env) const BUILD_TOOLS: &str = "\
wheel==0.45.1 \\
    --hash=sha256:708e7481cc80179af0e556bbf0cc00b8444c7321e2700b8d8580231d13017248
";

/// The first CPython that uv serves.
const FIRST_FOR_UV: [u16; 2] = [3, 8];

/// What becomes of packages that the lock does not name. Bytecode is compiled where some are kept, and else left to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// There are none to keep.
    Removed,
    /// They came with the interpreter.
    Kept,
}

/// The Python packages of an environment.
pub(super) struct Wheels<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) pins: &'a Pins,
    pub(super) workshop: &'a Workshop,
}

impl Wheels<'_> {
    pub(super) fn lock_file(&self) -> Lockfile<'_> {
        Lockfile { name: &self.spec.name, path: &self.spec.lock, pins: self.pins }
    }

    /// Returns the lock, or why it will not do here.
    pub(super) fn lock(&self) -> Result<String, Obstacle> {
        match wrong_platform() {
            Some(wrong) => Err(wrong),
            None => self.lock_file().read(),
        }
    }

    /// Adds what is installed to a digest.
    pub(super) fn add_to(&self, parts: &mut Parts) -> Result<()> {
        parts.add("python", &self.pins.python);
        parts.add("lock", self.lock_file().read().map_err(Obstacle::into_error)?);
        parts.add_all("source", &self.pins.source);
        Ok(())
    }

    pub(super) fn uv(&self, uv: &Path) -> Result<Command> {
        uv::command(&self.workshop.host, &self.workshop.home, uv)
    }

    /// Installs the lock into `root` with uv.
    pub(super) fn sync_with_uv(
        &self,
        uv: &Path,
        root: &Path,
        others: Others,
        build: &Build,
    ) -> Result<()> {
        let lock = self.lock_file().path;
        let mut sync = self.uv(uv)?;
        match others {
            Others::Removed => sync.args(["pip", "sync"]),
            Others::Kept => sync.args([
                "pip",
                "install",
                "--no-deps",
                "--break-system-packages",
                "--compile-bytecode",
            ]),
        };
        sync.args(["--require-hashes", "--strict"]);
        sync.args(["--link-mode", "hardlink", "--python"]).arg(root.join("bin/python"));
        sync.args(lockfile::only_wheels(self.pins));
        if !self.pins.source.is_empty() {
            let tools = root.join("build-tools.txt");
            fs::write(&tools, BUILD_TOOLS).context("cannot write the pins of build tools")?;
            sync.arg("--build-constraints").arg(tools).arg("--build-constraints").arg(lock);
        }
        if others == Others::Kept {
            sync.arg("--requirements");
        }
        // A pyproject.toml of the folder that rosetta was started in is none of uv's business.
        sync.arg(lock).current_dir(root);
        build.run(sync)
    }

    /// Installs the lock into `root` with a pinned pip.
    pub(super) fn sync_with_pip(&self, root: &Path, build: &Build) -> Result<()> {
        let pinned = root.join("pip.txt");
        fs::write(&pinned, PIP).context("cannot write pip's requirements")?;
        let mut upgrade = pip_install(root, build);
        upgrade.args(["--only-binary", ":all:", "--requirement"]).arg(pinned);
        build.run(upgrade)?;
        let mut sync = pip_install(root, build);
        sync.args(lockfile::only_wheels(self.pins));
        sync.arg("--requirement").arg(&self.spec.lock);
        build.run(sync)
    }
}

fn pip_install(root: &Path, build: &Build) -> Command {
    let mut pip = build.host.command(root.join("bin/python"));
    pip.args(["-m", "pip", "install", "--progress-bar", "off", "--no-deps"]);
    pip.arg("--require-hashes").current_dir(root);
    settings::for_pip(build.host, &mut pip);
    pip
}

/// Whether uv installs into a CPython of that version; pip does otherwise.
pub(in crate::env) fn is_for_uv(version: &[u16]) -> bool {
    version >= FIRST_FOR_UV.as_slice()
}

/// Locks name wheels of one platform.
fn wrong_platform() -> Option<Obstacle> {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let reason = format!("its lock is for Linux on x86_64; this is {os} on {arch}");
    let hint = "use an interpreter that has the framework: `--provider system --python PATH`";
    ((arch, os) != ("x86_64", "linux")).then(|| Obstacle::new(reason, hint))
}
