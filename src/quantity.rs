//! Lengths of time and sizes as people write them: `1h30m`, `8GiB`.
//!
//! Must not depend on what they limit.

use std::time::Duration;

use jiff::SignedDuration;

/// Returns the duration that `90` (seconds), `90s`, `1h30m` or `1.5h` means.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let plain = text.trim();
    let is_seconds = plain.ends_with(|c: char| c.is_ascii_digit());
    let with_unit = if is_seconds { format!("{plain}s") } else { plain.to_owned() };
    let parsed = with_unit.parse::<SignedDuration>().ok();
    let positive = parsed.and_then(|duration| Duration::try_from(duration).ok());
    positive
        .ok_or_else(|| format!("invalid duration `{text}`: write `90`, `90s`, `1h30m` or `1.5h`"))
}

/// Returns the number of bytes that `8G`, `8GiB`, `500M` or `64k` means; units are powers of 1,024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let plain = text.trim();
    let digits = plain.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = unit_bytes(&plain[digits.len()..]);
    let bytes = factor.and_then(|factor| times(digits.trim_end(), factor));
    bytes.ok_or_else(|| format!("invalid size `{text}`: write `8G`, `8GiB` or `500M`"))
}

fn unit_bytes(unit: &str) -> Option<u64> {
    match unit.to_ascii_uppercase().as_str() {
        "" | "B" => Some(1),
        "K" | "KB" | "KIB" => Some(1 << 10),
        "M" | "MB" | "MIB" => Some(1 << 20),
        "G" | "GB" | "GIB" => Some(1 << 30),
        "T" | "TB" | "TIB" => Some(1 << 40),
        _ => None,
    }
}

/// Multiplies a whole number exactly, a decimal one to the nearest byte.
fn times(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let is_plain = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let decimal = number.parse::<f64>().ok().filter(|_| is_plain)?;
    let bytes = (decimal * factor as f64).round();
    // Below 2^53 every whole number is exact in a float64.
    (bytes < (1u64 << 53) as f64).then_some(bytes as u64)
}

/// Returns a duration in a few words: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`.
pub fn duration_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Reads a share as `10%`, `10 %` or `10`, in percent.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let share = number.parse::<f64>().ok().filter(|percent| (0.0..=1000.0).contains(percent));
    let message = || format!("invalid percentage `{text}`: write `10%`, at most 1000%");
    share.map(|percent| percent / 100.0).ok_or_else(message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_bytes, parse_duration};

    #[test]
    fn durations_have_units_or_are_seconds() {
        let cases = [
            ("90", 90_000),
            ("90s", 90_000),
            ("500ms", 500),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("2 h", 7_200_000),
            (" 10m ", 600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("1.5", 1_500),
            ("0s", 0),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_told_how_to_write_one() {
        for text in ["", "5x", "h", "-5", "-5s", "1h -3m", "ten", "1e999", "9999999999999999999h"] {
            let expected =
                format!("invalid duration `{text}`: write `90`, `90s`, `1h30m` or `1.5h`");
            assert_eq!(parse_duration(text), Err(expected));
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("12B", 12),
            ("64k", 64 << 10),
            ("500M", 500 << 20),
            ("8G", 8 << 30),
            ("8GiB", 8 << 30),
            ("8 GB", 8 << 30),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "8X", "-1G", "1e3", "inf", "8.G.", "99999999999999999999", "1 2G"] {
            let expected = format!("invalid size `{text}`: write `8G`, `8GiB` or `500M`");
            assert_eq!(parse_bytes(text), Err(expected));
        }
    }
}
