//! Waits until others leave the machine alone. Must not depend on what is to run then.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::notice::{Notice, Notify};
use crate::catalog::Device;
use crate::gpu;
use crate::machine::Counters;
use crate::process::Cancel;

/// How long the machine is looked at: the kernel counts in hundredths of a second.
const LOOK: Duration = Duration::from_secs(1);

/// Waits for a second in which nobody disturbs the machine, at most for `limit`; what disturbs it is told once.
pub(super) async fn wait_until_quiet(
    limit: Duration,
    device: Device,
    cancel: &mut watch::Receiver<Cancel>,
    notify: Notify<'_>,
) {
    let begun = Instant::now();
    let mut is_told = false;
    while *cancel.borrow() == Cancel::No {
        let before = Counters::read();
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = cancel.changed() => return,
        }
        let now = before.zip(Counters::read());
        let disturbance = now.and_then(|(before, now)| now.disturbance(&before, 0.0));
        let foreign = (device == Device::Cuda).then(gpu::foreign_processes).filter(|n| *n > 0);
        let foreign =
            foreign.map(|count| format!("{count} processes of others compute on the GPU"));
        let Some(why) = disturbance.or(foreign) else { return };
        let is_over = begun.elapsed() >= limit;
        if !is_told {
            is_told = true;
            notify(Notice::NotQuiet { why: why.clone(), limit, is_over: false });
        }
        if is_over {
            notify(Notice::NotQuiet { why, limit, is_over });
            return;
        }
    }
}
