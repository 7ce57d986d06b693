//! YAML → validated [`Experiment`]: the file's fields (`fields`, `setting`, `profile`, `weights`, `source`), reading it
//! (`experiment`), and what must hold beyond its types (`validate`).
//!
//! Must not depend on which frameworks exist, nor on the command line.

mod experiment;
mod fields;
mod name;
mod profile;
mod setting;
mod source;
mod validate;
mod weights;

pub use experiment::{Experiment, load_all};
pub use fields::{DataSpec, Expectation, Precision, Spec, Task, Tolerance};
pub use name::check_name;
pub use profile::{Profile, Rows, Timeout};
pub use setting::Setting;
pub use source::Source;
pub use weights::{Init, TensorSpec, WeightsRecipe, WeightsSpec};
