//! Provider `system`: an interpreter that the user names, used as it is. Must not depend on
//! frameworks: versions are read from what is installed, nothing is imported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::provide::{Contents, Provide};
use crate::catalog::Own;
use crate::env::built::Runtime;
use crate::env::tool::{Build, Host, output_of, text};
use crate::env::workshop::Workshop;
use crate::obstacle::Obstacle;

/// Lists the distributions that imports would find, first one first; runs on CPython 3.6 too.
const LIST: &str = r##"
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json, platform, site
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
import os, re
def said(package, file, pattern):
    for folder in sys.path:
        try:
            with open(os.path.join(folder, package, file), errors='replace') as opened:
                match = re.search(pattern, opened.read(), re.S)
                return match and ' '.join(part for part in match.groups() if part)
        except OSError:
            pass
found = {
    'blas of numpy': said('numpy', '__config__.py', r'"blas": \{.*?"name": "([^"]+)".*?"version": "([^"]+)"'),
    'cuda of torch': said('torch', 'version.py', r"cuda[^=\n]*= '([^']+)'"),
    'cuda of the system': said('/usr/local/cuda', 'version.json', r'"cuda" *: *\{.*?"version" *: *"([^"]+)"'),
}
print(json.dumps({
    'found': {name: value for name, value in found.items() if value},
    'executable': sys.executable,
    'version': platform.python_version(),
    'packages': packages,
    'user_base': site.getuserbase() if site.ENABLE_USER_SITE else None,
}))
"##;

/// How long an interpreter may take to list what it has; hundreds of packages on a cold network disk
/// are slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// An interpreter of the user's.
pub(super) struct System<'a> {
    pub(super) own: &'a Own,
    pub(super) workshop: &'a Workshop,
}

/// What an interpreter has.
#[derive(Debug, Deserialize)]
struct InterpreterHas {
    executable: PathBuf,
    version: String,
    packages: BTreeMap<String, String>,
    /// Where `pip install --user` puts things, if it looks there.
    #[serde(default)]
    user_base: Option<String>,
    /// What the packages were built with, as their own files say.
    #[serde(default)]
    found: BTreeMap<String, String>,
}

impl Provide for System<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        self.program().err()
    }

    fn digest(&self) -> Result<String> {
        Err(anyhow!("what an interpreter of yours has is not known by a digest"))
    }

    fn found(&self) -> Result<Option<Contents>> {
        let program = self.program().map_err(Obstacle::into_error)?;
        let InterpreterHas { executable, version, packages, user_base, found } =
            ask(&self.workshop.host, &self.own.wrap, &program)?;
        let runtime = Runtime::Interpreter { python: executable, version };
        // Named, because the home of a job is empty.
        let user_base = user_base.map(|folder| ("PYTHONUSERBASE".to_owned(), folder));
        let environment = user_base.into_iter().collect();
        Ok(Some(Contents { runtime, lock: None, packages, environment, found }))
    }

    fn build(&self, _root: &Path, _build: &Build) -> Result<Contents> {
        Err(anyhow!("an interpreter of yours is not built"))
    }

    fn lock(&self, _build: &Build) -> Result<()> {
        Err(anyhow!("an interpreter of yours has no lock"))
    }

    /// The user's own PYTHONPATH stays.
    fn variables(&self, _root: &Path) -> Result<BTreeMap<String, String>> {
        let sdk = text(&self.workshop.python_sdk())?;
        let path = self.workshop.host.in_front("PYTHONPATH", sdk);
        Ok(BTreeMap::from([("PYTHONPATH".to_owned(), path)]))
    }
}

impl System<'_> {
    /// Returns the interpreter's program; what is named behind a wrapping command is looked for by that one.
    fn program(&self) -> Result<PathBuf, Obstacle> {
        let Own { python, wrap } = self.own;
        let Some(first) = wrap.first() else { return self.workshop.named_python(python) };
        match self.workshop.has(first) {
            true => Ok(python.clone()),
            false => Err(Obstacle::new(
                format!("there is no program `{first}`, with which `--wrap` begins"),
                "name a command that runs another, as `--wrap \"apptainer exec IMAGE\"`",
            )),
        }
    }
}

/// Asks an interpreter for its version and what is installed, in the user's own surroundings.
fn ask(host: &Host, wrap: &[String], python: &Path) -> Result<InterpreterHas> {
    let shown = python.display();
    let mut command = match wrap.split_first() {
        Some((first, rest)) => {
            let mut command = host.command_as_is(first);
            command.args(rest).arg(python);
            command
        }
        None => host.command_as_is(python),
    };
    // In the user's folder, by which a shim of pyenv's chooses; what lies there is not imported.
    command.args(["-c", LIST]);
    let text = output_of(command, PATIENCE)
        .with_context(|| format!("cannot ask `{shown}` what it has"))?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("`{shown}` is not a Python interpreter"))
}
