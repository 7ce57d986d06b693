//! Joins the stages: plan → environments and data → jobs, one at a time → records; and the same for
//! checks and for the measuring of defaults. The one module that does.
//!
//! Must not depend on how anything is drawn, nor on YAML.

mod again;
mod attempt;
mod budget;
mod check;
mod cluster;
mod conditions;
mod defaults;
mod expected;
mod facts;
mod job;
mod jobs;
mod notice;
mod outcome;
mod pairs;
mod prepare;
mod preview;
mod quiet;
mod record;
mod resume;
mod session;
mod signals;
mod speed;
mod stamp;
mod whole;

pub use self::check::{CheckSettings, Checked, at_once, check, threads};
pub use self::cluster::{
    Collector, Followed, Pass, RunView, Submitted, TASK, TaskView, task_main, view,
};
pub use self::conditions::Conditions;
pub use self::defaults::{Gathered, gather, sources};
pub use self::expected::Expected;
pub use self::jobs::EndedRun;
pub use self::notice::{Notice, Notify};
pub use self::pairs::{PairSide, Paired, pairs};
pub use self::preview::{Preview, ToBuild};
pub use self::resume::{Resumed, Unfinished};
pub use self::session::Session;
pub use self::speed::speed;
