//! What an environment in an image needs: the lock of its base image, and the recipe that it is built by.
//!
//! Must not depend on when it is built or sealed.
//!
//! Decision: the packages are installed while the image is built, by the same programs and from the same lock as a venv
//! has, over the network of this machine; hashes are verified there. What those programs need of the user's settings lies
//! in a stage of the build that no image keeps.

pub(super) mod base;
pub(super) mod recipe;

use super::digest::Parts;
use crate::container::{Engine, EngineKind};
use crate::home::Home;

/// Where the environment is, in an image.
pub(super) const ROOT: &str = "/opt/rosetta/env";

/// The label of the stage of a build that no image keeps.
pub(super) const STAGE_LABEL: &str = "rosetta.stage";

/// Returns what the stage of an environment's build is called: nobody else builds it at the same time.
pub(super) fn stage(home: &Home, name: &str) -> String {
    let mut parts = Parts::new("stage");
    parts.add("home", home.root().display().to_string());
    parts.add("name", name);
    parts.finish()
}

/// Removes what builds of an environment have left of that stage; somebody may have been told secrets there.
pub(super) fn clear_stages(engine: &Engine, stage: &str) {
    let label = format!("label={STAGE_LABEL}={stage}");
    // What cannot be removed is met again by the next build and by `rosetta env gc`.
    let _ = match engine.kind {
        EngineKind::Docker => engine.answer(&["image", "prune", "--force", "--filter", &label]),
        // It prunes nothing that a build has in use, nor knows that a killed one is none any more.
        EngineKind::Podman => {
            let words = ["images", "--all", "--quiet", "--no-trunc", "--filter", &label];
            let left = engine.answer(&words).unwrap_or_default();
            let left = left.lines().collect::<Vec<_>>();
            match left.is_empty() {
                true => Ok(left.concat()),
                false => engine.answer(&[&["image", "rm", "--force"], &left[..]].concat()),
            }
        }
    };
}

/// The label of an image that says which home it is for.
pub(super) const HOME_LABEL: &str = "rosetta.home";
