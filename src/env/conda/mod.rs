//! What conda's environments need: the explicit lock, the archives that it pins, a client that installs
//! them, and a solver that makes the lock.
//!
//! Must not depend on what else is in an environment, nor on when it is sealed.
//!
//! Decision: rosetta brings every archive itself and hashes it before a client sees it; the client is
//! given files of this machine. Clients do not agree on what a hash in an explicit file looks like, what
//! `--offline` forbids and what they verify; conda 24.7 reads no `#sha256:` at all.

pub(super) mod archives;
pub(super) mod client;
pub(super) mod explicit;
pub(super) mod installed;
pub(super) mod solve;

/// Returns conda's name of this machine's platform, if conda has packages for it.
pub(super) fn platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-64"),
        ("linux", "aarch64") => Some("linux-aarch64"),
        ("linux", "powerpc64") => Some("linux-ppc64le"),
        ("macos", "x86_64") => Some("osx-64"),
        ("macos", "aarch64") => Some("osx-arm64"),
        _ => None,
    }
}
