//! IMDB reviews from Keras' `imdb.npz`: what `keras.datasets.imdb.load_data(num_words=30000)` and
//! `pad_sequences(maxlen=150, truncating="pre", padding="post")` give, but in the order of the file.
//!
//! Keras shuffles after loading; here the batch order does that. Must not depend on where arrays are kept.

use std::fs::File;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::data::archive::{first_bytes, read_zip};
use crate::data::import::{Imported, int32};
use crate::data::npy::{Header, Odd, shown};
use crate::data::pickle::{Dialect, Pickled};
use crate::data::signature;

/// The archive unpacks to 17 MB, or to some 70 MB where the reviews were pickled as arrays.
const LIMIT: u64 = 256 << 20;
const FILES: [&str; 4] = ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"];
const ROWS: usize = 25_000;
pub const LENGTH: usize = 150;
pub const VOCABULARY: i64 = 30_000;
const PAD: i32 = 0;
const START: i32 = 1;
const UNKNOWN: i32 = 2;
/// Word 1 of the file is token 4: Keras adds 3.
const INDEX_FROM: i64 = 3;

pub fn read(file: &mut File, is_genuine: bool) -> Result<Vec<Imported>> {
    let begin = first_bytes(file)?;
    if !begin.starts_with(b"PK") {
        return Err(signature::not_a("a .npz archive", &begin));
    }
    let mut unpacked = read_zip(file, &|path| FILES.contains(&path), LIMIT)?;
    let held = unpacked.held();
    let files = &mut unpacked.files;
    let mut arrays = Vec::new();
    for (x, y) in [("x_train", "y_train"), ("x_test", "y_test")] {
        let mut take = |name: &str| {
            let bytes = files.remove(&format!("{name}.npy"));
            bytes.ok_or_else(|| anyhow!("no array `{name}`{held}"))
        };
        let (tokens, labels) = (take(x)?, take(y)?);
        let tokens = reviews(&tokens, is_genuine).with_context(|| format!("`{x}`"))?;
        let labels = labels_of(&labels).with_context(|| format!("`{y}`"))?;
        let rows = labels.len();
        ensure!(
            tokens.len() == rows * LENGTH,
            "{} reviews in `{x}` but {rows} labels",
            tokens.len() / LENGTH
        );
        ensure!(rows == ROWS || !is_genuine, "{rows} reviews in `{x}`, not {ROWS}");
        ensure!((1..=ROWS).contains(&rows), "{rows} reviews in `{x}`; 1 to {ROWS} are expected");
        arrays.push(int32(x, vec![rows, LENGTH], tokens.into_iter()));
        arrays.push(int32(y, vec![rows], labels.into_iter()));
    }
    Ok(arrays)
}

fn reviews(bytes: &[u8], is_genuine: bool) -> Result<Vec<i32>> {
    let mut rest = bytes;
    let header = Header::read(&mut rest)?;
    if !header.descr.contains('O') || header.shape.len() != 1 {
        let element = header.element().map(|element| element.to_string());
        let (shape, element) = (shown(&header.shape), element.unwrap_or(header.descr));
        let guess = if header.shape.len() == 2 { "padded already? " } else { "" };
        bail!("it is {shape} of {element}; {guess}a list of words per review is expected");
    }
    let pickled = Pickled::load(rest, Dialect::Numpy)?;
    let array = pickled.array(pickled.root).ok_or_else(|| anyhow!("its pickle is not an array"))?;
    let lists = pickled.objects_of(array).ok_or_else(|| anyhow!("it has no lists of words"))?;
    ensure!(lists.len() <= ROWS, "{} reviews; at most {ROWS} are expected", lists.len());
    let mut tokens = Vec::with_capacity(lists.len() * LENGTH);
    let (mut seen, mut left) = (WordsSeen::default(), MOST_WORDS);
    for (row, list) in lists.iter().enumerate() {
        let words = pickled.integers(*list);
        let words = words.ok_or_else(|| anyhow!("review {row} is not a list of whole numbers"))?;
        left = left.checked_sub(words.len()).ok_or_else(|| {
            anyhow!("more than {MOST_WORDS} words up to review {row}, as no such file has")
        })?;
        let is_word = |word: &i64| (0..=1_000_000).contains(word);
        ensure!(words.iter().all(is_word), "review {row} has a word that is not an index");
        if !is_genuine {
            ensure!(!words.is_empty(), "review {row} has no words");
            ensure!(!words.contains(&0), "review {row} has word 0: padded already? {RAW}");
            seen.add(&words);
        }
        tokens.extend(review(&words));
    }
    seen.check()?;
    Ok(tokens)
}

/// Half of Keras' file has 6 million. A small file may mean one long review many times over.
const MOST_WORDS: usize = 50_000_000;
const RAW: &str = "Words of Keras' file count from 1, the most frequent one";

/// What tells reviews as Keras stores them from those that its `load_data` returns.
#[derive(Default)]
struct WordsSeen {
    reviews: usize,
    words: usize,
    begin_with_one: usize,
    ones: usize,
}

impl WordsSeen {
    /// So many reviews do not all begin with `the`, word 1, by chance.
    const ENOUGH_REVIEWS: usize = 4;
    /// So many words have a `the` among them: every twentieth is one.
    const ENOUGH_WORDS: usize = 500;

    fn add(&mut self, words: &[i64]) {
        self.reviews += 1;
        self.words += words.len();
        self.begin_with_one += usize::from(words.first() == Some(&1));
        self.ones += words.iter().filter(|word| **word == 1).count();
    }

    fn check(&self) -> Result<()> {
        let all_begin_alike = self.begin_with_one == self.reviews;
        ensure!(
            self.reviews < Self::ENOUGH_REVIEWS || !all_begin_alike,
            "every review begins with word 1: a start token, processed already? {RAW}"
        );
        ensure!(
            self.words < Self::ENOUGH_WORDS || self.ones > 0,
            "no review has word 1 (`the`): shifted already? {RAW}"
        );
        Ok(())
    }
}

/// Returns the last 150 tokens of a review with its start token, zeros after them.
fn review(words: &[i64]) -> [i32; LENGTH] {
    let tokens = words.iter().map(|word| match word + INDEX_FROM {
        token if token < VOCABULARY => token as i32,
        _ => UNKNOWN,
    });
    let length = words.len() + 1;
    let last = std::iter::once(START).chain(tokens).skip(length.saturating_sub(LENGTH));
    let mut padded = [PAD; LENGTH];
    padded.iter_mut().zip(last).for_each(|(slot, token)| *slot = token);
    padded
}

fn labels_of(bytes: &[u8]) -> Result<Vec<i32>> {
    let mut rest = bytes;
    let header = Header::read(&mut rest)?;
    ensure!(header.shape.len() == 1, "{} axes; labels have one", header.shape.len());
    let element = header.element()?;
    ensure!(header.bytes()? == rest.len() as u64, "its elements do not fill its shape");
    let labels = element.integers(rest).map_err(|Odd { index, number }| {
        anyhow!("label {number} in row {index} ({element}); labels are 0 or 1")
    })?;
    if let Some(row) = labels.iter().position(|label| !(0..2).contains(label)) {
        bail!("label {} in row {row}; labels are 0 or 1", labels[row]);
    }
    Ok(labels.into_iter().map(|label| label as i32).collect())
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, review};

    #[test]
    fn reviews_are_those_of_keras() {
        // load_data: [1] + [w + 3], 30,000 and more become 2; the last 150, zeros at the end.
        let short = review(&[1, 29_996, 29_997, 88_000]);
        assert_eq!(short[..6], [1, 4, 29_999, 2, 2, 0]);
        assert!(short[5..].iter().all(|token| *token == 0));
        let long = review(&(1..=200).collect::<Vec<_>>());
        assert_eq!((long[0], long[LENGTH - 1]), (54, 203));
        let exact = review(&(1..=149).collect::<Vec<_>>());
        assert_eq!((exact[0], exact[1], exact[LENGTH - 1]), (1, 4, 152));
    }
}
