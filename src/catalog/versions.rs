//! Kept versions: locks of other versions of a framework, `envs/NAME/locks/VERSION.lock`, beside the pinned
//! one. Each is an environment `NAME@VERSION`, and gives each target that uses `NAME` a target
//! `TARGET@VERSION`.
//!
//! Must not depend on how a lock is made.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::environment::EnvSpec;
use super::provider::{Pins, Provider};
use super::{Catalog, FrameworkSpec, Target};
use crate::spec::check_name;

/// What stands between a name and a version; no name of a file has it.
const AT: char = '@';

/// How the files of kept locks end.
const LOCK: &str = ".lock";

/// Returns a name and the version that it has behind an `@`.
pub fn split_version(name: &str) -> (&str, Option<&str>) {
    match name.split_once(AT) {
        Some((name, version)) => (name, Some(version)),
        None => (name, None),
    }
}

/// Returns why this is not the name of an environment, which may have a version.
pub fn check_env_name(name: &str) -> Result<(), String> {
    let (name, version) = split_version(name);
    check_name(name)?;
    version.map_or(Ok(()), check_version)
}

/// Returns why this is not a version.
pub fn check_version(version: &str) -> Result<(), String> {
    check_name(version).map_err(|why| format!("not a version: {why}"))?;
    match version.starts_with(|c: char| c.is_ascii_digit()) {
        true => Ok(()),
        false => Err(format!("not a version: `{version}` must start with a digit")),
    }
}

impl EnvSpec {
    /// Returns the version of its framework, of one that is kept beside what env.yaml pins.
    pub fn kept_version(&self) -> Option<&str> {
        split_version(&self.name).1
    }

    /// Returns where the locks of other versions are.
    pub fn locks(&self) -> PathBuf {
        self.folder.join("locks")
    }

    /// Returns where the lock of a version is, if it is kept.
    pub fn lock_of(&self, version: &str) -> PathBuf {
        self.locks().join(format!("{version}{LOCK}"))
    }

    /// Returns the settings of an environment of Python packages.
    fn pins(&self) -> Option<&Pins> {
        match &self.provider {
            Provider::Venv(pins) | Provider::Conda(pins) | Provider::Docker { pins, .. } => {
                Some(pins)
            }
            Provider::Cargo(_) | Provider::Julia(_) | Provider::System(_) => None,
        }
    }

    /// Returns the package that a row is named after, by custom the first requirement, and the version
    /// that it is pinned to.
    pub fn framework(&self) -> Option<(&str, &str)> {
        let Requirement { name, version, .. } = Requirement::of(self.pins()?.requirements.first()?);
        Some((name, version?))
    }

    /// Returns the same environment with another version of its framework and no other pin: what the
    /// lock says counts.
    pub fn at_version(&self, version: &str, lock: PathBuf) -> Option<EnvSpec> {
        let name = format!("{}{AT}{version}", self.name);
        self.with_requirements(name, lock, |framework| format!("{framework}=={version}"))
    }

    /// Returns an environment for whose lock a solver may choose: of the framework that version, or the
    /// newest from the pinned one on, and of all others the newest that goes with it.
    pub fn unpinned(&self, version: Option<&str>, name: &str, lock: PathBuf) -> Option<EnvSpec> {
        let (_, pinned) = self.framework()?;
        let name = format!("{}{AT}{name}", self.name);
        self.with_requirements(name, lock, |framework| match version {
            Some(version) => format!("{framework}=={version}"),
            None => format!("{framework}>={pinned}"),
        })
    }

    fn with_requirements(
        &self,
        name: String,
        lock: PathBuf,
        of_framework: impl Fn(&str) -> String,
    ) -> Option<EnvSpec> {
        self.framework()?;
        let mut spec = EnvSpec { name, lock, ..self.clone() };
        let (Provider::Venv(pins) | Provider::Conda(pins) | Provider::Docker { pins, .. }) =
            &mut spec.provider
        else {
            return None;
        };
        for (index, requirement) in pins.requirements.iter_mut().enumerate() {
            let Requirement { written, condition, .. } = Requirement::of(requirement);
            let named = if index == 0 { of_framework(written) } else { written.to_owned() };
            *requirement = format!("{named}{condition}");
        }
        Some(spec)
    }
}

/// `Name[extra]==1.2 ; marker` in its parts.
struct Requirement<'a> {
    /// Without extras.
    name: &'a str,
    /// With extras.
    written: &'a str,
    version: Option<&'a str>,
    /// From the space or semicolon before the marker on.
    condition: &'a str,
}

impl Requirement<'_> {
    fn of(text: &str) -> Requirement<'_> {
        let end = text.find([' ', ';']).unwrap_or(text.len());
        let (pin, condition) = text.split_at(end);
        let (written, version) = match pin.split_once("==") {
            Some((written, version)) => (written, Some(version.trim_start_matches('='))),
            None => (pin, None),
        };
        let name = written.split('[').next().unwrap_or(written);
        Requirement { name, written, version, condition }
    }
}

impl Target {
    /// Returns the version that it runs, if that is not the pinned one.
    pub fn kept_version(&self) -> Option<&str> {
        split_version(&self.name).1
    }
}

impl FrameworkSpec {
    /// Returns the year in which the version of a target was released, if it is known.
    pub fn year_of(&self, target: &Target) -> Option<u16> {
        match target.kept_version() {
            Some(_) => None,
            None => target.year.or(self.year),
        }
    }
}

impl Catalog {
    /// Adds the versions that the project keeps. What is wrong with a lock's name stops nothing else.
    pub(super) fn add_kept_versions(&mut self) -> Result<()> {
        for spec in self.envs.values().cloned().collect::<Vec<_>>() {
            for version in kept_versions(&spec)? {
                let kept = version.and_then(|version| {
                    let lock = spec.lock_of(&version);
                    spec.at_version(&version, lock).with_context(|| {
                        format!(
                            "`{}`: only an environment of `venv` whose first requirement is pinned, as \
                             `torch==2.15.0`, has other versions",
                            spec.locks().display()
                        )
                    })
                });
                match kept {
                    Ok(kept) => self.add_version(kept),
                    Err(error) => self.unreadable.push(error),
                }
            }
        }
        Ok(())
    }

    /// Adds an environment that has a version, and the targets that it makes.
    pub fn add_version(&mut self, env: EnvSpec) {
        let (of, version) = (split_version(&env.name).0.to_owned(), env.kept_version());
        let Some(version) = version.map(str::to_owned) else { return };
        for framework in &mut self.frameworks {
            let targets = &mut framework.spec.targets;
            let pinned = targets.iter().filter(|target| target.kept_version().is_none());
            for target in pinned.cloned().collect::<Vec<_>>() {
                let devices = target.env.iter().filter(|(_, named)| named.value == of);
                let named = devices.map(|(device, named)| {
                    let mut named = named.clone();
                    named.value.clone_from(&env.name);
                    (*device, named)
                });
                let named = named.collect::<Vec<_>>();
                let name = format!("{}{AT}{version}", target.name);
                let known = targets.iter_mut().find(|known| known.name == name);
                match known {
                    // The environment of another device, at the same version.
                    Some(known) => known.env.extend(named),
                    None if named.is_empty() => {}
                    None => {
                        let title = format!("{} {version}", target.title);
                        let env = named.into_iter().collect();
                        targets.push(Target { name, title, env, starter: false, ..target });
                    }
                }
            }
        }
        self.envs.insert(env.name.clone(), env);
    }

    /// Whether a target is the newest version that is kept of one, and newer than what is pinned.
    pub fn is_newest(&self, target: &Target) -> bool {
        let (of, Some(version)) = split_version(&target.name) else { return false };
        let mut others = self.targets().filter_map(|(_, other)| match split_version(&other.name) {
            (name, Some(other)) if name == of => Some(other),
            _ => None,
        });
        let mut pinned = target.env.values().filter_map(|env| {
            let (of, _) = split_version(&env.value);
            Some(self.envs.get(of)?.framework()?.1)
        });
        !others.any(|other| is_newer(other, version))
            && pinned.all(|pinned| is_newer(version, pinned))
    }
}

/// Returns the versions that an environment has locks of, and what is wrong with the names of others.
fn kept_versions(spec: &EnvSpec) -> Result<Vec<Result<String>>> {
    let folder = spec.locks();
    let failed = || format!("cannot list `{}`", folder.display());
    let listing = match fs::read_dir(&folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        listing => listing.with_context(failed)?,
    };
    let mut versions = Vec::new();
    for entry in listing {
        let file = entry.with_context(failed)?.file_name();
        let file = file.to_string_lossy();
        let Some(version) = file.strip_suffix(LOCK).filter(|_| !file.starts_with('.')) else {
            continue;
        };
        let path = folder.join(&*file);
        versions.push(match check_version(version) {
            Ok(()) => Ok(version.to_owned()),
            Err(why) => Err(anyhow!("`{}`: {why}", path.display())),
        });
    }
    versions.sort_by(|one, other| order(one).cmp(&order(other)));
    Ok(versions)
}

fn order(version: &Result<String>) -> Option<(Vec<u64>, bool, &str)> {
    version.as_ref().ok().map(|version| release(version))
}

/// Whether a version is newer than another.
pub fn is_newer(version: &str, than: &str) -> bool {
    release(version) > release(than)
}

/// Returns a version as what it is ordered by: `2.10` is newer than `2.9` and `2.10rc1`, and as new as
/// `2.10.0`.
fn release(version: &str) -> (Vec<u64>, bool, &str) {
    let number = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse::<u64>().ok()
    };
    let mut parts = version.split('.').map_while(number).collect::<Vec<_>>();
    while parts.last() == Some(&0) {
        parts.pop();
    }
    let is_early = version.contains(char::is_alphabetic) && !version.contains("post");
    (parts, !is_early, version.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ENV: &str = "version: 1\nname: NAME\nprovider: venv\npython: \"3.12\"\n\
        requirements: [\"torch[cuda]==2.15.0 ; os_name == 'posix'\", torchvision==0.29.2, six]\n";

    const FRAMEWORK: &str = "version: 1\nname: pytorch\ntitle: PyTorch\nlanguage: python\n\
        era: current\nyear: 2026\ntargets:\n\
        - {name: pytorch, title: PyTorch, env: {cpu: a, cuda: b}, starter: true}\n\
        - {name: other, title: Other, env: {cpu: c}}\n";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns a catalog of three environments that keep these locks.
    fn catalog(locks: &[&str]) -> (tempfile::TempDir, Catalog) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a", "b", "c"] {
            write(root, &format!("envs/{name}/env.yaml"), &ENV.replace("NAME", name));
        }
        write(root, "harnesses/pytorch/framework.yaml", FRAMEWORK);
        locks.iter().for_each(|lock| write(root, &format!("envs/{lock}"), ""));
        let catalog = Catalog::load(root).unwrap();
        (folder, catalog)
    }

    fn target<'a>(catalog: &'a Catalog, name: &str) -> &'a Target {
        catalog.targets().find(|(_, target)| target.name == name).unwrap().1
    }

    #[test]
    fn each_lock_is_an_environment_and_a_target_of_each_device() {
        let locks = ["a/locks/2.16.0.lock", "b/locks/2.16.0.lock", "a/locks/2.9.1.lock"];
        let (_folder, catalog) = catalog(&locks);
        assert!(catalog.unreadable.is_empty(), "{:?}", catalog.unreadable);
        let names = catalog.targets().map(|(_, target)| target.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["pytorch", "other", "pytorch@2.9.1", "pytorch@2.16.0"]);
        let newest = target(&catalog, "pytorch@2.16.0");
        let envs = newest.env.values().map(|env| env.value.as_str()).collect::<Vec<_>>();
        assert_eq!(envs, ["a@2.16.0", "b@2.16.0"]);
        assert_eq!((newest.title.as_str(), newest.starter), ("PyTorch 2.16.0", false));
        let framework = &catalog.frameworks[0].spec;
        assert_eq!(framework.year_of(newest), None);
        assert_eq!(framework.year_of(target(&catalog, "pytorch")), Some(2026));
        assert_eq!(target(&catalog, "pytorch@2.9.1").env.len(), 1);
        assert!(catalog.is_newest(newest) && !catalog.is_newest(target(&catalog, "pytorch")));
        assert!(!catalog.is_newest(target(&catalog, "pytorch@2.9.1")));

        let env = &catalog.envs["a@2.16.0"];
        assert!(env.lock.ends_with("envs/a/locks/2.16.0.lock"), "{:?}", env.lock);
        assert_eq!(env.framework(), Some(("torch", "2.16.0")));
        let expected = ["torch[cuda]==2.16.0 ; os_name == 'posix'", "torchvision", "six"];
        assert_eq!(env.pins().unwrap().requirements, expected);
        let pinned = &catalog.envs["a"];
        assert!(pinned.lock.ends_with("envs/a/requirements.lock") && pinned.name == "a");
        let asked = pinned.unpinned(None, "proposed", "/x".into()).unwrap();
        assert_eq!(
            asked.pins().unwrap().requirements[0],
            expected[0].replace("==2.16.0 ;", ">=2.15.0 ;")
        );
    }

    #[test]
    fn an_older_version_alone_is_not_the_newest() {
        let (_folder, catalog) = catalog(&["a/locks/2.9.1.lock"]);
        assert!(!catalog.is_newest(target(&catalog, "pytorch@2.9.1")));
    }

    #[test]
    fn what_is_not_a_version_is_named_and_stops_nothing() {
        let locks =
            ["a/locks/new.lock", "a/locks/2.16.0.lock", "a/locks/.b.lock", "a/locks/README.md"];
        let (_folder, catalog) = catalog(&locks);
        let [error] = catalog.unreadable.as_slice() else { panic!("{:?}", catalog.unreadable) };
        let words = "envs/a/locks/new.lock`: not a version: `new` must start with a digit";
        assert!(error.to_string().ends_with(words), "{error}");
        assert!(catalog.envs.contains_key("a@2.16.0") && catalog.envs.len() == 4);
        for wrong in ["", "2.0+cpu", "../2", "2@3", "v2"] {
            assert!(check_version(wrong).is_err(), "{wrong}");
        }
        assert!(check_env_name("a@2.0").is_ok() && check_env_name("a@").is_err());
    }

    #[test]
    fn what_has_no_pinned_framework_has_no_versions() {
        let folder = tempfile::tempdir().unwrap();
        let crate_ = "version: 1\nname: d\nprovider: cargo\nmanifest: a/Cargo.toml\n";
        write(folder.path(), "envs/d/env.yaml", crate_);
        write(folder.path(), "envs/d/locks/1.0.lock", "");
        let catalog = Catalog::load(folder.path()).unwrap();
        assert!(catalog.unreadable[0].to_string().contains("first requirement is pinned"));
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        for (new, old) in [
            ("2.10.0", "2.9.1"),
            ("2.15.1", "2.15"),
            ("3", "2.99"),
            ("1.0.1", "1"),
            ("2.16.0", "2.16.0rc1"),
            ("2.0.post1", "2.0"),
        ] {
            assert!(is_newer(new, old) && !is_newer(old, new), "{new} {old}");
        }
        assert!(!is_newer("2.15.0", "2.15") && !is_newer("2.15", "2.15.0"));
    }
}
