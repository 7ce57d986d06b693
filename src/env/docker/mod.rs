//! What an environment in an image needs: the lock of its base image, and the recipe that it is built by.
//!
//! Must not depend on when it is built or sealed.
//!
//! Decision: the packages are installed while the image is built, by the same programs and from the same lock as a venv
//! has, over the network of this machine; hashes are verified there. What those programs need of the user's settings lies
//! in a stage of the build that no image keeps.

pub(super) mod base;
pub(super) mod recipe;

/// Where the environment is, in an image.
pub(super) const ROOT: &str = "/opt/rosetta/env";

/// The label of the stage of a build that no image keeps.
pub(super) const STAGE_LABEL: &str = "rosetta.stage";

/// The label of an image that says which home it is for.
pub(super) const HOME_LABEL: &str = "rosetta.home";
