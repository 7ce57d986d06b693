//! Ctrl-C once stops after cleaning up, twice at once; SIGTERM, and SIGHUP of a terminal that is gone, are the same. A
//! SIGHUP that rosetta was started to ignore, as `nohup` does, stays ignored.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::process::{Cancel, kernel};

/// Listens within the runtime of the caller.
pub(super) fn listen() -> Result<watch::Receiver<Cancel>> {
    let (sender, receiver) = watch::channel(Cancel::No);
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    // To listen to a signal is not to ignore it any more.
    let hangup = (!kernel::is_ignored(libc::SIGHUP)).then(|| signal(SignalKind::hangup()));
    let mut hangup = hangup.transpose().context("cannot listen to SIGHUP")?;
    tokio::spawn(async move {
        let mut next = Cancel::Gracefully;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = heard(&mut hangup) => {}
            }
            if sender.send(next).is_err() {
                return;
            }
            next = Cancel::Now;
        }
    });
    Ok(receiver)
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
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
