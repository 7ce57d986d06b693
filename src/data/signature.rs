//! What a file is by its first bytes, for the words of a refusal. Must not depend on what was asked for.

use anyhow::{Result, anyhow, bail};

/// How many bytes are enough to know a file: those of a tar's first header.
pub const LENGTH: usize = 512;

/// A kind of file, and what to do with one, if that is known.
struct FileKind {
    what: &'static str,
    next: &'static str,
}

const DOWNLOAD: &str = "download it anew";

/// First bytes of files that hold data.
const BEGINNINGS: [(&[u8], &str, &str); 14] = [
    (b"\x1f\x8b", "a gzip file", ""),
    (b"PK", "a zip archive", ""),
    (b"\xfd7zXZ\0", "an xz file", "unpack it with `xz -d` and pack it again with `gzip`"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it with `zstd -d`"),
    (b"BZh", "a bzip2 file", "unpack it with `bzip2 -d` and pack it again with `gzip`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", ""),
    (b"Rar!", "a RAR archive", ""),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes", ""),
    (b"GGUF", "a GGUF file", ""),
    (b"MATLAB", "a file of MATLAB", ""),
    (b"\x93NUMPY", "a .npy file of NumPy", ""),
    (b"\x80\x02", "a pickle", ""),
    (b"\x80\x04", "a pickle", ""),
    (b"\x80\x05", "a pickle", ""),
];

/// Refuses what holds no data whoever published it: a pointer, an error page, nothing.
pub fn refuse_messages(begin: &[u8]) -> Result<()> {
    match message(begin) {
        Some(FileKind { what, next }) => bail!("it is {what}, not data; {next}"),
        None => Ok(()),
    }
}

/// Returns the error for a file that is something else than what is `wanted`, as `a .tar.gz archive`.
pub fn not_a(wanted: &str, begin: &[u8]) -> anyhow::Error {
    match message(begin).or_else(|| data(begin)) {
        Some(FileKind { what, next: "" }) => anyhow!("not {wanted}: it is {what}"),
        Some(FileKind { what, next }) => anyhow!("not {wanted}: it is {what}; {next}"),
        None => {
            let begin = begin[..begin.len().min(16)].escape_ascii();
            anyhow!("not {wanted}: it begins with `{begin}`")
        }
    }
}

fn message(begin: &[u8]) -> Option<FileKind> {
    let begin = &begin[..begin.len().min(LENGTH)];
    let known = |what, next| Some(FileKind { what, next });
    if begin.is_empty() {
        return known("an empty file", DOWNLOAD);
    }
    if begin.iter().all(|byte| *byte == 0) {
        return known("nothing but zeros where it begins", DOWNLOAD);
    }
    if begin.contains(&0) {
        // Not a text, though its first bytes may look so: a .safetensors file begins with a number.
        return None;
    }
    let text = String::from_utf8_lossy(begin).to_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("version https://git-lfs") {
        return known("a Git LFS pointer", "run `git lfs pull` where it comes from");
    }
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        let next = "a login, an error or a download page; download the file itself";
        return known("an HTML page", next);
    }
    if text.starts_with("<?xml") || text.starts_with("<error") {
        return known("an XML text, as servers answer that have no such file", DOWNLOAD);
    }
    if text.starts_with(['{', '[']) {
        return known("a JSON text", "take the file that it belongs to");
    }
    None
}

fn data(begin: &[u8]) -> Option<FileKind> {
    if begin.get(257..262) == Some(b"ustar") {
        return Some(FileKind { what: "a plain tar archive", next: "gzip it" });
    }
    let found = BEGINNINGS.iter().find(|(first, _, _)| begin.starts_with(first))?;
    Some(FileKind { what: found.1, next: found.2 })
}

#[cfg(test)]
mod tests {
    use super::{not_a, refuse_messages};

    #[test]
    fn only_messages_are_refused_whatever_is_wanted() {
        for begin in [b"".as_slice(), b"\0\0\0", b"\xef\xbb\xbf<!DOCTYPE HTML>", b"  {\"a\": 1}"] {
            assert!(refuse_messages(begin).is_err(), "{begin:?}");
        }
        for begin in [b"\x1f\x8b\x08".as_slice(), b"PK\x03\x04", b"\x80\x02", b"hello", b" {\0\0"] {
            assert!(refuse_messages(begin).is_ok(), "{begin:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_shown_without_control_characters() {
        let error = not_a("a .npz archive", b"\x1b[31mred\n").to_string();
        assert_eq!(error, r"not a .npz archive: it begins with `\x1b[31mred\n`");
    }
}
