//! NVIDIA GPUs through the driver's own library, opened at run time. May not know jobs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use serde::{Deserialize, Serialize};

/// A GPU and its state when it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    pub memory_bytes: u64,
    pub driver: String,
    /// CUDA version that the driver supports.
    pub cuda: String,
    pub temperature_c: Option<u32>,
    pub power_limit_w: Option<f64>,
    pub sm_clock_mhz: Option<u32>,
    /// Why the clocks are lower than they could be, as NVML names it.
    pub throttle: Option<String>,
}

/// Returns the GPUs of this machine; none where there is no driver.
pub fn list() -> Vec<Gpu> {
    let Ok(nvml) = Nvml::init() else { return Vec::new() };
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let version = nvml.sys_cuda_driver_version().unwrap_or_default();
    let cuda = format!("{}.{}", version / 1000, version % 1000 / 10);
    let devices = 0..nvml.device_count().unwrap_or_default();
    let look = |index| {
        let device = nvml.device_by_index(index).ok()?;
        let throttle = device.current_throttle_reasons().ok();
        Some(Gpu {
            name: device.name().unwrap_or_default(),
            memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
            driver: driver.clone(),
            cuda: cuda.clone(),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
            power_limit_w: device.enforced_power_limit().ok().map(|mw| f64::from(mw) / 1000.0),
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            throttle: throttle.filter(|why| !why.is_empty()).map(|why| format!("{why:?}")),
        })
    };
    devices.filter_map(look).collect()
}

/// Returns whether a CUDA driver and a GPU are here.
pub fn is_here() -> bool {
    Nvml::init().is_ok_and(|nvml| nvml.device_count().is_ok_and(|count| count > 0))
}

/// What a job and others used of the GPUs while it ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most that the job's processes held at one time; absent where the driver does not tell,
    /// as inside a container.
    pub own_bytes: Option<u64>,
    /// The most processes of others that computed on a GPU at one time.
    pub foreign_processes: usize,
}

/// Watches the GPUs from a thread of its own until it is stopped.
pub struct Peak {
    stop: Sender<()>,
    thread: JoinHandle<Usage>,
}

/// How often the GPUs are asked; NVML answers in well under a millisecond.
const INTERVAL: Duration = Duration::from_millis(500);

impl Peak {
    /// Begins to watch, where there is a GPU.
    pub fn start() -> Option<Peak> {
        let nvml = Nvml::init().ok()?;
        let (stop, stopped) = channel();
        let watch = move || {
            let mut usage = Usage::default();
            loop {
                let now = read(&nvml);
                usage.own_bytes = usage.own_bytes.max(now.own_bytes);
                usage.foreign_processes = usage.foreign_processes.max(now.foreign_processes);
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return usage;
                }
            }
        };
        let thread = std::thread::Builder::new().name("gpu".to_owned()).spawn(watch).ok()?;
        Some(Peak { stop, thread })
    }

    /// Stops watching and returns what was seen.
    pub fn stop(self) -> Usage {
        // A thread that is gone already has nothing to be told.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn read(nvml: &Nvml) -> Usage {
    let mut usage = Usage::default();
    for index in 0..nvml.device_count().unwrap_or_default() {
        let Ok(device) = nvml.device_by_index(index) else { continue };
        for process in device.running_compute_processes().unwrap_or_default() {
            match (is_below_us(process.pid), process.used_gpu_memory) {
                (true, UsedGpuMemory::Used(bytes)) => {
                    usage.own_bytes = Some(usage.own_bytes.unwrap_or_default() + bytes);
                }
                (true, UsedGpuMemory::Unavailable) => {}
                (false, _) => usage.foreign_processes += 1,
            }
        }
    }
    usage
}

/// Returns whether a process descends from this one. Rosetta adopts the orphans of its jobs.
fn is_below_us(pid: u32) -> bool {
    let mut pid = pid;
    for _ in 0..64 {
        if pid == std::process::id() {
            return true;
        }
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // The parent is the second word after the name, which stands in parentheses.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        match after.split(' ').nth(1).and_then(|word| word.parse().ok()) {
            Some(parent) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    false
}
