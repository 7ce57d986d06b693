//! `docker.lock`: the base image of an environment, by its digest.
//!
//! Must not depend on what is put on top of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::catalog::EnvSpec;
use crate::container::Engine;
use crate::env::tool::{Build, Host};
use crate::hint::{Hinted, hinted, say};
use crate::obstacle::Obstacle;
use crate::publish::publish;
use crate::yaml::{self, Spanned};

/// A base image, and which one of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env) struct Base {
    pub(in crate::env) image: String,
    /// `sha256:` and 64 digits: the registry's, or the image's own id where no registry has it.
    pub(in crate::env) digest: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    image: String,
    digest: Spanned<String>,
}

/// Returns where an environment's lock is.
pub(in crate::env) fn path(spec: &EnvSpec) -> PathBuf {
    spec.folder.join("docker.lock")
}

/// Whether an environment has a base image.
pub(in crate::env) fn has_lock(spec: &EnvSpec) -> bool {
    path(spec).is_file()
}

fn lock_hint(name: &str) -> String {
    format!("run `rosetta env lock {name} --provider docker`")
}

/// Returns the base image of an environment, or why there is none.
pub(in crate::env) fn read(spec: &EnvSpec) -> Result<Base, Obstacle> {
    let path = path(spec);
    if !path.is_file() {
        let reason = "it has no docker.lock, which names the base image by its digest";
        return Err(Obstacle::new(reason, lock_hint(&spec.name)));
    }
    let wrong = |error: anyhow::Error| {
        let reason = format!("{error:#}").replace('\n', " ");
        Obstacle::new(reason, lock_hint(&spec.name))
    };
    let File { image, digest } = yaml::load::<File>(&path).map_err(wrong)?;
    match is_digest(&digest.value) {
        true => Ok(Base { image, digest: digest.value }),
        false => {
            let message = format!("`digest: {}` is not `sha256:` and 64 digits", digest.value);
            Err(wrong(yaml::wrong(&path, &digest.referenced, message)))
        }
    }
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Returns the base image that an environment gets unless a person names one: with compilers where something is compiled.
pub(in crate::env) fn usual(python: &str, compiles: bool) -> String {
    let end = if compiles { "" } else { "-slim" };
    format!("docker.io/library/python:{python}{end}")
}

/// What an engine says of an image.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::env) struct ImageSeen {
    pub(in crate::env) id: String,
    /// Digests by which registries may have it.
    digests: Vec<String>,
    pub(in crate::env) size_bytes: u64,
    pub(in crate::env) path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    size: u64,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    env: Option<Vec<String>>,
}

/// The registry that podman names for what it has made itself; it gives that a digest all the same.
const NO_REGISTRY: &str = "localhost/";

/// What PATH is where an image does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns what an engine has under a name or id.
pub(in crate::env) fn inspect(engine: &Engine, name: &str) -> Result<ImageSeen> {
    let text = engine.answer(&["image", "inspect", name])?;
    parse(&text).with_context(|| format!("cannot read what {} says of `{name}`", engine.shown()))
}

fn parse(text: &str) -> Result<ImageSeen> {
    let [Inspected { id, repo_digests, size, config }] =
        serde_json::from_str::<[Inspected; 1]>(text)?;
    let digest = |name: &String| {
        let (name, digest) = name.rsplit_once('@')?;
        (!name.starts_with(NO_REGISTRY)).then(|| digest.to_owned())
    };
    let variables = config.env.unwrap_or_default();
    let path = variables.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let id = if id.starts_with("sha256:") { id } else { format!("sha256:{id}") };
    Ok(ImageSeen {
        id,
        digests: repo_digests.unwrap_or_default().iter().filter_map(digest).collect(),
        size_bytes: size,
        path: path.unwrap_or(USUAL_PATH).to_owned(),
    })
}

impl Base {
    /// Returns the name that means this image and no other, of which the engine has a copy: brought if it had none.
    pub(in crate::env) fn bring(
        &self,
        engine: &Engine,
        build: &Build,
        name: &str,
    ) -> Result<String> {
        let Base { image, digest } = self;
        if let Ok(seen) = inspect(engine, image)
            && seen.id == *digest
        {
            return Ok(image.clone());
        }
        let pinned = self.pinned();
        if inspect(engine, &pinned).is_ok() {
            return Ok(pinned);
        }
        build.say(format!("pulling {pinned}"));
        build.run(client(engine, build.host, &["pull", &pinned])).map_err(|error| {
            let hint = format!(
                "see that a registry has it or that it is here, or name another: \
                 `rosetta env lock {name} --provider docker --base IMAGE`"
            );
            let message = format!("{} cannot bring the base image `{pinned}`", engine.shown());
            error.context(Hinted { message, hints: vec![hint] })
        })?;
        Ok(pinned)
    }

    /// Returns the image's name with its digest in place of a tag.
    fn pinned(&self) -> String {
        let (image, digest) = (&self.image, &self.digest);
        let slash = image.rfind('/').unwrap_or(0);
        let end = image[slash..].find([':', '@']).map_or(image.len(), |at| slash + at);
        format!("{}@{digest}", &image[..end])
    }
}

/// Finds out which image has a name now, and writes that down.
pub(in crate::env) fn make(
    spec: &EnvSpec,
    image: &str,
    python: &str,
    engine: &Engine,
    build: &Build,
) -> Result<()> {
    let name = &spec.name;
    let here = inspect(engine, image).ok();
    if here.as_ref().is_none_or(|seen| !seen.digests.is_empty()) {
        build.say(format!("pulling {image}"));
        match (build.run(client(engine, build.host, &["pull", image])), here) {
            (Ok(()), _) => {}
            // Some engines give a digest to what no registry has.
            (Err(_), Some(_)) => {
                let shown = engine.shown();
                say(format_args!("{shown} cannot pull `{image}`: the one that is here is taken"));
            }
            (Err(error), None) => {
                let hint =
                    format!("name one: `rosetta env lock {name} --provider docker --base IMAGE`");
                let message = format!("{} cannot bring the base image `{image}`", engine.shown());
                return Err(error.context(Hinted { message, hints: vec![hint] }));
            }
        }
    }
    let seen = inspect(engine, image)?;
    let program = format!("python{python}");
    let asked = ["run", "--rm", "--pull", "never", "--network", "none", "--entrypoint", &program];
    if let Err(error) = engine.answer(&[&asked[..], &[&seen.id, "--version"]].concat()) {
        let message = format!("the base image `{image}` has no `{program}` that starts");
        let hint =
            format!("name one that has: `rosetta env lock {name} --provider docker --base IMAGE`");
        return Err(error.context(Hinted { message, hints: vec![hint] }));
    }
    let digest = seen.digests.into_iter().find(|digest| is_digest(digest)).unwrap_or(seen.id);
    if !is_digest(&digest) {
        let message = format!("{} gives `{image}` the digest `{digest}`", engine.shown());
        return Err(hinted(message, "name an image with a SHA-256"));
    }
    let text = format!(
        "# made by `rosetta env lock {name} --provider docker`; do not edit\nimage: {image}\ndigest: {digest}\n"
    );
    let path = path(spec);
    publish(&path, text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Returns a command of an engine's client for a build.
pub(in crate::env) fn client(engine: &Engine, host: &Host, words: &[&str]) -> Command {
    let mut command = host.command_as_is(&engine.program);
    engine.clean(&mut command);
    command.args(words);
    command
}

/// Reads a file, to be put beside a recipe.
pub(in crate::env) fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_pinned_by_its_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(
            is_digest(&digest)
                && !is_digest(&digest.replace("0a", "0A"))
                && !is_digest("sha256:0a")
        );
        for (image, expected) in [
            ("python:3.12", "python"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
            ("localhost:5000/a/b", "localhost:5000/a/b"),
            ("x@sha256:1", "x"),
        ] {
            let base = Base { image: image.to_owned(), digest: digest.clone() };
            assert_eq!(base.pinned(), format!("{expected}@{digest}"));
        }
        assert_eq!(usual("3.12", false), "docker.io/library/python:3.12-slim");
    }

    #[test]
    fn what_docker_and_podman_say_of_an_image_is_read() {
        let docker = r#"[{"Id": "sha256:ab", "RepoDigests": ["python@sha256:cd"], "Size": 7, "Config": {"Env": ["A=1", "PATH=/x"]}}]"#;
        let seen = parse(docker).unwrap();
        assert_eq!((seen.id.as_str(), seen.path.as_str(), seen.size_bytes), ("sha256:ab", "/x", 7));
        assert_eq!(seen.digests, ["sha256:cd"]);
        let podman = r#"[{"Id": "ab", "RepoDigests": null, "Config": {}}]"#;
        let seen = parse(podman).unwrap();
        assert_eq!((seen.id.as_str(), seen.path.as_str()), ("sha256:ab", USUAL_PATH));
        let named = r#"[{"Id": "ab", "RepoDigests": ["localhost/x@sha256:cd", "docker.io/x@sha256:ef"], "Config": {}}]"#;
        assert_eq!(parse(named).unwrap().digests, ["sha256:ef"]);
        assert!(parse("[]").is_err());
    }
}
