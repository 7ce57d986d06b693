//! NVIDIA GPUs through the driver's own library, opened at run time. May not know jobs.

use std::collections::BTreeSet;

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

/// Watches the GPU memory of a process tree.
pub struct Meter {
    nvml: Nvml,
}

/// GPU memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub own_bytes: u64,
    /// Processes of others that compute on a GPU.
    pub foreign_processes: usize,
}

impl Meter {
    /// Returns a meter, where there is a GPU.
    pub fn open() -> Option<Meter> {
        Nvml::init().ok().map(|nvml| Meter { nvml })
    }

    /// Returns what `own` processes and others use now.
    pub fn read(&self, own: &BTreeSet<u32>) -> Usage {
        let mut usage = Usage::default();
        for index in 0..self.nvml.device_count().unwrap_or_default() {
            let Ok(device) = self.nvml.device_by_index(index) else { continue };
            for process in device.running_compute_processes().unwrap_or_default() {
                match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) if own.contains(&process.pid) => {
                        usage.own_bytes += bytes;
                    }
                    UsedGpuMemory::Unavailable if own.contains(&process.pid) => {}
                    _ => usage.foreign_processes += 1,
                }
            }
        }
        usage
    }
}
