//! The exact, ordered list of jobs, and each skipped combination with its reason.
//!
//! Pure: must not depend on processes, files or the terminal. The same request, experiments, catalog
//! and GPU give the same plan, so that a stored request can be planned again.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::catalog::{Catalog, Device, Framework, Lane, Target, split_version};
use crate::gpu::Gpu;
use crate::hint::{hinted, unknown};
use crate::obstacle::Obstacle;
use crate::request::Request;
use crate::spec::Experiment;

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
    /// Whether a job was skipped because its environment lacks something here.
    pub is_something_missing: bool,
}

impl Plan<'_> {
    /// Returns whether something that was named is skipped because it is missing here. Who names a framework wants it: under
    /// cron a missing compiler must not end in green.
    pub fn lacks_what_was_named(&self, request: &Request) -> bool {
        !request.frameworks.is_empty() && self.is_something_missing
    }
}

/// Returns the plan for what was asked on a machine with these GPUs.
pub fn plan<'a>(
    request: &Request,
    experiments: &'a [Experiment],
    catalog: &'a Catalog,
    gpus: &[Gpu],
) -> Result<Plan<'a>> {
    let has_gpu = !gpus.is_empty();
    refuse_programs_of_scripts(request, catalog)?;
    let chosen = choose_experiments(request, experiments, catalog)?;
    let targets = choose_targets(request, catalog)?;
    let devices = match request.devices.as_slice() {
        [] if has_gpu => vec![Device::Cpu, Device::Cuda],
        [] => vec![Device::Cpu],
        named => named.to_vec(),
    };
    let mut plan = Plan::default();
    for experiment in chosen {
        if let Some(profile) = &request.profile {
            experiment.profile(profile)?;
        }
        for repeat in 1..=request.repeats.max(1) {
            let mut round = Vec::new();
            for &device in &devices {
                for &(framework, target) in &targets {
                    let profile = request.profile.clone().unwrap_or_else(|| "check".to_owned());
                    let job = Job { experiment, framework, target, device, profile, repeat };
                    match standing(&job, request, catalog, gpus) {
                        Standing::Runs => round.push(job),
                        Standing::Skipped(obstacle) if repeat == 1 => {
                            plan.skips.push(Skip {
                                experiment,
                                framework,
                                target,
                                device,
                                obstacle,
                            });
                        }
                        Standing::Skipped(_) | Standing::NotOffered => {}
                    }
                }
            }
            if request.profile.is_some() {
                shuffle(&mut round, request.order_seed ^ u64::from(repeat));
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

/// Ends with an error if programs were named for a framework that is not there or whose harnesses are not compiled.
fn refuse_programs_of_scripts(request: &Request, catalog: &Catalog) -> Result<()> {
    for name in request.programs.keys() {
        let known = catalog.frameworks.iter();
        let Some(framework) = known.clone().find(|framework| framework.spec.name == *name) else {
            return Err(unknown("framework", name, known.map(|one| one.spec.name.as_str())));
        };
        if framework.runs_in_an_interpreter() {
            return Err(hinted(
                format!("`--programs {name}=…`: the harnesses of {name} are scripts"),
                "name an interpreter that has it: `--python PATH`",
            ));
        }
    }
    Ok(())
}

/// Returns the experiments that were asked for.
pub fn choose_experiments<'a>(
    request: &Request,
    experiments: &'a [Experiment],
    catalog: &Catalog,
) -> Result<Vec<&'a Experiment>> {
    let known = experiments.iter().map(Experiment::name);
    for name in &request.experiments {
        if !known.clone().any(|one| is_same(one, name)) {
            return Err(match is_target(name, catalog) {
                true => hinted(
                    format!("`{name}` is a framework, not an experiment"),
                    format!("name it with `-f {name}`"),
                ),
                false => unknown("experiment", name, known),
            });
        }
    }
    let is_chosen = |e: &&Experiment| {
        let mut names = request.experiments.iter();
        request.experiments.is_empty() || names.any(|name| is_same(name, e.name()))
    };
    Ok(experiments.iter().filter(is_chosen).collect())
}

/// Whether a person who writes one name means the other.
fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_target(name: &str, catalog: &Catalog) -> bool {
    let mut targets = catalog.targets();
    targets.any(|(f, t)| is_same(name, &f.spec.name) || is_same(name, &t.name))
}

/// What people call some frameworks, and the names that they have here.
const ALSO_CALLED: [(&str, &str); 4] =
    [("torch", "pytorch"), ("tf", "tensorflow"), ("flax", "jax"), ("paddlepaddle", "paddle")];

/// Returns the name that is meant by one that was typed.
fn meant(name: &str) -> &str {
    let called = ALSO_CALLED.iter().find(|(called, _)| is_same(called, name));
    called.map_or(name, |(_, here)| here)
}

/// Returns the targets that were asked for, in the order of the catalog.
pub fn choose_targets<'a>(
    request: &Request,
    catalog: &'a Catalog,
) -> Result<Vec<(&'a Framework, &'a Target)>> {
    let all = catalog.targets().collect::<Vec<_>>();
    let known = all.iter().flat_map(|(f, t)| names(f, t)).collect::<BTreeSet<_>>();
    let wanted = request.frameworks.iter().map(|name| meant(name)).collect::<Vec<_>>();
    for name in &wanted {
        if !known.iter().any(|one| is_same(one, name)) {
            if let Some(error) = not_kept(name, &known) {
                return Err(error);
            }
            return Err(match name.split_whitespace().collect::<Vec<_>>()[..] {
                [first, second, ..] => hinted(
                    format!("unknown framework `{name}`"),
                    format!("separate names by commas: `-f {first},{second}`"),
                ),
                _ => unknown("framework", name, known.iter().copied()),
            });
        }
    }
    let is_chosen = |framework: &Framework, target: &Target| {
        let named = names(framework, target);
        let of_lane = request.lane.is_none_or(|lane| target.lane == lane);
        let is_tuned = target.lane == Lane::Tuned;
        let by_name = match wanted.as_slice() {
            [] => of_lane && (request.all || request.era.is_some() || target.starter || is_tuned),
            list => list.iter().any(|name| named.iter().any(|one| is_same(one, name))),
        };
        is_of_era(framework, request) && by_name
    };
    let mut chosen = Vec::new();
    for (framework, target) in all {
        let is_wanted = match split_version(&target.name) {
            (_, None) => is_chosen(framework, target),
            // Of kept versions those that are named, and the newest of what is chosen if it is asked for.
            (of, Some(_)) => {
                let mut pinned = framework.spec.targets.iter().filter(|one| one.name == of);
                let is_named = wanted.iter().any(|name| is_same(&target.name, name));
                let is_newest = request.newest && catalog.is_newest(target);
                is_named && is_of_era(framework, request)
                    || is_newest && pinned.any(|pinned| is_chosen(framework, pinned))
            }
        };
        if is_wanted {
            chosen.push((framework, target));
        }
    }
    Ok(chosen)
}

/// Returns the names by which a target may be asked for.
fn names<'a>(framework: &'a Framework, target: &'a Target) -> [&'a str; 2] {
    [&framework.spec.name, &target.name]
}

fn is_of_era(framework: &Framework, request: &Request) -> bool {
    request.era.is_none_or(|era| framework.spec.era == era)
}

/// Returns the error for a version of which no lock is kept, if its name has one that is known.
fn not_kept(name: &str, known: &BTreeSet<&str>) -> Option<anyhow::Error> {
    let (of, version) = split_version(name);
    let version = version.filter(|_| known.contains(of))?;
    let kept = known.iter().filter_map(|one| match split_version(one) {
        (name, Some(kept)) if name == of => Some(kept),
        _ => None,
    });
    let kept = match kept.collect::<Vec<_>>() {
        kept if kept.is_empty() => "no other version than the pinned one is kept".to_owned(),
        kept => format!("kept: `{}`", kept.join("`, `")),
    };
    let hint = format!("`rosetta env update {name}` makes and keeps it");
    Some(hinted(format!("version {version} of `{of}` is not kept; {kept}"), hint))
}

/// What becomes of a combination.
enum Standing {
    Runs,
    /// It was asked for and cannot run.
    Skipped(Obstacle),
    /// There is no such thing and nobody named it: nothing to tell.
    NotOffered,
}

fn standing(job: &Job, request: &Request, catalog: &Catalog, gpus: &[Gpu]) -> Standing {
    let (experiment, framework) = (job.experiment.name(), job.framework);
    if !framework.harnesses.contains_key(experiment) {
        let is_named = !request.frameworks.is_empty() && !request.experiments.is_empty();
        let reason = format!("{} has no harness for {experiment}", framework.spec.name);
        let others = framework.harnesses.keys().map(String::as_str).collect::<Vec<_>>();
        let hint = format!("it has harnesses for `{}`", others.join("`, `"));
        return absent(Obstacle::new(reason, hint), is_named);
    }
    let is_own = request.is_own(framework);
    if let (true, Some(version)) = (is_own, job.target.kept_version()) {
        let reason = format!("it is {version} as its lock has it; yours is what it is");
        let hint =
            format!("name `{}`, or leave `--python` and `--programs` out", framework.spec.name);
        return Standing::Skipped(Obstacle::new(reason, hint));
    }
    if !is_own && !job.target.env.contains_key(&job.device) {
        let is_asked = request.devices.contains(&job.device);
        let reason = format!("{} has no environment for {}", job.target.name, job.device);
        return absent(Obstacle::without_hint(reason), is_asked);
    }
    if job.device == Device::Cuda && gpus.is_empty() {
        let hint = "`rosetta doctor` tells what rosetta sees of the GPU";
        return Standing::Skipped(Obstacle::new("no CUDA GPU here", hint));
    }
    if job.device == Device::Cuda
        && !is_own
        && let Some(why) = unmet(job, catalog, gpus)
    {
        let hint = "docs/hardware.md has which target runs on which GPU; `gpu` in env.yaml says it to rosetta";
        return Standing::Skipped(Obstacle::new(why, hint));
    }
    Standing::Runs
}

/// Returns why no GPU of the machine has what a job's environment needs.
fn unmet(job: &Job, catalog: &Catalog, gpus: &[Gpu]) -> Option<String> {
    let env = catalog.envs.get(&job.target.env.get(&job.device)?.value)?;
    env.gpu.as_ref()?.unmet(gpus)
}

fn absent(obstacle: Obstacle, is_asked_for: bool) -> Standing {
    match is_asked_for {
        true => Standing::Skipped(obstacle),
        false => Standing::NotOffered,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::catalog::FrameworkSpec;
    use crate::spec::Spec;
    use crate::variant::Variants;
    use crate::yaml;

    fn experiment() -> Experiment {
        let text = "version: 1\nname: tiny\ntitle: Tiny\ntask: classification\nseed: 7\n\
                    data: {files: {x_train: x.npy}}\nsettings: {}\n\
                    profiles: {quick: {rows: {}, timeout: 1s}}\n";
        let path = Path::new("tiny.yaml");
        let spec = yaml::parse::<Spec>(path, text).unwrap();
        Experiment { path: path.to_owned(), digest: String::new(), spec }
    }

    fn catalog() -> Catalog {
        let mut text = "version: 1\nname: fake\ntitle: Fake\nlanguage: python\nera: current\n\
                        targets:\n"
            .to_owned();
        for name in ["a", "b", "c", "d"] {
            text += &format!("  - {{name: {name}, title: {name}, env: {{cpu: e, cuda: e}}}}\n");
        }
        let framework = Framework {
            folder: "/fake".into(),
            spec: yaml::parse::<FrameworkSpec>(Path::new("framework.yaml"), &text).unwrap(),
            harnesses: BTreeMap::from([("tiny".to_owned(), "/fake/tiny.py".into())]),
            defaults: None,
            speed: None,
            variants: Variants::default(),
        };
        Catalog { frameworks: vec![framework], ..Catalog::default() }
    }

    fn names(request: &Request, has_gpu: bool) -> Vec<String> {
        let (experiments, catalog) = ([experiment()], catalog());
        let gpus = vec![Gpu::default(); usize::from(has_gpu)];
        let plan = plan(request, &experiments, &catalog, &gpus).unwrap();
        plan.jobs.iter().map(Job::name).collect()
    }

    #[test]
    fn a_stored_request_gives_the_same_plan() {
        let profile = Some("quick".to_owned());
        let request =
            Request { all: true, profile, repeats: 2, order_seed: 5, ..Request::default() };
        let stored = serde_json::to_string(&request).unwrap();
        let read = serde_json::from_str::<Request>(&stored).unwrap();
        for has_gpu in [false, true] {
            let jobs = names(&request, has_gpu);
            assert_eq!(jobs, names(&read, has_gpu));
            assert_eq!(jobs.len(), if has_gpu { 16 } else { 8 });
        }
        // Each round has an order of its own, the same for ever.
        let targets = names(&request, false).iter().map(|name| &name[5..6]).collect::<String>();
        assert_eq!(targets, "adbcbcad");
        // A check is not shuffled.
        let check = Request { all: true, ..Request::default() };
        let targets = names(&check, false).iter().map(|name| &name[5..6]).collect::<String>();
        assert_eq!(targets, "abcd");
    }

    #[test]
    fn what_has_no_code_for_the_gpu_is_skipped_with_that_reason() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let env = "version: 1\nname: e\nprovider: venv\npython: \"3.12\"\ngpu: {from: \"7.5\"}\n";
        write("envs/e/env.yaml", env);
        let loaded = Catalog::load(folder.path()).unwrap();
        let catalog = Catalog { envs: loaded.envs, ..catalog() };
        let k80 = Gpu {
            name: "Tesla K80".to_owned(),
            compute_capability: Some("3.7".to_owned()),
            ..Gpu::default()
        };
        let (experiments, request) = ([experiment()], Request { all: true, ..Request::default() });
        let plan = plan(&request, &experiments, &catalog, &[k80]).unwrap();
        assert!(plan.jobs.iter().all(|job| job.device == Device::Cpu) && plan.jobs.len() == 4);
        assert_eq!(plan.skips.len(), 4);
        let why = &plan.skips[0].obstacle.reason;
        assert_eq!(
            why,
            "it has no code for Tesla K80: found compute capability 3.7, needed is 7.5 or newer"
        );
    }
}
