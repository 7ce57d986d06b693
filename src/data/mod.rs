//! Data sets, initial weights and batch orders on disk: imported, fetched, made, verified.
//!
//! Everything ends as `.npy` files in a sealed folder (`sealed`) with a manifest of digests. `store` is the folder of
//! all, `supply` what an experiment needs of it, `intake` how archives come in, `audit` what is there and whether it is
//! whole. Must not depend on which frameworks exist.

mod archive;
mod audit;
mod chance;
mod fetch;
mod gzip;
mod import;
mod intake;
mod known;
mod manifest;
mod npy;
mod own;
mod patience;
mod pickle;
mod resnet50;
mod sealed;
mod signature;
mod spare;
mod store;
mod supply;
mod twin;
mod weights;

pub use fetch::{Download, digests};
pub use known::{ALL as KNOWN, Known, PublishedDigest};
pub use manifest::Origin;
pub use npy::{Dtype, Element, Header, Odd, Writer as NpyWriter, in_c_order};
pub use store::{ArrayFile, BatchOrder, DataStatus, DataStore, Dataset, StoredData, Weights};

#[cfg(test)]
mod tests;
