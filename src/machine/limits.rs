//! What holds this machine's processors below what they could do, as the kernel tells it: clocks, power, quotas, NUMA.
//!
//! Reads /sys and /proc and judges nothing. What a kernel or a container does not tell is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The variable that names a folder whose `proc` and `sys` are read in place of this machine's, for tests.
const ROOT: &str = "ROSETTA_SYSTEM_ROOT";

/// The limits of the CPUs that this process may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Limits {
    /// CPUs that this process may use.
    pub cpus: BTreeSet<u32>,
    /// What chooses their clocks, such as `acpi-cpufreq` or `intel_pstate`.
    pub clock_driver: Option<String>,
    pub governor: Option<String>,
    /// The CPUs that may not reach the clock which they could.
    pub slow_cpus: Vec<SlowCpu>,
    /// Of Intel's driver: the share of its range that it may use.
    pub most_percent: Option<u32>,
    pub turbo: Option<Turbo>,
    /// What a package may use, where that is below what it could.
    pub power: Vec<PowerLimit>,
    /// CPUs' worth of time that the control groups allow.
    pub quota: Option<Quota>,
    /// The CPUs of each NUMA node that has some.
    pub nodes: BTreeMap<u32, BTreeSet<u32>>,
    /// The nodes from which memory may come.
    pub memory_nodes: BTreeSet<u32>,
    /// A policy of memory that somebody has set, such as `bind:1`.
    pub memory_policy: Option<String>,
}

/// A CPU that may not reach the clock which it could.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowCpu {
    pub cpu: u32,
    pub limit_khz: u64,
    pub most_khz: u64,
}

/// Whether clocks may rise above the nominal one, and the file that says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turbo {
    pub is_on: bool,
    pub file: String,
    /// What the file holds if they may.
    pub on: &'static str,
}

/// A limit of power that is below the most that the kernel names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerLimit {
    /// As `package-0 long_term`.
    pub name: String,
    pub file: String,
    pub watts: f64,
    pub most_watts: f64,
}

/// How much of the CPUs' time the control groups allow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quota {
    pub cpus: f64,
    pub file: String,
}

impl Limits {
    /// Returns the limits now.
    pub fn look() -> Limits {
        let root = std::env::var_os(ROOT).filter(|root| !root.is_empty());
        Limits::below(Path::new(root.as_deref().unwrap_or("/".as_ref())))
    }

    /// Returns what the `proc` and `sys` of a folder tell.
    pub fn below(root: &Path) -> Limits {
        let kernel = Kernel { root };
        let status = kernel.line("proc/self/status").unwrap_or_default();
        let cpus = list_of(&status, "Cpus_allowed_list:");
        let first = cpus.first();
        Limits {
            clock_driver: first.and_then(|cpu| kernel.clock_setting(*cpu, "scaling_driver")),
            governor: first.and_then(|cpu| kernel.governor(*cpu)),
            slow_cpus: cpus.iter().filter_map(|cpu| kernel.slow_cpu(*cpu)).collect(),
            most_percent: kernel.number(&format!("{CPUS}/intel_pstate/max_perf_pct")),
            turbo: kernel.turbo(),
            power: kernel.power(),
            quota: kernel.quota(),
            nodes: kernel.nodes(),
            memory_nodes: list_of(&status, "Mems_allowed_list:"),
            memory_policy: kernel.memory_policy(),
            cpus,
        }
    }
}

const CPUS: &str = "sys/devices/system/cpu";
const POWERCAP: &str = "sys/class/powercap";
const CGROUP: &str = "sys/fs/cgroup";

/// Where the kernel's files are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel<'a> {
    root: &'a Path,
}

impl Kernel<'_> {
    /// Returns that of this machine.
    pub(super) fn here() -> Kernel<'static> {
        Kernel { root: Path::new("/") }
    }

    fn line(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        self.line(path)?.parse().ok()
    }

    /// Returns the names in a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>();
        names.sort();
        names
    }

    fn slow_cpu(&self, cpu: u32) -> Option<SlowCpu> {
        let folder = format!("{CPUS}/cpu{cpu}/cpufreq");
        let limit_khz = self.number(&format!("{folder}/scaling_max_freq"))?;
        let most_khz = self.number(&format!("{folder}/cpuinfo_max_freq"))?;
        (limit_khz < most_khz).then_some(SlowCpu { cpu, limit_khz, most_khz })
    }

    fn clock_setting(&self, cpu: u32, name: &str) -> Option<String> {
        self.line(&format!("{CPUS}/cpu{cpu}/cpufreq/{name}"))
    }

    /// Returns by what rule the clock of a CPU is chosen.
    pub(super) fn governor(&self, cpu: u32) -> Option<String> {
        self.clock_setting(cpu, "scaling_governor")
    }

    pub(super) fn turbo(&self) -> Option<Turbo> {
        let files = [("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")];
        files.into_iter().find_map(|(name, on)| {
            let file = format!("{CPUS}/{name}");
            let is_on = self.line(&file)? == on;
            Some(Turbo { is_on, file: format!("/{file}"), on })
        })
    }

    fn power(&self) -> Vec<PowerLimit> {
        let mut found = Vec::new();
        for zone in self.names(POWERCAP) {
            let folder = format!("{POWERCAP}/{zone}");
            let name = self.line(&format!("{folder}/name")).unwrap_or(zone);
            // What is not enforced limits nothing.
            if self.line(&format!("{folder}/enabled")).as_deref() == Some("0") {
                continue;
            }
            for constraint in 0..4 {
                found.extend(self.power_limit(&name, &format!("{folder}/constraint_{constraint}")));
            }
        }
        found
    }

    fn power_limit(&self, zone: &str, constraint: &str) -> Option<PowerLimit> {
        let file = format!("{constraint}_power_limit_uw");
        let [microwatts, most] = [
            self.number::<u64>(&file)?,
            self.number::<u64>(&format!("{constraint}_max_power_uw"))?,
        ];
        let name = self.line(&format!("{constraint}_name")).unwrap_or_default();
        // Zero is what a driver says that knows of no limit, or of no most.
        (microwatts > 0 && microwatts < most).then(|| PowerLimit {
            name: format!("{zone} {name}").trim().to_owned(),
            file: format!("/{file}"),
            watts: microwatts as f64 / 1e6,
            most_watts: most as f64 / 1e6,
        })
    }

    /// Returns the smallest quota of the own control group and those above it.
    fn quota(&self) -> Option<Quota> {
        let groups = self.line("proc/self/cgroup").unwrap_or_default();
        let mut smallest = None::<Quota>;
        for line in groups.lines() {
            let [_, controllers, path] = *line.splitn(3, ':').collect::<Vec<_>>() else { continue };
            let is_of_cpu = controllers.split(',').any(|name| name == "cpu");
            let top = match controllers {
                "" => CGROUP.to_owned(),
                _ if is_of_cpu => format!("{CGROUP}/cpu"),
                _ => continue,
            };
            let own = PathBuf::from(format!("{top}/{}", path.trim_matches('/')));
            for group in own.ancestors().take_while(|group| group.starts_with(&top)) {
                let quota = self.quota_of(&group.to_string_lossy());
                let is_smaller =
                    |quota: &Quota| smallest.as_ref().is_none_or(|s| quota.cpus < s.cpus);
                if let Some(quota) = quota.filter(is_smaller) {
                    smallest = Some(quota);
                }
            }
        }
        smallest
    }

    fn quota_of(&self, group: &str) -> Option<Quota> {
        let group = group.trim_end_matches('/');
        let [file, old] = ["cpu.max", "cpu.cfs_quota_us"].map(|name| format!("{group}/{name}"));
        let (file, cpus) = match self.line(&file) {
            Some(text) => {
                // `max 100000` is none.
                let (quota, period) = text.split_once(' ')?;
                (file, quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
            }
            None => {
                let period = self.number::<f64>(&format!("{group}/cpu.cfs_period_us"))?;
                (old.clone(), self.number::<f64>(&old)? / period)
            }
        };
        // Version 1 writes -1 for none.
        (cpus.is_finite() && cpus > 0.0).then(|| Quota { cpus, file: format!("/{file}") })
    }

    fn nodes(&self) -> BTreeMap<u32, BTreeSet<u32>> {
        const NODES: &str = "sys/devices/system/node";
        let node = |name: String| {
            let number = name.strip_prefix("node")?.parse().ok()?;
            let cpus = numbers(&self.line(&format!("{NODES}/{name}/cpulist"))?);
            (!cpus.is_empty()).then_some((number, cpus))
        };
        self.names(NODES).into_iter().filter_map(node).collect()
    }

    fn memory_policy(&self) -> Option<String> {
        let maps = self.line("proc/self/numa_maps")?;
        let policy = maps.split_whitespace().nth(1)?;
        (policy != "default").then(|| policy.to_owned())
    }
}

/// Returns the list that a line of a process' status has.
fn list_of(status: &str, name: &str) -> BTreeSet<u32> {
    let list = status.lines().find_map(|line| line.strip_prefix(name));
    list.map(numbers).unwrap_or_default()
}

/// Returns the numbers of a list as the kernel writes it: `0-3,8`.
pub fn numbers(list: &str) -> BTreeSet<u32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a machine that has these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    const STATUS: (&str, &str) = (
        "proc/self/status",
        "Name:\trosetta\nCpus_allowed:\t0f\nCpus_allowed_list:\t0-2,5\nMems_allowed_list:\t1",
    );

    #[test]
    fn a_list_of_the_kernels_is_read() {
        assert_eq!(numbers("0-2,5\n"), BTreeSet::from([0, 1, 2, 5]));
        assert_eq!(numbers(""), BTreeSet::new());
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        assert_eq!(Limits::below(machine(&[]).path()), Limits::default());
        let zeros = [
            ("sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw", "0"),
            ("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "95000000"),
            ("sys/class/powercap/intel-rapl:1/constraint_0_power_limit_uw", "45000000"),
            ("sys/class/powercap/intel-rapl:1/constraint_0_max_power_uw", "0"),
            ("sys/class/powercap/intel-rapl:2/enabled", "0"),
            ("sys/class/powercap/intel-rapl:2/constraint_0_power_limit_uw", "45000000"),
            ("sys/class/powercap/intel-rapl:2/constraint_0_max_power_uw", "95000000"),
            ("proc/self/cgroup", "0::/user.slice/x"),
            ("sys/fs/cgroup/cpu.max", "max 100000"),
            ("sys/devices/system/node/node1/cpulist", ""),
            ("proc/self/numa_maps", "5581a6f4c000 default file=/bin/cat mapped=2"),
        ];
        assert_eq!(Limits::below(machine(&zeros).path()), Limits::default());
    }

    #[test]
    fn limits_are_read_of_the_cpus_that_may_be_used() {
        let root = machine(&[
            STATUS,
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "acpi-cpufreq"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "3500000"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3500000"),
            ("sys/devices/system/cpu/cpu5/cpufreq/scaling_max_freq", "2000000"),
            ("sys/devices/system/cpu/cpu5/cpufreq/cpuinfo_max_freq", "3500000"),
            // Of a CPU that may not be used.
            ("sys/devices/system/cpu/cpu7/cpufreq/scaling_max_freq", "1000000"),
            ("sys/devices/system/cpu/cpu7/cpufreq/cpuinfo_max_freq", "3500000"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1"),
            ("sys/devices/system/cpu/intel_pstate/max_perf_pct", "60"),
            ("sys/class/powercap/intel-rapl:0/name", "package-0"),
            ("sys/class/powercap/intel-rapl:0/enabled", "1"),
            ("sys/class/powercap/intel-rapl:0/constraint_0_name", "long_term"),
            ("sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw", "45000000"),
            ("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "95000000"),
            ("sys/class/powercap/intel-rapl:0/constraint_1_power_limit_uw", "120000000"),
            ("sys/class/powercap/intel-rapl:0/constraint_1_max_power_uw", "120000000"),
            ("proc/self/cgroup", "0::/a/b"),
            ("sys/fs/cgroup/a/b/cpu.max", "300000 100000"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000"),
            ("sys/devices/system/node/node0/cpulist", "0-3"),
            ("sys/devices/system/node/node1/cpulist", "4-7"),
            ("proc/self/numa_maps", "5581a6f4c000 bind:1 file=/bin/cat mapped=2"),
        ]);
        let slow = SlowCpu { cpu: 5, limit_khz: 2_000_000, most_khz: 3_500_000 };
        let power = PowerLimit {
            name: "package-0 long_term".to_owned(),
            file: "/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw".to_owned(),
            watts: 45.0,
            most_watts: 95.0,
        };
        let expected = Limits {
            cpus: BTreeSet::from([0, 1, 2, 5]),
            clock_driver: Some("acpi-cpufreq".to_owned()),
            governor: Some("powersave".to_owned()),
            slow_cpus: vec![slow],
            most_percent: Some(60),
            turbo: Some(Turbo {
                is_on: false,
                file: "/sys/devices/system/cpu/intel_pstate/no_turbo".to_owned(),
                on: "0",
            }),
            power: vec![power],
            quota: Some(Quota { cpus: 1.5, file: "/sys/fs/cgroup/a/cpu.max".to_owned() }),
            nodes: BTreeMap::from([(0, (0..4).collect()), (1, (4..8).collect())]),
            memory_nodes: BTreeSet::from([1]),
            memory_policy: Some("bind:1".to_owned()),
        };
        assert_eq!(Limits::below(root.path()), expected);
    }

    #[test]
    fn control_groups_of_version_1_have_quotas_too() {
        let root = machine(&[
            ("proc/self/cgroup", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/docker/x"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "200000"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000"),
        ]);
        let file = "/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us".to_owned();
        assert_eq!(Limits::below(root.path()).quota, Some(Quota { cpus: 2.0, file }));
    }
}
