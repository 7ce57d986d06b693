//! NVIDIA GPUs through the driver's own library, opened at run time. Must not depend on jobs.

mod faults;

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use serde::{Deserialize, Serialize};

use self::faults::Faults;

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
    /// The limit that it has unless somebody sets another.
    #[serde(default)]
    pub power_default_w: Option<f64>,
    pub sm_clock_mhz: Option<u32>,
    /// Why the clocks are lower than they could be, as NVML names it.
    pub throttle: Option<String>,
    /// Whether the GPU is split into instances (MIG): its numbers are then those of a part.
    #[serde(default)]
    pub is_split: Option<bool>,
    /// As `7.5`: which code runs on it.
    #[serde(default)]
    pub compute_capability: Option<String>,
}

/// What NVML calls a GPU that is split.
const MIG_ON: u32 = 1;

/// What is there where a driver is: its control device, its word in /proc, and the devices of WSL 2 and of Jetson boards.
const SIGNS_OF_A_DRIVER: [&str; 4] =
    ["/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", "/dev/nvgpu"];

/// The variable that names the driver's library where it is not where a loader looks, or another one that plays it.
const LIBRARY: &str = "ROSETTA_NVML";

/// Returns the driver's library, if there is a driver. Without one, looking for the library would cost every job some 60 system
/// calls in search of it.
fn init() -> Option<Nvml> {
    if let Some(library) = std::env::var_os(LIBRARY).filter(|path| !path.is_empty()) {
        return Nvml::builder().lib_path(&library).init().ok();
    }
    let is_here = SIGNS_OF_A_DRIVER.iter().any(|sign| Path::new(sign).exists());
    is_here.then(Nvml::init)?.ok()
}

/// Returns the GPUs of this machine; none where there is no driver.
pub fn list() -> Vec<Gpu> {
    let Some(nvml) = init() else { return Vec::new() };
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
            power_default_w: device
                .power_management_limit_default()
                .ok()
                .map(|mw| f64::from(mw) / 1000.0),
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            throttle: throttle.filter(|why| !why.is_empty()).map(|why| format!("{why:?}")),
            // Drivers and GPUs without MIG refuse to answer.
            is_split: device.mig_mode().ok().map(|mode| mode.current == MIG_ON),
            compute_capability: device
                .cuda_compute_capability()
                .ok()
                .map(|found| format!("{}.{}", found.major, found.minor)),
        })
    };
    devices.filter_map(look).collect()
}

/// Returns whether a CUDA driver and a GPU are here.
pub fn is_here() -> bool {
    init().is_some_and(|nvml| nvml.device_count().is_ok_and(|count| count > 0))
}

/// Returns how many processes compute on a GPU now, whoever's they are.
pub fn foreign_processes() -> usize {
    init().map_or(0, |nvml| sample(&nvml).foreign_processes)
}

/// What a job and others used of the GPUs while it ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The most that the job's processes held at one time; absent where the driver does not tell
    /// whose memory it is, as inside a container.
    pub own_bytes: Option<u64>,
    /// The most that was held at one time beyond what was held before the job began, by whomever.
    pub risen_bytes: u64,
    /// The most processes of others that computed on a GPU at one time; absent where the driver
    /// numbers processes otherwise than this machine, as inside a container.
    pub foreign_processes: usize,
    /// What all GPUs used while the job ran; absent where there is no counter.
    pub joules: Option<f64>,
    /// What held the clocks down meanwhile, apart from idleness and limits that were set.
    pub throttled: Vec<String>,
    /// How a GPU failed, if one did: what computes on it computes nothing any more.
    #[serde(default)]
    pub failure: Option<String>,
}

/// A CUDA context alone takes more than this.
const CONTEXT_BYTES: u64 = 32 << 20;

impl Usage {
    /// Returns what the job held of the GPUs, as far as the driver tells.
    pub fn held_bytes(&self) -> Option<u64> {
        self.own_bytes.or(Some(self.risen_bytes).filter(|bytes| *bytes > CONTEXT_BYTES))
    }

    /// Whether nobody used a GPU while the job ran: it computed elsewhere.
    pub fn is_unused(&self) -> bool {
        self.held_bytes().is_none()
    }

    fn add(&mut self, now: &GpuSample, idle_bytes: u64) {
        self.own_bytes = self.own_bytes.max(now.own_bytes);
        self.risen_bytes = self.risen_bytes.max(now.used_bytes.saturating_sub(idle_bytes));
        self.foreign_processes = self.foreign_processes.max(now.foreign_processes);
        for reason in &now.throttled {
            if !self.throttled.contains(reason) {
                self.throttled.push(reason.clone());
            }
        }
    }
}

/// What the GPUs are doing at one time.
#[derive(Debug, Clone, Default, PartialEq)]
struct GpuSample {
    own_bytes: Option<u64>,
    used_bytes: u64,
    foreign_processes: usize,
    throttled: Vec<String>,
}

/// Watches the GPUs from a thread of its own until it is stopped.
pub struct Peak {
    stop: Sender<()>,
    thread: JoinHandle<Usage>,
}

/// How often the GPUs are asked; NVML answers in well under a millisecond.
const INTERVAL: Duration = Duration::from_millis(200);

impl Peak {
    /// Begins to watch, where there is a GPU. What is held of it now was not held by the job. A GPU that fails is told
    /// at once.
    pub fn start(on_failure: impl Fn() + Send + 'static) -> Option<Peak> {
        let nvml = init()?;
        let idle_bytes = sample(&nvml).used_bytes;
        let before = millijoules(&nvml);
        let (stop, stopped) = channel();
        let (ready, is_ready) = channel();
        let watch = move || {
            let mut usage = Usage::default();
            let faults = Faults::before(&nvml);
            // Whoever waits for this may be gone.
            let _ = ready.send(());
            loop {
                usage.add(&sample(&nvml), idle_bytes);
                if usage.failure.is_none() {
                    usage.failure = faults.since();
                    usage.failure.iter().for_each(|_| on_failure());
                }
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    let spent = before.zip(millijoules(&nvml));
                    usage.joules = spent.map(|(a, b)| b.saturating_sub(a) as f64 / 1000.0);
                    return usage;
                }
            }
        };
        let thread = std::thread::Builder::new().name("gpu".to_owned()).spawn(watch).ok()?;
        // What fails from here on is seen.
        let _ = is_ready.recv();
        Some(Peak { stop, thread })
    }

    /// Stops watching and returns what was seen.
    pub fn stop(self) -> Usage {
        // A thread that is gone already has nothing to be told.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn devices(nvml: &Nvml) -> impl Iterator<Item = nvml_wrapper::Device<'_>> {
    let count = nvml.device_count().unwrap_or_default();
    (0..count).filter_map(|index| nvml.device_by_index(index).ok())
}

/// Returns the energy that all GPUs have used since the driver was loaded, if each counts it.
fn millijoules(nvml: &Nvml) -> Option<u64> {
    let counters = devices(nvml).map(|device| device.total_energy_consumption().ok());
    counters.sum::<Option<u64>>().filter(|energy| *energy > 0)
}

fn sample(nvml: &Nvml) -> GpuSample {
    let mut sample = GpuSample::default();
    for device in devices(nvml) {
        sample.used_bytes += device.memory_info().map_or(0, |memory| memory.used);
        if let Ok(reasons) = device.current_throttle_reasons() {
            let held = reasons & held_down();
            sample.throttled.extend(held.iter_names().map(|(name, _)| name.to_owned()));
        }
        for process in device.running_compute_processes().unwrap_or_default() {
            match (is_below_us(process.pid), process.used_gpu_memory) {
                (true, UsedGpuMemory::Used(bytes)) => {
                    sample.own_bytes = Some(sample.own_bytes.unwrap_or_default() + bytes);
                }
                (true, UsedGpuMemory::Unavailable) => {}
                // A number that no process has here is that of another name space.
                (false, _) => sample.foreign_processes += usize::from(is_a_process(process.pid)),
            }
        }
    }
    sample
}

/// Reasons that make a time doubtful. That a GPU reaches its power limit under load is its nature.
fn held_down() -> ThrottleReasons {
    ThrottleReasons::HW_SLOWDOWN
        | ThrottleReasons::HW_THERMAL_SLOWDOWN
        | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN
        | ThrottleReasons::SW_THERMAL_SLOWDOWN
}

fn is_a_process(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns whether a process descends from this one, the shim, which adopts the orphans of its job.
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

#[cfg(test)]
mod tests {
    use super::{GpuSample, Usage};

    const MIB: u64 = 1 << 20;

    fn usage(samples: &[GpuSample]) -> Usage {
        let mut usage = Usage::default();
        samples.iter().for_each(|sample| usage.add(sample, 500 * MIB));
        usage
    }

    #[test]
    fn a_job_that_never_held_memory_of_a_gpu_was_elsewhere() {
        let idle = GpuSample { used_bytes: 501 * MIB, ..GpuSample::default() };
        assert!(usage(std::slice::from_ref(&idle)).is_unused());
        let hidden = GpuSample { used_bytes: 900 * MIB, ..GpuSample::default() };
        let seen = usage(&[idle.clone(), hidden, idle.clone()]);
        assert_eq!(seen.held_bytes(), Some(400 * MIB));
        let own = GpuSample { own_bytes: Some(10 * MIB), ..idle.clone() };
        assert_eq!(usage(&[own, idle]).held_bytes(), Some(10 * MIB));
    }

    #[test]
    fn reasons_are_told_once() {
        let hot = GpuSample { throttled: vec!["HW_SLOWDOWN".to_owned()], ..GpuSample::default() };
        assert_eq!(usage(&[hot.clone(), hot]).throttled, ["HW_SLOWDOWN"]);
    }
}
