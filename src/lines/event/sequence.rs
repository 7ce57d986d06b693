//! Which events of a stream were lost. Must not depend on what they say.

/// Counts the events that a stream should have had.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    expected: u64,
    seen: u64,
}

impl Sequence {
    pub fn record(&mut self, seq: u64) {
        self.expected = self.expected.max(seq.saturating_add(1));
        self.seen += 1;
    }

    /// Returns how many numbers below the highest were never seen.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::Sequence;

    #[test]
    fn gaps_in_the_sequence_are_counted() {
        let lost = |seqs: &[u64]| {
            let mut sequence = Sequence::default();
            seqs.iter().for_each(|&seq| sequence.record(seq));
            sequence.lost()
        };
        assert_eq!(lost(&[]), 0);
        assert_eq!(lost(&[0, 1, 2]), 0);
        assert_eq!(lost(&[2]), 2);
        assert_eq!(lost(&[0, 3, 2]), 1);
        assert_eq!(lost(&[u64::MAX]), u64::MAX - 1);
    }
}
