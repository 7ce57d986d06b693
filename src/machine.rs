//! The machine that a job ran on, and what disturbed it. Reads /proc and /sys. Must not depend on jobs.

mod limits;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use self::limits::Kernel;
pub use self::limits::{Limits, PowerLimit, Quota, SlowCpu, Turbo, numbers};
use crate::gpu::{self, Gpu};

/// What a reader must know to compare two records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub host: String,
    /// The cluster that it is a node of; absent of a machine of its own.
    #[serde(default)]
    pub cluster: Option<String>,
    pub cpu: String,
    /// CPUs that a job may use.
    pub cores: u32,
    pub memory_bytes: u64,
    /// Memory limit of the cgroup, if it is below the machine's.
    pub memory_limit_bytes: Option<u64>,
    pub kernel: String,
    pub os: String,
    pub governor: Option<String>,
    pub turbo: Option<bool>,
    /// Load average over one minute when the job began.
    pub load: f64,
    pub gpus: Vec<Gpu>,
}

/// The variable that names this machine.
pub const VARIABLE: &str = "ROSETTA_MACHINE";

/// The variable that names the cluster whose node this machine is.
pub const CLUSTER: &str = "ROSETTA_CLUSTER";

static NAME: OnceLock<String> = OnceLock::new();

/// Gives this machine a name in place of its host name, from now on, here and in the shims of jobs.
pub fn call_it(name: &str) {
    // Of two names the first counts; there is one command line.
    let _ = NAME.set(name.to_owned());
}

/// Returns the name of this machine: as it was called, or its host name.
pub fn name() -> String {
    let called = NAME.get().cloned().or_else(|| std::env::var(VARIABLE).ok());
    let called = called.filter(|name| !name.is_empty() && check_name(name).is_ok());
    called.or_else(|| System::host_name().ok()).unwrap_or_default()
}

/// Returns a name that can stand for a machine, or why it cannot; an empty one stands for none.
pub fn check_name(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.len() <= 64 && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => {
            Err("a machine's name has letters, digits, `.`, `_` and `-`, at most 64".to_owned())
        }
    }
}

impl Machine {
    /// Returns what this machine is now.
    pub fn look() -> Machine {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kinds).ok();
        let cpu = system.as_ref().and_then(|s| s.cpus().first().map(|cpu| cpu.brand().to_owned()));
        let kernel = Kernel::here();
        Machine {
            host: name(),
            cluster: std::env::var(CLUSTER).ok().filter(|name| !name.is_empty()),
            cpu: cpu.unwrap_or_default().trim().to_owned(),
            cores: cores(),
            memory_bytes: system.as_ref().map_or(0, System::total_memory),
            memory_limit_bytes: memory_limit(),
            kernel: System::kernel_version().unwrap_or_default(),
            os: System::long_os_version().unwrap_or_default(),
            governor: kernel.governor(0),
            turbo: kernel.turbo().map(|turbo| turbo.is_on),
            load: load(),
            gpus: gpu::list(),
        }
    }

    /// Returns what this machine was when this process looked first.
    pub fn first_look() -> &'static Machine {
        static FIRST: OnceLock<Machine> = OnceLock::new();
        FIRST.get_or_init(Machine::look)
    }

    /// Returns what this machine, which is known, is now: what changes by itself is looked at again.
    pub fn now(self) -> Machine {
        let kernel = Kernel::here();
        Machine {
            governor: kernel.governor(0),
            turbo: kernel.turbo().map(|turbo| turbo.is_on),
            load: load(),
            gpus: if self.gpus.is_empty() { Vec::new() } else { gpu::list() },
            ..self
        }
    }

    /// Returns whether records of both machines may stand in one table.
    pub fn is_same(&self, other: &Machine) -> bool {
        self.identity() == other.identity()
    }

    /// Returns what tells one machine from another. Nodes of a cluster are one where their hardware is: processor, cores, GPUs
    /// and their driver.
    pub fn identity(&self) -> String {
        let Machine { host, cpu, cores, .. } = self;
        match &self.cluster {
            None => format!("{host}\n{cpu}\n{cores}"),
            Some(cluster) => {
                let gpus = self.gpus.iter().map(|gpu| format!("\n{} {}", gpu.name, gpu.driver));
                format!("{cluster}\n{cpu}\n{cores}{}", gpus.collect::<String>())
            }
        }
    }

    /// Returns which nodes of a cluster it is like, in words; nothing of a machine of its own, and of a node that nobody has seen.
    pub fn hardware_class(&self) -> Option<String> {
        let cluster = self.cluster.as_ref().filter(|_| !self.cpu.is_empty())?;
        let mut drivers =
            self.gpus.iter().map(|gpu| gpu.driver.as_str()).filter(|it| !it.is_empty());
        let driver = drivers.next().map(|driver| format!(" (driver {driver})")).unwrap_or_default();
        let gpus = self.gpus.iter().map(|gpu| format!(", {}", gpu.name)).collect::<String>();
        Some(format!("{cluster}: {} cores of {}{gpus}{driver}", self.cores, self.cpu))
    }

    /// Returns the machine in a few words: `2 cores of Intel Xeon, 23 GB, no GPU`.
    pub fn words(&self) -> String {
        let gib = (self.memory_bytes as f64 / f64::from(1 << 30)).round();
        let gpus = match self.gpus.as_slice() {
            [] => "no GPU".to_owned(),
            gpus => gpus.iter().map(|gpu| gpu.name.as_str()).collect::<Vec<_>>().join(" + "),
        };
        format!("{} cores of {}, {gib} GiB, {gpus}", self.cores, self.cpu)
    }
}

/// Returns how many CPUs this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

fn line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Returns a file of the kernel's, which does not tell its size, by one or two reads.
fn text(path: &str) -> Option<String> {
    let mut text = String::with_capacity(8192);
    fs::File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

fn load() -> f64 {
    let text = line("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn memory_limit() -> Option<u64> {
    let v2 = line("/sys/fs/cgroup/memory.max");
    let limit = v2.or_else(|| line("/sys/fs/cgroup/memory/memory.limit_in_bytes"))?;
    // Version 1 writes "no limit" as a number near 2^63.
    limit.parse::<u64>().ok().filter(|limit| *limit < 1 << 50)
}

/// Returns how often the kernel has killed in this control group for want of memory, if it counts that.
pub fn oom_kills_in_cgroup() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| {
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    })
}

/// Counters of the whole machine, to see what else it did while a job ran.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    busy_ticks: u64,
    steal_ticks: u64,
    total_ticks: u64,
    swapped_pages: u64,
    /// How often the kernel has killed for want of memory, in a cgroup or as a whole.
    oom_kills: u64,
}

/// Share of the machine's CPU time that others may take before a run counts as disturbed.
const FOREIGN_SHARE: f64 = 0.10;
/// Share that the hypervisor may take.
const STEAL_SHARE: f64 = 0.02;
/// Pages read from swap that count as a disturbance.
const SWAPPED_PAGES: u64 = 1_000;

impl Counters {
    /// Returns the counters now, if the kernel has them.
    pub fn read() -> Option<Counters> {
        let stat = text("/proc/stat")?;
        let ticks = stat.lines().next()?.split_whitespace().skip(1).map(str::parse::<u64>);
        let ticks = ticks.collect::<Result<Vec<_>, _>>().ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *ticks.first_chunk()?;
        let vmstat = text("/proc/vmstat").unwrap_or_default();
        let busy_ticks = user + nice + system + irq + softirq;
        Some(Counters {
            busy_ticks,
            steal_ticks: steal,
            total_ticks: busy_ticks + idle + iowait + steal,
            swapped_pages: counter(&vmstat, "pswpin "),
            oom_kills: counter(&vmstat, "oom_kill "),
        })
    }

    /// Returns how often the kernel has killed for want of memory since `before`.
    pub fn oom_kills_since(&self, before: &Counters) -> u64 {
        self.oom_kills.saturating_sub(before.oom_kills)
    }

    /// Returns what disturbed a job that used `cpu_seconds` since `before`.
    pub fn disturbance(&self, before: &Counters, cpu_seconds: f64) -> Option<String> {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1) as f64;
        let since = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let total = since(self.total_ticks, before.total_ticks);
        if total < ticks_per_second {
            return None; // Too short to tell.
        }
        let busy = since(self.busy_ticks, before.busy_ticks);
        let foreign = (busy - cpu_seconds * ticks_per_second) / total;
        let steal = since(self.steal_ticks, before.steal_ticks) / total;
        let swapped = self.swapped_pages.saturating_sub(before.swapped_pages);
        if steal > STEAL_SHARE {
            Some(format!("the hypervisor took {:.0} % of the CPU time", steal * 100.0))
        } else if foreign > FOREIGN_SHARE {
            Some(format!("other processes used {:.0} % of the CPU time", foreign * 100.0))
        } else if swapped > SWAPPED_PAGES {
            Some(format!("{swapped} pages were read from swap"))
        } else {
            None
        }
    }
}

/// Returns a counter of /proc/vmstat by its name and a blank, or 0 of a kernel that does not have it.
fn counter(vmstat: &str, name: &str) -> u64 {
    let count = vmstat.lines().find_map(|line| line.strip_prefix(name));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Counters, counter};

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let vmstat = "pswpin 7\noom_kill_x 1\noom_kill 3\n";
        assert_eq!(["pswpin ", "oom_kill ", "none "].map(|name| counter(vmstat, name)), [7, 3, 0]);
    }

    #[test]
    fn other_processes_steal_and_swap_disturb() {
        let before = Counters::default();
        let after = |busy, steal, swapped| Counters {
            busy_ticks: busy,
            steal_ticks: steal,
            total_ticks: 2_000,
            swapped_pages: swapped,
            oom_kills: 0,
        };
        let words = |counters: Counters, cpu| counters.disturbance(&before, cpu);
        assert_eq!(words(after(1_000, 0, 0), 9.5), None);
        assert!(words(after(1_900, 0, 0), 9.5).is_some_and(|why| why.contains("other")));
        assert!(words(after(1_000, 100, 0), 9.5).is_some_and(|why| why.contains("hypervisor")));
        assert!(words(after(1_000, 0, 5_000), 9.5).is_some_and(|why| why.contains("swap")));
    }
}
