//! Makes jobs startable: builds, finds, locks and removes environments.
//!
//! | file | what it does |
//! |---|---|
//! | `envs` | the environments of a project: list, build, hold, remove |
//! | `provider` | one file for each way to make one: what is missing, digest, build, lock, variables |
//! | `built` | a built one: what is in it, and the command that starts a harness |
//! | `bytecode` | what of its packages is compiled |
//! | `names` | what texts of env.yaml stand for, and the variables of a job |
//! | `store` | where they are kept, and their seals |
//! | `programs` | compiled harnesses of the user's own |
//! | `needed`, `clean` | what somebody needs, and what a clean-up removes |
//! | `scratch` | what a build needs only while it goes on |
//! | `intact` | whether a built one still has its files |
//! | `users` | which projects use one |
//! | `digest` | what one is made from, as one number |
//! | `lockfile` | requirements.lock |
//! | `update` | the lock of another version, beside the pinned one |
//! | `conda` | explicit locks, their archives, the clients that install and solve them |
//! | `docker` | base images, and the recipe of an image |
//! | `workshop` | what this machine has for builds: `python`, `compilers`, `julia`, `uv`, `tool` |
//! | `surroundings`, `settings` | which variables and configuration files of the user a build heeds |
//!
//! Must not depend on events, records, tables or the command line.
//!
//! Decision: an environment is built at its final place, under a lock of its name, and sealed last.
//! A rename into place, the usual way to be atomic, breaks what holds absolute paths: the scripts
//! and the `pyvenv.cfg` of a venv, and whatever a fix-up wrote. See [`crate::seal`].

mod built;
mod bytecode;
mod clean;
mod compilers;
mod conda;
mod digest;
mod docker;
mod envs;
mod intact;
mod julia;
mod lockfile;
mod names;
mod needed;
mod programs;
mod provider;
mod python;
mod scratch;
mod settings;
mod store;
mod surroundings;
mod tool;
mod update;
mod users;
mod uv;
mod workshop;

pub use self::built::{Built, Command, Runtime};
pub use self::clean::{Sweep, UsedEnv};
pub use self::envs::{Availability, EnvStatus, Envs, Held};
pub use self::update::Proposal;
pub use crate::seal::Freed;

#[cfg(test)]
mod tests;
