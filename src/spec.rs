//! YAML → validated [`Experiment`]. May not know which frameworks exist, nor the command line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::catalog::Precision;
use crate::digest::sha256;
use crate::hint::{nearest, unknown};
use crate::yaml::{self, Spanned};

/// What is compared: model, settings, data, profiles and expectations.
#[derive(Debug, Clone)]
pub struct Experiment {
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    pub spec: Spec,
}

/// One experiment, as written in `specs/NAME.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta experiment")]
pub struct Spec {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// The file's name without `.yaml`.
    pub name: String,
    /// Heading of the experiment's table.
    pub title: String,
    /// What a harness does and how the host scores it.
    pub task: Task,
    /// Seed of initial weights, batch order and dropout.
    pub seed: u64,
    /// Where the arrays come from.
    pub data: DataSpec,
    /// What a harness reads as `run.config`. Training needs `batch_size` and `epochs`.
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub settings: BTreeMap<String, Spanned<Setting>>,
    /// Settings that a check replaces, such as dropout.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub check: BTreeMap<String, Spanned<Setting>>,
    /// The target that a check compares with [default: numpy].
    #[schemars(with = "Option<String>")]
    pub reference: Option<Spanned<String>>,
    /// How far a check in float32 may be from the reference.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Initial weights, in forward order.
    #[serde(default)]
    pub initial_weights: WeightsSpec,
    /// Sizes to run the experiment at.
    pub profiles: BTreeMap<String, Profile>,
    /// Bands that an accuracy must fall into.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// What a harness does with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Train, then predict logits (rows, classes); scored by accuracy.
    Classification,
    /// Predict features (rows, width) with given weights; scored by speed.
    Features,
}

/// Where the arrays `x_train`, `y_train`, `x_test`, `y_test` come from: exactly one of both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A data set that rosetta knows: `rosetta data list`.
    #[schemars(with = "Option<String>")]
    pub dataset: Option<Spanned<String>>,
    /// `.npy` files of your own, by array name, relative to the spec.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PathBuf>")]
    pub files: BTreeMap<String, Spanned<PathBuf>>,
    /// With `files`: floating inputs are divided by this number.
    pub divide_by: Option<f64>,
}

/// Initial weights: a recipe that rosetta knows, or tensors one by one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsSpec {
    /// `resnet50`: imported weights where there are some, else made from the seed.
    pub recipe: Option<WeightsRecipe>,
    #[serde(default)]
    pub tensors: Vec<TensorSpec>,
}

/// Weights that are too many to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightsRecipe {
    Resnet50,
}

/// One initial weight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Canonical shape: kernels (out, in, height, width), dense (out, in).
    pub shape: Vec<usize>,
    pub init: Init,
    /// Half-width of `uniform`, standard deviation of `normal`.
    pub scale: Option<f64>,
    /// Number of equal blocks along the first axis that are initialised apart, as gates of a GRU.
    #[serde(default = "one")]
    pub blocks: usize,
}

fn one() -> usize {
    1
}

/// How a tensor is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    Zeros,
    Ones,
    /// U(−l, l), l = √(6 / (fan_in + fan_out)).
    GlorotUniform,
    /// N(0, 2 / fan_in).
    HeNormal,
    /// U(−scale, scale).
    Uniform,
    /// N(0, scale²).
    Normal,
}

/// A size of the experiment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How many rows of the data are used.
    pub rows: Rows,
    /// Settings that differ from those above.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub settings: BTreeMap<String, Spanned<Setting>>,
    /// How long one job may take, as `90s`, `10m` or `2h`.
    pub timeout: Timeout,
}

/// Rows of the training and the test set; absent means all.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    pub train: Option<usize>,
    pub test: Option<usize>,
}

/// A band for the accuracy of one profile on one kind of data.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    #[schemars(with = "String")]
    pub profile: Spanned<String>,
    pub source: Source,
    /// Lowest and highest accuracy, from 0 to 1.
    pub accuracy: [f64; 2],
}

/// Relative errors that rounding to float32 explains; docs/equivalence.md tells how each is measured.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Of logits or features with the initial weights.
    pub outputs: f64,
    /// Of the loss of each step.
    pub loss: f64,
    /// Of the gradient of the first step.
    pub gradient: f64,
    /// Of all that the steps have changed; a single array may be three times as far.
    pub update: f64,
    /// Of logits with the trained weights.
    pub trained: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { outputs: 1e-5, loss: 1e-4, gradient: 2e-2, update: 3e-2, trained: 1e-2 }
    }
}

impl Tolerance {
    /// Returns what rounding to `precision` explains, where rounding to float32 explains `self`.
    ///
    /// TF32 keeps 10 bits of the mantissa, a unit roundoff of 2⁻¹¹ = 5e-4 (NVIDIA, "NVIDIA A100
    /// Tensor Core GPU Architecture"); bfloat16 8 with the implied one, 2⁻⁸ = 4e-3 (Intel,
    /// "BFLOAT16 – Hardware Numerics Definition"). Outputs may be off by ten to twenty roundoffs, a
    /// loss, which is a mean, by two; an update by more, as Adam divides by small gradients.
    pub fn of(self, precision: Precision) -> Tolerance {
        let floor = match precision {
            Precision::Tf32 => {
                Tolerance { outputs: 1e-2, loss: 1e-3, gradient: 5e-2, update: 1e-1, trained: 5e-2 }
            }
            Precision::Bf16 => {
                Tolerance { outputs: 5e-2, loss: 1e-2, gradient: 2e-1, update: 3e-1, trained: 2e-1 }
            }
        };
        Tolerance {
            outputs: self.outputs.max(floor.outputs),
            loss: self.loss.max(floor.loss),
            gradient: self.gradient.max(floor.gradient),
            update: self.update.max(floor.update),
            trained: self.trained.max(floor.trained),
        }
    }
}

/// Where a data set came from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The authors' archive, digest verified.
    Real,
    /// A well-formed archive whose digest is not the authors'.
    Unverified,
    /// The twin made from the seed.
    Synthetic,
    /// Files of a user's own experiment.
    Own,
}

impl Source {
    /// Returns the word used in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Real => "real",
            Source::Unverified => "unverified",
            Source::Synthetic => "synthetic",
            Source::Own => "own",
        }
    }
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Setting {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Setting>),
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number, a text, true or false, or a list of these.",
            "type": ["boolean", "number", "string", "array"],
            "items": { "$ref": "#/$defs/Setting" }
        })
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Setting;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, a text, true or false, or a list of these")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting::Int(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Setting, E> {
                i64::try_from(value).map(Setting::Int).map_err(E::custom)
            }
            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
                Ok(Setting::Text(value.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Setting, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Setting::List(list))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Setting {
    fn kind(&self) -> &'static str {
        match self {
            Setting::Bool(_) => "true or false",
            Setting::Int(_) | Setting::Float(_) => "a number",
            Setting::Text(_) => "a text",
            Setting::List(_) => "a list",
        }
    }
}

/// A length of time written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

impl JsonSchema for Timeout {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A length of time with its unit, as `90s`, `10m` or `2h`.",
            "type": "string",
            "pattern": "^[0-9]+ ?(ms|s|m|h)$"
        })
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Timeout).map_err(serde::de::Error::custom)
    }
}

/// Returns the duration that `90s`, `10m`, `2h` or `500ms` means.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text.trim()[digits.len()..];
    let wrong = || format!("`{text}` is no length of time; write `90s`, `10m` or `2h`");
    let number = digits.trim().parse::<u64>().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

/// Returns every experiment of a `specs/` folder, by file name.
pub fn load_all(folder: &Path) -> Result<Vec<Experiment>> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("cannot list the specs in `{}`", folder.display()))?;
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Experiment::load(path)).collect()
}

impl Experiment {
    /// Reads and validates one spec.
    pub fn load(path: &Path) -> Result<Experiment> {
        let text = yaml::read(path)?;
        let digest = sha256(&text);
        let spec = yaml::parse(path, &text)?;
        let experiment = Experiment { path: path.to_owned(), digest, spec };
        experiment.validate()?;
        Ok(experiment)
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the name of the target that others are compared with.
    pub fn reference(&self) -> &str {
        self.spec.reference.as_ref().map_or("numpy", |stated| stated.value.as_str())
    }

    /// Returns a profile, or an error with those that exist.
    pub fn profile(&self, name: &str) -> Result<&Profile> {
        let known = self.spec.profiles.keys().map(String::as_str);
        let profile = self.spec.profiles.get(name);
        profile.ok_or_else(|| unknown(&format!("profile of {}", self.name()), name, known))
    }

    /// Returns the settings, those of `layer` over the experiment's.
    pub fn settings(
        &self,
        layer: &BTreeMap<String, Spanned<Setting>>,
    ) -> BTreeMap<String, Setting> {
        let all = self.spec.settings.iter().chain(layer);
        all.map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }

    /// Returns the band that an accuracy must fall into.
    pub fn expected_accuracy(&self, profile: &str, source: Source) -> Option<[f64; 2]> {
        let fits = |e: &&Expectation| e.profile.value == profile && e.source == source;
        self.spec.expect.iter().find(fits).map(|e| e.accuracy)
    }

    fn validate(&self) -> Result<()> {
        let (spec, path) = (&self.spec, self.path.as_path());
        let shown = path.display();
        if spec.version != 1 {
            anyhow::bail!("{shown}: `version` is {}; this rosetta reads 1", spec.version);
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if spec.name != stem {
            anyhow::bail!("{shown}: `name` is `{}` but the file is named `{stem}`", spec.name);
        }
        check_name(&spec.name).map_err(|why| anyhow::anyhow!("{shown}: `name`: {why}"))?;
        if spec.profiles.is_empty() {
            anyhow::bail!("{shown}: `profiles` is empty; an experiment needs at least one");
        }
        self.validate_settings()?;
        self.validate_data()?;
        self.validate_weights()?;
        for expectation in &spec.expect {
            let profile = &expectation.profile;
            if !spec.profiles.contains_key(&profile.value) {
                let error = unknown("profile", &profile.value, names(&spec.profiles));
                return Err(yaml::wrong(path, &profile.referenced, error));
            }
            let [low, high] = expectation.accuracy;
            if !(0.0 <= low && low <= high && high <= 1.0) {
                let message = format!("`accuracy: [{low}, {high}]` is no band within 0 and 1");
                return Err(yaml::wrong(path, &profile.referenced, message));
            }
        }
        Ok(())
    }

    fn validate_settings(&self) -> Result<()> {
        let (spec, path) = (&self.spec, self.path.as_path());
        let in_profiles = spec.profiles.values().flat_map(|profile| &profile.settings);
        for (name, value) in in_profiles.chain(&spec.check) {
            let Some(base) = spec.settings.get(name) else {
                let known = names(&spec.settings).collect::<Vec<_>>();
                let near = nearest(name, known.iter().copied());
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let list = known.join("`, `");
                let message = format!("`{name}` is not in `settings` (`{list}`){near}");
                return Err(yaml::wrong(path, &value.referenced, message));
            };
            if base.value.kind() != value.value.kind() {
                let (found, wanted) = (value.value.kind(), base.value.kind());
                let message = format!("`{name}` is {found} here but {wanted} in `settings`");
                return Err(yaml::wrong(path, &value.referenced, message));
            }
        }
        let needed: &[&str] = match spec.task {
            Task::Classification => &["batch_size", "epochs"],
            Task::Features => &["batch_size", "warmup_batches"],
        };
        for name in needed {
            let all = spec.profiles.values().filter_map(|profile| profile.settings.get(*name));
            let Some(base) = spec.settings.get(*name) else {
                anyhow::bail!(
                    "{}: `settings` lacks `{name}`, which its task needs",
                    path.display()
                );
            };
            let lowest = if *name == "warmup_batches" { 0 } else { 1 };
            for value in all.chain([base]) {
                if !matches!(value.value, Setting::Int(number) if number >= lowest) {
                    let message = format!("`{name}` must be a whole number from {lowest} up");
                    return Err(yaml::wrong(path, &value.referenced, message));
                }
            }
        }
        Ok(())
    }

    fn validate_data(&self) -> Result<()> {
        let (data, path) = (&self.spec.data, self.path.as_path());
        if data.dataset.is_some() != data.files.is_empty() {
            anyhow::bail!("{}: `data` needs either `dataset` or `files`", path.display());
        }
        let allowed = ["x_train", "y_train", "x_test", "y_test"];
        for (name, file) in &data.files {
            if !allowed.contains(&name.as_str()) {
                let message = unknown("array", name, allowed);
                return Err(yaml::wrong(path, &file.referenced, message));
            }
        }
        if data.files.is_empty() {
            return Ok(());
        }
        let needed: &[&str] = match self.spec.task {
            Task::Classification => &allowed,
            Task::Features => &["x_test"],
        };
        match needed.iter().find(|name| !data.files.contains_key(**name)) {
            Some(name) => anyhow::bail!("{}: `data.files` lacks `{name}`", path.display()),
            None => Ok(()),
        }
    }

    fn validate_weights(&self) -> Result<()> {
        let (weights, path) = (&self.spec.initial_weights, self.path.as_path());
        if weights.recipe.is_some() && !weights.tensors.is_empty() {
            let shown = path.display();
            anyhow::bail!("{shown}: `initial_weights` has both `recipe` and `tensors`");
        }
        let mut seen = std::collections::BTreeSet::new();
        for tensor in &weights.tensors {
            let name = &tensor.name;
            let problem = check_name(&name.value).err().or_else(|| tensor.problem());
            if let Some(problem) = problem {
                let message = format!("tensor `{}`: {problem}", name.value);
                return Err(yaml::wrong(path, &name.referenced, message));
            }
            if !seen.insert(&name.value) {
                let message = format!("tensor `{}` is listed twice", name.value);
                return Err(yaml::wrong(path, &name.referenced, message));
            }
        }
        Ok(())
    }
}

impl TensorSpec {
    fn problem(&self) -> Option<String> {
        let elements = self.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        let is_scaled = matches!(self.init, Init::Uniform | Init::Normal);
        let has_fans = matches!(self.init, Init::GlorotUniform | Init::HeNormal);
        if self.shape.is_empty() || self.shape.contains(&0) {
            Some("`shape` needs at least one size, and none may be 0".to_owned())
        } else if elements.is_none_or(|n| n > 1 << 30) {
            Some("`shape` has more than 2^30 elements".to_owned())
        } else if is_scaled != self.scale.is_some() {
            Some("`scale` belongs to `uniform` and `normal`, which need it".to_owned())
        } else if self.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            Some("`scale` must be a positive number".to_owned())
        } else if has_fans && self.shape.len() < 2 {
            Some("`init` needs a shape of two or more axes".to_owned())
        } else if self.blocks == 0 || !self.shape[0].is_multiple_of(self.blocks) {
            Some(format!("`blocks` must divide the first axis, {}", self.shape[0]))
        } else {
            None
        }
    }
}

/// Returns why `name` cannot be a file name, an identifier in a table and a word in a shell.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match starts_well && name.len() <= 100 && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` must start with a letter or digit and have only those, `.`, `_` and `-`"
        )),
    }
}

fn names<T>(map: &BTreeMap<String, T>) -> impl Iterator<Item = &str> + Clone {
    map.keys().map(String::as_str)
}
