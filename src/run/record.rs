//! A job, where it comes from and how it ended → its record. Pure: must not depend on files,
//! processes or the clock.

use super::attempt::Ending;
use super::outcome::{Scored, exit_mark};
use crate::env::Built;
use crate::fold::Fold;
use crate::gpu;
use crate::launch::Finished;
use crate::machine::Machine;
use crate::material::Material;
use crate::plan::Job;
use crate::proof::Equivalence;
use crate::record::{
    Cost, EnvIdentity, Fact, Inputs, Outcome, Record, Score, Times, VERSION, Version,
};

/// What is known of a job before it starts.
pub(super) struct JobOrigin<'a> {
    /// The run's id.
    pub(super) run: &'a str,
    pub(super) started: String,
    pub(super) threads: u32,
    pub(super) equivalence: Equivalence,
    pub(super) inputs: Inputs,
    pub(super) machine: Machine,
    pub(super) rosetta: &'a Version,
}

/// What became of a job.
pub(super) enum Became<'a> {
    NotStarted(Outcome),
    Ended { built: &'a Built, ending: &'a Ending, scored: Scored },
}

impl Record {
    /// Returns the record of a job.
    pub(super) fn of(job: &Job, origin: JobOrigin, became: Became) -> Record {
        let mut record = blank(job, origin);
        match became {
            Became::NotStarted(outcome) => record.outcome = outcome,
            Became::Ended { built, ending, scored } => {
                record.env = Some(identity(built));
                fill(&mut record, &ending.fold, &ending.finished);
                if let Some(usage) = &ending.finished.gpu {
                    fill_gpu(&mut record, usage);
                }
                if let Some(why) = &ending.finished.disturbance {
                    record.marks.push(format!("tainted: {why}"));
                }
                record.outcome = scored.outcome;
                record.score = scored.score;
                record.marks.extend(exit_mark(ending));
                record.marks.extend(scored.marks);
            }
        }
        record
    }
}

/// Returns what went into a job, by digest.
pub(super) fn inputs(job: &Job, material: Option<&Material>, harness_digest: String) -> Inputs {
    let order = material.and_then(|m| m.order.as_ref());
    Inputs {
        dataset: material.map(|m| m.dataset.name.clone()),
        source: material.map(|m| m.dataset.source),
        data_digest: material.map(|m| m.dataset.digest.clone()),
        weights_digest: material.map(|m| m.weights.digest.clone()),
        weights_source: material.map(|m| m.weights.source),
        order_digest: order.map(|order| order.digest.clone()),
        spec_digest: job.experiment.digest.clone(),
        harness_digest,
    }
}

/// Returns the record of a job of which nothing is known yet but who it is.
fn blank(job: &Job, origin: JobOrigin) -> Record {
    let framework = &job.framework.spec;
    Record {
        record: VERSION,
        run: origin.run.to_owned(),
        job: job.name(),
        experiment: job.experiment.name().to_owned(),
        task: job.experiment.spec.task,
        profile: job.profile.clone(),
        framework: framework.name.clone(),
        target: job.target.name.clone(),
        title: job.target.title.clone(),
        era: framework.era,
        year: framework.year_of(job.target),
        successor: job.target.successor.as_ref().map(|target| target.value.clone()),
        lane: job.target.lane,
        device: job.device,
        repeat: job.repeat,
        started: origin.started,
        outcome: Outcome::ok(),
        framework_version: None,
        score: Score::default(),
        equivalence: Some(origin.equivalence),
        times: Times::default(),
        epochs: Vec::new(),
        cost: Cost { threads_allowed: origin.threads, ..Cost::default() },
        facts: Vec::new(),
        metrics: Vec::new(),
        marks: Vec::new(),
        inputs: origin.inputs,
        env: None,
        machine: origin.machine,
        rosetta: origin.rosetta.clone(),
        earlier: Vec::new(),
    }
}

fn identity(built: &Built) -> EnvIdentity {
    let packages = built.packages.iter().map(|(name, version)| format!("{name}=={version}"));
    EnvIdentity {
        name: built.name.clone(),
        provider: built.provider.to_string(),
        digest: built.digest.clone(),
        lock_digest: built.lock_sha256.clone(),
        interpreter: built.interpreter_version().map(str::to_owned),
        packages: packages.collect(),
        found: built
            .found
            .iter()
            .map(|(name, value)| Fact { name: name.clone(), value: value.clone() })
            .collect(),
        wrap: built.wrap.clone(),
    }
}

/// Takes over what was measured.
fn fill(record: &mut Record, fold: &Fold, finished: &Finished) {
    record.framework_version = fold.hello.as_ref().map(|hello| hello.version.clone());
    record.times = fold.times();
    record.times.wall = Some(finished.wall.as_secs_f64());
    record.epochs.clone_from(&fold.epochs);
    record.facts.clone_from(&fold.facts);
    record.metrics.clone_from(&fold.metrics);
    record.cost.cpu_seconds = Some(finished.cpu_seconds);
    record.cost.peak_rss_bytes = Some(finished.peak_rss_bytes).filter(|bytes| *bytes > 0);
    record.cost.threads_seen = Some(finished.threads_seen);
    record.cost.left_behind = finished.left_behind;
    if let Some(machine) = &finished.machine {
        record.machine.clone_from(machine);
    }
    if fold.do_clocks_disagree() {
        record.marks.push("clock_disagrees".to_owned());
    }
    if finished.lines.lost > 0 {
        record.marks.push(format!("{} events were lost", finished.lines.lost));
    }
}

/// Takes over what the GPUs were seen to do.
fn fill_gpu(record: &mut Record, usage: &gpu::Usage) {
    record.cost.peak_device_bytes = usage.held_bytes();
    record.cost.gpu_joules = usage.joules;
    if usage.foreign_processes > 0 {
        let count = usage.foreign_processes;
        record.marks.push(format!("tainted: {count} other processes used the GPU"));
    }
    if !usage.throttled.is_empty() {
        let reasons = usage.throttled.join(", ");
        record.marks.push(format!("tainted: the GPU was slowed down ({reasons})"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::catalog::{Device, Framework, FrameworkSpec, ProviderName};
    use crate::env::Runtime;
    use crate::process::Exit;
    use crate::record::Status;
    use crate::run::outcome::tests::{END, HELLO, OUTPUTS, ending};
    use crate::spec::{Experiment, Spec};
    use crate::variant::Variants;
    use crate::yaml;

    fn experiment() -> Experiment {
        let text = "version: 1\nname: tiny\ntitle: Tiny\ntask: classification\nseed: 7\n\
                    data: {files: {x_train: x.npy}}\nsettings: {}\n\
                    profiles: {quick: {rows: {}, timeout: 1s}}\n";
        let path = Path::new("tiny.yaml");
        let spec = yaml::parse::<Spec>(path, text).unwrap();
        Experiment { path: path.to_owned(), digest: "s1".to_owned(), spec }
    }

    fn framework() -> Framework {
        let text = "version: 1\nname: ours\ntitle: Ours\nlanguage: python\nera: historic\n\
                    year: 2017\ntargets: [{name: ours-a, title: A, env: {cpu: one}}]\n";
        Framework {
            folder: "/ours".into(),
            spec: yaml::parse::<FrameworkSpec>("framework.yaml".as_ref(), text).unwrap(),
            harnesses: BTreeMap::new(),
            defaults: None,
            speed: None,
            variants: Variants::default(),
        }
    }

    fn record_of(became: Became) -> Record {
        let (experiment, framework) = (experiment(), framework());
        let (target, profile) = (&framework.spec.targets[0], "quick".to_owned());
        let (experiment, device, repeat) = (&experiment, Device::Cpu, 2);
        let job = Job { experiment, framework: &framework, target, device, profile, repeat };
        let rosetta = Version { version: "0.1.0".to_owned(), revision: None };
        let origin = JobOrigin {
            run: "r1",
            started: "2026-01-02T03:04:05Z".to_owned(),
            threads: 4,
            equivalence: Equivalence::never_checked(),
            inputs: inputs(&job, None, "h1".to_owned()),
            machine: Machine::default(),
            rosetta: &rosetta,
        };
        Record::of(&job, origin, became)
    }

    fn built() -> Built {
        Built {
            name: "one".to_owned(),
            provider: ProviderName::Venv,
            digest: Some("e1".to_owned()),
            lock_sha256: None,
            root: "/env".into(),
            runtime: Runtime::Interpreter {
                python: "/env/bin/python".into(),
                version: "3.12.1".to_owned(),
            },
            packages: BTreeMap::from([("numpy".to_owned(), "2.0".to_owned())]),
            size_bytes: 0,
            build_seconds: 0.0,
            environment: BTreeMap::new(),
            unset: Vec::new(),
            starter: None,
            seen: Vec::new(),
            found: BTreeMap::new(),
            wrap: Vec::new(),
        }
    }

    #[test]
    fn a_job_that_did_not_start_is_known_by_what_it_is() {
        let outcome = Outcome::because(Status::Skipped, "no CUDA GPU here");
        let record = record_of(Became::NotStarted(outcome.clone()));
        assert_eq!((record.outcome, record.env), (outcome, None));
        assert_eq!((record.job.as_str(), record.year), ("tiny.ours-a.cpu.2", Some(2017)));
        assert_eq!((record.run.as_str(), record.cost.threads_allowed), ("r1", 4));
        assert_eq!(record.inputs.harness_digest, "h1");
        assert_eq!((record.cost.cpu_seconds, record.inputs.dataset), (None, None));
    }

    #[test]
    fn what_was_measured_and_seen_is_taken_over() {
        let mut ending = ending(Exit::Code(0), &[HELLO, OUTPUTS, END]);
        ending.finished.lines.lost = 2;
        ending.finished.disturbance = Some("9 pages were read from swap".to_owned());
        ending.finished.gpu = Some(gpu::Usage {
            own_bytes: Some(1 << 30),
            foreign_processes: 1,
            joules: Some(12.5),
            throttled: vec!["heat".to_owned()],
            ..gpu::Usage::default()
        });
        let mut scored = Scored::nothing(Outcome::ok());
        scored.score.accuracy = Some(0.75);
        scored.marks.push("accuracy_disagrees: the harness says 0.5".to_owned());
        let record = record_of(Became::Ended { built: &built(), ending: &ending, scored });
        assert_eq!(record.framework_version.as_deref(), Some("1.2"));
        assert_eq!((record.times.wall, record.cost.cpu_seconds), (Some(2.0), Some(1.5)));
        assert_eq!(
            (record.cost.peak_rss_bytes, record.cost.threads_seen),
            (Some(1 << 20), Some(3))
        );
        assert_eq!(record.cost.peak_device_bytes, Some(1 << 30));
        assert_eq!((record.cost.gpu_joules, record.score.accuracy), (Some(12.5), Some(0.75)));
        let env = record.env.unwrap();
        assert_eq!((env.name.as_str(), env.packages), ("one", vec!["numpy==2.0".to_owned()]));
        let expected = [
            "2 events were lost",
            "tainted: 1 other processes used the GPU",
            "tainted: the GPU was slowed down (heat)",
            "tainted: 9 pages were read from swap",
            "accuracy_disagrees: the harness says 0.5",
        ];
        assert_eq!(record.marks, expected);
    }
}
