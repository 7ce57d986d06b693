//! Containers: the engines that run them, and how a job is run in one.
//!
//! | file | what it does |
//! |---|---|
//! | `engine` | docker or podman: which is here, whether it answers, what its words mean |
//! | `image` | an image that an engine holds |
//! | `job` | the command line of a job in a container, and its end |
//! | `own_files` | rosetta itself, with the libraries that it needs, for a container that has none of them |
//!
//! Must not depend on what is in an image, nor on what a job says.
//!
//! Decision: rosetta's shim runs in the container, as its first process, and ends with its standard input. So limits,
//! memory, threads and what is left behind are seen from inside, as on a machine of its own, and a client that is killed
//! ends the container, whatever the engine makes of it. The alternatives, to read the engine's cgroups from outside and to
//! ask it for the end, know neither a job's threads nor which kill was of the kernel, and lose a container with its client.

mod engine;
mod image;
mod job;
mod own_files;

pub use engine::{Engine, EngineKind, NAMED, complaint, explained, find};
pub use image::{Image, is_kept};
pub use job::{
    Container, ContainerLimits, Marks, OWNER_LABEL, containers, left_containers, remove_containers,
};
