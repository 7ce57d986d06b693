//! What a moment is called: the id of a run, the time in a record.

use jiff::Timestamp;

/// Returns the id of a run that begins `now`.
pub(super) fn run_id(now: Timestamp) -> String {
    // Two runs of the same second differ by its fraction: in a container every rosetta is process 1.
    let fraction = u64::from(now.subsec_nanosecond().unsigned_abs()) * 0x1_0000 / 1_000_000_000;
    format!("{}-{fraction:04x}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// Returns a moment in UTC, to the second (RFC 3339).
pub(super) fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_second_have_ids_of_their_own() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let [early, late] = ["2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.75Z"].map(at);
        assert_eq!(run_id(early), "20260102T030405Z-4000");
        assert_eq!(run_id(late), "20260102T030405Z-c000");
        assert_eq!(seconds(late), "2026-01-02T03:04:05Z");
    }
}
