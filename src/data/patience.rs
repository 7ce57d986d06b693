//! How long a server that turned us away is left alone. Must not depend on what is fetched.

use std::time::Duration;

/// Nobody sits and waits for longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Returns how long a `Retry-After` asks to wait: seconds, or a date as `Fri, 27 Nov 2026 08:00:00 GMT`.
pub fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Returns how long to wait after so many attempts in a row that brought nothing, 0 where one brought something.
pub fn pause(first: Duration, failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{pause, retry_after};

    #[test]
    fn a_server_that_is_busy_is_left_alone_for_longer_each_time() {
        let [none, second, minute, hour] = [0, 1, 60, 3600].map(Duration::from_secs);
        let waited = (0..8).map(|failures| pause(2 * second, failures, None).as_secs());
        assert_eq!(waited.collect::<Vec<_>>(), [2, 2, 4, 8, 16, 32, 64, 120]);
        assert_eq!(pause(none, 3, None), none);
        assert_eq!(pause(second, 1, Some(minute)), minute, "what the server asks for counts");
        let now = "2026-11-27T08:00:00Z".parse().unwrap();
        assert_eq!(retry_after(" 60 ", now), Some(minute));
        assert_eq!(retry_after("Fri, 27 Nov 2026 09:00:00 GMT", now), Some(hour));
        assert_eq!(retry_after("Fri, 27 Nov 2026 07:00:00 GMT", now), Some(none), "passed");
        for odd in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(retry_after(odd, now), None, "{odd}");
        }
    }
}
