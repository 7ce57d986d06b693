//! `environment.yml` → explicit lock: asks a client's solver and writes down what it chose.
//!
//! Must not depend on how a lock is installed.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::explicit::EXPLICIT;
use crate::hint::hinted;
use crate::yaml;

/// `environment.yml` as conda has it, as far as rosetta takes it: an interpreter and libraries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Wanted {
    #[serde(default)]
    #[expect(dead_code, reason = "conda's name of the environment; the folder has the name here")]
    name: Option<String>,
    #[serde(default)]
    pub(in crate::env) channels: Vec<String>,
    dependencies: Vec<Dependency>,
}

/// A specification of conda's, as `python=3.12`.
#[derive(Debug)]
struct Dependency(String);

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Dependency, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Dependency;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a specification, as `python=3.12`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dependency, E> {
                Ok(Dependency(text.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<Dependency, M::Error> {
                let why = "packages of pip belong to `requirements` of env.yaml; allowed is a specification of conda's";
                Err(de::Error::custom(why))
            }
        }
        from.deserialize_any(Text)
    }
}

impl Wanted {
    /// Reads the file at `path`.
    pub(in crate::env) fn load(path: &Path) -> Result<Wanted> {
        let shown = path.display();
        let wanted = yaml::load::<Wanted>(path)?;
        if wanted.channels.is_empty() {
            let message = format!("{shown}: it names no channel");
            return Err(hinted(
                message,
                "write one, as `channels: [conda-forge]`; no .condarc is read",
            ));
        }
        if !wanted.names().any(|name| name == "python") {
            let message = format!("{shown}: `dependencies` has no `python`");
            return Err(hinted(message, "add the interpreter, as `python=3.12`"));
        }
        Ok(wanted)
    }

    pub(in crate::env) fn specs(&self) -> Vec<String> {
        self.dependencies.iter().map(|dependency| dependency.0.clone()).collect()
    }

    /// Returns the names of the packages that it asks for.
    pub(in crate::env) fn names(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().map(|dependency| {
            let spec = dependency.0.rsplit("::").next().unwrap_or_default().trim_start();
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            &spec[..spec.find(|c| !is_name(c)).unwrap_or(spec.len())]
        })
    }
}

/// Returns the lock of what a solver answered in JSON.
pub(in crate::env) fn lock(name: &str, platform: &str, answer: &str) -> Result<String> {
    let answer = json(answer).ok_or_else(|| anyhow!("the client gave no answer in JSON"))?;
    let actions = &answer["actions"];
    let list = |key: &str| actions[key].as_array().cloned().unwrap_or_default();
    let (linked, fetched) = (list("LINK"), list("FETCH"));
    if linked.is_empty() {
        return Err(anyhow!("the client's answer names no package to install"));
    }
    let mut lock = format!(
        "# made by `rosetta env lock {name} --provider conda`; do not edit\n# platform: {platform}\n{EXPLICIT}\n"
    );
    for package in &linked {
        let name = package["name"].as_str().unwrap_or_default();
        // conda says of what it links only the name; of what it fetches, all.
        let mut said = std::iter::once(package).chain(&fetched);
        let whole =
            said.find(|one| one["name"].as_str() == Some(name) && one["sha256"].is_string());
        let parts = whole.and_then(|one| Some((one["url"].as_str()?, one["sha256"].as_str()?)));
        let Some((url, sha256)) = parts else {
            let message = format!("the client says no SHA-256 of `{name}`");
            return Err(hinted(
                message,
                "try a newer client, as micromamba, with ROSETTA_CONDA=PATH",
            ));
        };
        lock += &format!("{url}#sha256:{sha256}\n");
    }
    Ok(lock)
}

/// Returns why a solver found nothing, if that is what it answered.
pub(in crate::env) fn problem(answer: &str) -> Option<String> {
    let answer = json(answer)?;
    let problems = answer["solver_problems"].as_array().map(|problems| {
        let problems = problems.iter().filter_map(Value::as_str);
        problems.collect::<Vec<_>>().join("\n  ")
    });
    let said = ["message", "error"].into_iter().find_map(|key| answer[key].as_str());
    let problem = problems.filter(|text| !text.is_empty()).or_else(|| said.map(str::to_owned))?;
    Some(problem.trim().to_owned())
}

/// Returns the first object in what a client said; some warn before or after it.
fn json(said: &str) -> Option<Value> {
    let begin = said.find("{\n").or_else(|| said.find('{'))?;
    let mut values = serde_json::Deserializer::from_str(&said[begin..]).into_iter::<Value>();
    values.next()?.ok()
}

/// Refuses a lock that its own reader would refuse.
pub(in crate::env) fn checked(lock: String, platform: &str) -> Result<String> {
    let read = super::explicit::parse(&lock, platform);
    read.map_err(|wrong| anyhow!("line {}: {}", wrong.line, wrong.why))
        .context("what the client chose cannot be locked")?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Wanted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment.yml");
        std::fs::write(&path, text).unwrap();
        Wanted::load(&path)
    }

    #[test]
    fn an_environment_names_channels_and_an_interpreter() {
        let wanted = load("name: x\nchannels: [conda-forge]\ndependencies: [python=3.12, 'conda-forge::libgomp >=13', openssl]\n").unwrap();
        assert_eq!(wanted.names().collect::<Vec<_>>(), ["python", "libgomp", "openssl"]);
        assert_eq!(wanted.specs()[0], "python=3.12");
        let cases = [
            ("dependencies: [python]\n", "it names no channel"),
            ("channels: [c]\ndependencies: [openssl]\n", "has no `python`"),
            (
                "channels: [c]\ndependencies: [python, {pip: [numpy]}]\n",
                "packages of pip belong to `requirements`",
            ),
            ("channels: [c]\ndependencies: [python]\nprefix: /x\n", "prefix"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", load(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_lock_is_what_the_solver_chose() {
        let url = |file: &str| format!("https://c/linux-64/{file}");
        let sha = "0123456789abcdef".repeat(4);
        let conda = serde_json::json!({"actions": {
            "LINK": [{"name": "python", "dist_name": "python-3.12.1-0"}],
            "FETCH": [{"name": "python", "url": url("python-3.12.1-0.conda"), "sha256": sha, "md5": "x"}],
        }});
        let expected = format!(
            "# made by `rosetta env lock x --provider conda`; do not edit\n# platform: linux-64\n@EXPLICIT\n{}#sha256:{sha}\n",
            url("python-3.12.1-0.conda")
        );
        let answer =
            format!("warning: {{odd}}\n{}\nbye\n", serde_json::to_string_pretty(&conda).unwrap());
        assert_eq!(lock("x", "linux-64", &answer).unwrap(), expected);
        assert!(checked(expected, "linux-64").is_ok());
        let bare =
            serde_json::json!({"actions": {"LINK": [{"name": "python"}], "FETCH": []}}).to_string();
        assert!(
            lock("x", "linux-64", &bare)
                .unwrap_err()
                .to_string()
                .contains("no SHA-256 of `python`")
        );
        for nothing in ["{}", "", "no"] {
            assert!(lock("x", "linux-64", nothing).is_err());
        }
    }

    #[test]
    fn a_conflict_is_told_as_the_solver_tells_it() {
        let mamba = r#"{"success": false, "solver_problems": ["nothing provides python 9", "b"]}"#;
        assert_eq!(problem(mamba).unwrap(), "nothing provides python 9\n  b");
        assert_eq!(
            problem(r#"{"error": "e", "message": "no such package "}"#).unwrap(),
            "no such package"
        );
        assert_eq!(problem("killed"), None);
    }
}
