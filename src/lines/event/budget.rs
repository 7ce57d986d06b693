//! How much a job may say. What is kept until its end would otherwise grow with whatever a harness sends.
//!
//! Must not depend on where events come from or what becomes of them.
//!
//! The SDKs send a step event of some 100 bytes each half second: six hours of training are 4.3 MB.

use crate::event::kind::Event;

/// Bytes of all events of a job.
const STORED_BYTES: u64 = 64 << 20;
/// Bytes of those that go into its record or are kept for it: all but steps and batches.
const KEPT_BYTES: u64 = 4 << 20;
/// Durations of batches, for their quantiles.
const BATCHES: u64 = 1_000_000;

/// What a job has left to say.
#[derive(Debug)]
pub struct OutputBudget {
    stored: u64,
    kept: u64,
    batches: u64,
}

impl Default for OutputBudget {
    fn default() -> OutputBudget {
        OutputBudget { stored: STORED_BYTES, kept: KEPT_BYTES, batches: BATCHES }
    }
}

impl OutputBudget {
    /// Takes an event of so many bytes; an error says which limit it is beyond.
    pub fn take(&mut self, event: &Event, bytes: usize) -> Result<(), String> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        spend(&mut self.stored, bytes, || format!("{} MiB of events", STORED_BYTES >> 20))?;
        match event {
            Event::Step { .. } | Event::Part { .. } | Event::Unknown { .. } => Ok(()),
            Event::Batches { seconds, samples, .. } => {
                let count = seconds.len().max(samples.len()) as u64;
                spend(&mut self.batches, count, || format!("{BATCHES} batches"))
            }
            _ => spend(&mut self.kept, bytes, || {
                format!("{} MiB of facts, metrics, phases and epochs", KEPT_BYTES >> 20)
            }),
        }
    }
}

fn spend(left: &mut u64, amount: u64, limit: impl Fn() -> String) -> Result<(), String> {
    *left = left
        .checked_sub(amount)
        .ok_or_else(|| format!("it said too much: a job may send {}", limit()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends an event until there is too much of it; returns how often it passed, and the reason.
    fn until_too_much(event: &Event, bytes: usize) -> (u64, String) {
        let mut budget = OutputBudget::default();
        for passed in 0.. {
            if let Err(why) = budget.take(event, bytes) {
                return (passed, why);
            }
        }
        unreachable!()
    }

    #[test]
    fn each_kind_of_event_has_an_end() {
        let step = Event::Step { epoch: 0, step: 1, steps: 1, loss: None };
        let fact = Event::Fact { name: "a".into(), value: "b".into() };
        let batches = Event::Batches {
            phase: "predict".to_owned(),
            seconds: vec![0.1; 1000],
            samples: vec![],
        };
        let cases = [
            (&step, 1 << 10, 65_536, "64 MiB of events"),
            (&fact, 1 << 10, 4_096, "4 MiB of facts"),
            (&batches, 1 << 10, 1_000, "1000000 batches"),
        ];
        for (event, bytes, expected, reason) in cases {
            let (passed, why) = until_too_much(event, bytes);
            assert_eq!(passed, expected, "{why}");
            assert!(why.contains(reason), "{why}");
        }
    }
}
