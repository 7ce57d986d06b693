//! The bytecode of a virtual environment's packages. Must not depend on how they came there.
//!
//! Most modules of a framework are never imported: of the 5,989 of PyTorch's environment its harnesses need a fifth at
//! most. So a build compiles none; a check leaves those compiled that its harness imports, and is noted. What has not been
//! checked here finds all of them compiled before it is timed.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::built::Built;
use super::tool::Host;
use crate::catalog::Device;

/// What was checked here, a device and a harness in each line. There is no such file where all is compiled.
const CHECKED: &str = "checked.txt";

/// Compiles what can be compiled below a folder, on all CPUs.
const COMPILE: &str =
    "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)";

/// Leaves the packages of a new environment to be compiled.
pub(super) fn leave(root: &Path) -> Result<()> {
    let file = root.join(CHECKED);
    fs::write(&file, "").with_context(|| format!("cannot write `{}`", file.display()))
}

/// Whether what a harness imports on a device is compiled; without one, whether all is. Where this user may not write nothing
/// can be, and what is the user's own is left as it is.
pub(super) fn is_compiled(built: &Built, program: Option<(Device, &Path)>) -> bool {
    if built.digest.is_none() {
        return true;
    }
    let mut checked = String::new();
    let opened = OpenOptions::new().read(true).append(true).open(file(built));
    if opened.and_then(|mut file| file.read_to_string(&mut checked)).is_err() {
        return true;
    }
    let line = program.map(line);
    line.is_some_and(|line| checked.lines().any(|checked| checked == line))
}

/// Compiles all packages. What cannot be compiled now is compiled by whatever imports it.
pub(super) fn compile(host: &Host, built: &Built) {
    let Some(python) = built.interpreter() else { return };
    let mut command = host.command(python);
    command.args(["-I", "-c", COMPILE]).arg(built.root.join("lib"));
    let mut command = host.guarded(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        // Should it stay, all is compiled once more.
        let _ = fs::remove_file(file(built));
    }
}

fn file(built: &Built) -> PathBuf {
    built.root.join(CHECKED)
}

fn line((device, harness): (Device, &Path)) -> String {
    format!("{device} {}", harness.display())
}

impl Built {
    /// Notes that a harness was checked here on a device, so that what it imports is compiled.
    pub fn note_check(&self, device: Device, harness: &Path) {
        let program = (device, harness);
        if is_compiled(self, Some(program)) {
            return;
        }
        if let Ok(mut file) = OpenOptions::new().append(true).open(file(self)) {
            // What is not noted is compiled once more.
            let _ = writeln!(file, "{}", line(program));
        }
    }
}
