//! Puts a file in place so that a reader sees all of it or what was there before, even after a
//! power cut. May not know what is in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside `path`, durably, and renames it; leaves nothing behind if that fails.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // The error of the write is what the caller must see.
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::publish;

    #[test]
    fn a_new_content_replaces_the_old_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        for content in ["one", "two"] {
            publish(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        fs::create_dir(&path).unwrap();
        assert!(publish(&path, b"one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
