//! What of a machine holds every installation back: what was found, what it could be, and the command that changes it. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::gpu::Gpu;
use crate::machine::{Limits, Machine, PowerLimit, numbers};

/// One thing that holds a machine back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    pub what: String,
    /// The command that changes it.
    pub change: Option<String>,
}

impl HeldBack {
    fn new(what: impl Into<String>, change: impl Into<String>) -> HeldBack {
        HeldBack { what: what.into(), change: Some(change.into()) }
    }

    /// Returns both as one sentence.
    pub fn words(&self) -> String {
        let change = self.change.as_ref().map(|change| format!("; `{change}` changes that"));
        self.what.clone() + &change.unwrap_or_default()
    }
}

/// Returns what holds the processors of a machine back.
pub fn held_back(machine: &Machine, limits: &Limits) -> Vec<HeldBack> {
    let mut found = Vec::new();
    found.extend(governor(machine, limits));
    found.extend(slow_cpus(limits));
    found.extend(turbo(machine, limits));
    found.extend(power(limits));
    found.extend(quota(limits));
    found.extend(nodes(limits));
    found.extend(memory(limits));
    found
}

fn governor(machine: &Machine, limits: &Limits) -> Option<HeldBack> {
    let name = limits.governor.as_ref().or(machine.governor.as_ref())?;
    if name == "performance" {
        return None;
    }
    // Of other drivers `powersave` follows the load, as `schedutil` does of these.
    let driver = limits.clock_driver.as_deref().unwrap_or_default();
    let is_pinned = name == "powersave" && ["acpi-cpufreq", "cppc_cpufreq"].contains(&driver);
    let pinned = if is_pinned { ", which keeps them at their lowest clock" } else { "" };
    let what = format!("the governor of the CPUs is `{name}`{pinned}, not `performance`");
    Some(HeldBack::new(what, "sudo cpupower frequency-set --governor performance"))
}

fn slow_cpus(limits: &Limits) -> Vec<HeldBack> {
    let mut found = Vec::new();
    if let Some(worst) = limits.slow_cpus.iter().min_by_key(|slow| slow.limit_khz) {
        let [limit, most] = [worst.limit_khz, worst.most_khz].map(|khz| khz / 1000);
        let (slow, all) = (limits.slow_cpus.len(), limits.cpus.len());
        let what = format!(
            "{slow} of {all} CPUs may not reach their clock: CPU {} is kept to {limit} MHz of {most}",
            worst.cpu
        );
        found.push(HeldBack::new(what, format!("sudo cpupower frequency-set --max {most}MHz")));
    }
    if let Some(percent) = limits.most_percent.filter(|percent| *percent < 100) {
        let file = "/sys/devices/system/cpu/intel_pstate/max_perf_pct";
        let what = format!("the CPUs are kept to {percent} % of their clock, not 100 %");
        found.push(HeldBack::new(what, format!("echo 100 | sudo tee {file}")));
    }
    found
}

fn turbo(machine: &Machine, limits: &Limits) -> Option<HeldBack> {
    let what = "the CPU's turbo is off, not on";
    match &limits.turbo {
        Some(turbo) => (!turbo.is_on)
            .then(|| HeldBack::new(what, format!("echo {} | sudo tee {}", turbo.on, turbo.file))),
        None => {
            (machine.turbo == Some(false)).then(|| HeldBack { what: what.to_owned(), change: None })
        }
    }
}

fn power(limits: &Limits) -> Vec<HeldBack> {
    let say = |limit: &PowerLimit| {
        let what = format!(
            "the power of {} is limited to {:.0} W, of {:.0} W that are possible",
            limit.name, limit.watts, limit.most_watts
        );
        let microwatts = (limit.most_watts * 1e6).round() as u64;
        HeldBack::new(what, format!("echo {microwatts} | sudo tee {}", limit.file))
    };
    limits.power.iter().map(say).collect()
}

fn quota(limits: &Limits) -> Option<HeldBack> {
    let quota = limits.quota.as_ref()?;
    let all = limits.cpus.len();
    let what = format!(
        "the control group allows the time of {:.1} CPUs, of {all} that may be used ({})",
        quota.cpus, quota.file
    );
    let change = match quota.file.ends_with("cpu.max") {
        true => format!("echo max | sudo tee {}", quota.file),
        false => format!("echo -1 | sudo tee {}", quota.file),
    };
    (quota.cpus < all as f64).then(|| HeldBack::new(what, change))
}

fn list(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the nodes on which the CPUs are.
fn nodes_of_cpus(limits: &Limits) -> BTreeSet<u32> {
    let has_own = |cpus: &BTreeSet<u32>| !cpus.is_disjoint(&limits.cpus);
    limits.nodes.iter().filter(|(_, cpus)| has_own(cpus)).map(|(node, _)| *node).collect()
}

fn nodes(limits: &Limits) -> Option<HeldBack> {
    let nodes = nodes_of_cpus(limits);
    let first = nodes.first().filter(|_| nodes.len() > 1)?;
    let what = format!(
        "the CPUs are of NUMA nodes {}, not of one: memory of another node is slower",
        list(nodes.iter().copied())
    );
    Some(HeldBack::new(what, on_node(*first)))
}

/// Returns how to run on one NUMA node, with its CPUs and its memory.
fn on_node(node: u32) -> String {
    format!("numactl --cpunodebind={node} --membind={node} rosetta …")
}

fn memory(limits: &Limits) -> Option<HeldBack> {
    let nodes = nodes_of_cpus(limits);
    // `bind:1` and the like, or what the control group and the kernel allow.
    let policy = limits.memory_policy.as_deref().and_then(|policy| policy.split_once(':'));
    let bound = policy.filter(|(kind, _)| kind.starts_with("bind") || kind.starts_with("prefer"));
    let memory = match bound {
        Some((_, list)) => numbers(list),
        None => limits.memory_nodes.clone(),
    };
    let is_apart = !nodes.is_empty() && !memory.is_empty() && memory.is_disjoint(&nodes);
    let first = nodes.first().filter(|_| is_apart)?;
    let (own, far) = (list(nodes.iter().copied()), list(memory));
    let what = format!("memory is taken from NUMA node {far}, the CPUs are of node {own}");
    Some(HeldBack::new(what, on_node(*first)))
}

/// What NVML calls reasons for lower clocks, and what each means; idleness is none.
const REASONS: [(&str, &str, &str); 8] = [
    ("SW_POWER_CAP", "its power limit", "nvidia-smi -q -d POWER"),
    (
        "HW_POWER_BRAKE_SLOWDOWN",
        "the power supply (hardware power brake)",
        "nvidia-smi -q -d POWER",
    ),
    ("HW_THERMAL_SLOWDOWN", "heat (hardware)", "nvidia-smi -q -d TEMPERATURE"),
    ("SW_THERMAL_SLOWDOWN", "heat (driver)", "nvidia-smi -q -d TEMPERATURE"),
    ("HW_SLOWDOWN", "the hardware: heat or power", "nvidia-smi -q -d PERFORMANCE"),
    (
        "APPLICATIONS_CLOCKS_SETTING",
        "clocks that were set for applications",
        "sudo nvidia-smi -rac",
    ),
    ("SYNC_BOOST", "a group of GPUs with one clock", "nvidia-smi -q -d PERFORMANCE"),
    ("DISPLAY_CLOCK_SETTING", "the clock of a display", "nvidia-smi -q -d PERFORMANCE"),
];

/// A limit may be rounded by the driver.
const SAME_WATTS: f64 = 1.0;

/// Returns what holds GPUs back.
pub fn held_back_gpus(gpus: &[Gpu]) -> Vec<HeldBack> {
    let mut found = Vec::new();
    for gpu in gpus {
        let name = &gpu.name;
        if let (Some(limit), Some(usual)) = (gpu.power_limit_w, gpu.power_default_w)
            && limit + SAME_WATTS < usual
        {
            let what = format!("{name} is limited to {limit:.0} W, of {usual:.0} W by default");
            found.push(HeldBack::new(what, format!("sudo nvidia-smi -pl {usual:.0}")));
        }
        let told = gpu.throttle.as_deref().unwrap_or_default();
        let told = told.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let told = told.collect::<BTreeSet<_>>();
        for (_, why, command) in REASONS.iter().filter(|(reason, ..)| told.contains(reason)) {
            let what = format!("the clocks of {name} are held down by {why}");
            let is_query = command.starts_with("nvidia-smi -q");
            let change = (!is_query).then(|| (*command).to_owned());
            let what = if is_query { format!("{what} (`{command}` tells more)") } else { what };
            found.push(HeldBack { what, change });
        }
        if gpu.is_split == Some(true) {
            let what = format!("{name} is split into instances (MIG)");
            found.push(HeldBack::new(what, "sudo nvidia-smi -mig 0"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Quota, SlowCpu, Turbo};

    fn found(limits: &Limits) -> Vec<String> {
        held_back(&Machine::default(), limits).iter().map(HeldBack::words).collect()
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_told() {
        assert_eq!(found(&Limits::default()), Vec::<String>::new());
        let calm = Limits {
            cpus: (0..4).collect(),
            governor: Some("performance".to_owned()),
            most_percent: Some(100),
            turbo: Some(Turbo { is_on: true, file: "x".to_owned(), on: "1" }),
            quota: Some(Quota { cpus: 4.0, file: "/x/cpu.max".to_owned() }),
            nodes: [(0, (0..4).collect()), (1, (4..8).collect())].into(),
            memory_nodes: [0, 1].into(),
            memory_policy: Some("interleave:0-1".to_owned()),
            ..Limits::default()
        };
        assert_eq!(found(&calm), Vec::<String>::new());
        assert_eq!(held_back_gpus(&[Gpu::default()]), Vec::new());
    }

    #[test]
    fn each_thing_has_what_was_found_what_could_be_and_a_command() {
        let slow = |cpu, limit_khz| SlowCpu { cpu, limit_khz, most_khz: 3_500_000 };
        let limits = Limits {
            cpus: (2..6).collect(),
            clock_driver: Some("acpi-cpufreq".to_owned()),
            governor: Some("powersave".to_owned()),
            slow_cpus: vec![slow(2, 2_500_000), slow(3, 2_000_000)],
            most_percent: Some(60),
            turbo: Some(Turbo { is_on: false, file: "/sys/x/no_turbo".to_owned(), on: "0" }),
            power: vec![PowerLimit {
                name: "package-0 long_term".to_owned(),
                file: "/sys/x/constraint_0_power_limit_uw".to_owned(),
                watts: 45.0,
                most_watts: 95.0,
            }],
            quota: Some(Quota { cpus: 1.5, file: "/sys/fs/cgroup/a/cpu.max".to_owned() }),
            nodes: [(0, (0..4).collect()), (1, (4..8).collect()), (2, (8..9).collect())].into(),
            memory_nodes: [2].into(),
            memory_policy: None,
        };
        assert_eq!(
            found(&limits),
            [
                "the governor of the CPUs is `powersave`, which keeps them at their lowest clock, not `performance`; \
                 `sudo cpupower frequency-set --governor performance` changes that",
                "2 of 4 CPUs may not reach their clock: CPU 3 is kept to 2000 MHz of 3500; \
                 `sudo cpupower frequency-set --max 3500MHz` changes that",
                "the CPUs are kept to 60 % of their clock, not 100 %; \
                 `echo 100 | sudo tee /sys/devices/system/cpu/intel_pstate/max_perf_pct` changes that",
                "the CPU's turbo is off, not on; `echo 0 | sudo tee /sys/x/no_turbo` changes that",
                "the power of package-0 long_term is limited to 45 W, of 95 W that are possible; \
                 `echo 95000000 | sudo tee /sys/x/constraint_0_power_limit_uw` changes that",
                "the control group allows the time of 1.5 CPUs, of 4 that may be used (/sys/fs/cgroup/a/cpu.max); \
                 `echo max | sudo tee /sys/fs/cgroup/a/cpu.max` changes that",
                "the CPUs are of NUMA nodes 0, 1, not of one: memory of another node is slower; \
                 `numactl --cpunodebind=0 --membind=0 rosetta …` changes that",
                "memory is taken from NUMA node 2, the CPUs are of node 0, 1; \
                 `numactl --cpunodebind=0 --membind=0 rosetta …` changes that",
            ]
        );
    }

    #[test]
    fn a_policy_of_memory_counts_before_what_is_allowed() {
        let mut limits = Limits {
            cpus: [0].into(),
            nodes: [(0, [0].into()), (1, [1].into())].into(),
            memory_nodes: [0, 1].into(),
            memory_policy: Some("bind:1".to_owned()),
            ..Limits::default()
        };
        assert!(
            found(&limits)[0]
                .starts_with("memory is taken from NUMA node 1, the CPUs are of node 0")
        );
        limits.memory_policy = Some("prefer=relative:1".to_owned());
        assert_eq!(found(&limits).len(), 1);
        limits.memory_policy = None;
        assert_eq!(found(&limits), Vec::<String>::new());
    }

    #[test]
    fn gpus_are_held_back_by_limits_and_not_by_idleness() {
        let gpu = |throttle: &str, limit| Gpu {
            name: "H100".to_owned(),
            throttle: Some(format!("ThrottleReasons({throttle})")),
            power_limit_w: Some(limit),
            power_default_w: Some(700.0),
            ..Gpu::default()
        };
        let words =
            |gpu: Gpu| held_back_gpus(&[gpu]).iter().map(HeldBack::words).collect::<Vec<_>>();
        assert_eq!(words(gpu("GPU_IDLE", 700.0)), Vec::<String>::new());
        assert_eq!(
            words(gpu("SW_POWER_CAP | HW_THERMAL_SLOWDOWN", 500.0)),
            [
                "H100 is limited to 500 W, of 700 W by default; `sudo nvidia-smi -pl 700` changes that",
                "the clocks of H100 are held down by its power limit (`nvidia-smi -q -d POWER` tells more)",
                "the clocks of H100 are held down by heat (hardware) (`nvidia-smi -q -d TEMPERATURE` tells more)",
            ]
        );
        assert_eq!(words(gpu("HW_SLOWDOWN", 700.0)).len(), 1, "and not the thermal one too");
    }
}
