//! What the pinned environment took before on hardware like this: is the machine itself as fast as it was?

use serde::Serialize;

use crate::machine::Machine;
use crate::record::Record;
use crate::stats::median;

/// Records of one run, of the same job on hardware like this.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Earlier {
    pub run: String,
    /// The day of the run, as `2026-11-25`.
    pub day: String,
    pub version: String,
    /// Median of the run's repeats: of the training; of an image, where nothing is trained.
    pub seconds: f64,
    pub pinned_ratio: Option<f64>,
    pub yours_ratio: Option<f64>,
}

impl Earlier {
    /// Returns what the newest run says of the job of `like` whose records nothing disturbed: pinned, the same profile, data and
    /// threads, and the same processor, cores and GPUs.
    pub fn of(records: &[Record], like: &Record) -> Option<Earlier> {
        let fits = |one: &&Record| is_alike(one, like) && one.is_whole() && !one.is_tainted();
        let newest = records.iter().filter(fits).max_by_key(|one| (&one.started, &one.run))?;
        let of_run = records.iter().filter(fits).filter(|one| one.run == newest.run);
        Some(Earlier {
            run: newest.run.clone(),
            day: newest.started.chars().take(10).collect(),
            version: newest.framework_version.clone().unwrap_or_default(),
            seconds: median(&mut of_run.filter_map(Record::seconds).collect::<Vec<_>>())?,
            pinned_ratio: None,
            yours_ratio: None,
        })
    }

    /// Returns it with what both sides took as shares of it.
    pub(super) fn beside(self, pinned: Option<f64>, yours: Option<f64>) -> Earlier {
        let ratio = |seconds: Option<f64>| seconds.map(|seconds| seconds / self.seconds);
        Earlier { pinned_ratio: ratio(pinned), yours_ratio: ratio(yours), ..self }
    }

    /// Returns what it says of the machine, if even the pinned environment is slower than it was.
    pub(super) fn of_machine(&self, tolerance: f64) -> Option<String> {
        let ratio = self.pinned_ratio.filter(|ratio| *ratio > 1.0 + tolerance)?;
        Some(format!(
            "the pinned one takes {ratio:.2} times as long as on like hardware on {}: other work, a power limit or slower \
             memory make both slow",
            self.day
        ))
    }
}

fn is_alike(one: &Record, other: &Record) -> bool {
    one.chosen_provider().is_none()
        && job(one) == job(other)
        && given(one) == given(other)
        && hardware(&one.machine) == hardware(&other.machine)
}

/// Returns what is computed.
fn job(record: &Record) -> impl PartialEq {
    (&record.experiment, &record.target, record.device, &record.profile)
}

/// Returns what it is given.
fn given(record: &Record) -> impl PartialEq {
    (&record.inputs.dataset, record.inputs.source, record.cost.threads_allowed)
}

/// Returns what its time depends on of a machine.
fn hardware(machine: &Machine) -> impl PartialEq {
    let gpus = machine.gpus.iter().map(|gpu| &gpu.name).collect::<Vec<_>>();
    (&machine.cpu, machine.cores, gpus)
}
