//! Numbers as text. Must not depend on what they are of.

/// Returns a number with three significant digits, in plain notation; a whole number as it is.
pub fn three_digits(number: f64) -> String {
    if !number.is_finite() || (number.fract() == 0.0 && number.abs() < 1000.0) {
        return format!("{number}");
    }
    // Rounding may carry into the next power of ten: 99.96 has one decimal less than it seems.
    let rounded = format!("{number:.2e}").parse::<f64>().unwrap_or(number);
    let magnitude = rounded.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0).min(12);
    format!("{rounded:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::three_digits;

    #[test]
    fn numbers_have_three_significant_digits() {
        let cases = [
            (77.0, "77"),
            (153.4, "153"),
            (1534.0, "1530"),
            (20.04, "20.0"),
            (0.012345, "0.0123"),
            (99.96, "100"),
            (9.996, "10.0"),
            (0.0, "0"),
            (-2.345, "-2.35"),
        ];
        for (number, text) in cases {
            assert_eq!(three_digits(number), text);
        }
    }
}
