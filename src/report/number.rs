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

/// Returns a number without the digits that only a computer's arithmetic put there: 57.6 for 57.599999999999994.
pub fn nine_digits(number: f64) -> f64 {
    format!("{number:.8e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::{nine_digits, three_digits};

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

    #[test]
    fn programs_get_no_digits_of_arithmetic() {
        assert_eq!(nine_digits(57.599999999999994), 57.6);
        assert_eq!(nine_digits(0.0436123456), 0.0436123456);
        assert_eq!(nine_digits(-1530.0), -1530.0);
    }
}
