//! A built environment: what is in it and how a harness is started in it.
//!
//! May not know how it was built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use super::tool::Host;
use crate::catalog::EnvSpec;
use crate::hint::hinted;

/// An environment that jobs can be started in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Built {
    pub name: String,
    /// `venv`, `cargo` or `system`.
    pub provider: String,
    /// What it was made from; none for `system`.
    pub digest: Option<String>,
    /// SHA-256 of requirements.lock or Cargo.lock; none for `system`.
    pub lock_sha256: Option<String>,
    /// The environment's folder; for `system`, that of the interpreter.
    pub root: PathBuf,
    /// The Python that runs harnesses; none for `cargo`.
    pub interpreter: Option<PathBuf>,
    pub interpreter_version: Option<String>,
    /// Package → version: from the lock, or as found.
    pub packages: BTreeMap<String, String>,
    /// What `rustc -vV` said where it was compiled; none for scripts.
    #[serde(default)]
    pub compiler: Option<String>,
    pub size_bytes: u64,
    pub build_seconds: f64,
    /// Variables for every job in it; depends on env.yaml and the shell, so it is not stored.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
}

/// A program with its arguments and what to change in the variables of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Variables to set.
    pub environment: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset: Vec<String>,
}

impl Built {
    /// Returns the command that runs a harness; `experiment` names the program of a crate.
    pub fn command(&self, harness: &Path, experiment: &str) -> Result<Command> {
        let (environment, unset) = (self.environment.clone(), self.unset());
        if let Some(python) = &self.interpreter {
            let args = ["-m".to_owned(), "rosetta".to_owned(), text(harness)?];
            return Ok(Command { program: python.clone(), args: args.into(), environment, unset });
        }
        let program = self.root.join("bin").join(experiment);
        match program.is_file() {
            true => Ok(Command { program, args: Vec::new(), environment, unset }),
            false => Err(hinted(
                format!(
                    "the crate of the environment `{}` has no program `{experiment}`",
                    self.name
                ),
                format!("name a [[bin]] `{experiment}` in its Cargo.toml"),
            )),
        }
    }

    /// Returns the variables of the shell that its jobs must not see.
    pub(super) fn unset(&self) -> Vec<String> {
        let unwanted: &[&str] = if self.provider == "venv" { &UNWANTED } else { &[] };
        unwanted.iter().map(|&name| name.to_owned()).collect()
    }
}

/// Variables of the user's shell that do not become a venv. To CPython 3.6 an empty PYTHONHOME is
/// not absent but fatal. Bytecode that may not be written is compiled in each job.
const UNWANTED: [&str; 3] = ["PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "__PYVENV_LAUNCHER__"];

/// What stands for `{env}`, `{folder}`, `{site}` and `{python}`.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) root: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) site: Option<PathBuf>,
    pub(super) python: Option<PathBuf>,
}

impl Names {
    /// Returns a text of env.yaml with the names replaced by what they stand for.
    pub(super) fn replace(&self, template: &str) -> Result<String> {
        let mut replaced = template.to_owned();
        let known = [
            ("{env}", Some(&self.root)),
            ("{folder}", Some(&self.folder)),
            ("{site}", self.site.as_ref()),
            ("{python}", self.python.as_ref()),
        ];
        for (name, path) in known {
            if let (true, Some(path)) = (replaced.contains(name), path) {
                replaced = replaced.replace(name, &text(path)?);
            }
        }
        Ok(replaced)
    }
}

/// Returns the variables that jobs in a built environment need.
pub(super) fn variables(
    host: &Host,
    project: &Path,
    spec: &EnvSpec,
    names: &Names,
) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("PATH", in_front(host, "PATH", text(&names.root.join("bin"))?));
    if names.python.is_some() {
        set("VIRTUAL_ENV", text(&names.root)?);
        set("PYTHONPATH", text(&python_sdk(project))?);
        set("PYTHONNOUSERSITE", "1".to_owned());
    }
    for (name, template) in &spec.file.environment {
        let value = names.replace(template)?;
        let is_list = name == "PATH" || name == "LD_LIBRARY_PATH";
        let value = if is_list { in_front(host, name, value) } else { value };
        if name == "PATH" {
            let bin = text(&names.root.join("bin"))?;
            variables.insert(name.clone(), format!("{bin}:{value}"));
        } else {
            variables.insert(name.clone(), value);
        }
    }
    Ok(variables)
}

/// Returns the variables for an interpreter that is used as it is, user site and all.
pub(super) fn system_variables(host: &Host, project: &Path) -> Result<BTreeMap<String, String>> {
    let sdk = in_front(host, "PYTHONPATH", text(&python_sdk(project))?);
    Ok(BTreeMap::from([("PYTHONPATH".to_owned(), sdk)]))
}

fn python_sdk(project: &Path) -> PathBuf {
    project.join("harnesses/sdk/python")
}

/// Returns a list of folders with what the user's shell has there kept behind.
fn in_front(host: &Host, name: &str, value: String) -> String {
    match host.get(name) {
        Some(behind) => format!("{value}:{}", behind.to_string_lossy()),
        None => value,
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| anyhow!("`{}` is not UTF-8, so no variable can hold it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::tests::spec;

    fn names() -> Names {
        Names {
            root: "/home/envs/x-1".into(),
            folder: "/project/envs/x".into(),
            site: Some("/home/envs/x-1/lib/python3.99/site-packages".into()),
            python: Some("/home/envs/x-1/bin/python".into()),
        }
    }

    #[test]
    fn names_are_replaced_and_other_braces_stay() {
        let cases = [
            ("{env}/cure", "/home/envs/x-1/cure"),
            ("{python} {folder}/a.py", "/home/envs/x-1/bin/python /project/envs/x/a.py"),
            ("{site}", "/home/envs/x-1/lib/python3.99/site-packages"),
            ("{\"a\": {other}}", "{\"a\": {other}}"),
        ];
        for (template, expected) in cases {
            assert_eq!(names().replace(template).unwrap(), expected);
        }
    }

    #[test]
    fn variables_put_the_environment_first_and_keep_the_shells_lists() {
        let host =
            Host::with(&[("PATH", "/bin"), ("LD_LIBRARY_PATH", "/cuda"), ("PYTHONPATH", "/p")]);
        let mut spec = spec(Path::new("/project"), "x");
        let environment =
            [("LD_LIBRARY_PATH", "{env}/cure"), ("FLAG", "1"), ("PATH", "{env}/sbin")];
        spec.file.environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let found = variables(&host, Path::new("/project"), &spec, &names()).unwrap();
        assert_eq!(found["LD_LIBRARY_PATH"], "/home/envs/x-1/cure:/cuda");
        assert_eq!(found["PATH"], "/home/envs/x-1/bin:/home/envs/x-1/sbin:/bin");
        assert_eq!(found["FLAG"], "1");
        assert_eq!(found["PYTHONPATH"], "/project/harnesses/sdk/python");
        let system = system_variables(&host, Path::new("/project")).unwrap();
        assert_eq!(system["PYTHONPATH"], "/project/harnesses/sdk/python:/p");
    }
}
