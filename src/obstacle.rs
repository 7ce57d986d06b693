//! Why something cannot be done here, and the next step: one pair, from what an environment lacks to
//! the record of a skipped job. Must not depend on what the obstacle stands in the way of.

use std::fmt;

use anyhow::anyhow;

use crate::hint::hinted;

/// A reason, as the end of a sentence that says what cannot be done, and what the reader can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub reason: String,
    pub hint: Option<String>,
}

impl Obstacle {
    pub fn new(reason: impl Into<String>, hint: impl Into<String>) -> Obstacle {
        Obstacle { reason: reason.into(), hint: Some(hint.into()) }
    }

    /// Returns an obstacle that the reader can do nothing about.
    pub fn without_hint(reason: impl Into<String>) -> Obstacle {
        Obstacle { reason: reason.into(), hint: None }
    }

    /// Returns the error that says the reason and, after the chain, the hint.
    pub fn into_error(self) -> anyhow::Error {
        match self.hint {
            Some(hint) => hinted(self.reason, hint),
            None => anyhow!(self.reason),
        }
    }

    /// Returns the obstacle with more behind its reason.
    pub fn with(self, more: &str) -> Obstacle {
        let reason = format!("{}; {more}", self.reason);
        Obstacle { reason, ..self }
    }

    /// Returns the error that says first what cannot be done.
    pub fn stops(self, what: &str) -> anyhow::Error {
        let reason = format!("{what}: {}", self.reason);
        Obstacle { reason, ..self }.into_error()
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hinted;

    #[test]
    fn an_error_keeps_reason_and_hint_apart() {
        let missing = Obstacle::new("there is no `uv`", "install uv");
        assert_eq!(missing.to_string(), "there is no `uv`; install uv");
        let error = missing.clone().stops("cannot build `x`");
        assert_eq!(error.to_string(), "cannot build `x`: there is no `uv`");
        assert_eq!(error.downcast_ref::<Hinted>().unwrap().hints, ["install uv"]);
        assert_eq!(missing.into_error().to_string(), "there is no `uv`");

        let hopeless = Obstacle::without_hint("no CUDA GPU here");
        assert_eq!(hopeless.to_string(), "no CUDA GPU here");
        assert!(hopeless.into_error().downcast_ref::<Hinted>().is_none());
    }
}
