//! The exact, ordered list of jobs, and each skipped combination with its reason.
//!
//! Pure: may not know processes, files or the terminal.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::catalog::{Catalog, Device, Framework, Lane, Target};
use crate::hint::{hinted, unknown};
use crate::obstacle::Obstacle;
use crate::spec::Experiment;

/// What a person asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Experiments by name; empty means all.
    pub experiments: Vec<String>,
    /// Frameworks or targets by name; empty means the starter set, or all with `all`.
    pub frameworks: Vec<String>,
    /// Devices; empty means the CPU, and the GPU where there is one.
    pub devices: Vec<Device>,
    pub all: bool,
    pub era: Option<crate::catalog::Era>,
    /// The lane of what is not named; absent for both.
    pub lane: Option<Lane>,
    /// Absent for a check, which has a size of its own.
    pub profile: Option<String>,
    pub repeats: u32,
    /// Seed of the order of the jobs within a round.
    pub order_seed: u64,
    /// Whether every target whose harnesses are scripts runs in the interpreter that the user named;
    /// programs that are compiled have their pinned environment all the same.
    pub is_system: bool,
}

/// One process to run.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    pub experiment: &'a Experiment,
    pub framework: &'a Framework,
    pub target: &'a Target,
    pub device: Device,
    pub profile: String,
    /// 1, 2, …
    pub repeat: u32,
}

impl Job<'_> {
    /// Returns the job's name, which is also its folder's.
    pub fn name(&self) -> String {
        let (experiment, target) = (self.experiment.name(), &self.target.name);
        format!("{experiment}.{target}.{}.{}", self.device, self.repeat)
    }

    /// Whether its target can compute the experiment in float64.
    pub fn has_float64(&self) -> bool {
        self.target.float64.has(self.experiment.name())
    }
}

/// A combination that was asked for and cannot run.
#[derive(Debug, Clone)]
pub struct Skip<'a> {
    pub experiment: &'a Experiment,
    pub framework: &'a Framework,
    pub target: &'a Target,
    pub device: Device,
    pub obstacle: Obstacle,
}

/// What will be run, and what not.
#[derive(Debug, Clone, Default)]
pub struct Plan<'a> {
    pub jobs: Vec<Job<'a>>,
    pub skips: Vec<Skip<'a>>,
}

/// Returns the plan for what was asked on a machine with (`has_gpu`) or without a GPU.
pub fn plan<'a>(
    wanted: &Wanted,
    experiments: &'a [Experiment],
    catalog: &'a Catalog,
    has_gpu: bool,
) -> Result<Plan<'a>> {
    let chosen = choose_experiments(wanted, experiments)?;
    let targets = choose_targets(wanted, catalog)?;
    let devices = match wanted.devices.as_slice() {
        [] if has_gpu => vec![Device::Cpu, Device::Cuda],
        [] => vec![Device::Cpu],
        named => named.to_vec(),
    };
    let mut plan = Plan::default();
    for experiment in chosen {
        if let Some(profile) = &wanted.profile {
            experiment.profile(profile)?;
        }
        for repeat in 1..=wanted.repeats.max(1) {
            let mut round = Vec::new();
            for &device in &devices {
                for &(framework, target) in &targets {
                    let profile = wanted.profile.clone().unwrap_or_else(|| "check".to_owned());
                    let job = Job { experiment, framework, target, device, profile, repeat };
                    match fate(&job, wanted, has_gpu) {
                        Fate::Runs => round.push(job),
                        Fate::Skipped(obstacle) if repeat == 1 => {
                            plan.skips.push(Skip {
                                experiment,
                                framework,
                                target,
                                device,
                                obstacle,
                            });
                        }
                        Fate::Skipped(_) | Fate::NotOffered => {}
                    }
                }
            }
            if wanted.profile.is_some() {
                shuffle(&mut round, wanted.order_seed ^ u64::from(repeat));
            }
            plan.jobs.extend(round);
        }
    }
    if plan.jobs.is_empty() && plan.skips.is_empty() {
        return Err(hinted(
            "nothing to run: no harness matches what was asked for",
            "`rosetta list` shows which experiments each framework has",
        ));
    }
    Ok(plan)
}

fn choose_experiments<'a>(
    wanted: &Wanted,
    experiments: &'a [Experiment],
) -> Result<Vec<&'a Experiment>> {
    let known = experiments.iter().map(Experiment::name);
    for name in &wanted.experiments {
        if !known.clone().any(|one| one == name) {
            return Err(unknown("experiment", name, known));
        }
    }
    let is_chosen = |e: &&Experiment| {
        wanted.experiments.is_empty() || wanted.experiments.iter().any(|name| name == e.name())
    };
    Ok(experiments.iter().filter(is_chosen).collect())
}

/// Returns the targets that were asked for, in the order of the catalog.
pub fn choose_targets<'a>(
    wanted: &Wanted,
    catalog: &'a Catalog,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let all = catalog.targets().collect::<Vec<_>>();
    let names = |f: &'a Framework, t: &'a Target| [f.spec.name.as_str(), t.name.as_str()];
    let known = all.iter().flat_map(|(f, t)| names(f, t)).collect::<BTreeSet<_>>();
    for name in &wanted.frameworks {
        if !known.contains(name.as_str()) {
            return Err(unknown("framework", name, known.iter().copied()));
        }
    }
    let is_chosen = |(framework, target): &(&'a Framework, &'a Target)| {
        let named = names(framework, target);
        let of_era = wanted.era.is_none_or(|era| framework.spec.era == era);
        let of_lane = wanted.lane.is_none_or(|lane| target.lane == lane);
        let is_tuned = target.lane == Lane::Tuned;
        let by_name = match wanted.frameworks.as_slice() {
            [] => of_lane && (wanted.all || wanted.era.is_some() || target.starter || is_tuned),
            list => list.iter().any(|name| named.contains(&name.as_str())),
        };
        of_era && by_name
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// What becomes of a combination.
enum Fate {
    Runs,
    /// It was asked for and cannot run.
    Skipped(Obstacle),
    /// There is no such thing and nobody named it: nothing to tell.
    NotOffered,
}

fn fate(job: &Job, wanted: &Wanted, has_gpu: bool) -> Fate {
    let (experiment, framework) = (job.experiment.name(), job.framework);
    if !framework.harnesses.contains_key(experiment) {
        let is_named = !wanted.frameworks.is_empty() && !wanted.experiments.is_empty();
        let reason = format!("{} has no harness for {experiment}", framework.spec.name);
        return absent(reason, is_named);
    }
    let is_system = wanted.is_system && framework.runs_in_an_interpreter();
    if !is_system && !job.target.env.contains_key(&job.device) {
        let is_asked = wanted.devices.contains(&job.device);
        let reason = format!("{} has no environment for {}", job.target.name, job.device);
        return absent(reason, is_asked);
    }
    if job.device == Device::Cuda && !has_gpu {
        let hint = "`rosetta doctor` tells what rosetta sees of the GPU";
        return Fate::Skipped(Obstacle::new("no CUDA GPU here", hint));
    }
    Fate::Runs
}

fn absent(reason: String, is_asked_for: bool) -> Fate {
    match is_asked_for {
        true => Fate::Skipped(Obstacle::without_hint(reason)),
        false => Fate::NotOffered,
    }
}

/// Shuffles the jobs of a round, so that drift of the machine hits all targets alike.
fn shuffle<T>(items: &mut [T], seed: u64) {
    // SplitMix64: an order needs no better randomness, and stays the same for ever.
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let index = (mixed ^ (mixed >> 31)) % (last as u64 + 1);
        items.swap(last, usize::try_from(index).expect("an index below `last` fits"));
    }
}
