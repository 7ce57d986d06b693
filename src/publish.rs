//! Puts a file in place so that a reader sees all of it or what was there before, even after a
//! power cut. Must not depend on what is in it.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a folder that is in the way of a file: a job can write where its own files go.
pub fn make_way(path: &Path) {
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        // That it stays shows when the file is written.
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Read and write for all that the umask admits, as of any other new file.
const MODE: u32 = 0o666;

/// Writes a file beside `path`, durably, and renames it; leaves nothing behind if that fails.
///
/// Several threads and processes may publish one file at once: the last one counts, whole.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The parent of a bare name is there, and empty.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut part = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    File::open(folder)?.sync_all()
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
    fn threads_that_publish_one_file_at_once_leave_one_whole_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.json");
        let contents = ["1", "2", "3", "4"].map(|letter| letter.repeat(100_000));
        std::thread::scope(|scope| {
            for content in &contents {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        publish(path, content.as_bytes()).unwrap();
                        let found = fs::read_to_string(path).unwrap();
                        assert_eq!(found.len(), content.len(), "a part was published");
                    }
                });
            }
        });
        assert!(contents.contains(&fs::read_to_string(&path).unwrap()), "two contents are mixed");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_published_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, any] = ["ours", "any"].map(|name| folder.path().join(name));
        publish(&ours, b"one").unwrap();
        fs::write(&any, "one").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(any));
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
