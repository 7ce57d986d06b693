//! SHA-256 as the text by which things are known. May not know what is digested.

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of some bytes as 64 hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
