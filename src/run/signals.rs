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

/// Why a task of a cluster stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskStop {
    /// Its time limit comes near.
    Limit,
    /// The cluster wants its node back, or whoever started it is gone.
    Asked,
}

/// Listens in a task of a cluster, within the runtime of the caller: SIGUSR1 tells of the time limit; SIGTERM, SIGINT and
/// SIGHUP ask for the end. A job has its grace in each case.
pub(super) fn listen_in_task()
-> Result<(watch::Receiver<Cancel>, watch::Receiver<Option<TaskStop>>)> {
    let (cancel, cancelled) = watch::channel(Cancel::No);
    let (why, stopped) = watch::channel(None);
    let hear = |kind: SignalKind| signal(kind).context("cannot listen to signals");
    let (mut limit, mut terminate) =
        (hear(SignalKind::user_defined1())?, hear(SignalKind::terminate())?);
    let (mut interrupt, mut hangup) = (hear(SignalKind::interrupt())?, hear(SignalKind::hangup())?);
    tokio::spawn(async move {
        let stop = tokio::select! {
            _ = limit.recv() => TaskStop::Limit,
            _ = terminate.recv() => TaskStop::Asked,
            _ = interrupt.recv() => TaskStop::Asked,
            _ = hangup.recv() => TaskStop::Asked,
        };
        // Whoever listened has what it wanted to know.
        let _ = why.send(Some(stop));
        let _ = cancel.send(Cancel::Gracefully);
        std::future::pending::<()>().await;
    });
    Ok((cancelled, stopped))
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
