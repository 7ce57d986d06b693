//! `launchers/NAME.yaml`: which part of a cluster a run may use, and how. Must not depend on what is run there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;

use super::field::{absolute, duration, option, positive, word};
use crate::catalog::Device;
use crate::gpu::Gpu;
use crate::hint::hinted;
use crate::quantity::parse_bytes;
use crate::yaml::{self, Spanned};

/// How often a job may be started unless the file says otherwise.
const ATTEMPTS: u32 = 4;
/// How long a result may be late on a shared file system.
const GRACE: Duration = Duration::from_secs(60);
/// How often Slurm is asked for its queue.
const POLL: Duration = Duration::from_secs(15);

/// A launcher, as written in `launchers/NAME.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta launcher")]
pub struct LauncherFile {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    version: u32,
    launcher: Scheduler,
    /// Folders that every node has under the same path; project, results and rosetta's home must be below one of them.
    #[schemars(with = "Vec<String>")]
    shared: Vec<Spanned<String>>,
    /// What a job may have, by the device that it computes on.
    resources: BTreeMap<Device, ResourcesFile>,
    /// Account that is charged.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    account: Option<Spanned<String>>,
    /// Quality of service.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    qos: Option<Spanned<String>>,
    /// How much to lower the priority: `--nice`.
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    nice: Option<Spanned<u32>>,
    /// How many tasks may run at once [default: as many as Slurm lets].
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    max_running: Option<Spanned<u32>>,
    /// How often a job is started that is lost, requeued or preempted, the first time included [default: 4].
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    attempts: Option<Spanned<u32>>,
    /// How long a result may be late before its task is taken for lost [default: 60s].
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    grace: Option<Spanned<String>>,
    /// How often Slurm is asked for its queue, whatever the number of jobs [default: 15s].
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    poll: Option<Spanned<String>>,
    /// The rosetta that nodes run [default: the one that submits].
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    rosetta: Option<Spanned<String>>,
    /// Lines of sh before rosetta starts, as `module load cuda`.
    #[serde(default)]
    setup: Vec<String>,
    /// Words of a command that runs rosetta on a node, as `[apptainer, exec, /shared/image.sif]`.
    #[serde(default)]
    wrap: Vec<String>,
    /// More options of sbatch, each as `--name=value`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    options: Vec<Spanned<String>>,
}

/// What carries jobs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Scheduler {
    Slurm,
}

/// What a job may have, as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResourcesFile {
    /// How long Slurm lets a task run, as `2h`.
    #[schemars(with = "String")]
    time: Spanned<String>,
    /// Partition.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    partition: Option<Spanned<String>>,
    /// Generic resources, as `gpu:a100:1`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    gres: Option<Spanned<String>>,
    /// Features that a node must have: numbers of unlike nodes stand in tables of their own.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    constraint: Option<Spanned<String>>,
    /// CPUs of a task; also how many threads a job is told to use unless `--threads` says it.
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    cpus: Option<Spanned<u32>>,
    /// Memory of a task, as `16G`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    memory: Option<Spanned<String>>,
    /// Whether a task has its node for itself [default: true]; others on the node disturb what is measured.
    #[serde(default)]
    exclusive: Option<bool>,
    /// `cuda`: the GPU that the nodes have, so that what has no code for it is skipped.
    #[serde(default)]
    gpu: Option<GpuFile>,
}

/// A GPU of the nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GpuFile {
    name: String,
    /// As `"8.0"`.
    compute_capability: Option<String>,
    /// The driver's version, as `"550.54"`.
    driver: Option<String>,
    /// The CUDA that the driver supports, as `"12.4"`.
    cuda: Option<String>,
}

/// A launcher as it is meant.
#[derive(Debug, Clone)]
pub struct ClusterLauncher {
    /// The file that it was read from.
    pub path: PathBuf,
    /// That file's text.
    pub text: String,
    pub shared: Vec<PathBuf>,
    pub resources: BTreeMap<Device, Resources>,
    pub account: Option<String>,
    pub qos: Option<String>,
    pub nice: Option<u32>,
    pub max_running: Option<u32>,
    pub attempts: u32,
    pub grace: Duration,
    pub poll: Duration,
    pub rosetta: Option<PathBuf>,
    pub setup: Vec<String>,
    pub wrap: Vec<String>,
    pub options: Vec<String>,
}

/// What a job may have.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    pub time: Duration,
    pub partition: Option<String>,
    pub gres: Option<String>,
    pub constraint: Option<String>,
    pub cpus: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub exclusive: bool,
    pub gpu: Option<Gpu>,
}

/// Returns the launcher that `--launcher NAME|FILE` means in a project.
pub fn find(named: &str, project: &Path) -> Result<ClusterLauncher> {
    let is_path = named.contains('/') || named.ends_with(".yaml") || named.ends_with(".yml");
    let folder = project.join("launchers");
    let path = match is_path {
        true => std::path::absolute(named)?,
        false => folder.join(format!("{named}.yaml")),
    };
    if !path.exists() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let name = |path: PathBuf| {
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
            is_yaml
                .then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
                .flatten()
        };
        let mut there = entries.filter_map(|entry| name(entry.path())).collect::<Vec<_>>();
        there.sort();
        let there = match there.is_empty() {
            true => String::new(),
            false => format!("; there is `{}`", there.join("`, `")),
        };
        return Err(hinted(
            format!("there is no launcher `{named}`: no file `{}`{there}", path.display()),
            "docs/cluster.md has one to begin with; `rosetta schema launcher` says what it may hold",
        ));
    }
    ClusterLauncher::parse(&path, yaml::read(&path)?)
}

impl ClusterLauncher {
    /// Returns the launcher that the text of a file means.
    pub fn parse(path: &Path, text: String) -> Result<ClusterLauncher> {
        let file = yaml::parse::<LauncherFile>(path, &text)?;
        if file.version != 1 {
            let message = format!(
                "{}: version {} is not known; write `version: 1`",
                path.display(),
                file.version
            );
            return Err(anyhow::anyhow!(message));
        }
        let Scheduler::Slurm = file.launcher;
        if file.resources.is_empty() {
            let message = format!("{}: `resources` is empty", path.display());
            return Err(hinted(message, "write `cpu:` or `cuda:` below it, each with a `time`"));
        }
        if file.shared.is_empty() {
            let message = format!("{}: `shared` is empty", path.display());
            return Err(hinted(
                message,
                "name the folder that all nodes share, as `shared: [/home]`",
            ));
        }
        let shared = file.shared.iter().map(|folder| absolute(path, "shared", folder));
        let resources =
            file.resources.iter().map(|(device, one)| Ok((*device, one.meant(path, *device)?)));
        let word = |field: &str, value: &Option<Spanned<String>>| word(path, field, value);
        Ok(ClusterLauncher {
            shared: shared.collect::<Result<_>>()?,
            resources: resources.collect::<Result<_>>()?,
            account: word("account", &file.account)?,
            qos: word("qos", &file.qos)?,
            nice: file.nice.map(|nice| nice.value),
            max_running: positive(path, "max_running", &file.max_running)?,
            attempts: positive(path, "attempts", &file.attempts)?.unwrap_or(ATTEMPTS),
            grace: duration(path, "grace", &file.grace)?.unwrap_or(GRACE),
            poll: duration(path, "poll", &file.poll)?.unwrap_or(POLL).max(Duration::from_secs(1)),
            rosetta: file
                .rosetta
                .as_ref()
                .map(|file| absolute(path, "rosetta", file))
                .transpose()?,
            setup: file.setup,
            wrap: file.wrap,
            options: file.options.iter().map(|one| option(path, one)).collect::<Result<_>>()?,
            path: path.to_owned(),
            text,
        })
    }

    /// Returns the GPUs that a plan may reckon with: those of the nodes.
    pub fn gpus(&self) -> Vec<Gpu> {
        let cuda = self.resources.get(&Device::Cuda);
        cuda.map(|resources| resources.gpu.clone().unwrap_or_default()).into_iter().collect()
    }

    /// Returns an error for a folder or file that nodes would not find.
    pub fn check_shared(&self, what: &str, path: &Path) -> Result<()> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_below = |folder: &PathBuf| {
            real.starts_with(folder.canonicalize().unwrap_or_else(|_| folder.clone()))
        };
        if self.shared.iter().any(is_below) {
            return Ok(());
        }
        let shared = self.shared.iter().map(|folder| format!("`{}`", folder.display()));
        let message = format!(
            "{what} is `{}`, which nodes do not have: `shared` of {} names {}",
            path.display(),
            self.path.display(),
            shared.collect::<Vec<_>>().join(", ")
        );
        Err(hinted(
            message,
            "put it into a folder that all nodes share, or name that folder in `shared`",
        ))
    }
}

impl ResourcesFile {
    fn meant(&self, path: &Path, device: Device) -> Result<Resources> {
        let field = |name: &str| format!("resources.{device}.{name}");
        let memory = match &self.memory {
            None => None,
            Some(Spanned { value, referenced, .. }) => Some(parse_bytes(value).map_err(|why| {
                yaml::wrong(path, referenced, format!("`{}`: {why}", field("memory")))
            })?),
        };
        let time = duration(path, &field("time"), &Some(self.time.clone()))?.unwrap_or_default();
        if time < Duration::from_secs(60) {
            let message = format!(
                "`{}` is `{}`; Slurm counts minutes: write at least `1m`",
                field("time"),
                self.time.value
            );
            return Err(yaml::wrong(path, &self.time.referenced, message));
        }
        if let (Device::Cpu, Some(_)) = (device, &self.gpu) {
            return Err(yaml::wrong(
                path,
                &self.time.referenced,
                "`resources.cpu` has a `gpu`; write it below `cuda`",
            ));
        }
        Ok(Resources {
            time,
            partition: word(path, &field("partition"), &self.partition)?,
            gres: word(path, &field("gres"), &self.gres)?,
            constraint: word(path, &field("constraint"), &self.constraint)?,
            cpus: positive(path, &field("cpus"), &self.cpus)?,
            memory_bytes: memory,
            exclusive: self.exclusive.unwrap_or(true),
            gpu: self.gpu.as_ref().map(GpuFile::meant),
        })
    }
}

impl GpuFile {
    fn meant(&self) -> Gpu {
        Gpu {
            name: self.name.clone(),
            compute_capability: self.compute_capability.clone(),
            driver: self.driver.clone().unwrap_or_default(),
            cuda: self.cuda.clone().unwrap_or_default(),
            ..Gpu::default()
        }
    }
}
