//! Finds CPython interpreters: on PATH, uv's, pyenv's, conda's. Must not depend on what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::tool::Host;
use crate::probe;

/// How long an interpreter may take to say what it is; a cold network disk is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints what an interpreter is. Runs on any Python 3.
pub(super) const PROBE: &str = "
import importlib.util, json, os, struct, sys, sysconfig
try:
    glibc = os.confstr('CS_GNU_LIBC_VERSION') or ''
except (AttributeError, OSError, ValueError):
    glibc = ''
print(json.dumps({
    'version': list(sys.version_info[:3]),
    'implementation': sys.implementation.name,
    'bits': struct.calcsize('P') * 8,
    'has_venv': all(importlib.util.find_spec(n) for n in ('venv', 'ensurepip')),
    'is_glibc': glibc.startswith('glibc'),
    'is_free_threaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED')),
    'executable': sys.executable,
    'base': sys.base_prefix,
}))
";

/// What an interpreter says it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Interpreter {
    /// Major, minor, patch.
    pub(super) version: [u16; 3],
    pub(super) implementation: String,
    pub(super) bits: u16,
    /// Whether `python -m venv` can work; Debian has a package of its own for it.
    pub(super) has_venv: bool,
    pub(super) is_glibc: bool,
    pub(super) is_free_threaded: bool,
    pub(super) executable: PathBuf,
    pub(super) base: PathBuf,
}

impl Interpreter {
    pub(super) fn version_text(&self) -> String {
        self.version.map(|part| part.to_string()).join(".")
    }

    /// Returns why the wheels that locks name cannot go into it.
    fn unfit(&self) -> Option<String> {
        let implementation = &self.implementation;
        if implementation != "cpython" {
            Some(format!("is {implementation}, not CPython"))
        } else if self.bits != 64 {
            Some(format!("is a {}-bit build", self.bits))
        } else if self.is_free_threaded {
            Some("is a free-threaded build".to_owned())
        } else if !self.is_glibc {
            Some("is not built for glibc".to_owned())
        } else {
            None
        }
    }
}

/// The interpreters of this machine, each asked at most once.
#[derive(Debug, Default)]
pub(super) struct Interpreters {
    asked: Mutex<BTreeMap<PathBuf, Result<Interpreter, String>>>,
}

impl Interpreters {
    /// Returns the newest CPython of a version such as `3.12`, or why there is none.
    pub(super) fn find(&self, host: &Host, version: &str) -> Result<Interpreter, String> {
        let wanted = parse_version(version);
        let mut best: Option<Interpreter> = None;
        let mut refused = Vec::new();
        for candidate in candidates(host, &wanted) {
            // One that does not start, or is Python 2, is no candidate.
            let Ok(found) = self.ask(host, &candidate) else { continue };
            if !found.version.starts_with(&wanted) {
                continue;
            }
            if let Some(why) = found.unfit() {
                refused.push(format!("`{}` {why}", found.executable.display()));
            } else if best.as_ref().is_none_or(|best| rank(&found) > rank(best)) {
                best = Some(found);
            }
        }
        refused.dedup();
        let why =
            if refused.is_empty() { String::new() } else { format!(": {}", refused.join(", ")) };
        best.ok_or_else(|| format!("there is no CPython {version} here{why}"))
    }

    fn ask(&self, host: &Host, candidate: &Path) -> Result<Interpreter, String> {
        let lock = || self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = lock().get(candidate) {
            return known.clone();
        }
        let answer = probe(host, candidate).map_err(|error| format!("{error:#}"));
        lock().insert(candidate.to_owned(), answer.clone());
        answer
    }
}

/// Newer patches first, then those that can make a venv by themselves.
fn rank(interpreter: &Interpreter) -> ([u16; 3], bool) {
    (interpreter.version, interpreter.has_venv)
}

/// Returns the numbers of a version such as `3.12`; env.yaml has been checked to have only those.
pub(super) fn parse_version(version: &str) -> Vec<u16> {
    version.split('.').map_while(|part| part.parse().ok()).take(3).collect()
}

/// Asks one interpreter what it is.
pub(super) fn probe(host: &Host, python: &Path) -> Result<Interpreter> {
    let shown = python.display();
    let text = ask(host, python).with_context(|| format!("`{shown}` does not answer"))?;
    let interpreter = parse(&text).with_context(|| format!("`{shown}` answers nonsense"))?;
    Ok(out_of_venv(interpreter))
}

/// Reads what the probe prints.
pub(super) fn parse(text: &str) -> Result<Interpreter> {
    Ok(serde_json::from_str(text)?)
}

fn ask(host: &Host, python: &Path) -> Result<String> {
    let mut command = host.command(python);
    // -S: without the packages of a site, which can be slow to list.
    command.args(["-I", "-S", "-c", PROBE]);
    probe::answer(&mut command, PATIENCE)
}

/// Returns the interpreter under a venv: the user may delete the venv, and ours must survive that.
fn out_of_venv(interpreter: Interpreter) -> Interpreter {
    let [major, minor, _] = interpreter.version;
    let base = interpreter.base.join("bin").join(format!("python{major}.{minor}"));
    match !interpreter.executable.starts_with(&interpreter.base) && base.is_file() {
        true => Interpreter { executable: base, ..interpreter },
        false => interpreter,
    }
}

/// Returns files that may be such an interpreter, each once.
fn candidates(host: &Host, wanted: &[u16]) -> Vec<PathBuf> {
    let minor = wanted.iter().take(2).map(u16::to_string).collect::<Vec<_>>().join(".");
    let exact = format!("python{minor}");
    let mut files = Vec::new();
    for folder in host.path() {
        // A pyenv shim is slow and may lead nowhere; what it could lead to is among the roots.
        if pyenv_of_shims(&folder).is_none() {
            files.extend([exact.as_str(), "python3", "python"].map(|name| folder.join(name)));
        }
    }
    files.extend(roots(host).iter().map(|root| root.join("bin").join(&exact)));
    let mut seen = BTreeSet::new();
    files.retain(|file| file.is_file() && seen.insert(real(file)));
    files
}

/// Returns what a link leads to, except into a venv, whose python must be run by its own name.
fn real(file: &Path) -> PathBuf {
    let in_venv = file.ancestors().nth(2).is_some_and(|root| root.join("pyvenv.cfg").is_file());
    if in_venv {
        file.to_owned()
    } else {
        fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
    }
}

/// Returns the folders whose `bin` may hold an interpreter.
fn roots(host: &Host) -> Vec<PathBuf> {
    let home = host.folder("HOME");
    let at_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let mut roots = Vec::new();

    let data = host.folder("XDG_DATA_HOME").map(|data| data.join("uv/python"));
    let uv = [host.folder("UV_PYTHON_INSTALL_DIR"), data, at_home(".local/share/uv/python")];
    let mut pyenv = vec![host.folder("PYENV_ROOT"), at_home(".pyenv")];
    pyenv.extend(host.path().iter().map(|folder| pyenv_of_shims(folder)));
    roots.extend(uv.into_iter().flatten().flat_map(|root| subfolders(&root)));
    roots.extend(pyenv.into_iter().flatten().flat_map(|root| subfolders(&root.join("versions"))));

    let named = ["CONDA_PREFIX", "CONDA_ROOT", "MAMBA_ROOT_PREFIX"].map(|name| host.folder(name));
    let usual = ["miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda"];
    let conda = named.into_iter().chain(usual.map(at_home)).flatten();
    for root in conda.chain([PathBuf::from("/opt/conda")]) {
        roots.extend(subfolders(&root.join("envs")));
        roots.push(root);
    }
    roots.extend(["/usr/local", "/usr"].map(PathBuf::from));
    roots
}

/// Returns the pyenv root whose shims a folder holds. Those of asdf or mise are run instead.
fn pyenv_of_shims(folder: &Path) -> Option<PathBuf> {
    let root = folder.parent().filter(|_| folder.ends_with("shims"))?;
    root.join("versions").is_dir().then(|| root.to_owned())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = listing.map(|entry| entry.path()).collect::<Vec<_>>();
    found.sort();
    found
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use super::*;

    /// Writes a program that sh runs. Another process does the writing: a file that a thread of
    /// ours has open is open for a moment in whatever another thread starts, and cannot be run.
    pub(in crate::env) fn script(path: &Path, body: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod 755 "$2""#;
        let status = Command::new("/bin/sh").args(["-c", write, "sh", body]).arg(path).status();
        assert!(status.unwrap().success());
    }

    /// Writes a program that answers the probe like an interpreter, then does `more`.
    pub(in crate::env) fn fake(path: &Path, version: &str, change: (&str, &str), more: &str) {
        let parts = version.replace('.', ", ");
        let base = path.parent().unwrap().parent().unwrap().display();
        let answer = format!(
            r#"{{"version": [{parts}], "implementation": "cpython", "bits": 64, "has_venv": true, "is_glibc": true, "is_free_threaded": false, "executable": "{}", "base": "{base}"}}"#,
            path.display()
        );
        let answer = answer.replace(change.0, change.1);
        script(path, &format!("if [ \"$1\" = -I ]; then echo '{answer}'; exit; fi\n{more}"));
    }

    #[test]
    fn newest_fit_patch_wins_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let (path, home) = (at("path"), at("home"));
        let text = |path: &Path| path.display().to_string();
        let host = Host::with(&[("PATH", &text(&path)), ("HOME", &text(&home))]);
        let find = || Interpreters::default().find(&host, "3.99");
        let none = ("", "");

        assert_eq!(find().unwrap_err(), "there is no CPython 3.99 here");
        script(&at("path/python3.99"), "echo 'no such version' >&2; exit 127");
        assert_eq!(find().unwrap_err(), "there is no CPython 3.99 here");

        fake(&at("home/.pyenv/versions/pypy/bin/python3.99"), "3.99.9", ("cpython", "pypy"), "");
        assert!(find().unwrap_err().ends_with("bin/python3.99` is pypy, not CPython"));

        fake(&at("home/.local/share/uv/python/x/bin/python3.99"), "3.99.1", none, "");
        fake(&at("home/miniforge3/envs/y/bin/python3.99"), "3.99.10", none, "");
        fake(&at("path/python3"), "3.98.11", none, "");
        assert!(find().unwrap().executable.ends_with("miniforge3/envs/y/bin/python3.99"));
        let find = |version: &str| Interpreters::default().find(&host, version);
        assert_eq!(find("3.99.1").unwrap().version, [3, 99, 1]);
        assert_eq!(find("3.98").unwrap().version, [3, 98, 11]);
        // A pyenv elsewhere is found by its shims, which are not run.
        script(&at("other/shims/python3.97"), "exit 1");
        fake(&at("other/versions/3.97.2/bin/python3.97"), "3.97.2", none, "");
        let host = Host::with(&[("PATH", &text(&at("other/shims")))]);
        assert_eq!(Interpreters::default().find(&host, "3.97").unwrap().version, [3, 97, 2]);
    }

    #[test]
    fn a_venv_gives_the_interpreter_under_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        let venv = folder.path().join("venv/bin/python3");
        let change = (r#"venv", "x"#, "");
        fake(&base.join("bin/python3.99"), "3.99.0", change, "");
        let was = format!(r#""base": "{}""#, folder.path().join("venv").display());
        let now = format!(r#""base": "{}""#, base.display());
        fake(&venv, "3.99.0", (&was, &now), "");
        fs::write(folder.path().join("venv/pyvenv.cfg"), "").unwrap();
        let found = probe(&Host::with(&[]), &venv).unwrap();
        assert_eq!(found.executable, base.join("bin/python3.99"));
    }
}
