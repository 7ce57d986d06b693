//! What `harnesses/` and `envs/` offer. Must not depend on what was asked for.

mod environment;
mod gpu_needs;
mod provider;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::environment::{EnvFile, EnvSpec, FixUp};
pub use self::gpu_needs::GpuNeeds;
pub use self::provider::{Crate, Own, Pins, Provider, ProviderName, Toml};
pub use self::versions::{check_env_name, check_version, is_newer, split_version};
use crate::hint::unknown;
use crate::spec::Precision;
use crate::spec::check_name;
use crate::variant::Variants;
use crate::yaml::{self, Spanned};

/// Everything that can be run: frameworks, their targets, and environments.
#[derive(Debug, Default)]
pub struct Catalog {
    pub frameworks: Vec<Framework>,
    pub envs: BTreeMap<String, EnvSpec>,
    /// What is wrong with the files that cannot be read, all others being here.
    pub unreadable: Vec<anyhow::Error>,
    /// Environment → what is wrong with its env.yaml.
    pub unreadable_envs: BTreeMap<String, String>,
}

/// A folder under `harnesses/`.
#[derive(Debug, Clone)]
pub struct Framework {
    pub folder: PathBuf,
    pub spec: FrameworkSpec,
    /// Experiment → harness file.
    pub harnesses: BTreeMap<String, PathBuf>,
    /// The program that measures what the framework does unless told otherwise.
    pub defaults: Option<PathBuf>,
    /// The program that measures how fast an installation computes.
    pub speed: Option<PathBuf>,
    pub variants: Variants,
}

impl Framework {
    /// Whether its harnesses are scripts, which an interpreter of the user's can run as they are.
    pub fn runs_in_an_interpreter(&self) -> bool {
        self.spec.language == Language::Python
    }
}

/// The names of those programs, which are not harnesses of experiments.
pub const DEFAULTS: &str = "defaults";
pub const SPEED: &str = "speed";

/// `harnesses/NAME/framework.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta framework")]
pub struct FrameworkSpec {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// The folder's name.
    pub name: String,
    pub title: String,
    pub language: Language,
    pub era: Era,
    /// Year in which the pinned version was released, where a target does not state its own.
    pub year: Option<u16>,
    pub homepage: Option<String>,
    /// Rows of the tables.
    pub targets: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    Python,
    Rust,
    Julia,
}

impl Language {
    fn extension(self) -> &'static str {
        match self {
            Language::Python => "py",
            Language::Rust => "rs",
            Language::Julia => "jl",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    Current,
    Historic,
}

/// How a target is written: rows of the two are never ranked among each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// As the framework's own best tutorial has it.
    #[default]
    Idiomatic,
    /// With what the framework offers for speed.
    Tuned,
}

/// A row of a table: a framework in one environment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    pub title: String,
    /// Year in which its pinned version was released [default: the framework's].
    pub year: Option<u16>,
    /// The target that is this framework's newest version, for then and now.
    #[schemars(with = "Option<String>")]
    pub successor: Option<Spanned<String>>,
    /// Environment for each device that the harness can use.
    #[schemars(with = "BTreeMap<Device, String>")]
    pub env: BTreeMap<Device, Spanned<String>>,
    /// Tables of its own, and only on demand, for `tuned`.
    #[serde(default)]
    pub lane: Lane,
    /// What it rounds to, if that is less than float32: a check allows for it, and says so.
    pub precision: Option<Precision>,
    /// Variables that the harness needs.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Variables for checks only, such as a cache of compiled code, which a timed run must not have;
    /// `{cache}` is a folder that is kept.
    #[serde(default)]
    pub check_environment: BTreeMap<String, String>,
    /// Whether it can compute in float64, or the experiments that it can compute in it.
    #[serde(default)]
    pub float64: Float64,
    /// Whether `rosetta run` without arguments runs it.
    #[serde(default)]
    pub starter: bool,
    /// Experiment → declared variants of its mathematics: `harnesses/numpy/variants.yaml`.
    #[serde(default)]
    pub variants: BTreeMap<String, Vec<String>>,
    /// Whether one seed gives one result.
    #[serde(default = "yes")]
    pub deterministic: bool,
    /// Experiment → why it cannot be the same there, in words for a footnote.
    #[serde(default)]
    pub differences: BTreeMap<String, String>,
    /// Why nobody has seen it run yet, in words for a footnote; until a record says otherwise.
    pub unverified: Option<String>,
}

/// What a target can compute in float64.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `true`, `false` or a list of experiments")]
pub enum Float64 {
    AllOrNothing(bool),
    Of(Vec<String>),
}

impl Default for Float64 {
    fn default() -> Float64 {
        Float64::AllOrNothing(false)
    }
}

impl Float64 {
    pub fn has(&self, experiment: &str) -> bool {
        match self {
            Float64::AllOrNothing(all) => *all,
            Float64::Of(experiments) => experiments.iter().any(|one| one == experiment),
        }
    }
}

fn yes() -> bool {
    true
}

/// Where a framework computes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Cpu,
    #[value(alias = "gpu")]
    Cuda,
}

impl Device {
    pub fn as_str(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Catalog {
    /// Reads every framework and environment of a project that can be read.
    pub fn load(project: &Path) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for folder in folders_with(&project.join("envs"), "env.yaml")? {
            match load_env(&folder, project) {
                Ok(env) => drop(catalog.envs.insert(env.name.clone(), env)),
                Err(error) => {
                    let name = folder.file_name().unwrap_or_default().to_string_lossy();
                    catalog.unreadable_envs.insert(name.into_owned(), format!("{error:#}"));
                    catalog.unreadable.push(error);
                }
            }
        }
        for folder in folders_with(&project.join("harnesses"), "framework.yaml")? {
            let loaded = Framework::load(&folder, &catalog);
            let loaded = loaded.and_then(|new| catalog.refuse_doubles(&new).map(|()| new));
            match loaded {
                Ok(framework) => catalog.frameworks.push(framework),
                Err(error) => catalog.unreadable.push(error),
            }
        }
        // A successor may be in a file that cannot be read.
        if catalog.unreadable.is_empty() {
            catalog.check_successors()?;
        }
        catalog.add_kept_versions()?;
        Ok(catalog)
    }

    /// Returns every target with its framework, in the order of the folders.
    pub fn targets(&self) -> impl Iterator<Item = (&Framework, &Target)> + Clone {
        self.frameworks.iter().flat_map(|f| f.spec.targets.iter().map(move |t| (f, t)))
    }

    /// Returns the target of a name, or the first of a framework of that name, that has a harness
    /// for the experiment.
    pub fn find(&self, name: &str, experiment: &str) -> Option<(&Framework, &Target)> {
        let mut all = self.targets();
        all.find(|(framework, target)| {
            framework.harnesses.contains_key(experiment)
                && (target.name == name || framework.spec.name == name)
        })
    }

    /// Returns an environment, or an error with those that exist.
    pub fn env(&self, name: &str) -> Result<&EnvSpec> {
        if let Some(why) = self.unreadable_envs.get(name) {
            anyhow::bail!("{why}");
        }
        let known = self.envs.keys().map(String::as_str);
        self.envs.get(name).ok_or_else(|| unknown("environment", name, known))
    }

    fn check_successors(&self) -> Result<()> {
        for (framework, target) in self.targets() {
            let Some(successor) = &target.successor else { continue };
            let names = self.targets().map(|(_, one)| one.name.as_str());
            let others = names.filter(|name| *name != target.name);
            if !others.clone().any(|name| name == successor.value) {
                let error = unknown("target", &successor.value, others);
                let path = framework.folder.join("framework.yaml");
                return Err(yaml::wrong(&path, &successor.referenced, error));
            }
        }
        Ok(())
    }

    /// Refuses a framework one of whose targets is there already.
    fn refuse_doubles(&self, new: &Framework) -> Result<()> {
        for target in &new.spec.targets {
            if let Some((first, _)) = self.targets().find(|(_, known)| known.name == target.name) {
                let (one, two) = (first.folder.display(), new.folder.display());
                anyhow::bail!("target `{}` is in both `{one}` and `{two}`", target.name);
            }
        }
        Ok(())
    }
}

impl Framework {
    fn load(folder: &Path, catalog: &Catalog) -> Result<Framework> {
        let path = folder.join("framework.yaml");
        let spec: FrameworkSpec = yaml::load(&path)?;
        check_header(&path, folder, spec.version, &spec.name)?;
        let shown = path.display();
        if spec.targets.is_empty() {
            anyhow::bail!("{shown}: `targets` is empty; a framework needs at least one");
        }
        for target in &spec.targets {
            check_name(&target.name).map_err(|why| anyhow::anyhow!("{shown}: target: {why}"))?;
            if target.env.is_empty() {
                anyhow::bail!("{shown}: target `{}`: `env` names no device", target.name);
            }
            for env in target.env.values() {
                let Catalog { envs, unreadable_envs, .. } = catalog;
                if !envs.contains_key(&env.value) && !unreadable_envs.contains_key(&env.value) {
                    let known = envs.keys().map(String::as_str);
                    let error = unknown("environment", &env.value, known);
                    return Err(yaml::wrong(&path, &env.referenced, error));
                }
            }
        }
        let mut harnesses = harness_files(folder, spec.language)?;
        let [defaults, speed] = [DEFAULTS, SPEED].map(|name| harnesses.remove(name));
        for target in &spec.targets {
            let Float64::Of(experiments) = &target.float64 else { continue };
            if let Some(name) = experiments.iter().find(|name| !harnesses.contains_key(*name)) {
                let known = harnesses.keys().map(String::as_str);
                let error = unknown("harness", name, known);
                return Err(error.context(format!("{shown}: `float64` of `{}`", target.name)));
            }
        }
        let variants = Variants::load(folder, &harnesses)?;
        Ok(Framework { folder: folder.to_owned(), spec, harnesses, defaults, speed, variants })
    }
}

fn load_env(folder: &Path, project: &Path) -> Result<EnvSpec> {
    let path = folder.join("env.yaml");
    let file: EnvFile = yaml::load(&path)?;
    check_header(&path, folder, file.version, &file.name)?;
    EnvSpec::of(file, &path, project)
}

fn check_header(path: &Path, folder: &Path, version: u32, name: &str) -> Result<()> {
    let shown = path.display();
    let folder = folder.file_name().unwrap_or_default().to_string_lossy();
    if version != 1 {
        anyhow::bail!("{shown}: `version` is {version}; this rosetta reads 1");
    }
    if name != folder {
        anyhow::bail!("{shown}: `name` is `{name}` but the folder is `{folder}`");
    }
    check_name(name).map_err(|why| anyhow::anyhow!("{shown}: `name`: {why}"))
}

/// Whether a file belongs to an editor, a file system or a notebook, not to the project.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Returns the subfolders of `parent` that hold `file`, sorted.
fn folders_with(parent: &Path, file: &str) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let listing = match fs::read_dir(parent) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(folders),
        listing => listing.with_context(|| format!("cannot list `{}`", parent.display()))?,
    };
    for entry in listing {
        let folder = entry.with_context(|| format!("cannot list `{}`", parent.display()))?.path();
        if !is_hidden(&folder) && folder.join(file).is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

fn harness_files(folder: &Path, language: Language) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        let is_harness =
            !is_hidden(&path) && path.extension().is_some_and(|ext| ext == language.extension());
        if let (true, Some(stem)) = (is_harness, path.file_stem()) {
            found.insert(stem.to_string_lossy().into_owned(), path.clone());
        }
    }
    Ok(found)
}
