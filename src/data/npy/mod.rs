//! The `.npy` format: its header, read strictly (`header`); the types of elements (`element`), of which rosetta stores
//! few (`dtype`) and reads all that are numbers; their order (`order`); files being written (`write`).
//!
//! The header is read here, not by the crate npyz: its parser takes time exponential in the depth of brackets (fifty
//! bytes keep it busy for minutes) and multiplies a shape without a check, and such files come from programs under test.
//!
//! Must not depend on what an array means or where it is kept.

mod dtype;
mod element;
mod header;
mod order;
mod write;

pub use dtype::Dtype;
pub use element::{ALLOWED, Element, Odd};
pub use header::{Header, MAGIC, byte_count, shown};
pub use order::{gather, in_c_order};
pub use write::Writer;
