//! The job file and the experiment's settings. May not know how they are used.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{PROTOCOL, fail};

/// What `ROSETTA_JOB` names, field by field as in docs/protocol.md.
#[derive(Deserialize)]
pub(crate) struct Job {
    pub(crate) protocol: u32,
    pub(crate) experiment: String,
    pub(crate) device: String,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    pub(crate) mode: String,
    pub(crate) steps: Option<usize>,
    pub(crate) dtype: String,
    pub(crate) config: Map<String, Value>,
    pub(crate) arrays: BTreeMap<String, Source>,
    pub(crate) weights: WeightFiles,
    pub(crate) order: Option<PathBuf>,
    pub(crate) outputs: PathBuf,
}

/// An array of the experiment in a file.
#[derive(Deserialize)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) rows: usize,
    pub(crate) divide_by: Option<f64>,
}

/// Initial weights: `folder/NAME.npy` for each name.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WeightFiles {
    pub(crate) folder: PathBuf,
    pub(crate) names: Vec<String>,
}

impl Job {
    /// Reads the job: the file that rosetta names, or a smoke job for a run by hand.
    pub(crate) fn find() -> Job {
        let text = match env::var_os("ROSETTA_JOB") {
            Some(path) => fs::read_to_string(&path)
                .unwrap_or_else(|why| fail(format!("cannot read job `{}`: {why}", path.display()))),
            None => ask_rosetta(),
        };
        let job: Job =
            serde_json::from_str(&text).unwrap_or_else(|why| fail(format!("odd job: {why}")));
        if job.protocol != PROTOCOL {
            fail(format!("this SDK speaks protocol {PROTOCOL}, the job {}", job.protocol));
        }
        job
    }

    /// Returns the settings, the seed among them.
    pub(crate) fn config(&self) -> Config {
        let mut settings = self.config.clone();
        settings.insert("seed".into(), json!(self.seed));
        Config(settings)
    }
}

fn ask_rosetta() -> String {
    let program = env::current_exe().unwrap_or_else(|why| fail(why));
    let experiment = program.file_stem().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let built = ["release", "debug"].map(|kind| root.join("target").join(kind).join("rosetta"));
    let places = env::var_os("ROSETTA").map(PathBuf::from).into_iter();
    for rosetta in places.chain(built).chain([PathBuf::from("rosetta")]) {
        let mut command = Command::new(rosetta);
        command.arg("job").arg(experiment).args(["--profile", "smoke"]);
        if root.is_dir() {
            command.current_dir(&root);
        }
        match command.stderr(std::process::Stdio::inherit()).output() {
            Ok(output) if output.status.success() => {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            Ok(output) => fail(format!("`{command:?}` failed: {}", output.status)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => fail(format!("cannot run `{command:?}`: {why}")),
        }
    }
    fail("no job: set ROSETTA_JOB, or build rosetta with `cargo build --release`")
}

/// The experiment's settings: `cfg.f64("learning_rate")`.
#[derive(Clone, Debug)]
pub struct Config(Map<String, Value>);

impl Config {
    /// Returns a number.
    pub fn f64(&self, name: &str) -> f64 {
        self.get(name, "a number", Value::as_f64)
    }

    /// Returns a count.
    pub fn usize(&self, name: &str) -> usize {
        self.get(name, "a count", |value| value.as_u64()?.try_into().ok())
    }

    /// Returns a 64-bit integer such as the seed.
    pub fn u64(&self, name: &str) -> u64 {
        self.get(name, "a count", Value::as_u64)
    }

    /// Returns a truth value.
    pub fn bool(&self, name: &str) -> bool {
        self.get(name, "a boolean", Value::as_bool)
    }

    /// Returns a text.
    pub fn text(&self, name: &str) -> &str {
        self.get(name, "a text", Value::as_str)
    }

    /// Returns a list of numbers.
    pub fn list(&self, name: &str) -> Vec<f64> {
        let numbers = |value: &Value| value.as_array()?.iter().map(Value::as_f64).collect();
        self.get(name, "a list of numbers", numbers)
    }

    fn get<'a, T>(&'a self, name: &str, kind: &str, read: impl Fn(&'a Value) -> Option<T>) -> T {
        let Some(value) = self.0.get(name) else {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            let known = known.join(", ");
            fail(format!("the experiment has no setting `{name}`; it has: {known}"))
        };
        let wrong = || fail(format!("setting `{name}` is `{value}` and not {kind}"));
        read(value).unwrap_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Config;

    #[test]
    fn settings_have_types() {
        let Value::Object(settings) = json!({
            "learning_rate": 0.01, "epochs": 3, "dropout": [0.25, 0.5],
            "optimizer": "sgd", "shuffle": true
        }) else {
            unreachable!()
        };
        let cfg = Config(settings);
        assert_eq!(cfg.f64("learning_rate"), 0.01);
        assert_eq!(cfg.f64("epochs"), 3.0);
        assert_eq!(cfg.usize("epochs"), 3);
        assert_eq!(cfg.u64("epochs"), 3);
        assert_eq!(cfg.list("dropout"), [0.25, 0.5]);
        assert_eq!(cfg.text("optimizer"), "sgd");
        assert!(cfg.bool("shuffle"));
    }
}
