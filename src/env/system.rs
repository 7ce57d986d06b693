//! Provider `system`: an interpreter that the user names, as it is. May not know frameworks:
//! versions are read from what is installed, nothing is imported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::tool::{Host, output_of};

/// Lists the distributions that imports would find, first one first; runs on CPython 3.6 too.
const LIST: &str = "
import json, platform, sys
try:
    from importlib.metadata import distributions
    found = ((d.metadata['Name'], d.version) for d in distributions())
except ImportError:
    import pkg_resources
    found = ((d.project_name, d.version) for d in pkg_resources.working_set)
packages = {}
for name, version in found:
    if name and version:
        packages.setdefault(name.lower().replace('_', '-').replace('.', '-'), version)
print(json.dumps({
    'executable': sys.executable,
    'version': platform.python_version(),
    'packages': packages,
}))
";

/// What an interpreter has.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) executable: std::path::PathBuf,
    pub(super) version: String,
    pub(super) packages: BTreeMap<String, String>,
}

/// Asks an interpreter for its version and what is installed, in the user's own surroundings.
pub(super) fn ask(host: &Host, python: &Path) -> Result<Found> {
    let shown = python.display();
    let mut command = host.command_as_is(python);
    command.args(["-c", LIST]).current_dir("/");
    let text = output_of(command).with_context(|| format!("cannot ask `{shown}` what it has"))?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("`{shown}` is no Python interpreter"))
}
