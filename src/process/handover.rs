//! How a shim that waits for a job is handed one: over a socket, the path of the order with the ends of the streams that the
//! job will write to.
//!
//! Must not depend on what the order says.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Longest path that the kernel takes.
const LONGEST_PATH: usize = 4096;

/// A job as it is handed over: its order, its standard output, its standard error.
pub struct Handover {
    pub order: PathBuf,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Returns the two ends of a socket for handovers, rosetta's and the shim's. No process inherits them unasked.
pub fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Hands a job to the shim at the other end. An error means that nobody took it.
pub fn hand_over(
    socket: impl AsFd,
    order: &Path,
    stdout: BorrowedFd,
    stderr: BorrowedFd,
) -> io::Result<()> {
    let streams = [stdout, stderr];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&streams));
    let path = [IoSlice::new(order.as_os_str().as_bytes())];
    sendmsg(socket, &path, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the next job; none if there will be no more.
pub fn take_over(socket: impl AsFd) -> io::Result<Option<Handover>> {
    let mut path = [0; LONGEST_PATH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut path)];
    let length = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut streams = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(streams) => streams.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let (Some(stdout), Some(stderr)) = (streams.next(), streams.next()) else { return Ok(None) };
    let order = OsStr::from_bytes(&path[..length]).into();
    Ok(Some(Handover { order, stdout, stderr }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write, pipe};

    use super::*;

    #[test]
    fn a_job_is_taken_over_with_its_streams() {
        let (here, there) = sockets().unwrap();
        let (mut reader, writer) = pipe().unwrap();
        for order in ["/a b/launch.json", "/c/launch.json"] {
            hand_over(&here, Path::new(order), writer.as_fd(), writer.as_fd()).unwrap();
        }
        drop((here, writer));
        for expected in ["/a b/launch.json", "/c/launch.json"] {
            let Handover { order, stdout, stderr } = take_over(&there).unwrap().unwrap();
            assert_eq!(order, Path::new(expected));
            File::from(stdout).write_all(b"out ").unwrap();
            File::from(stderr).write_all(b"err ").unwrap();
        }
        // All copies of the writing end are closed by now: else this would wait for ever.
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "out err out err ");
        assert!(take_over(&there).unwrap().is_none());
    }

    #[test]
    fn a_job_that_nobody_takes_is_an_error() {
        let (here, there) = sockets().unwrap();
        drop(there);
        let (_reader, writer) = pipe().unwrap();
        assert!(hand_over(&here, Path::new("/a"), writer.as_fd(), writer.as_fd()).is_err());
    }
}
