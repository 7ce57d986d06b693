//! A client of conda's: which is here, whether it can do what is needed, and how it is called. It is a
//! program like any other; none of its user's settings reach it.
//!
//! Must not depend on what is installed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::archives::{Archive, address};
use super::explicit::EXPLICIT;
use crate::env::python::parse_version;
use crate::env::tool::{Host, output_of};
use crate::obstacle::Obstacle;

/// The variable that names a client.
const NAMED: &str = "ROSETTA_CONDA";

/// How long a client may take to say its version; conda is Python on a perhaps cold disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first conda that reads `#sha256:` in explicit files.
const READS_SHA256: [u16; 2] = [24, 9];

const GET_ONE: &str = "install micromamba (https://mamba.readthedocs.io) so that it is on PATH, or \
                       name a client with ROSETTA_CONDA=PATH";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientKind {
    Micromamba,
    Mamba,
    Conda,
    Pixi,
}

/// In the order in which they are looked for.
const KINDS: [ClientKind; 4] =
    [ClientKind::Micromamba, ClientKind::Mamba, ClientKind::Conda, ClientKind::Pixi];

impl ClientKind {
    fn name(self) -> &'static str {
        match self {
            ClientKind::Micromamba => "micromamba",
            ClientKind::Mamba => "mamba",
            ClientKind::Conda => "conda",
            ClientKind::Pixi => "pixi",
        }
    }

    /// Returns the first version that can do what is needed; no pixi installs from an explicit file.
    fn first(self) -> Option<[u16; 2]> {
        match self {
            ClientKind::Micromamba | ClientKind::Mamba => Some([2, 0]),
            ClientKind::Conda => Some([22, 9]),
            ClientKind::Pixi => None,
        }
    }
}

/// A client that can install from an explicit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env) struct Client {
    program: PathBuf,
    kind: ClientKind,
    version: Vec<u16>,
}

/// Returns the first client on PATH that will do, or the one that is named; else why there is none.
pub(in crate::env) fn find(host: &Host) -> Result<Client, Obstacle> {
    if let Some(named) = host.get(NAMED) {
        let shown = named.to_string_lossy();
        let program = host.which(named).ok_or_else(|| {
            let reason = format!("there is no program `{shown}`, which {NAMED} names");
            Obstacle::new(reason, "name micromamba, mamba or conda, or unset it")
        })?;
        return ask(host, program);
    }
    let mut first_problem = None;
    for program in KINDS.iter().filter_map(|kind| host.which(kind.name())) {
        match ask(host, program) {
            Ok(client) => return Ok(client),
            Err(problem) => first_problem = first_problem.or(Some(problem)),
        }
    }
    let none = "there is no micromamba, mamba or conda on PATH";
    Err(first_problem.unwrap_or_else(|| Obstacle::new(none, GET_ONE)))
}

/// Asks a program which client it is.
fn ask(host: &Host, program: PathBuf) -> Result<Client, Obstacle> {
    let shown = program.display().to_string();
    let mut command = host.command(&program);
    command.env_remove("CONDA_PREFIX").arg("--version");
    let said = output_of(command, PATIENCE).map_err(|error| {
        let error = format!("{error:#}").replace('\n', " ");
        Obstacle::new(format!("cannot ask `{shown}` for its version: {error}"), GET_ONE)
    })?;
    let line = said.lines().next().unwrap_or_default().trim();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let named =
        |kind: &&ClientKind| line.split(' ').next() == Some(kind.name()) || name == kind.name();
    let Some(&kind) = KINDS.iter().find(named) else {
        let reason = format!("`{shown}` says `{line}`, so it is not known which client it is");
        return Err(Obstacle::new(
            reason,
            "name micromamba, mamba or conda with ROSETTA_CONDA=PATH",
        ));
    };
    let version = line.split(' ').next_back().unwrap_or_default();
    let known = parse_version(version);
    match kind.first() {
        None => {
            let reason = format!("`{shown}` is pixi, which cannot install from an explicit lock");
            Err(Obstacle::new(reason, GET_ONE))
        }
        Some(first) if known.as_slice() < first.as_slice() => {
            let [major, minor] = first;
            let reason = format!(
                "`{shown}` is too old: found {} {version}, needed is {major}.{minor} or newer",
                kind.name()
            );
            Err(Obstacle::new(reason, GET_ONE))
        }
        Some(_) => Ok(Client { program, kind, version: known }),
    }
}

impl Client {
    /// Returns what a person reads of it, as `conda 24.7.1`.
    pub(in crate::env) fn shown(&self) -> String {
        let version = self.version.iter().map(u16::to_string).collect::<Vec<_>>().join(".");
        format!("{} {version}", self.kind.name())
    }

    /// Writes the explicit file that it is given: archives of this machine, hashed as it reads them.
    pub(in crate::env) fn write_explicit(&self, file: &Path, archives: &[Archive]) -> Result<()> {
        let mut text = format!("{EXPLICIT}\n");
        for archive in archives {
            let hash = match self.kind == ClientKind::Conda
                && self.version.as_slice() < READS_SHA256.as_slice()
            {
                true => archive.md5.clone(),
                false => format!("sha256:{}", archive.sha256),
            };
            text += &format!("{}#{hash}\n", address(&archive.path)?);
        }
        fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
    }

    /// Returns the command that installs what an explicit file lists into `root`, off the network.
    pub(in crate::env) fn create(
        &self,
        host: &Host,
        scratch: &Path,
        root: &Path,
        explicit: &Path,
    ) -> Result<Command> {
        let mut command = self.command(host, scratch, "create")?;
        command.args(["--yes", "--quiet", "--offline", "--prefix"]).arg(root);
        command.arg("--file").arg(explicit);
        Ok(command)
    }

    /// Returns the command that says as JSON what would be installed for some specifications.
    pub(in crate::env) fn solve(
        &self,
        host: &Host,
        scratch: &Path,
        channels: &[String],
        specs: &[String],
    ) -> Result<Command> {
        let mut command = self.command(host, scratch, "create")?;
        command.args(["--yes", "--dry-run", "--json", "--prefix"]).arg(scratch.join("solved"));
        command.arg("--override-channels");
        command.args(channels.iter().flat_map(|channel| ["--channel", channel]));
        command.args(specs);
        Ok(command)
    }

    /// Returns a command of the client in surroundings of its own: nothing of what its user has set,
    /// installed or cached is seen.
    fn command(&self, host: &Host, scratch: &Path, subcommand: &str) -> Result<Command> {
        let home = scratch.join("home");
        let settings = scratch.join("condarc");
        let failed = || format!("cannot write `{}`", scratch.display());
        fs::create_dir_all(&home).with_context(failed)?;
        fs::write(&settings, "").with_context(failed)?;
        let mut command = host.command(&self.program);
        for variable in [
            "CONDA_PREFIX",
            "XDG_CONFIG_HOME",
            "XDG_CONFIG_DIRS",
            "XDG_DATA_HOME",
            "XDG_CACHE_HOME",
        ] {
            command.env_remove(variable);
        }
        command.env("HOME", home).env("CONDARC", settings);
        command.env("CONDA_PKGS_DIRS", scratch.join("pkgs"));
        command.env("CONDA_ENVS_DIRS", scratch.join("envs"));
        command.env("MAMBA_ROOT_PREFIX", scratch.join("mamba"));
        // A link into what is cleared away afterwards would be an environment without files.
        command.env("CONDA_ALWAYS_SOFTLINK", "false").env("CONDA_ALLOW_SOFTLINKS", "false");
        command.env("CONDA_REGISTER_ENVS", "false").env("CONDA_REPORT_ERRORS", "false");
        command.env("CONDA_NUMBER_CHANNEL_NOTICES", "0");
        command.arg(subcommand).current_dir(scratch);
        if matches!(self.kind, ClientKind::Micromamba | ClientKind::Mamba) {
            command.arg("--no-rc");
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::python::tests::script;

    fn says(folder: &Path, name: &str, version: &str) {
        script(&folder.join(name), &format!("echo '{version}'"));
    }

    fn found(folder: &Path) -> Result<String, (String, String)> {
        let host = Host::with(&[("PATH", folder.to_str().unwrap())]);
        let found = find(&host).map(|client| client.shown());
        found.map_err(|problem| (problem.reason, problem.hint.unwrap()))
    }

    #[test]
    fn the_first_client_that_will_do_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (none, hint) = found(path).unwrap_err();
        assert!(none.starts_with("there is no micromamba"), "{none}");
        assert!(hint.contains("ROSETTA_CONDA=PATH"), "{hint}");
        says(path, "pixi", "pixi 0.60.0");
        assert!(
            found(path)
                .unwrap_err()
                .0
                .ends_with("is pixi, which cannot install from an explicit lock")
        );
        says(path, "conda", "conda 4.5.1");
        let old = found(path).unwrap_err().0;
        assert!(
            old.ends_with("conda` is too old: found conda 4.5.1, needed is 22.9 or newer"),
            "{old}"
        );
        says(path, "conda", "conda 24.7.1");
        assert_eq!(found(path).unwrap(), "conda 24.7.1");
        says(path, "mamba", "mamba 1.5.8");
        assert_eq!(found(path).unwrap(), "conda 24.7.1");
        says(path, "mamba", "2.8.1");
        assert_eq!(found(path).unwrap(), "mamba 2.8.1");
        says(path, "micromamba", "2.3.0");
        assert_eq!(found(path).unwrap(), "micromamba 2.3.0");
    }

    #[test]
    fn a_client_that_is_named_is_the_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let named = |name: &str| {
            find(&Host::with(&[("PATH", "/nowhere"), (NAMED, at(name).to_str().unwrap())]))
        };
        assert!(named("gone").unwrap_err().reason.contains("which ROSETTA_CONDA names"));
        says(folder.path(), "my-conda", "conda 26.7.2.dev0");
        assert_eq!(named("my-conda").unwrap().kind, ClientKind::Conda);
        says(folder.path(), "other", "4.2");
        assert!(named("other").unwrap_err().reason.contains("not known which client"));
        script(&at("conda"), "echo broken >&2; exit 1");
        assert!(named("conda").unwrap_err().reason.contains("broken"));
    }

    #[test]
    fn an_old_conda_is_given_md5_and_the_others_sha256() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("explicit.txt");
        let archive =
            Archive { path: "/a b/c-1-0.conda".into(), md5: "m".into(), sha256: "s".into() };
        let written = |kind, version: &[u16]| {
            let client = Client { program: "/c".into(), kind, version: version.to_vec() };
            client.write_explicit(&file, std::slice::from_ref(&archive)).unwrap();
            fs::read_to_string(&file).unwrap()
        };
        assert_eq!(
            written(ClientKind::Conda, &[24, 7, 1]),
            "@EXPLICIT\nfile:///a%20b/c-1-0.conda#m\n"
        );
        let new = "@EXPLICIT\nfile:///a%20b/c-1-0.conda#sha256:s\n";
        assert_eq!(written(ClientKind::Conda, &[24, 9, 0]), new);
        assert_eq!(written(ClientKind::Mamba, &[2, 0]), new);
    }

    #[test]
    fn nothing_of_its_users_reaches_a_client() {
        let folder = tempfile::tempdir().unwrap();
        let users = [
            ("HOME", "/home/me"),
            ("CONDA_PREFIX", "/mine"),
            ("CONDARC", "/mine"),
            ("CONDA_CHANNELS", "mine"),
            ("MAMBA_ROOT_PREFIX", "/mine"),
            ("PYTHONPATH", "/mine"),
            ("XDG_CONFIG_HOME", "/mine"),
            ("https_proxy", "http://proxy"),
        ];
        let client = Client { program: "/c".into(), kind: ClientKind::Mamba, version: vec![2, 0] };
        let command = client
            .create(&Host::with(&users), folder.path(), Path::new("/x"), Path::new("/e"))
            .unwrap();
        let seen =
            command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        let seen = seen.collect::<Vec<_>>();
        assert!(
            !seen.iter().any(|(_, value)| value.contains("mine") || value.contains("/home/me")),
            "{seen:?}"
        );
        assert!(seen.contains(&("https_proxy", "http://proxy")), "{seen:?}");
        let args =
            command.get_args().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert_eq!(args, "create --no-rc --yes --quiet --offline --prefix /x --file /e");
    }
}
