//! Numbers → places on a chart.

/// The part of a line of numbers that a chart shows, and how long it is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    length: f64,
    is_log: bool,
}

impl Axis {
    /// Returns an axis from zero to the largest number.
    pub(super) fn from_zero(numbers: impl Iterator<Item = f64>, length: f64) -> Axis {
        let high = numbers.filter(|number| number.is_finite()).fold(0.0, f64::max);
        Axis { low: 0.0, high, length, is_log: false }
    }

    /// Returns an axis from the smallest to the largest number.
    pub(super) fn around(numbers: impl Iterator<Item = f64>, length: f64) -> Axis {
        let (low, high) = ends(numbers);
        Axis { low, high, length, is_log: false }
    }

    /// Returns the same of logarithms: equal ratios are equal lengths. The numbers are positive.
    pub(super) fn of_ratios(numbers: impl Iterator<Item = f64>, length: f64) -> Axis {
        let (low, high) = ends(numbers.filter(|number| *number > 0.0));
        Axis { low: low.ln(), high: high.ln(), length, is_log: true }
    }

    /// Returns how far from the low end a number is drawn; the middle where there is only one number.
    pub(super) fn place(&self, number: f64) -> f64 {
        let number = if self.is_log { number.ln() } else { number };
        match self.high > self.low {
            true => (number - self.low) / (self.high - self.low) * self.length,
            false => self.length / 2.0,
        }
    }

    /// Returns the number at the low end.
    pub(super) fn low(&self) -> f64 {
        if self.is_log { self.low.exp() } else { self.low }
    }

    /// Returns the number at the high end.
    pub(super) fn high(&self) -> f64 {
        if self.is_log { self.high.exp() } else { self.high }
    }
}

fn ends(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let numbers = numbers.filter(|number| number.is_finite());
    numbers
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(one), high.max(one)))
}
