//! docker or podman: which is here, whether it answers, what its words mean.
//!
//! Must not depend on images or jobs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::obstacle::Obstacle;
use crate::probe::{self, Answer};

/// The variable that names an engine's client.
pub const NAMED: &str = "ROSETTA_CONTAINER";

/// How long a client may take to answer; a daemon that was just started loads its containers first.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Variables of the user's shell that change how images are built; the daemon's own way is taken.
const UNWANTED: [&str; 4] =
    ["DOCKER_BUILDKIT", "DOCKER_DEFAULT_PLATFORM", "BUILDAH_FORMAT", "BUILDAH_LAYERS"];

const GET_ONE: &str = "install docker (https://docs.docker.com/engine/install) or podman, or name a client with \
                       ROSETTA_CONTAINER=PATH";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    Docker,
    Podman,
}

/// In the order in which they are looked for.
const KINDS: [EngineKind; 2] = [EngineKind::Docker, EngineKind::Podman];

impl EngineKind {
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Docker => "docker",
            EngineKind::Podman => "podman",
        }
    }

    /// Returns the variable by which its client is told of an engine elsewhere.
    fn remote(self) -> &'static str {
        match self {
            EngineKind::Docker => "DOCKER_HOST",
            EngineKind::Podman => "CONTAINER_HOST",
        }
    }

    /// Returns the first version that has every option that is used.
    fn first(self) -> [u16; 2] {
        match self {
            EngineKind::Docker => [20, 10],
            EngineKind::Podman => [4, 0],
        }
    }

    /// Returns the words that make it say its version, where it is a server's, how it is secured, and which limits it
    /// can keep a container to.
    fn info(self) -> [&'static str; 3] {
        let form = match self {
            EngineKind::Docker => {
                "{{.ServerVersion}}|{{json .SecurityOptions}}|\
                 {\"memory\": {{.MemoryLimit}}, \"cpus\": {{.CPUSet}}, \"processes\": {{.PidsLimit}}}"
            }
            EngineKind::Podman => {
                "{{.Version.Version}}|rootless={{.Host.Security.Rootless}}|{{json .Host.CgroupControllers}}"
            }
        };
        ["info", "--format", form]
    }
}

/// A client whose engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub program: PathBuf,
    pub kind: EngineKind,
    /// The server's, where there is one.
    pub version: String,
    /// Whether it runs without root, so that numbers of users inside are others than outside.
    pub is_rootless: bool,
    #[serde(default)]
    pub keeps: Keeps,
}

/// The limits that an engine can keep a container to. Without root it often has not all of the kernel's controllers; one
/// that it has not, it ignores with a warning, or starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeps {
    pub memory: bool,
    pub cpus: bool,
    pub processes: bool,
}

impl Default for Keeps {
    fn default() -> Keeps {
        Keeps { memory: true, cpus: true, processes: true }
    }
}

impl Keeps {
    /// Reads what an engine says of them; of one that says nothing all is asked.
    fn read(kind: EngineKind, said: &str) -> Keeps {
        let told = match kind {
            EngineKind::Docker => serde_json::from_str(said).ok(),
            EngineKind::Podman => {
                serde_json::from_str::<Option<Vec<String>>>(said).ok().map(|all| {
                    let all = all.unwrap_or_default();
                    let has = |name: &str| all.iter().any(|controller| controller == name);
                    Keeps { memory: has("memory"), cpus: has("cpuset"), processes: has("pids") }
                })
            }
        };
        told.unwrap_or_default()
    }
}

/// Returns the engine that `named` names, or the first that `which` finds; else why there is none.
pub fn find(
    named: Option<&OsStr>,
    which: impl Fn(&OsStr) -> Option<PathBuf>,
) -> Result<Engine, Obstacle> {
    if let Some(named) = named {
        let shown = named.to_string_lossy();
        let program = which(named).ok_or_else(|| {
            let reason = format!("there is no program `{shown}`, which {NAMED} names");
            Obstacle::new(reason, "name docker or podman, or unset it")
        })?;
        return ask(program);
    }
    let mut programs = KINDS.iter().filter_map(|kind| which(kind.name().as_ref()));
    let Some(first) = programs.next() else {
        return Err(Obstacle::new("there is no docker or podman on PATH", GET_ONE));
    };
    // One that does not answer says more than that the other one was taken without a word.
    ask(first)
}

/// Asks a program which engine it is a client of, and that engine whether it is there.
fn ask(program: PathBuf) -> Result<Engine, Obstacle> {
    let shown = program.display().to_string();
    let silent = |error: anyhow::Error| {
        let error = format!("{error:#}").replace('\n', " ");
        Obstacle::new(format!("cannot ask `{shown}` for its version: {error}"), GET_ONE)
    };
    let said = probe::answer(command(&program).arg("--version"), PATIENCE).map_err(silent)?;
    let line = said.lines().next().unwrap_or_default().trim().to_owned();
    let word = line.split(' ').next().unwrap_or_default().to_lowercase();
    let Some(&kind) = KINDS.iter().find(|kind| kind.name() == word) else {
        let reason = format!("`{shown}` says `{line}`, so it is neither docker nor podman");
        return Err(Obstacle::new(reason, format!("name one of them with {NAMED}=PATH")));
    };
    let variable = kind.remote();
    refuse_remote(variable, std::env::var(variable).ok().as_deref())?;
    let client = line.split([' ', ',']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    refuse_old(&shown, kind, client.unwrap_or_default())?;
    let Answer { status, stdout, stderr } =
        probe::ask(command(&program).args(kind.info()), PATIENCE).map_err(silent)?;
    let mut told = stdout.trim().splitn(3, '|');
    let [version, security, keeps] = std::array::from_fn(|_| told.next().unwrap_or_default());
    if !status.success() || version.is_empty() {
        return Err(explained(kind, &stderr).unwrap_or_else(|| {
            let line = complaint(stderr.lines()).unwrap_or("it says nothing");
            Obstacle::new(format!("`{shown}` does not work: {line}"), "see `docker info`")
        }));
    }
    refuse_old(&shown, kind, version)?;
    let is_rootless = security.contains("name=rootless") || security == "rootless=true";
    let keeps = Keeps::read(kind, keeps);
    Ok(Engine { program, kind, version: version.to_owned(), is_rootless, keeps })
}

/// Jobs read and write files of this machine.
fn refuse_remote(variable: &str, host: Option<&str>) -> Result<(), Obstacle> {
    let is_elsewhere =
        |host: &&str| ["tcp://", "ssh://", "http"].iter().any(|it| host.starts_with(it));
    host.filter(is_elsewhere).map_or(Ok(()), |host| {
        let reason =
            format!("{variable} is `{host}`, an engine that does not see this machine's files");
        Err(Obstacle::new(reason, format!("unset {variable}, or run rosetta on that machine")))
    })
}

fn refuse_old(shown: &str, kind: EngineKind, version: &str) -> Result<(), Obstacle> {
    let numbers = version.split(['.', '-', '+']).map_while(|part| part.parse::<u16>().ok());
    let (found, [major, minor]) = (numbers.take(2).collect::<Vec<_>>(), kind.first());
    if found.as_slice() >= [major, minor].as_slice() {
        return Ok(());
    }
    let name = kind.name();
    let reason =
        format!("`{shown}` is too old: found {name} {version}, needed is {major}.{minor} or newer");
    Err(Obstacle::new(reason, GET_ONE))
}

/// Returns a command of a client, in the user's own surroundings: they say where the engine is.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in UNWANTED {
        command.env_remove(name);
    }
    command
}

impl Engine {
    pub fn command(&self) -> Command {
        command(&self.program)
    }

    /// Makes a command that somebody else has begun free of what changes how images are built.
    pub fn clean(&self, command: &mut Command) {
        for name in UNWANTED {
            command.env_remove(name);
        }
    }

    /// Returns what a person reads of it, as `docker 20.10.24`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.kind.name(), self.version)
    }

    /// Returns what the engine answers, or why it does not.
    pub fn answer(&self, words: &[&str]) -> Result<String> {
        let Answer { status, stdout, stderr } = probe::ask(self.command().args(words), PATIENCE)?;
        match status.success() {
            true => Ok(stdout),
            false => Err(self.error(words[0], &stderr)),
        }
    }

    fn error(&self, what: &str, stderr: &str) -> anyhow::Error {
        let line = complaint(stderr.lines()).unwrap_or("it says nothing");
        let error = anyhow!("`{} {what}` failed: {line}", self.kind.name());
        match explained(self.kind, stderr) {
            Some(obstacle) => error.context(obstacle.into_error()),
            None => error,
        }
    }
}

/// Returns the line that says what went wrong, of all that a client says: it may warn of other things first.
pub fn complaint<'a>(lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lines = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let error = lines.iter().find(|line| line.starts_with("Error") || line.starts_with("docker: "));
    error.or_else(|| lines.iter().find(|line| !is_warning(line))).or(lines.first()).copied()
}

fn is_warning(line: &str) -> bool {
    line.contains("level=warning") || line.starts_with("WARNING")
}

/// What an engine's words mean: parts of them, all in lower case, the reason, and what helps.
type Meaning = (&'static [&'static str], &'static str, &'static str);

const MEANINGS: [Meaning; 9] = [
    (
        &["permission denied", "sock"],
        "{engine} does not let this user in: no permission on its socket",
        "join its group (`sudo usermod -aG docker $USER`, then log in anew), or take podman: ROSETTA_CONTAINER=podman",
    ),
    (
        &["cannot connect to", "daemon"],
        "{engine} is not running",
        "start it, as `sudo systemctl start docker`, or name another engine with ROSETTA_CONTAINER",
    ),
    (
        &["no space left on device"],
        "the disk of {engine} is full",
        "make room, as with `{engine} image prune` or `rosetta env gc`",
    ),
    (
        &["could not select device driver"],
        "{engine} has no runtime for NVIDIA GPUs",
        "install the NVIDIA container toolkit, or leave the GPU out with `--device cpu`",
    ),
    (
        &["unresolvable cdi device"],
        "{engine} has no runtime for NVIDIA GPUs",
        "install the NVIDIA container toolkit and run `nvidia-ctk cdi generate`, or leave the GPU out with `--device cpu`",
    ),
    (
        &["no such image"],
        "{engine} does not have the image any more",
        "run `rosetta env build NAME --provider docker`",
    ),
    (
        &["image not known"],
        "{engine} does not have the image any more",
        "run `rosetta env build NAME --provider docker`",
    ),
    (
        &["manifest unknown"],
        "the registry does not have that image",
        "see its name and digest in docker.lock, or make the lock anew with `rosetta env lock NAME --provider docker`",
    ),
    (
        &["dial tcp"],
        "{engine} does not reach the registry",
        "see its network, or name a base image that is here: `rosetta env lock NAME --provider docker --base IMAGE`",
    ),
];

/// Returns what an engine means by what it says on standard error, if that is known, and what helps.
pub fn explained(kind: EngineKind, stderr: &str) -> Option<Obstacle> {
    let said = stderr.to_lowercase();
    let mut meanings = MEANINGS.iter();
    let (_, reason, hint) =
        meanings.find(|(parts, ..)| parts.iter().all(|part| said.contains(part)))?;
    let named = |text: &str| text.replace("{engine}", kind.name());
    Some(Obstacle::new(named(reason), named(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_has_a_meaning_and_a_next_step() {
        // As docker 20.10 with the client 28.2, and podman 4.3, say it.
        let cases = [
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                "docker does not let this user in: no permission on its socket",
            ),
            (
                "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
                "docker is not running",
            ),
            (
                "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]]",
                "docker has no runtime for NVIDIA GPUs",
            ),
            (
                "docker: Error response from daemon: No such image: nosuch:1",
                "docker does not have the image any more",
            ),
            ("write /x: no space left on device", "the disk of docker is full"),
        ];
        for (said, meant) in cases {
            let obstacle = explained(EngineKind::Docker, said).unwrap();
            assert_eq!(obstacle.reason, meant);
            assert!(obstacle.hint.is_some());
        }
        assert_eq!(explained(EngineKind::Podman, "something else"), None);
    }

    #[test]
    fn what_went_wrong_stands_behind_warnings() {
        // As podman 4.3 without root, and docker 20.10, say it.
        let warning =
            r#"time="2026-11-28T11:42:58Z" level=warning msg="\"/\" is not a shared mount""#;
        let other = "Resource limits are not supported and ignored on cgroups V1 rootless systems";
        let error = "Error: statfs /nowhere: no such file or directory";
        assert_eq!(complaint(["", warning, other, error].into_iter()), Some(error));
        let limit = "WARNING: Your kernel does not support swap limit capabilities";
        let refused = "docker: Error response from daemon: it is so";
        assert_eq!(complaint([limit, refused].into_iter()), Some(refused));
        assert_eq!(complaint([warning, "it is so"].into_iter()), Some("it is so"));
        assert_eq!(complaint([warning].into_iter()), Some(warning));
        assert_eq!(complaint(["", " "].into_iter()), None);
    }

    #[test]
    fn limits_are_those_that_an_engine_says_it_can_keep() {
        let all = Keeps::default();
        let none = Keeps { memory: false, cpus: false, processes: false };
        let podman = |said| Keeps::read(EngineKind::Podman, said);
        assert_eq!(podman(r#"["cpuset","cpu","memory","pids"]"#), all);
        // Of a user whom systemd gives its usual controllers; of one without any; of another language.
        assert_eq!(podman(r#"["cpu","memory","pids"]"#), Keeps { cpus: false, ..all });
        assert_eq!((podman("[]"), podman("null"), podman("")), (none, none, all));
        let docker = |said| Keeps::read(EngineKind::Docker, said);
        let said = r#"{"memory": true, "cpus": true, "processes": false}"#;
        assert_eq!(docker(said), Keeps { processes: false, ..all });
        assert_eq!(docker("<no value>"), all);
    }

    #[test]
    fn an_engine_on_another_machine_is_refused() {
        for here in [None, Some("unix:///var/run/docker.sock"), Some("")] {
            assert_eq!(refuse_remote("DOCKER_HOST", here), Ok(()));
        }
        let reason = refuse_remote("DOCKER_HOST", Some("tcp://10.0.0.1:2375")).unwrap_err().reason;
        assert!(reason.contains("does not see this machine's files"), "{reason}");
    }

    #[test]
    fn an_old_engine_is_refused() {
        let refused = |kind, version| refuse_old("/x", kind, version).err().map(|old| old.reason);
        assert_eq!(refused(EngineKind::Docker, "20.10.24+dfsg1"), None);
        assert_eq!(refused(EngineKind::Podman, "4.3.1"), None);
        assert_eq!(
            refused(EngineKind::Docker, "18.09.1").as_deref(),
            Some("`/x` is too old: found docker 18.09.1, needed is 20.10 or newer")
        );
    }
}
