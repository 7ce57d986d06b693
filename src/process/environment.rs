//! The environment variables of a job: some are set, some are taken over from the place where it runs.
//!
//! Must not depend on what the variables mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole environment of a job: what is not named here it does not see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(BTreeMap<String, Variable>);

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Variable {
    Set(String),
    /// From where the job runs; `otherwise` if there is none.
    Inherited {
        otherwise: Option<String>,
    },
}

/// Whether a variable of that name holds a secret, by the words in its name.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = ["AUTH", "KEY", "PASS", "PAT", "PWD"];
    let parts = ["APIKEY", "CREDENTIAL", "PASSPHRASE", "PASSWD", "PASSWORD", "SECRET", "TOKEN"];
    name.split('_').any(|word| words.contains(&word))
        || parts.iter().any(|part| name.contains(part))
}

impl Environment {
    /// Gives a variable a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Variable::Set(value.into()));
    }

    /// Takes a variable over from where the job runs. The value it has had until now stands in where there is none.
    pub fn inherit(&mut self, name: impl Into<String>) {
        let name = name.into();
        let otherwise = match self.0.remove(&name) {
            Some(Variable::Set(value)) => Some(value),
            Some(Variable::Inherited { otherwise }) => otherwise,
            None => None,
        };
        self.0.insert(name, Variable::Inherited { otherwise });
    }

    /// Gives a variable a value unless something has been said about it.
    pub fn set_default(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_insert_with(|| Variable::Set(value.into()));
    }

    /// Hides a variable from the job.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns the variables of a job that runs where this process does.
    pub fn here(&self) -> BTreeMap<String, String> {
        self.resolve(|name| std::env::var(name).ok())
    }

    /// Returns the values of the variables that hold a secret, as a job sees them that runs where this process does.
    pub fn secrets(&self) -> Vec<String> {
        let secrets = self.here().into_iter().filter(|(name, _)| is_secret(name));
        secrets.map(|(_, value)| value).collect()
    }

    fn resolve(&self, there: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        let mut resolved = BTreeMap::new();
        for (name, variable) in &self.0 {
            let value = match variable {
                Variable::Set(value) => Some(value.clone()),
                Variable::Inherited { otherwise } => there(name).or_else(|| otherwise.clone()),
            };
            resolved.extend(value.map(|value| (name.clone(), value)));
        }
        resolved
    }
}

impl Extend<(String, String)> for Environment {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, variables: T) {
        for (name, value) in variables {
            self.set(name, value);
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Environment {
        let mut environment = Environment::default();
        environment.extend(variables);
        environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has `HOME=/there` and nothing else.
    fn there(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/there".to_owned())
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in
            ["HF_TOKEN", "WANDB_API_KEY", "PGPASSWORD", "aws_secret_access_key", "OPENAI_KEY"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["TUNED_GRAPH", "KEYBOARD", "PATH", "XLA_FLAGS", "PYTHONPATH", "OMP_NUM_THREADS"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn the_last_word_about_a_variable_counts() {
        type Change = fn(&mut Environment);
        let cases: [(&str, Change, Option<&str>); 9] = [
            ("set by default", |env| env.set_default("HOME", "/own"), Some("/own")),
            (
                "inherited before the default",
                |env| {
                    env.inherit("HOME");
                    env.set_default("HOME", "/own");
                },
                Some("/there"),
            ),
            ("set", |env| env.set("HOME", "/here"), Some("/here")),
            ("inherited", |env| env.inherit("HOME"), Some("/there")),
            ("absent", |env| env.inherit("TERM"), None),
            (
                "set, then absent",
                |env| {
                    env.set("TERM", "dumb");
                    env.inherit("TERM");
                    env.inherit("TERM");
                },
                Some("dumb"),
            ),
            (
                "set, then inherited",
                |env| {
                    env.set("HOME", "/here");
                    env.inherit("HOME");
                },
                Some("/there"),
            ),
            (
                "inherited, then set",
                |env| {
                    env.inherit("HOME");
                    env.set("HOME", "/here");
                },
                Some("/here"),
            ),
            (
                "removed",
                |env| {
                    env.inherit("HOME");
                    env.remove("HOME");
                },
                None,
            ),
        ];
        for (case, change, expected) in cases {
            let mut environment = Environment::default();
            change(&mut environment);
            let text = serde_json::to_string(&environment).unwrap();
            let read: Environment = serde_json::from_str(&text).unwrap();
            assert_eq!(read, environment);
            let resolved = read.resolve(there);
            assert_eq!(resolved.values().next().map(String::as_str), expected, "{case}");
        }
    }
}
