//! Random numbers that are the same on every machine and in every version.
//!
//! A key is SHA-256 of `rosetta 1 PURPOSE SEED`, used as the key of ChaCha8. Every item (an image, a
//! review, a weight, an epoch) has its own stream of that key, numbered by the caller: item `i` is the
//! same however many items there are and whichever thread makes it. Only `+ - * /` and `sqrt` on IEEE
//! numbers turn bits into values (no `ln`, `sin` of the platform's library), so that digests agree
//! everywhere. Must not depend on what the numbers are for.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The key of a family of streams.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// Returns the key for one purpose and seed.
    pub fn new(purpose: &str, seed: u64) -> Key {
        let digest = Sha256::digest(format!("rosetta 1 {purpose} {seed}"));
        Key(digest.into())
    }

    /// Returns the stream of an item.
    pub fn stream(&self, item: u64) -> Stream {
        let mut stream = ChaCha8Rng::from_seed(self.0);
        stream.set_stream(item);
        Stream(stream)
    }

    /// Returns the stream of an item that has a name: the first 8 bytes of its SHA-256.
    pub fn named_stream(&self, name: &str) -> Stream {
        let digest = Sha256::digest(name);
        let first = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        self.stream(first)
    }
}

/// Random numbers of one item.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Fills a buffer with uniform bytes.
    pub fn bytes(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// Returns a number in (0, 1): (k + ½) / 2³².
    pub fn unit(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
    }

    /// Returns a number in (low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns a standard normal number, by inverting the distribution function.
    pub fn normal(&mut self) -> f64 {
        normal_quantile(self.unit())
    }

    /// Returns a whole number below `limit`, each as likely (Lemire 2019).
    pub fn below(&mut self, limit: u32) -> u32 {
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(limit);
            let low = product as u32;
            if low >= limit || low >= limit.wrapping_neg() % limit {
                return (product >> 32) as u32;
            }
        }
    }

    /// Returns true with probability `p`.
    pub fn happens(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Shuffles by Fisher and Yates, from the last item down.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let limit = u32::try_from(last + 1).expect("arrays have fewer than 2^32 rows");
            items.swap(last, self.below(limit) as usize);
        }
    }
}

/// Returns the standard normal quantile of `p` in [2⁻³³, 1 − 2⁻³³]: AS 241 (Wichura 1988), 16 digits.
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    // AS 241 has a third piece for p < exp(−25), which 32 bits never reach.
    let r = (-ln(tail)).sqrt() - 1.6;
    let value = polynomial(&TAIL_TOP, r) / polynomial(&TAIL_BOTTOM, r);
    if q < 0.0 { -value } else { value }
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Returns the natural logarithm of a normal positive number by atanh's series.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    2.0 * s * series + f64::from(exponent) * std::f64::consts::LN_2
}

const CENTRE_TOP: [f64; 8] = [
    3.3871328727963665,
    133.14166789178438,
    1971.5909503065513,
    13731.69376550946,
    45921.95393154987,
    67265.7709270087,
    33430.57558358813,
    2509.0809287301227,
];
const CENTRE_BOTTOM: [f64; 8] = [
    1.0,
    42.31333070160091,
    687.1870074920579,
    5394.196021424751,
    21213.794301586597,
    39307.89580009271,
    28729.085735721943,
    5226.495278852854,
];
const TAIL_TOP: [f64; 8] = [
    1.4234371107496835,
    4.630337846156546,
    5.769497221460691,
    3.6478483247632045,
    1.2704582524523684,
    0.2417807251774506,
    0.022723844989269184,
    0.0007745450142783414,
];
const TAIL_BOTTOM: [f64; 8] = [
    1.0,
    2.053191626637759,
    1.6763848301838038,
    0.6897673349851,
    0.14810397642748008,
    0.015198666563616457,
    0.0005475938084995345,
    1.0507500716444169e-09,
];

#[cfg(test)]
mod tests {
    use super::{Key, ln, normal_quantile};

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let cases = [
            (0.5, 0.0),
            (0.975, 1.959963984540054),
            (0.001, -3.090232306167813),
            (1e-9, -5.9978070150076865),
            (0.1, -1.2815515655446004),
        ];
        for (p, z) in cases {
            assert!((normal_quantile(p) - z).abs() < 1e-13, "{p}: {}", normal_quantile(p));
        }
        for x in [1e-10, 0.3, 0.7, 1.0, 7.5] {
            assert!((ln(x) - x.ln()).abs() < 1e-14 * (1.0 + x.ln().abs()));
        }
    }

    #[test]
    fn streams_are_reproducible_and_apart() {
        let key = Key::new("test", 7);
        let draw = |item| (0..4).map(|_| 0).scan(key.stream(item), |s, _| Some(s.below(1000)));
        assert_eq!(draw(3).collect::<Vec<_>>(), draw(3).collect::<Vec<_>>());
        assert_ne!(draw(3).collect::<Vec<_>>(), draw(4).collect::<Vec<_>>());
        // A change here changes every data set, weight and batch order: raise the recipes' versions.
        assert_eq!(draw(0).collect::<Vec<_>>(), GOLDEN);
    }

    const GOLDEN: [u32; 4] = [738, 238, 619, 349];

    #[test]
    fn moments_are_right() {
        let mut stream = Key::new("moments", 1).stream(0);
        let n = 20_000;
        let values = (0..n).map(|_| stream.normal()).collect::<Vec<_>>();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| v * v).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        let mut counts = [0; 6];
        (0..n).for_each(|_| counts[stream.below(6) as usize] += 1);
        assert!(counts.iter().all(|count| (3_000..3_700).contains(count)), "{counts:?}");
    }
}
