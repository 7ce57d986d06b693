//! Synthetic twins: data of the shape, type and size of the real sets, made from a fixed seed.
//!
//! They can be learnt, but not at once, and suffer from the classic mistakes (wrong layout, softmax twice,
//! dropout left on, padding on the wrong side). Item `i` of a part is stream `i` (training) or 2³² + `i`
//! (test) of the set's key, what all items share is stream 2⁶³: any prefix is the same whatever the size. May not
//! know where arrays are kept.
//!
//! **Images** (`cifar10`): each class has a template, a field: 3x8x8 numbers, enlarged bilinearly and wrapped
//! around to 3x32x32. An image is `128 + CONTRAST (SIGNAL u template rolled by (dy, dx) + FIELD fresh field + NOISE
//! white noise)`, u in (0.5, 1.5), dx and dy up to `SHIFT`; all numbers are uniform with mean 0 and variance 1.
//! `REDRAWN` of the labels are drawn again, in the test part too: more than 1 − 0.9 `REDRAWN` cannot be reached.
//!
//! **Reviews** (`imdb`): token 1, then filler words with p ∝ 1/number and, with probability `POLAR`, a word of
//! one of two small sets of opinions that agrees with the review with probability `AGREES`; with probability
//! `NEGATED` the word 3 ("not") stands before it and it is of the other set. Two opinions never touch.
//! Cut to the last 150, zeros at the end. `FLIPPED` of the labels are wrong, in the test part too.

use std::thread;

use anyhow::Result;

use crate::data::chance::{Key, Stream};
use crate::data::known::DataKind;
use crate::data::npy::{Dtype, Writer};
use crate::data::sealed::Making;
use crate::machine;
use crate::progress::{Progress, Report};

/// Version of the recipes below: raised with every change of a number that they make.
pub const RECIPE: &str = "twin 2";

const SEED: u64 = 2017;
const CLASSES: u32 = 10;
const CONTRAST: f32 = 80.0;
const SIGNAL: f32 = 1.0;
const SHIFT: u32 = 3;
const FIELD: f32 = 0.6;
const NOISE: f32 = 0.5;
const REDRAWN: f64 = 0.08;

const LENGTH: usize = 150;
const VOCABULARY: u32 = 30_000;
const SHORTEST: u32 = 100;
const LONGEST: u32 = 240;
const OPINIONS: usize = 12;
const FIRST_OPINION: u32 = 20;
const LAST_OPINION: u32 = 1_999;
const POLAR: f64 = 50.0 / 150.0;
const AGREES: f64 = 0.85;
const NEGATED: f64 = 0.1;
const FLIPPED: f64 = 0.05;
const OUT_OF_VOCABULARY: f64 = 0.02;
const START: i32 = 1;
const UNKNOWN: i32 = 2;
const NOT: i32 = 3;
const FIRST_FILLER: u32 = 4;

const SHARED: u64 = 1 << 63;
const TEST: u64 = 1 << 32;
const SQRT_3: f32 = 1.732_050_8;

/// Numbers of training and test items; `random-images` has only the latter.
pub fn sizes(kind: DataKind) -> [usize; 2] {
    match kind {
        DataKind::Cifar10 => [50_000, 10_000],
        DataKind::Imdb => [25_000, 25_000],
        DataKind::RandomImages | DataKind::Resnet50 => [0, 1_280],
    }
}

/// Writes the arrays of a twin of these sizes.
pub fn make(kind: DataKind, sizes: [usize; 2], making: &mut Making, report: Report) -> Result<()> {
    match kind {
        DataKind::Cifar10 => Images::new().write(sizes, making, report),
        DataKind::Imdb => Reviews::new().write(sizes, making, report),
        DataKind::RandomImages | DataKind::Resnet50 => random_images(sizes[1], making, report),
    }
}

fn random_images(count: usize, making: &mut Making, report: Report) -> Result<()> {
    let key = Key::new("random-images", SEED);
    let shape = [count, 3, 224, 224];
    making.array("x_test", Dtype::Uint8, &shape, Some(256.0), |writer| {
        let image = |item, bytes: &mut [u8]| key.stream(TEST + item).bytes(bytes);
        rows(writer, count, 3 * 224 * 224, report, &image)
    })
}

/// Writes rows that are made on every core, in their order.
fn rows(
    writer: &mut Writer,
    count: usize,
    row_bytes: usize,
    report: Report,
    fill: &(dyn Fn(u64, &mut [u8]) + Sync),
) -> Result<()> {
    let threads = usize::try_from(machine::cores()).unwrap_or(1).min(16);
    let share = ((1 << 20) / row_bytes).max(1);
    let total = Some((count * row_bytes) as u64);
    let mut buffer = vec![0; row_bytes * share * threads];
    for first in (0..count).step_by(share * threads) {
        let here = (count - first).min(share * threads);
        let buffer = &mut buffer[..here * row_bytes];
        thread::scope(|scope| {
            for (part, bytes) in buffer.chunks_mut(share * row_bytes).enumerate() {
                let from = first + part * share;
                scope.spawn(move || {
                    for (row, bytes) in bytes.chunks_mut(row_bytes).enumerate() {
                        fill((from + row) as u64, bytes);
                    }
                });
            }
        });
        writer.write(buffer)?;
        report(Progress::Bytes { done: ((first + here) * row_bytes) as u64, total });
    }
    Ok(())
}

fn labels(making: &mut Making, name: &str, count: usize, label: impl Fn(u64) -> i32) -> Result<()> {
    let bytes = (0..count as u64).flat_map(|item| label(item).to_le_bytes()).collect::<Vec<_>>();
    making.array(name, Dtype::Int32, &[count], None, |writer| writer.write(&bytes))
}

/// A part's names and the number of its first stream.
const PARTS: [(&str, &str, u64); 2] = [("x_train", "y_train", 0), ("x_test", "y_test", TEST)];

type Field = [f32; 3 * 32 * 32];

struct Images {
    key: Key,
    templates: Vec<Field>,
}

impl Images {
    fn new() -> Images {
        let key = Key::new("twin cifar10", SEED);
        let mut shared = key.stream(SHARED);
        let templates = (0..CLASSES).map(|_| field(&mut shared)).collect();
        Images { key, templates }
    }

    fn write(&self, sizes: [usize; 2], making: &mut Making, report: Report) -> Result<()> {
        for ((x, y, first), count) in PARTS.into_iter().zip(sizes) {
            making.array(x, Dtype::Uint8, &[count, 3, 32, 32], Some(255.0), |writer| {
                let image = |item, bytes: &mut [u8]| self.image(first + item, bytes);
                rows(writer, count, 3 * 32 * 32, report, &image)
            })?;
            labels(making, y, count, |item| Self::classes(&mut self.key.stream(first + item)).1)?;
        }
        Ok(())
    }

    /// Returns what is shown and what the label says.
    fn classes(stream: &mut Stream) -> (usize, i32) {
        let shown = stream.below(CLASSES);
        let (is_redrawn, other) = (stream.happens(REDRAWN), stream.below(CLASSES));
        (shown as usize, if is_redrawn { other } else { shown } as i32)
    }

    fn image(&self, item: u64, pixels: &mut [u8]) {
        let mut stream = self.key.stream(item);
        let template = &self.templates[Self::classes(&mut stream).0];
        let mut shift = || (32 + stream.below(2 * SHIFT + 1) - SHIFT) as usize;
        let (dy, dx) = (shift(), shift());
        let strength = CONTRAST * SIGNAL * stream.uniform(0.5, 1.5) as f32;
        let fresh = field(&mut stream);
        // A byte b of noise stands for (2b − 255) / 256 √3: steps finer than a grey level.
        stream.bytes(pixels);
        for (row, pixels) in pixels.chunks_exact_mut(32).enumerate() {
            let (channel, y) = (row / 32, row % 32);
            let from = channel * 1024 + (y + 32 - dy % 32) % 32 * 32;
            let source = &template[from..from + 32];
            let fresh = &fresh[row * 32..row * 32 + 32];
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let white = (2.0 * f32::from(*pixel) - 255.0) * (SQRT_3 / 256.0);
                let signal = strength * source[(x + 32 - dx % 32) % 32];
                let value = signal + CONTRAST * (FIELD * fresh[x] + NOISE * white);
                // A cast to u8 cuts off at 0 and 255.
                *pixel = (128.0 + value) as u8;
            }
        }
    }
}

/// Returns 3x8x8 uniform numbers of mean 0 and variance 1, enlarged to 3x32x32.
fn field(stream: &mut Stream) -> Field {
    let mut coarse = [0.0; 3 * 8 * 8];
    coarse.fill_with(|| (2.0 * stream.unit() - 1.0) as f32 * SQRT_3);
    let mut wide = [0.0; 3 * 8 * 32];
    for (row, wide) in wide.chunks_exact_mut(32).enumerate() {
        let coarse = &coarse[row * 8..row * 8 + 8];
        for (x, value) in wide.iter_mut().enumerate() {
            let (left, right, share) = neighbours(x);
            *value = coarse[left] * (1.0 - share) + coarse[right] * share;
        }
    }
    let mut fine = [0.0; 3 * 32 * 32];
    for (row, fine) in fine.chunks_exact_mut(32).enumerate() {
        let (channel, y) = (row / 32, row % 32);
        let (above, below, share) = neighbours(y);
        let line = |y: usize| &wide[(channel * 8 + y) * 32..][..32];
        for ((value, above), below) in fine.iter_mut().zip(line(above)).zip(line(below)) {
            *value = above * (1.0 - share) + below * share;
        }
    }
    fine
}

/// Returns the coarse cells around a fine one, and the share of the second: (i + ½) / 4 − ½, wrapped.
fn neighbours(fine: usize) -> (usize, usize, f32) {
    let eighths = 2 * fine + 1 + 64 - 4;
    let (cell, share) = (eighths / 8, eighths % 8);
    (cell % 8, (cell + 1) % 8, share as f32 / 8.0)
}

struct Reviews {
    key: Key,
    /// Words of bad and of good reviews.
    opinions: [Vec<i32>; 2],
    /// Cumulated probability of each filler word.
    filler: Vec<f64>,
    total: f64,
}

impl Reviews {
    fn new() -> Reviews {
        let key = Key::new("twin imdb", SEED);
        let mut shared = key.stream(SHARED);
        let mut words = Vec::new();
        while words.len() < 2 * OPINIONS {
            let word = (FIRST_OPINION + shared.below(LAST_OPINION - FIRST_OPINION + 1)) as i32;
            if !words.contains(&word) {
                words.push(word);
            }
        }
        let good = words.split_off(OPINIONS);
        let is_opinion =
            |word: u32| words.contains(&(word as i32)) || good.contains(&(word as i32));
        let mut total = 0.0;
        let mut filler = Vec::with_capacity(VOCABULARY as usize);
        for word in 0..VOCABULARY {
            if word >= FIRST_FILLER && !is_opinion(word) {
                total += 1.0 / f64::from(word);
            }
            filler.push(total);
        }
        Reviews { key, opinions: [words, good], filler, total }
    }

    fn write(&self, sizes: [usize; 2], making: &mut Making, report: Report) -> Result<()> {
        for ((x, y, first), count) in PARTS.into_iter().zip(sizes) {
            making.array(x, Dtype::Int32, &[count, LENGTH], None, |writer| {
                let review = |item, bytes: &mut [u8]| {
                    let tokens = self.review(first + item);
                    for (bytes, token) in bytes.chunks_exact_mut(4).zip(tokens) {
                        bytes.copy_from_slice(&token.to_le_bytes());
                    }
                };
                rows(writer, count, 4 * LENGTH, report, &review)
            })?;
            labels(making, y, count, |item| Self::sides(&mut self.key.stream(first + item)).1)?;
        }
        Ok(())
    }

    /// Returns which side the review takes and what the label says.
    fn sides(stream: &mut Stream) -> (usize, i32) {
        let side = stream.below(2);
        let label = if stream.happens(FLIPPED) { 1 - side } else { side };
        (side as usize, label as i32)
    }

    fn review(&self, item: u64) -> [i32; LENGTH] {
        let mut stream = self.key.stream(item);
        let side = Self::sides(&mut stream).0;
        let length = (SHORTEST + stream.below(LONGEST - SHORTEST + 1)) as usize;
        let mut tokens = Vec::with_capacity(length);
        tokens.push(START);
        let mut follows_opinion = false;
        while tokens.len() < length {
            follows_opinion = !follows_opinion && stream.happens(POLAR);
            if follows_opinion {
                self.opinion(side, length, &mut stream, &mut tokens);
            } else if stream.happens(OUT_OF_VOCABULARY) {
                tokens.push(UNKNOWN);
            } else {
                let at = stream.unit() * self.total;
                tokens.push(self.filler.partition_point(|sum| *sum <= at) as i32);
            }
        }
        let mut padded = [0; LENGTH];
        let last = &tokens[length.saturating_sub(LENGTH)..];
        padded[..last.len()].copy_from_slice(last);
        padded
    }

    fn opinion(&self, side: usize, length: usize, stream: &mut Stream, tokens: &mut Vec<i32>) {
        let mut side = if stream.happens(AGREES) { side } else { 1 - side };
        if stream.happens(NEGATED) && tokens.len() + 1 < length {
            tokens.push(NOT);
            side = 1 - side;
        }
        tokens.push(self.opinions[side][stream.below(OPINIONS as u32) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Images, LENGTH, Reviews, SHORTEST, TEST, VOCABULARY, neighbours};
    use crate::digest::sha256;

    #[test]
    fn enlarging_is_bilinear_and_wraps() {
        assert_eq!(neighbours(0), (7, 0, 0.625));
        assert_eq!(neighbours(1), (7, 0, 0.875));
        assert_eq!(neighbours(2), (0, 1, 0.125));
        assert_eq!(neighbours(31), (7, 0, 0.375));
    }

    #[test]
    fn images_differ_and_use_the_range() {
        let images = Images::new();
        let image = |item| {
            let mut pixels = vec![0; 3072];
            images.image(item, &mut pixels);
            pixels
        };
        assert_eq!(image(0), image(0));
        assert_ne!(image(0), image(TEST));
        let all = (0..50).flat_map(image).collect::<Vec<_>>();
        let mean = all.iter().map(|pixel| f64::from(*pixel)).sum::<f64>() / all.len() as f64;
        assert!((110.0..146.0).contains(&mean), "{mean}");
        let cut = all.iter().filter(|pixel| **pixel == 0 || **pixel == 255).count();
        assert!(cut < all.len() / 8, "{cut} of {}", all.len());
    }

    #[test]
    fn labels_are_mostly_what_is_shown() {
        let images = Images::new();
        let wrong = |item: &u64| {
            let (shown, label) = Images::classes(&mut images.key.stream(*item));
            shown as i32 != label
        };
        let count = (0..5_000).filter(wrong).count();
        assert!((280..440).contains(&count), "{count}");
    }

    #[test]
    fn reviews_are_padded_at_the_end() {
        let reviews = Reviews::new();
        for item in 0..200 {
            let tokens = reviews.review(item);
            assert_eq!(tokens.len(), LENGTH);
            assert!(tokens.iter().all(|token| (0..VOCABULARY as i32).contains(token)));
            let words = tokens.iter().take_while(|token| **token != 0).count();
            assert!(words >= SHORTEST as usize && tokens[words..].iter().all(|token| *token == 0));
            assert!(words == LENGTH || tokens[0] == 1);
        }
    }

    #[test]
    fn numbers_are_those_of_the_recipe() {
        // Fails when a number changes: raise RECIPE together with these.
        let mut image = vec![0; 3072];
        Images::new().image(3, &mut image);
        let review = Reviews::new().review(3).map(i32::to_le_bytes).concat();
        let digests = [image, review].map(|bytes| sha256(bytes)[..16].to_owned());
        assert_eq!(digests, ["ff8fc7f6e01c041b", "967c24111c32b75e"]);
    }
}
