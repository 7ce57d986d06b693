//! Ctrl-C once stops after cleaning up, twice at once; SIGTERM is the same as the first.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::process::Cancel;

/// Listens within the runtime of the caller.
pub(super) fn listen() -> Result<watch::Receiver<Cancel>> {
    let (sender, receiver) = watch::channel(Cancel::No);
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    tokio::spawn(async move {
        let mut next = Cancel::Gracefully;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(next).is_err() {
                return;
            }
            next = Cancel::Now;
        }
    });
    Ok(receiver)
}

/// Listens on a thread of its own, for several threads that work.
pub(super) fn listen_apart() -> Result<watch::Receiver<Cancel>> {
    let runtime = runtime()?;
    let receiver = {
        let _inside = runtime.enter();
        listen()?
    };
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(receiver)
}

/// Returns a runtime for the jobs of this thread: the kernel takes the end of the thread that starts
/// a process for the death of its parent.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
