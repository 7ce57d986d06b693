//! What texts of env.yaml stand for, and the variables that jobs in an environment start with.
//!
//! Must not depend on what the variables do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::built::Runtime;
use super::python::parse_version;
use super::tool::{Host, text};
use crate::catalog::EnvSpec;

/// What stands for `{env}`, `{folder}`, `{site}`, `{python}` and `{julia}`.
#[derive(Debug)]
pub(super) struct Names {
    root: PathBuf,
    folder: PathBuf,
    site: Option<PathBuf>,
    python: Option<PathBuf>,
    julia: Option<PathBuf>,
}

impl Names {
    /// Returns the names of an environment in `root`.
    pub(super) fn of(spec: &EnvSpec, root: &Path, runtime: &Runtime) -> Names {
        let (mut site_of, mut python_of, mut julia_of) = (None, None, None);
        match runtime {
            Runtime::Interpreter { python, version } => {
                site_of = site(root, version);
                python_of = Some(python.clone());
            }
            Runtime::Container(image) => {
                site_of = site(&image.root, &image.version);
                python_of = Some(image.python.clone());
            }
            Runtime::Julia { julia, .. } => julia_of = Some(julia.clone()),
            Runtime::Programs { .. } => {}
        }
        let root = match runtime {
            Runtime::Container(image) => &image.root,
            _ => root,
        };
        Names {
            root: root.to_owned(),
            folder: spec.folder.clone(),
            site: site_of,
            python: python_of,
            julia: julia_of,
        }
    }

    /// Returns a text of env.yaml with the names replaced by what they stand for.
    pub(super) fn replace(&self, template: &str) -> Result<String> {
        let mut replaced = template.to_owned();
        let known = [
            ("{env}", Some(&self.root)),
            ("{folder}", Some(&self.folder)),
            ("{site}", self.site.as_ref()),
            ("{python}", self.python.as_ref()),
            ("{julia}", self.julia.as_ref()),
        ];
        for (name, path) in known {
            if let (true, Some(path)) = (replaced.contains(name), path) {
                replaced = replaced.replace(name, &text(path)?);
            }
        }
        Ok(replaced)
    }
}

/// Returns where packages are installed for an interpreter of that version.
fn site(root: &Path, version: &str) -> Option<PathBuf> {
    let &[major, minor, _] = parse_version(version).as_slice() else { return None };
    Some(root.join(format!("lib/python{major}.{minor}/site-packages")))
}

/// Adds the variables of env.yaml to those of its provider.
pub(super) fn add_variables(
    variables: &mut BTreeMap<String, String>,
    host: &Host,
    spec: &EnvSpec,
    names: &Names,
) -> Result<()> {
    for (name, template) in &spec.environment {
        let value = names.replace(template)?;
        let value = match name.as_str() {
            "PATH" => format!("{}:{}", text(&names.root.join("bin"))?, host.in_front(name, value)),
            "LD_LIBRARY_PATH" => host.in_front(name, value),
            _ => value,
        };
        variables.insert(name.clone(), value);
    }
    Ok(())
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
            julia: Some("/opt/julia/bin/julia".into()),
        }
    }

    #[test]
    fn names_are_replaced_and_other_braces_stay() {
        let cases = [
            ("{env}/cure", "/home/envs/x-1/cure"),
            ("{python} {folder}/a.py", "/home/envs/x-1/bin/python /project/envs/x/a.py"),
            ("{julia} -e 1", "/opt/julia/bin/julia -e 1"),
            ("{site}", "/home/envs/x-1/lib/python3.99/site-packages"),
            ("{\"a\": {other}}", "{\"a\": {other}}"),
        ];
        for (template, expected) in cases {
            assert_eq!(names().replace(template).unwrap(), expected);
        }
    }

    #[test]
    fn the_site_follows_from_the_version() {
        let site = |version| site(Path::new("/x"), version);
        assert_eq!(site("3.6.15"), Some("/x/lib/python3.6/site-packages".into()));
        assert_eq!(site("3.6"), None);
    }

    #[test]
    fn variables_keep_the_shells_lists_behind() {
        let host = Host::with(&[("PATH", "/bin"), ("LD_LIBRARY_PATH", "/cuda")]);
        let mut spec = spec(Path::new("/project"), "x");
        let environment =
            [("LD_LIBRARY_PATH", "{env}/cure"), ("FLAG", "1"), ("PATH", "{env}/sbin")];
        spec.environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut found = BTreeMap::from([("PATH".to_owned(), "/home/envs/x-1/bin:/bin".to_owned())]);
        add_variables(&mut found, &host, &spec, &names()).unwrap();
        assert_eq!(found["LD_LIBRARY_PATH"], "/home/envs/x-1/cure:/cuda");
        assert_eq!(found["PATH"], "/home/envs/x-1/bin:/home/envs/x-1/sbin:/bin");
        assert_eq!(found["FLAG"], "1");
    }
}
