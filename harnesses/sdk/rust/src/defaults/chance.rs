//! Random numbers for inputs, the same in each run. May not know what they are for.

use std::{f64::consts::TAU, iter};

use crate::Array;

/// Steele, Lea and Flood's SplitMix64: <https://doi.org/10.1145/2714064.2660195>.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in 0..1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a number of mean 0 and deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    pub(super) fn normals(&mut self, shape: &[usize]) -> Array {
        let size = shape.iter().product();
        let values: Vec<_> = iter::repeat_with(|| self.normal() as f32).take(size).collect();
        Array::new(shape, values)
    }
}
