//! The providers: one file for each way to make an environment real, and what all of them do.
//!
//! Must not depend on when an environment is built, sealed or removed.

mod cargo;
mod conda;
mod docker;
mod julia;
mod provide;
mod system;
mod venv;
mod wheels;

pub(super) use self::conda::has_lock as has_conda_lock;
pub(super) use self::docker::{
    AT_IN_IMAGES, may_be_needed as has_docker_lock, size_bytes as size_of_image,
};
pub(super) use self::provide::{Contents, Provide};
pub(super) use self::wheels::{BUILD_TOOLS, PIP, is_for_uv};
use super::workshop::Workshop;
use crate::catalog::{EnvSpec, Provider};

/// Returns what the provider of an environment knows of it.
pub(super) fn of<'a>(spec: &'a EnvSpec, workshop: &'a Workshop) -> Box<dyn Provide + 'a> {
    match &spec.provider {
        Provider::Venv(pins) => Box::new(venv::Venv { spec, pins, workshop }),
        Provider::Conda(pins) => Box::new(conda::Conda { spec, pins, workshop }),
        Provider::Docker { pins, base } => {
            Box::new(docker::Docker { spec, pins, base: base.as_deref(), workshop })
        }
        Provider::Cargo(of) => Box::new(cargo::Cargo { spec, of, workshop }),
        Provider::Julia(toml) => Box::new(julia::Julia { spec, toml, workshop }),
        Provider::System(own) => Box::new(system::System { own, workshop }),
    }
}

#[cfg(test)]
mod tests;
