//! Which Julias there are: the one that a person names in ROSETTA_JULIA, that on PATH, and those of
//! juliaup's. Must not depend on what they run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::python::parse_version;
use super::store::list;
use super::tool::{Host, output_of};
use crate::obstacle::Obstacle;

/// The variable that names a Julia, or a program that starts one.
const NAMED: &str = "ROSETTA_JULIA";

/// The oldest that the SDK runs on.
const OLDEST: [u16; 2] = [1, 5];

/// How long one may take to say its version: a launcher of juliaup's may set itself up first.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Julia of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundJulia {
    pub(super) program: PathBuf,
    /// As `1.10.4`.
    pub(super) version: String,
    /// Whether a person has named it: a script, perhaps, that gives Julia options.
    pub(super) is_named: bool,
}

/// The Julias of a machine, each asked at most once.
#[derive(Debug, Default)]
pub(super) struct Julias {
    asked: Mutex<BTreeMap<PathBuf, Option<FoundJulia>>>,
}

impl Julias {
    /// Returns the Julia for a version such as `1.10`: the named one, else that on PATH, else juliaup's newest; or why
    /// there is none.
    pub(super) fn find(&self, host: &Host, wanted: &str) -> Result<FoundJulia, Obstacle> {
        let mut others = Vec::new();
        let named = named(host);
        for candidate in candidates(host) {
            let Some(mut julia) = self.ask(host, &candidate) else { continue };
            julia.is_named = named.as_ref() == Some(&candidate);
            let version = parse_version(&julia.version);
            if version.starts_with(&parse_version(wanted)) && version.as_slice() >= &OLDEST[..] {
                return Ok(julia);
            }
            let FoundJulia { program, version, .. } = julia;
            others.push(format!("`{}` is {version}", program.display()));
        }
        let reason = match (host.get(NAMED), others.is_empty()) {
            (Some(named), true) => format!(
                "there is no Julia {wanted} here: `{}`, which {NAMED} names, does not say that it is one",
                named.to_string_lossy()
            ),
            (None, true) => format!("there is no Julia {wanted} here"),
            (_, false) => format!("there is no Julia {wanted} here: {}", others.join(", ")),
        };
        Err(Obstacle::new(reason, hint(host, wanted)))
    }

    fn ask(&self, host: &Host, candidate: &Path) -> Option<FoundJulia> {
        let lock = || self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = lock().get(candidate) {
            return known.clone();
        }
        let answer = ask(host, candidate).ok();
        lock().insert(candidate.to_owned(), answer.clone());
        answer
    }
}

/// Returns the program that a person names.
fn named(host: &Host) -> Option<PathBuf> {
    host.get(NAMED).and_then(|named| host.which(named))
}

/// Returns the programs that may be a Julia, the preferred one first.
fn candidates(host: &Host) -> Vec<PathBuf> {
    let mut found = named(host).into_iter().chain(host.which("julia")).collect::<Vec<_>>();
    let of_user = host.folder("HOME").map(|home| home.join(".julia"));
    if let Some(depot) = host.folder("JULIAUP_DEPOT_PATH").or(of_user) {
        let mut installed = list(&depot.join("juliaup")).unwrap_or_default();
        // `julia-1.10.4+0.x64.linux.gnu`: the newest first.
        installed.sort_by_key(|folder| std::cmp::Reverse(version_in(folder)));
        found.extend(installed.iter().map(|folder| folder.join("bin/julia")));
    }
    found.retain(|program| program.is_file());
    found
}

/// Returns the version in the name of a folder of juliaup's.
fn version_in(folder: &Path) -> Vec<u16> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let version = name.strip_prefix("julia-").unwrap_or_default();
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    parse_version(&version[..end])
}

fn ask(host: &Host, program: &Path) -> Result<FoundJulia> {
    let mut command = host.command(program);
    command.arg("--version");
    let said = output_of(command, PATIENCE)?;
    let version = said.lines().find_map(|line| line.strip_prefix("julia version "));
    let version = version.ok_or_else(|| anyhow!("`{}` is not Julia", program.display()))?;
    let version = version.trim().to_owned();
    Ok(FoundJulia { program: program.to_owned(), version, is_named: false })
}

fn hint(host: &Host, wanted: &str) -> String {
    match host.which("juliaup") {
        Some(_) => format!("run `juliaup add {wanted}`"),
        None => format!(
            "install juliaup (https://julialang.org/install) and run `juliaup add {wanted}`, or name a Julia in {NAMED}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::python::tests::script;
    use super::*;

    /// A machine with Julias: a folder on PATH, one of a user.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(julias: &[(&str, &str)]) -> Machine {
            let machine = Machine(tempfile::tempdir().unwrap());
            for (path, version) in julias {
                machine.says(path, &format!("echo julia version {version}"));
            }
            machine
        }

        fn says(&self, path: &str, body: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            script(&path, body);
        }

        fn find(&self, wanted: &str, named: &str) -> Result<(String, String), String> {
            let text = |path: &str| self.0.path().join(path).display().to_string();
            let named = if named.is_empty() { String::new() } else { text(named) };
            let variables = [
                ("PATH", format!("{}:/usr/bin:/bin", text("path"))),
                ("HOME", text("user")),
                (NAMED, named),
            ];
            let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
            let host = Host::with(&variables.collect::<Vec<_>>());
            let found = Julias::default().find(&host, wanted);
            let folder = format!("{}/", self.0.path().display());
            let found = found.map(|julia| {
                (julia.program.display().to_string().replace(&folder, ""), julia.version)
            });
            found.map_err(|obstacle| obstacle.to_string().replace(&folder, ""))
        }
    }

    const OF_JULIAUP: [(&str, &str); 3] = [
        ("user/.julia/juliaup/julia-1.9.4+0.x64.linux.gnu/bin/julia", "1.9.4"),
        ("user/.julia/juliaup/julia-1.10.10+0.x64.linux.gnu/bin/julia", "1.10.10"),
        ("user/.julia/juliaup/julia-1.10.4+0.x64.linux.gnu/bin/julia", "1.10.4"),
    ];

    #[test]
    fn the_named_one_comes_before_path_and_juliaup() {
        let mut all = OF_JULIAUP.to_vec();
        all.extend([("path/julia", "1.10.2"), ("own/my-julia", "1.5.3")]);
        let machine = Machine::with(&all);
        let found = |path: &str, version: &str| Ok((path.to_owned(), version.to_owned()));
        assert_eq!(machine.find("1", "own/my-julia"), found("own/my-julia", "1.5.3"));
        assert_eq!(machine.find("1", ""), found("path/julia", "1.10.2"));
        // One that does not fit is passed over.
        assert_eq!(machine.find("1.10", "own/my-julia"), found("path/julia", "1.10.2"));
        assert_eq!(machine.find("1.9", "own/my-julia"), found(OF_JULIAUP[0].0, "1.9.4"));
    }

    #[test]
    fn of_juliaup_the_newest_that_fits_is_taken() {
        let machine = Machine::with(&OF_JULIAUP);
        let found = |path: &str, version: &str| Ok((path.to_owned(), version.to_owned()));
        assert_eq!(machine.find("1.10", ""), found(OF_JULIAUP[1].0, "1.10.10"));
        assert_eq!(machine.find("1.9", ""), found(OF_JULIAUP[0].0, "1.9.4"));
    }

    #[test]
    fn where_there_is_none_the_reason_says_what_is_here_and_what_helps() {
        let machine = Machine::with(&[]);
        let install = "install juliaup (https://julialang.org/install) and run `juliaup add 1.10`, \
                       or name a Julia in ROSETTA_JULIA";
        let none = format!("there is no Julia 1.10 here; {install}");
        assert_eq!(machine.find("1.10", ""), Err(none));
        machine.says("path/julia", "echo something else");
        let odd = machine.find("1.10", "path/julia").unwrap_err();
        let says = "`path/julia`, which ROSETTA_JULIA names, does not say that it is one";
        assert!(odd.contains(says), "{odd}");
        machine.says("path/julia", "echo julia version 1.4.2");
        machine.says("path/juliaup", "exit 1");
        let old = "there is no Julia 1 here: `path/julia` is 1.4.2; run `juliaup add 1`";
        assert_eq!(machine.find("1", ""), Err(old.to_owned()));
    }
}
