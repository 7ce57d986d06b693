//! Numbers as a line of blocks: ▁▂▇.

use crate::stats::{median, quantile};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Numbers that differ by less than this share of themselves do not fill the height: noise is not to look like a mountain.
const LEAST_SPAN: f64 = 0.1;

/// From this many numbers on, the outermost are not given room.
const MANY: usize = 20;

/// Returns a line of at most `width` blocks; of more numbers, neighbours share a block, which has their median.
pub fn spark(values: &[f64], width: usize) -> String {
    let share = values.len().div_ceil(width.max(1)).max(1);
    let parts = values.chunks(share).filter_map(|part| median(&mut part.to_vec()));
    let parts = parts.collect::<Vec<_>>();
    let mut sorted = parts.clone();
    sorted.sort_by(f64::total_cmp);
    // One number in twenty may stand out without making all others look the same.
    let at = |q| quantile(&sorted, q).unwrap_or_default();
    let (low, high) = if sorted.len() < MANY { (at(0.0), at(1.0)) } else { (at(0.05), at(0.95)) };
    let middle = f64::midpoint(low, high);
    let span = (high - low).max(middle.abs() * LEAST_SPAN);
    let bottom = middle - span / 2.0;
    let heights = parts.into_iter().map(|value| match span > 0.0 {
        true => (value - bottom) / span,
        false => 0.5,
    });
    heights.map(block).collect()
}

/// Returns the block of a height from 0 to 1; what is lower or higher has the lowest or the highest.
fn block(height: f64) -> char {
    BLOCKS[(height * 7.0).round().clamp(0.0, 7.0) as usize]
}

#[cfg(test)]
mod tests {
    use super::spark;

    #[test]
    fn the_lowest_and_the_highest_fill_the_height_unless_they_are_nearly_the_same() {
        assert_eq!(spark(&[1.0, 8.0, 4.5], 10), "▁█▅");
        assert_eq!(spark(&[10.0, 10.1, 10.0], 10), "▄▅▄");
        assert_eq!(spark(&[5.0, 5.0], 10), "▅▅");
        assert_eq!(spark(&[], 10), "");
        assert_eq!(spark(&[0.0], 10), "▅");
    }

    #[test]
    fn many_numbers_share_blocks() {
        let values = (0..1_000).map(f64::from).collect::<Vec<_>>();
        let line = spark(&values, 60);
        assert!(
            line.chars().count() <= 60 && line.starts_with('▁') && line.ends_with('█'),
            "{line}"
        );
    }
}
