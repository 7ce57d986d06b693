//! How a GPU fails while somebody computes on it: it is lost, its memory has errors, its driver reports an Xid.
//!
//! Must not depend on who computes.
//!
//! An Xid is a number that the driver gives an error. Most are a program's own fault, as an address that is not its own (31):
//! those end in an exit code or a signal, and the GPU goes on. Those below are the GPU's, and only a reset or a restart helps.

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;

/// The Xids after which a GPU computes nothing, and what NVIDIA says they are
/// (<https://docs.nvidia.com/deploy/xid-errors/>).
const XIDS: [(u64, &str); 9] = [
    (48, "an error of its memory could not be corrected"),
    (64, "its memory could not be repaired"),
    (74, "its NVLink failed"),
    (79, "it has fallen off the bus"),
    (92, "its memory has many errors"),
    (94, "an error of its memory was contained"),
    (95, "an error of its memory was not contained"),
    (119, "its own processor does not answer"),
    (120, "its own processor failed"),
];

/// What had failed before a job began, to see what fails while it runs.
pub(super) struct Faults<'a> {
    nvml: &'a Nvml,
    uncorrected: u64,
    /// Where the driver tells of Xids; not in every container, nor of parts of a GPU.
    events: Option<EventSet<'a>>,
}

impl<'a> Faults<'a> {
    pub(super) fn before(nvml: &'a Nvml) -> Faults<'a> {
        Faults { nvml, uncorrected: uncorrected(nvml), events: listen(nvml) }
    }

    /// Returns how a GPU has failed since, if one has.
    pub(super) fn since(&self) -> Option<String> {
        self.xid().or_else(|| self.lost()).or_else(|| {
            let errors = uncorrected(self.nvml).saturating_sub(self.uncorrected);
            (errors > 0).then(|| format!("{errors} errors of its memory could not be corrected"))
        })
    }

    fn xid(&self) -> Option<String> {
        let event = self.events.as_ref()?.wait(0).ok()?;
        let XidError::Value(number) = event.event_data? else { return None };
        let known = XIDS.iter().find(|(xid, _)| *xid == number)?;
        Some(format!("Xid {number}, {}", known.1))
    }

    fn lost(&self) -> Option<String> {
        let count = self.nvml.device_count();
        let look = |index| self.nvml.device_by_index(index)?.memory_info();
        let errors = (0..count.unwrap_or_default()).filter_map(|index| look(index).err());
        { errors }.find_map(|error| match error {
            NvmlError::GpuLost => Some("the driver has lost it".to_owned()),
            NvmlError::ResetRequired => Some("it must be reset".to_owned()),
            _ => None,
        })
    }
}

/// Returns how many errors of all memories could not be corrected since the driver was loaded.
fn uncorrected(nvml: &Nvml) -> u64 {
    let count = |device: nvml_wrapper::Device| {
        device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).unwrap_or_default()
    };
    super::devices(nvml).map(count).sum()
}

/// Listens to the Xids of all GPUs.
fn listen(nvml: &Nvml) -> Option<EventSet<'_>> {
    let set = nvml.create_event_set().ok()?;
    super::devices(nvml).try_fold(set, |set, device| {
        device.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok()
    })
}
