//! Provider `docker`: an image with the Python packages of the same requirements.lock as a venv has, on a base image that
//! is pinned by its digest, built and run by docker or podman.
//!
//! Must not depend on when it is built or sealed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::provide::{Contents, Provide};
use super::wheels::{Wheels, is_for_uv};
use crate::catalog::{EnvSpec, Pins};
use crate::container::{Engine, Image};
use crate::env::built::{Built, Runtime};
use crate::env::digest::Parts;
use crate::env::docker::base::{self, Base};
use crate::env::docker::{self, HOME_LABEL, ROOT, recipe};
use crate::env::lockfile;
use crate::env::python::{self, PROBE, parse_version};
use crate::env::scratch;
use crate::env::settings;
use crate::env::store::SHORT;
use crate::env::tool::{Build, text};
use crate::env::workshop::Workshop;
use crate::hint::{Hinted, hinted};
use crate::obstacle::Obstacle;

/// An image, as env.yaml and docker.lock describe it.
pub(super) struct Docker<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) pins: &'a Pins,
    /// The base image of a lock that is made, if a person names one.
    pub(super) base: Option<&'a str>,
    pub(super) workshop: &'a Workshop,
}

impl Provide for Docker<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        let lock =
            self.wheels().lock().map(|_| ()).and_then(|()| base::read(self.spec).map(|_| ()));
        lock.err().or_else(|| self.engine().err())
    }

    fn digest(&self) -> Result<String> {
        let Base { image, digest } = base::read(self.spec).map_err(Obstacle::into_error)?;
        let engine = self.engine().map_err(Obstacle::into_error)?;
        let mut parts = Parts::new("docker");
        // What one engine has built the other one does not have.
        parts.add("engine", engine.kind.name());
        parts.add("base image", image);
        parts.add("base digest", digest);
        self.wheels().add_to(&mut parts)?;
        parts.add("recipe", recipe::dockerfile(self.spec, self.pins)?);
        parts.add_fixups(self.spec)?;
        Ok(parts.finish())
    }

    fn is_whole(&self, built: &Built) -> bool {
        built.image().is_some_and(Image::is_here)
    }

    fn build(&self, root: &Path, build: &Build) -> Result<Contents> {
        let engine = self.engine().map_err(Obstacle::into_error)?;
        let lock = self.wheels().lock().map_err(Obstacle::into_error)?;
        let base = base::read(self.spec).map_err(Obstacle::into_error)?;
        let base = base.bring(&engine, build, &self.spec.name)?;
        let scratch = scratch::folder(&self.workshop.home, &self.spec.name);
        scratch::clear(&scratch, &[])?;
        let context = scratch.join("context");
        let failed = || format!("cannot make `{}`", context.display());
        fs::create_dir_all(&context).with_context(failed)?;
        self.write_context(&context, build)?;
        let id = self.build_image(&engine, &base, root, &scratch, build)?;
        let image = self.look(&engine, id, root)?;
        scratch::clear(&scratch, &[])?;
        fs::create_dir_all(root).with_context(|| format!("cannot make `{}`", root.display()))?;
        let base = base::read_file(&base::path(self.spec))?;
        let lock = Some(String::from_utf8_lossy(&base).into_owned() + &lock);
        let packages = self.wheels().lock().map_err(Obstacle::into_error)?;
        let packages = lockfile::packages(&packages);
        let runtime = Runtime::Container(image);
        Ok(Contents {
            runtime,
            lock,
            packages,
            environment: BTreeMap::new(),
            found: BTreeMap::new(),
        })
    }

    /// Finds out the digest of the base image; requirements.lock is another step.
    fn lock(&self, build: &Build) -> Result<()> {
        let engine = self.engine().map_err(Obstacle::into_error)?;
        let compiles = !self.pins.source.is_empty() || !self.spec.programs.is_empty();
        let known = base::read(self.spec).ok().map(|base| base.image);
        let named = self.base.map(str::to_owned).or(known);
        let image = named.unwrap_or_else(|| base::usual(&self.pins.python, compiles));
        base::make(self.spec, &image, &self.pins.python, &engine, build)
    }

    fn variables(&self, _root: &Path) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::from([
            ("VIRTUAL_ENV".to_owned(), ROOT.to_owned()),
            ("PYTHONPATH".to_owned(), text(&self.workshop.python_sdk())?),
            ("PYTHONNOUSERSITE".to_owned(), "1".to_owned()),
            ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ]))
    }
}

impl Docker<'_> {
    fn wheels(&self) -> Wheels<'_> {
        Wheels { spec: self.spec, pins: self.pins, workshop: self.workshop }
    }

    fn engine(&self) -> Result<Engine, Obstacle> {
        self.workshop.engine()
    }

    /// Puts together what the build of the image reads.
    fn write_context(&self, context: &Path, build: &Build) -> Result<()> {
        let Workshop { host, home, .. } = self.workshop;
        if !is_for_uv(&parse_version(&self.pins.python)) {
            let mut pip = host.command("pip");
            settings::for_pip(host, &mut pip);
            return recipe::write(context, self.spec, self.pins, None, &pip);
        }
        let uv = self.workshop.uv(None, build.report)?;
        let told = crate::env::uv::command(host, home, &uv)?;
        recipe::write(context, self.spec, self.pins, Some(&uv), &told)
    }

    /// Builds the image and returns its id.
    fn build_image(
        &self,
        engine: &Engine,
        base: &str,
        root: &Path,
        scratch: &Path,
        build: &Build,
    ) -> Result<String> {
        let (context, id) = (scratch.join("context"), scratch.join("id"));
        let label = format!("{HOME_LABEL}={}", self.workshop.home.root().display());
        let digest = format!("rosetta.digest={}", self.digest()?);
        let base = format!("BASE={base}");
        let stage = docker::stage(&self.workshop.home, &self.spec.name);
        docker::clear_stages(engine, &stage);
        let mut command = base::client(engine, build.host, &["build", "--network", "host"]);
        command.args(["--pull=false", "--force-rm", "--build-arg", &base]);
        command.args(["--build-arg", &format!("STAGE={stage}")]);
        command.args(["--label", &label, "--label", &digest, "--tag", &name(root)]);
        command.arg("--iidfile").arg(&id);
        command.arg("--file").arg(context.join("Dockerfile")).arg(&context);
        build.say(format!("building an image with {}", engine.shown()));
        let built = build.run(command);
        // The installer and what it was told lie in a stage of which nobody needs a copy.
        docker::clear_stages(engine, &stage);
        built.map_err(|error| {
            // What is known of an engine's words is more than the tail of a log.
            let said = fs::read_to_string(&build.log_path).unwrap_or_default();
            match crate::container::explained(engine.kind, &said) {
                Some(Obstacle { reason, hint }) => {
                    error.context(Hinted { message: reason, hints: hint.into_iter().collect() })
                }
                None => error.context("the image cannot be built"),
            }
        })?;
        let id = fs::read_to_string(&id).context("cannot read the id of the image")?;
        Ok(id.trim().to_owned())
    }

    /// Returns what is in the image, asked in a container of it.
    fn look(&self, engine: &Engine, id: String, root: &Path) -> Result<Image> {
        let python = format!("{ROOT}/bin/python");
        let words =
            ["run", "--rm", "--pull", "never", "--network", "none", "--entrypoint", &python, &id];
        let said = engine.answer(&[&words[..], &["-I", "-S", "-c", PROBE]].concat())?;
        let found = python::parse(&said).with_context(|| format!("`{python}` answers nonsense"))?;
        let (version, wanted) = (found.version_text(), &self.pins.python);
        if !found.version.starts_with(&parse_version(wanted)) {
            let message = format!("the image has CPython {version}; env.yaml wants {wanted}");
            let name = &self.spec.name;
            return Err(hinted(
                message,
                format!("run `rosetta env lock {name} --provider docker`"),
            ));
        }
        let path = format!("{ROOT}/bin:{}", base::inspect(engine, &id)?.path);
        Ok(Image {
            engine: engine.clone(),
            id,
            name: name(root),
            root: ROOT.into(),
            python: python.into(),
            version,
            path,
        })
    }
}

/// What stands in the name of an image where an environment's has an `@`.
pub(in crate::env) const AT_IN_IMAGES: &str = "__";

/// Returns the image's name: that of the environment's folder, whose end is the digest, as a tag.
fn name(root: &Path) -> String {
    let folder = root.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let folder = folder.replace('@', AT_IN_IMAGES);
    match folder.len().checked_sub(SHORT + 1) {
        Some(end) => format!("rosetta/{}:{}", &folder[..end], &folder[end + 1..]),
        None => format!("rosetta/{folder}"),
    }
}

/// Whether the digest of an environment cannot be told because of this machine, not because it has no lock.
pub(in crate::env) fn may_be_needed(spec: &EnvSpec) -> bool {
    base::has_lock(spec)
}

/// Returns how large an image is.
pub(in crate::env) fn size_bytes(image: &Image) -> Result<u64> {
    let seen = base::inspect(&image.engine, &image.id);
    Ok(seen.map_err(|error| anyhow!("cannot measure the image: {error:#}"))?.size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_name_that_engines_take() {
        let of = |folder: &str| name(&Path::new("/home/envs").join(folder));
        assert_eq!(of("keras-TF-0123456789ab"), "rosetta/keras-tf:0123456789ab");
        assert_eq!(of("numpy@2.4.2-0123456789ab"), "rosetta/numpy__2.4.2:0123456789ab");
    }
}
