//! The data sets that rosetta knows, and the archives in which their authors published them.
//!
//! Must not depend on how an archive is read or a twin is made.

use anyhow::Result;

use crate::hint::{hinted, unknown};
use crate::spec::Source;

/// Something that `rosetta data` knows by name.
#[derive(Debug)]
pub struct Known {
    pub name: &'static str,
    pub about: &'static str,
    pub kind: DataKind,
    /// The first one is the one that `fetch` downloads.
    pub archives: &'static [PublishedFile],
}

impl Known {
    /// Whether there is a twin of it: weights are made from the seed of an experiment.
    pub(super) fn has_twin(&self) -> bool {
        self.kind != DataKind::Resnet50
    }

    /// Returns how to get the real thing.
    pub(super) fn how_to_get(&self) -> String {
        let name = self.name;
        match self.archives.first() {
            Some(archive) => {
                let (file, url) = (archive.file(), archive.url);
                let import = format!("`rosetta data import {name} {file}` with a copy of {url}");
                format!("run `rosetta data fetch {name}`, or {import}")
            }
            None => self.made_by(),
        }
    }

    pub(super) fn made_by(&self) -> String {
        format!("run `rosetta data make {}`", self.name)
    }

    /// Returns how to replace what is damaged.
    pub(super) fn cure(&self, source: Source) -> String {
        match source {
            Source::Synthetic => self.made_by(),
            _ => format!("import it again: {}", self.how_to_get()),
        }
    }

    pub(super) fn absent(&self, source: Source) -> anyhow::Error {
        let (source, name) = (source.as_str(), self.name);
        hinted(format!("there is no {source} `{name}` on this machine"), self.how_to_get())
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    Cifar10,
    Imdb,
    RandomImages,
    /// Weights, not a data set.
    Resnet50,
}

/// A file as its authors published it.
#[derive(Debug)]
pub struct PublishedFile {
    pub url: &'static str,
    pub digest: PublishedDigest<'static>,
    /// Its size, where that is known.
    pub bytes: Option<u64>,
}

impl PublishedFile {
    /// Returns the file's name.
    pub fn file(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// The digest that authors stand by.
#[derive(Debug, Clone, Copy)]
pub enum PublishedDigest<'a> {
    Md5(&'a str),
    Sha256(&'a str),
    /// The first digits, as PyTorch puts them into its file names.
    Sha256Begins(&'a str),
}

impl PublishedDigest<'_> {
    pub fn fits(self, md5: &str, sha256: &str) -> bool {
        match self {
            PublishedDigest::Md5(digest) => digest == md5,
            PublishedDigest::Sha256(digest) => digest == sha256,
            PublishedDigest::Sha256Begins(digits) => sha256.starts_with(digits),
        }
    }
}

impl std::fmt::Display for PublishedDigest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PublishedDigest::Md5(digest) => write!(f, "MD5 {digest}"),
            PublishedDigest::Sha256(digest) => write!(f, "SHA-256 {digest}"),
            PublishedDigest::Sha256Begins(digits) => write!(f, "SHA-256 {digits}…"),
        }
    }
}

/// Everything that `rosetta data list` shows.
pub static ALL: [Known; 4] = [
    Known {
        name: "cifar10",
        about: "60,000 colour images of 32x32 in 10 classes (Krizhevsky 2009)",
        kind: DataKind::Cifar10,
        // Digests: https://www.cs.toronto.edu/~kriz/cifar.html
        archives: &[
            PublishedFile {
                url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                digest: PublishedDigest::Md5("c32a1d4ab5d03f1284b67883e8d87530"),
                bytes: Some(170_052_171),
            },
            PublishedFile {
                url: "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                digest: PublishedDigest::Md5("c58f30108f718f92721af3b95e74349a"),
                bytes: Some(170_498_071),
            },
        ],
    },
    Known {
        name: "imdb",
        about: "50,000 film reviews as word numbers, good or bad (Maas 2011, Keras)",
        kind: DataKind::Imdb,
        // Digest: keras/src/datasets/imdb.py
        archives: &[PublishedFile {
            url: "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
            digest: PublishedDigest::Sha256(
                "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
            ),
            bytes: Some(17_464_789),
        }],
    },
    Known {
        name: "random-images",
        about: "1,280 images of 224x224 of random bytes, always made",
        kind: DataKind::RandomImages,
        archives: &[],
    },
    Known {
        name: "resnet50",
        about: "ResNet-50 weights trained on ImageNet (torchvision); made from the seed without them",
        kind: DataKind::Resnet50,
        // Both carry their digests in their names: torchvision/models/resnet.py
        archives: &[
            PublishedFile {
                url: "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
                digest: PublishedDigest::Sha256Begins("11ad3fa6"),
                bytes: None,
            },
            PublishedFile {
                url: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                digest: PublishedDigest::Sha256Begins("0676ba61"),
                bytes: None,
            },
        ],
    },
];

/// Returns what a name stands for.
pub fn find(name: &str) -> Result<&'static Known> {
    let found = ALL.iter().find(|known| known.name == name);
    found.ok_or_else(|| unknown("data set", name, ALL.iter().map(|known| known.name)))
}

#[cfg(test)]
mod tests {
    use super::{ALL, PublishedDigest, find};

    #[test]
    fn digests_are_well_formed() {
        for archive in ALL.iter().flat_map(|known| known.archives) {
            let (digest, length) = match archive.digest {
                PublishedDigest::Md5(digest) => (digest, 32),
                PublishedDigest::Sha256(digest) => (digest, 64),
                PublishedDigest::Sha256Begins(digest) => (digest, 8),
            };
            assert_eq!(digest.len(), length);
            assert!(digest.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
            assert!(archive.url.starts_with("https://"));
        }
        let error = find("cifar").unwrap_err().to_string();
        assert!(error.contains("`cifar10`, `imdb`, `random-images`, `resnet50`"), "{error}");
    }
}
