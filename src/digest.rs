//! SHA-256 as the text by which things are known. Must not depend on what is digested.

use std::io;

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of some bytes as 64 hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the SHA-256 of all that is left to read.
pub fn sha256_of(mut file: impl io::Read) -> io::Result<String> {
    let (mut digest, mut bytes) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&bytes[..read]),
        }
    }
}

/// Returns bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
