//! Opens files that a person or a program named: regular ones only, and without waiting.
//!
//! A FIFO without a writer keeps whoever opens it waiting for ever, and a device has no end. Must not depend on what is in a
//! file.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a regular file for reading, or says what is there instead.
pub fn open(path: &Path) -> io::Result<File> {
    // Asked before it is opened, as opening a device may set it going, and again after, as it may be another by then.
    check(fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// Returns the content of a regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the text of a regular file.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn check(found: FileType) -> io::Result<()> {
    let what = match found {
        _ if found.is_file() => return Ok(()),
        _ if found.is_dir() => return Err(other(ErrorKind::IsADirectory, "a folder")),
        _ if found.is_fifo() => "a named pipe (FIFO)",
        _ if found.is_socket() => "a socket",
        _ => "a device",
    };
    Err(other(ErrorKind::InvalidInput, what))
}

fn other(kind: ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, format!("it is not a regular file but {what}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;

    use super::{open, read};

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let _listener = UnixListener::bind(path("socket")).unwrap();
        let refused = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(refused(&path("fifo")), "it is not a regular file but a named pipe (FIFO)");
        assert_eq!(refused(&path("socket")), "it is not a regular file but a socket");
        assert_eq!(refused(Path::new("/dev/zero")), "it is not a regular file but a device");
        assert_eq!(refused(folder.path()), "it is not a regular file but a folder");
        fs::write(path("file"), "abc").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        assert_eq!(read(&path("link")).unwrap(), b"abc");
    }
}
