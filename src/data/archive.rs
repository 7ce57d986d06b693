//! Reads named files out of an archive that may be hostile, into memory.
//!
//! Nothing is unpacked to disk. Entries that lead outside the archive, links, devices and more bytes than
//! the archive can rightly hold refuse the whole of it. Must not depend on what the files mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tar::EntryType;
use zip::ZipArchive;

use crate::data::gzip::Gzip;
use crate::data::signature;

/// More entries than any archive that rosetta knows has, many times over.
const MOST_ENTRIES: usize = 10_000;

/// How many of the files that nobody wanted are named.
const MOST_NAMES: usize = 4;

/// The wanted files of an archive, by file name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Unpacked {
    pub files: Files,
    /// The first ones that nobody wanted.
    others: Vec<String>,
}

impl Unpacked {
    fn pass_over(&mut self, path: &str) {
        if self.others.len() < MOST_NAMES {
            self.others.push(shown_name(path));
        }
    }

    /// Says what else the archive holds, for a refusal.
    pub fn held(&self) -> String {
        match self.others.is_empty() {
            true => String::new(),
            false => format!("; it holds `{}`", self.others.join("`, `")),
        }
    }
}

/// Returns a name out of a file as it can be shown: short, without control characters.
pub fn shown_name(name: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown = name.chars().take(LONGEST).flat_map(char::escape_debug).collect::<String>();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the wanted files of a `.tar.gz` that holds at most `limit` bytes when unpacked.
pub fn read_tar_gz(file: impl Read, wanted: &[String], limit: u64) -> Result<Unpacked> {
    let limited = Limited { reader: Gzip::new(file), left: limit, limit };
    let mut archive = tar::Archive::new(limited);
    let mut unpacked = Unpacked::default();
    let entries = archive.entries().context(TRUNCATED)?;
    for (index, entry) in entries.enumerate() {
        ensure!(index < MOST_ENTRIES, "more than {MOST_ENTRIES} entries; the archive is refused");
        let mut entry = entry.context(TRUNCATED)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        check_path(&path)?;
        let kind = entry.header().entry_type();
        let what = match kind {
            EntryType::Regular => None,
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            EntryType::Symlink => Some("a symbolic link"),
            EntryType::Link => Some("a hard link"),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Some("a device"),
            _ => Some("not a plain file"),
        };
        if let Some(what) = what {
            bail!("entry `{}` is {what}; the archive is refused", shown_name(&path));
        }
        let Some(name) = wanted_name(&path, wanted) else {
            unpacked.pass_over(&path);
            continue;
        };
        let size = entry.size();
        ensure!(size <= limit, too_large(&path, size, limit));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).context(TRUNCATED)?;
        ensure!(bytes.len() as u64 == size, TRUNCATED);
        insert(&mut unpacked.files, name, bytes)?;
    }
    // What follows the last entry is read too: only then is gzip's own check made.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context(TRUNCATED)?;
    Ok(unpacked)
}

/// Returns the wanted files of a zip that holds at most `limit` bytes when unpacked.
pub fn read_zip(
    file: impl Read + Seek,
    is_wanted: &dyn Fn(&str) -> bool,
    limit: u64,
) -> Result<Unpacked> {
    let mut archive = ZipArchive::new(file).context(TRUNCATED)?;
    ensure!(
        archive.len() <= MOST_ENTRIES,
        "more than {MOST_ENTRIES} entries; the archive is refused"
    );
    ensure!(!archive.has_duplicate_names(), "two entries of one name; the archive is refused");
    let (mut unpacked, mut left) = (Unpacked::default(), limit);
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).context(TRUNCATED)?;
        let path = entry.name().context(TRUNCATED)?.into_owned();
        check_path(&path)?;
        let shown = shown_name(&path);
        ensure!(!entry.is_symlink(), "entry `{shown}` is a symbolic link; the archive is refused");
        ensure!(!entry.encrypted(), "entry `{shown}` is encrypted; the archive is refused");
        let size = entry.size();
        ensure!(size <= left, too_large(&path, size, limit));
        left -= size;
        if entry.is_dir() {
            continue;
        }
        if !is_wanted(&path) {
            unpacked.pass_over(&path);
            continue;
        }
        let entry = archive.by_index(index).with_context(|| format!("entry `{path}`"))?;
        let mut bytes = Vec::new();
        entry.take(size + 1).read_to_end(&mut bytes).context(TRUNCATED)?;
        let found = bytes.len() as u64;
        ensure!(found <= size, "entry `{path}` is longer than it says; the archive is refused");
        ensure!(found == size, TRUNCATED);
        insert(&mut unpacked.files, path, bytes)?;
    }
    Ok(unpacked)
}

const TRUNCATED: &str = "the archive is truncated or damaged";

fn too_large(path: &str, size: u64, limit: u64) -> String {
    let path = shown_name(path);
    format!("entry `{path}` unpacks to {size} bytes; an archive of {limit} at most is expected")
}

/// Refuses names that could lead outside: nothing is unpacked, but who writes them means harm.
fn check_path(path: &str) -> Result<()> {
    let is_absolute = path.starts_with(['/', '\\']) || path.contains([':', '\0']);
    let climbs = path.split(['/', '\\']).any(|part| part == "..");
    ensure!(
        !is_absolute && !climbs,
        "entry `{}` leads outside the archive; the archive is refused",
        path.escape_default()
    );
    Ok(())
}

fn wanted_name(path: &str, wanted: &[String]) -> Option<String> {
    let name = path.rsplit('/').next()?;
    wanted.iter().find(|wanted| *wanted == name).cloned()
}

fn insert(files: &mut Files, name: String, bytes: Vec<u8>) -> Result<()> {
    match files.contains_key(&name) {
        true => Err(anyhow!("two entries named `{name}`; the archive is refused")),
        false => {
            files.insert(name, bytes);
            Ok(())
        }
    }
}

/// A reader that fails where more comes out than rightly can.
struct Limited<R> {
    reader: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it unpacks to more than {} bytes, as no such archive does",
                self.limit
            ))
        })?;
        Ok(count)
    }
}

/// Returns the first bytes of a file and leaves it at its beginning.
pub fn first_bytes(file: &mut File) -> Result<Vec<u8>> {
    let mut begin = Vec::new();
    file.by_ref().take(signature::LENGTH as u64).read_to_end(&mut begin)?;
    file.rewind()?;
    Ok(begin)
}

#[cfg(test)]
pub mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{EntryType, Header};
    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::{read_tar_gz, read_zip};

    const LIMIT: u64 = 100_000;

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A tar entry with any name, which the crate's own builder would refuse.
    pub fn entry(name: &str, kind: EntryType, link: &str, bytes: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let padding = vec![0; bytes.len().next_multiple_of(512) - bytes.len()];
        [header.as_bytes().as_slice(), bytes, &padding].concat()
    }

    pub fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
        [entries.concat(), vec![0; 1024]].concat()
    }

    pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn untar(bytes: &[u8]) -> Result<super::Files, String> {
        let unpacked = read_tar_gz(bytes, &["a.bin".to_owned()], LIMIT);
        unpacked.map(|unpacked| unpacked.files).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn tar_gives_wanted_files_only() {
        let file = |name, bytes| entry(name, EntryType::Regular, "", bytes);
        let folder = entry("set/", EntryType::Directory, "", b"");
        let bytes = gzip(&tar(&[folder, file("set/a.bin", b"abc"), file("set/readme", b"x")]));
        let files = untar(&bytes).unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [("a.bin".to_owned(), b"abc".to_vec())]);
    }

    #[test]
    fn hostile_tars_are_refused() {
        let file = |name, bytes| entry(name, EntryType::Regular, "", bytes);
        let bomb = vec![0; 2 * LIMIT as usize];
        let good = tar(&[file("a.bin", &[7; 3000])]);
        let mut damaged = gzip(&good);
        let end = damaged.len() - 6;
        damaged[end] ^= 1;
        let cases = [
            (gzip(&tar(&[file("../../etc/a.bin", b"")])), "`../../etc/a.bin` leads outside"),
            (gzip(&tar(&[file("/etc/a.bin", b"")])), "`/etc/a.bin` leads outside"),
            (gzip(&tar(&[entry("a.bin", EntryType::Symlink, "/etc", b"")])), "a symbolic link"),
            (gzip(&tar(&[entry("a.bin", EntryType::Link, "x", b"")])), "a hard link"),
            (gzip(&tar(&[entry("a.bin", EntryType::Char, "", b"")])), "a device"),
            (gzip(&tar(&[entry("a.bin", EntryType::Fifo, "", b"")])), "a device"),
            (
                gzip(&tar(&[file("x/a.bin", b""), file("y/a.bin", b"")])),
                "two entries named `a.bin`",
            ),
            (gzip(&tar(&[file("other", &bomb)])), "unpacks to more than 100000 bytes"),
            (gzip(&tar(&[file("a.bin", &bomb)])), "`a.bin` unpacks to 200000 bytes"),
            (gzip(&[good.clone(), bomb.clone()].concat()), "unpacks to more than"),
            (gzip(&good)[..40].to_vec(), "truncated or damaged"),
            (gzip(&good[..1000]), "truncated or damaged"),
            (damaged, "truncated or damaged"),
            (b"\x1f\x8bnothing".to_vec(), "truncated or damaged"),
            (good, "truncated or damaged"),
        ];
        for (bytes, expected) in cases {
            let error = untar(&bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    fn unzip(bytes: &[u8]) -> Result<super::Files, String> {
        let is_wanted = |path: &str| path.ends_with(".npy");
        let unpacked = read_zip(Cursor::new(bytes), &is_wanted, LIMIT);
        unpacked.map(|unpacked| unpacked.files).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn hostile_zips_are_refused() {
        let good = zip(&[("a.npy", b"abc"), ("b", b"d")]);
        assert_eq!(unzip(&good).unwrap().len(), 1);
        let mut linked = ZipWriter::new(Cursor::new(Vec::new()));
        linked.add_symlink("a.npy", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let linked = linked.finish().unwrap().into_inner();
        let zeros = vec![0; 90_000];
        // The declared size of an entry is at 22 of its local and 24 of its central header.
        let mut liar = zip(&[("a.npy", &zeros)]);
        let central = liar.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
        liar[central + 24..central + 28].copy_from_slice(&10u32.to_le_bytes());
        liar[22..26].copy_from_slice(&10u32.to_le_bytes());
        let mut damaged = good.clone();
        let at = damaged.windows(5).position(|five| five == b"a.npy").unwrap() + 5;
        damaged[at] ^= 0xff;
        let cases = [
            (zip(&[("../a.npy", b"")]), "`../a.npy` leads outside"),
            (zip(&[("/a.npy", b"")]), "`/a.npy` leads outside"),
            (linked, "a symbolic link"),
            (zip(&[("a.npy", &zeros), ("b.npy", &zeros)]), "`b.npy` unpacks to 90000 bytes"),
            (liar, "larger than its declared"),
            (good[..good.len() - 30].to_vec(), "truncated or damaged"),
            (damaged, "truncated or damaged"),
        ];
        for (bytes, expected) in cases {
            let error = unzip(&bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
