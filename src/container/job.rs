//! The command line of a job in a container, and its end. Must not depend on what a job says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rustix::process::{getgid, getuid};
use serde::{Deserialize, Serialize};

use super::engine::{Engine, EngineKind};
use super::own_files::own_files;
use crate::hint::hinted;

/// The label that says which rosetta a container is of.
pub const OWNER_LABEL: &str = "rosetta.owner";
/// The label that says on which start of the machine that was.
const BOOT_LABEL: &str = "rosetta.boot";
/// The label that says which job it is: its folder.
const JOB_LABEL: &str = "rosetta.job";

/// The most processes and threads of a job. Frameworks start hundreds; a fork bomb stops here.
const PROCESSES: u32 = 8192;

/// Shared memory, by which loaders hand over batches; the engine's own 64 MB are too little for that.
const SHARED_MEMORY: &str = "2g";

/// Folders of an image that nothing of this machine may hide.
const OF_AN_IMAGE: [&str; 14] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/opt",
    "/opt/rosetta",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/.rosetta",
];

/// The container that a job runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub engine: Engine,
    /// The image's id.
    pub image: String,
    /// Folders of this machine that it sees at the same place, to read.
    pub readable: Vec<PathBuf>,
    /// The same, to write to.
    pub writable: Vec<PathBuf>,
    /// What its shim sees; the job's own variables are in the order.
    pub variables: BTreeMap<String, String>,
}

/// What the engine keeps a job to.
#[derive(Debug, Clone, Default)]
pub struct ContainerLimits {
    pub memory_bytes: Option<u64>,
    pub cpus: Vec<usize>,
    pub has_gpu: bool,
}

/// What a container is known by.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// The rosetta that has started it.
    pub owner: &'a str,
    /// The job's folder.
    pub job: &'a Path,
}

impl Container {
    /// Returns the command that runs this very rosetta in the container, with `words`, its standard input open.
    pub fn command(
        &self,
        limits: &ContainerLimits,
        marks: Marks,
        words: &[&str],
    ) -> Result<Command> {
        let own = own_files()?;
        let mut command = self.engine.command();
        command.args(["run", "--rm", "--interactive", "--pull", "never", "--network", "none"]);
        command.args(["--read-only", "--tmpfs", "/tmp:exec", "--shm-size", SHARED_MEMORY]);
        // What it says goes to rosetta, which masks secrets and keeps to limits, and into no journal.
        command.args(["--log-driver", "none"]);
        command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        let keeps = self.engine.keeps;
        if keeps.processes {
            command.args(["--pids-limit", &PROCESSES.to_string()]);
        }
        command.args(self.user());
        if let Some(bytes) = limits.memory_bytes.filter(|_| keeps.memory) {
            let bytes = bytes.to_string();
            command.args(["--memory", &bytes, "--memory-swap", &bytes]);
        }
        if keeps.cpus && !limits.cpus.is_empty() {
            let cpus = limits.cpus.iter().map(usize::to_string).collect::<Vec<_>>();
            command.args(["--cpuset-cpus", &cpus.join(",")]);
        }
        if limits.has_gpu {
            command.args(match self.engine.kind {
                EngineKind::Docker => ["--gpus", "all"],
                EngineKind::Podman => ["--device", "nvidia.com/gpu=all"],
            });
        }
        for label in labels(marks) {
            command.args(["--label", &label]);
        }
        for (name, value) in &self.variables {
            command.args(["--env", &format!("{name}={value}")]);
        }
        for (file, inside) in &own.mounts {
            command.args(["--mount", &mount(file, Path::new(inside), true)]);
        }
        for (folder, is_read_only) in self.folders() {
            refuse_hiding(folder)?;
            command.args(["--mount", &mount(folder, folder, is_read_only)]);
        }
        command.args(["--workdir", "/", "--entrypoint", &own.words[0], &self.image]);
        command.args(&own.words[1..]).args(words);
        Ok(command)
    }

    /// Returns what makes files that a job writes the caller's own.
    fn user(&self) -> Vec<String> {
        let own = format!("{}:{}", getuid().as_raw(), getgid().as_raw());
        let user = |name: &str| vec!["--user".to_owned(), name.to_owned()];
        match (self.engine.kind, self.engine.is_rootless) {
            // Its root is the caller.
            (EngineKind::Docker, true) => user("0:0"),
            (EngineKind::Docker, false) => user(&own),
            (EngineKind::Podman, is_rootless) => {
                let keep = is_rootless.then(|| "--userns=keep-id".to_owned());
                // SELinux would keep it from the caller's own files.
                let label = ["--security-opt", "label=disable"].map(str::to_owned);
                user(&own).into_iter().chain(keep).chain(label).collect()
            }
        }
    }

    /// Returns each folder once, one that lies in another behind it, and whether it is only read.
    fn folders(&self) -> Vec<(&Path, bool)> {
        let mut folders = BTreeMap::new();
        for folder in &self.readable {
            folders.insert(folder.as_path(), true);
        }
        for folder in &self.writable {
            folders.insert(folder.as_path(), false);
        }
        folders.into_iter().collect()
    }
}

/// Returns the labels of a container.
fn labels(marks: Marks) -> [String; 3] {
    let Marks { owner, job } = marks;
    let job = job.display();
    [
        format!("{OWNER_LABEL}={owner}"),
        format!("{BOOT_LABEL}={}", boot()),
        format!("{JOB_LABEL}={job}"),
    ]
}

/// Returns what the kernel calls this start of the machine.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Returns one value of `--mount`, which is a line of CSV.
pub(super) fn mount(source: &Path, inside: &Path, is_read_only: bool) -> String {
    let quoted = |name: &str, path: &Path| {
        let field = format!("{name}={}", path.display());
        match field.contains([',', '"', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    };
    let end = if is_read_only { ",readonly" } else { "" };
    format!("type=bind,{},{}{end}", quoted("source", source), quoted("destination", inside))
}

fn refuse_hiding(folder: &Path) -> Result<()> {
    if !OF_AN_IMAGE.iter().any(|own| Path::new(own) == folder) {
        return Ok(());
    }
    let shown = folder.display();
    Err(hinted(
        format!("`{shown}` cannot be shown to a container: its image has a folder of that name"),
        "move the project, or ROSETTA_HOME, into a folder of its own",
    ))
}

/// Returns the containers whose rosetta is gone, or of an earlier start of the machine. An engine that does not answer has
/// none to remove.
pub fn left_containers(engine: &Engine, is_gone: impl Fn(&str) -> bool) -> Vec<String> {
    let all = containers(engine).unwrap_or_default().into_iter();
    let left = all.filter(|(_, owner)| owner.as_ref().is_none_or(|owner| is_gone(owner)));
    left.map(|(id, _)| id).collect()
}

/// Returns the containers that rosetta has started, each with the rosetta that did, or nothing for one of an earlier
/// start of the machine.
pub fn containers(engine: &Engine) -> Result<Vec<(String, Option<String>)>> {
    let label = match engine.kind {
        EngineKind::Docker => ".Label",
        // 4.3 knows no other word.
        EngineKind::Podman => "index .Labels",
    };
    let form =
        format!("{{{{.ID}}}} {{{{{label} \"{BOOT_LABEL}\"}}}} {{{{{label} \"{OWNER_LABEL}\"}}}}");
    let filter = format!("label={OWNER_LABEL}");
    let said =
        engine.answer(&["ps", "--all", "--no-trunc", "--filter", &filter, "--format", &form])?;
    let (mut found, boot) = (Vec::new(), boot());
    for line in said.lines() {
        if let [id, of, owner] = line.split(' ').collect::<Vec<_>>()[..] {
            found.push((id.to_owned(), (of == boot).then(|| owner.to_owned())));
        }
    }
    Ok(found)
}

/// Removes containers, running or not.
pub fn remove_containers(engine: &Engine, ids: &[String]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut words = vec!["rm", "--force", "--volumes"];
    if engine.kind == EngineKind::Podman {
        // It would wait ten seconds for each to end by itself.
        words.extend(["--time", "0"]);
    }
    words.extend(ids.iter().map(String::as_str));
    engine.answer(&words).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::engine::Keeps;
    use super::*;

    fn container(kind: EngineKind, is_rootless: bool) -> Container {
        let keeps = Keeps::default();
        let (program, version) = ("/e".into(), "20.10".into());
        let engine = Engine { program, kind, version, is_rootless, keeps };
        Container {
            engine,
            image: "sha256:ab".to_owned(),
            readable: vec!["/project".into(), "/home/me/.cache/rosetta".into()],
            writable: vec!["/project/results/runs/1/a".into()],
            variables: BTreeMap::from([("ROSETTA_MACHINE".to_owned(), "box".to_owned())]),
        }
    }

    fn words(container: &Container, limits: &ContainerLimits) -> String {
        let marks = Marks { owner: "7-1.5", job: Path::new("/project/results/runs/1/a") };
        let command = container.command(limits, marks, &["__job", "/x/launch.json"]).unwrap();
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_job_is_kept_to_itself() {
        let limits =
            ContainerLimits { memory_bytes: Some(1 << 30), cpus: vec![0, 3], has_gpu: false };
        let words = words(&container(EngineKind::Docker, false), &limits);
        for part in [
            "run --rm --interactive --pull never --network none --read-only --tmpfs /tmp:exec",
            "--log-driver none --cap-drop ALL --security-opt no-new-privileges --pids-limit 8192",
            "--memory 1073741824 --memory-swap 1073741824 --cpuset-cpus 0,3",
            "--label rosetta.owner=7-1.5 --label rosetta.boot=",
            "--label rosetta.job=/project/results/runs/1/a",
            "--env ROSETTA_MACHINE=box",
            "type=bind,source=/project,destination=/project,readonly",
            "type=bind,source=/project/results/runs/1/a,destination=/project/results/runs/1/a --workdir",
            " sha256:ab --library-path /.rosetta/lib /.rosetta/rosetta __job /x/launch.json",
        ] {
            assert!(words.contains(part), "{part}\nis not in\n{words}");
        }
        assert!(!words.contains("gpu") && !words.contains("userns"), "{words}");
    }

    #[test]
    fn no_limit_is_asked_that_the_engine_cannot_keep() {
        let limits = ContainerLimits { memory_bytes: Some(1 << 30), cpus: vec![0], has_gpu: false };
        let mut container = container(EngineKind::Podman, true);
        container.engine.keeps = Keeps { memory: false, cpus: false, processes: false };
        let words = words(&container, &limits);
        for part in ["--memory", "--cpuset-cpus", "--pids-limit"] {
            assert!(!words.contains(part), "{part}\nis in\n{words}");
        }
    }

    #[test]
    fn each_engine_has_its_own_words_for_users_and_gpus() {
        let gpu = ContainerLimits { has_gpu: true, ..ContainerLimits::default() };
        let cases = [
            (EngineKind::Docker, true, "--user 0:0 --gpus all"),
            (
                EngineKind::Podman,
                true,
                "--userns=keep-id --security-opt label=disable --device nvidia.com/gpu=all",
            ),
            (
                EngineKind::Podman,
                false,
                " --security-opt label=disable --device nvidia.com/gpu=all",
            ),
        ];
        for (kind, is_rootless, part) in cases {
            let words = words(&container(kind, is_rootless), &gpu);
            assert!(words.contains(part), "{part}\nis not in\n{words}");
            assert!(!words.contains("--memory"), "{words}");
        }
    }

    #[test]
    fn a_path_may_have_a_comma_and_must_not_hide_the_image() {
        let mounted = mount(Path::new("/a,b"), Path::new("/c"), true);
        assert_eq!(mounted, "type=bind,\"source=/a,b\",destination=/c,readonly");
        assert!(
            refuse_hiding(Path::new("/usr")).unwrap_err().to_string().starts_with("`/usr` cannot")
        );
        refuse_hiding(Path::new("/usr/local/project")).unwrap();
    }
}
