//! How a long step says how far it is. Must not depend on how that is drawn.

/// One word about a step under way.
#[derive(Debug, Clone)]
pub enum Progress {
    /// What is being done now.
    Doing(String),
    /// What is waited for: perhaps long, so it is said on a terminal and elsewhere.
    Waiting(String),
    /// How many bytes of how many are done.
    Bytes { done: u64, total: Option<u64> },
}

/// Receives the words of one step; a closure that drops them is silence.
pub type Report<'a> = &'a (dyn Fn(Progress) + Sync);
