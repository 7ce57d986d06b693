//! Numbers in words, as Python's `%g` has them: the tables hold both. May not know what they count.

/// Returns `value` with so many significant digits.
pub(super) fn general(value: f64, digits: usize) -> String {
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').expect("`e` formats with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..digits as i32).contains(&exponent) {
        return trimmed(&format!("{value:.*}", (digits as i32 - 1 - exponent) as usize)).to_owned();
    }
    format!("{}{}", trimmed(mantissa), power(exponent))
}

/// Returns a power of ten: `e-08`.
pub(super) fn power(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.abs())
}

fn trimmed(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn numbers_look_as_in_python() {
        let cases = [(0.0499, "0.05"), (1.0, "1"), (0.333, "0.33"), (0.00001, "1e-05")];
        for (value, text) in cases.into_iter().chain([(123.0, "1.2e+02"), (0.0, "0")]) {
            assert_eq!(general(value, 2), text);
        }
        assert_eq!(general(0.10041, 3), "0.1");
    }
}
